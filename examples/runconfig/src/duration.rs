//! How long is `1h30m`? Durations as Go writes them.

use std::time::Duration;

const UNITS: [(&str, u128); 8] = [
    // The longer of two units with the same beginning comes first.
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60 * 1_000_000_000),
    ("h", 3_600 * 1_000_000_000),
];

/// The longest duration: what Go's 64 bits of nanoseconds hold, some 292 years.
const NANOS_MAX: u128 = i64::MAX as u128;

/// Reads a Go duration: `15s`, `1h30m`, `1.5h`, `500ms`, or a bare number of nanoseconds.
///
/// ```
/// let duration = runyard_runconfig::parse_duration("1h30m")?;
/// assert_eq!(duration.as_secs(), 5400);
/// # Ok::<(), &str>(())
/// ```
///
/// # Errors
/// Says which rule is broken, as a phrase.
pub fn parse_duration(text: &str) -> Result<Duration, &'static str> {
    const SHAPE: &str = "it is not a duration such as `15s`, `1h30m` or `500ms`";
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest.is_empty() {
        return Err(SHAPE);
    }
    if rest.strip_prefix('-').is_some_and(|rest| rest.starts_with(|char: char| char.is_ascii_digit() || char == '.')) {
        return Err("it is negative");
    }
    if rest.bytes().all(|byte| byte.is_ascii_digit()) {
        return nanos(rest.parse().map_err(|_| TOO_LONG)?);
    }
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let (whole, after) = digits(rest);
        let (fraction, after) = after.strip_prefix('.').map_or(("", after), digits);
        if whole.is_empty() && fraction.is_empty() {
            return Err(SHAPE);
        }
        let Some((unit, after)) = UNITS.iter().find_map(|(name, unit)| {
            // `m` is the beginning of `ms`, which stands before it in the table.
            Some((*unit, after.strip_prefix(name)?))
        }) else {
            return Err(if after.is_empty() { "a unit is missing behind a number" } else { SHAPE });
        };
        let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| TOO_LONG)? };
        total = whole
            .checked_mul(unit)
            .and_then(|whole| total.checked_add(whole))
            .and_then(|total| total.checked_add(fraction_of(fraction, unit)))
            .ok_or(TOO_LONG)?;
        rest = after;
    }
    nanos(total)
}

const TOO_LONG: &str = "it is longer than 292 years";

fn nanos(total: u128) -> Result<Duration, &'static str> {
    if total > NANOS_MAX {
        return Err(TOO_LONG);
    }
    u64::try_from(total).map(Duration::from_nanos).map_err(|_| TOO_LONG)
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}

/// The part of a unit that the digits behind the point stand for; what is below a nanosecond is dropped.
fn fraction_of(digits: &str, unit: u128) -> u128 {
    // A unit has at most 3.6e12 nanoseconds, so that digits behind the 18th cannot change the result.
    let digits = &digits[..digits.len().min(18)];
    let power = 10_u128.pow(u32::try_from(digits.len()).expect("at most 18"));
    digits.parse::<u128>().map_or(0, |value| value * unit / power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, nanos) in [
            ("0", 0),
            ("0s", 0),
            ("15s", 15_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("1.5h", 5_400_000_000_000),
            ("500ms", 500_000_000),
            ("1m1ms", 60_001_000_000),
            ("2us", 2_000),
            ("2µs", 2_000),
            ("2μs", 2_000),
            ("7ns", 7),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("+5s", 5_000_000_000),
            ("1h1h", 7_200_000_000_000),
            ("0.1234567890123456789123s", 123_456_789),
            ("1000000000", 1_000_000_000),
            ("9223372036854775807ns", i64::MAX as u64),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_nanos(nanos)), "{text}");
        }
    }

    #[test]
    fn what_go_refuses_is_refused() {
        for text in
            ["", "+", "-", ".", "s", ".s", "1", "15 s", "15S", "1d", "1h30", "-1s", "-5", "--1s", "1e3s", "300000000h"]
        {
            // A bare number is nanoseconds here, as in a definition.
            if text != "1" {
                parse_duration(text).expect_err(text);
            }
        }
        assert_eq!(parse_duration("1h30"), Err("a unit is missing behind a number"));
        assert_eq!(parse_duration("-1s"), Err("it is negative"));
        assert_eq!(parse_duration(&"9".repeat(60)), Err(TOO_LONG));
        assert_eq!(parse_duration("9223372036854775808ns"), Err(TOO_LONG));
    }
}
