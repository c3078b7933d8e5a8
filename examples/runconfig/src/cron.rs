//! Is `0 3 * * 1-5` a cron expression?
//!
//! Five fields as `crontab` has them: numbers, `*`, ranges, lists, steps, and names of months and weekdays. When it is
//! due is for the host application to say, which has a clock and time zones.

/// What a field is called, its least and greatest number, and the names of its numbers.
type Field = (&'static str, u32, u32, &'static [&'static str]);

const FIELDS: [Field; 5] = [
    ("minute", 0, 59, &[]),
    ("hour", 0, 23, &[]),
    ("day", 1, 31, &[]),
    ("month", 1, 12, &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]),
    // 0 and 7 are Sunday.
    ("weekday", 0, 7, &["sun", "mon", "tue", "wed", "thu", "fri", "sat"]),
];

/// Checks a cron expression.
///
/// # Errors
/// What is wrong with it, as a phrase.
pub(crate) fn check_cron(text: &str) -> Result<(), String> {
    let fields: Vec<&str> = text.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        return Err(format!("it has {} fields", fields.len()));
    }
    for (text, field) in fields.into_iter().zip(FIELDS) {
        for part in text.split(',') {
            check_part(part, field).map_err(|reason| format!("the {} `{part}` {reason}", field.0))?;
        }
    }
    Ok(())
}

fn check_part(part: &str, field: Field) -> Result<(), String> {
    let (range, step) = part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
    if let Some(step) = step
        && !step.parse::<u32>().is_ok_and(|step| (1..=field.2).contains(&step))
    {
        return Err("has a wrong step".to_owned());
    }
    if range == "*" {
        return Ok(());
    }
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    if number(first, field)? > number(last, field)? {
        return Err("runs backwards".to_owned());
    }
    Ok(())
}

fn number(text: &str, (_, min, max, names): Field) -> Result<u32, String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let named =
        names.iter().position(|name| name.eq_ignore_ascii_case(text)).and_then(|index| u32::try_from(index).ok());
    let number = if digits { text.parse().ok() } else { named.map(|index| index + min) };
    number.filter(|number| (min..=max).contains(number)).ok_or_else(|| format!("is not from {min} to {max}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_crontab_takes_is_taken_and_nothing_else() {
        for good in
            ["* * * * *", "0 3 * * 1-5", "*/15 0-6,20-23/2 1 jan-MAR sun", "59 23 31 12 7", " 0  0 * * mon,fri "]
        {
            assert_eq!(check_cron(good), Ok(()), "{good}");
        }
        for (bad, reason) in [
            ("", "it has 0 fields"),
            ("@daily", "it has 1 fields"),
            ("* * * * * *", "it has 6 fields"),
            ("60 * * * *", "the minute `60` is not from 0 to 59"),
            ("* 24 * * *", "the hour `24` is not from 0 to 23"),
            ("* * 0 * *", "the day `0` is not from 1 to 31"),
            ("* * * 13 *", "the month `13` is not from 1 to 12"),
            ("* * * * 8", "the weekday `8` is not from 0 to 7"),
            ("* * * * noday", "the weekday `noday` is not from 0 to 7"),
            ("5-1 * * * *", "the minute `5-1` runs backwards"),
            ("*/0 * * * *", "the minute `*/0` has a wrong step"),
            ("1,,2 * * * *", "the minute `` is not from 0 to 59"),
            ("+1 * * * *", "the minute `+1` is not from 0 to 59"),
        ] {
            assert_eq!(check_cron(bad), Err(reason.to_owned()), "{bad}");
        }
    }
}
