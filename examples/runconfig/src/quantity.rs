//! How many bytes is `1.5Gi`? Quantities as Kubernetes writes them.

/// The largest quantity: what 64 bits with a sign hold.
const QUANTITY_MAX: u128 = i64::MAX as u128;

const TOO_LARGE: &str = "it is larger than 9223372036854775807";
const SHAPE: &str = "it is not a quantity such as `512Mi`, `1.5Gi`, `2G` or a number";

/// What a suffix multiplies with.
enum Unit {
    /// A power of two.
    Binary(u32),
    /// A power of ten.
    Decimal(i32),
}

/// Reads a Kubernetes quantity and rounds it up to a whole number: `512Mi`, `1.5G`, `100m`, `1e6`, `1048576`.
///
/// ```
/// assert_eq!(runyard_runconfig::parse_quantity("1.5Ki"), Ok(1536));
/// ```
///
/// # Errors
/// Says which rule is broken, as a phrase.
pub fn parse_quantity(text: &str) -> Result<u64, &'static str> {
    scaled(text, 0)
}

/// Reads a Kubernetes quantity in thousandths, as processors are counted: `500m`, `2`, `0.5`.
///
/// # Errors
/// As for [`parse_quantity`].
pub fn parse_milli_quantity(text: &str) -> Result<u64, &'static str> {
    scaled(text, 3)
}

fn scaled(text: &str, more: i32) -> Result<u64, &'static str> {
    let unsigned = text.strip_prefix('+').unwrap_or(text);
    if let Some(rest) = unsigned.strip_prefix('-') {
        return Err(if rest.starts_with(|char: char| char.is_ascii_digit() || char == '.') {
            "it is negative"
        } else {
            SHAPE
        });
    }
    let end = unsigned.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
    let (number, suffix) = unsigned.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return Err(SHAPE);
    }
    // The last zeros behind the point say nothing and would only overflow.
    let fraction = fraction.trim_end_matches('0');
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    if digits.len() > 30 {
        return Err(if whole.len() > 30 { TOO_LARGE } else { "it has too many digits" });
    }
    let value: u128 = if digits.is_empty() { 0 } else { digits.parse().map_err(|_| SHAPE)? };
    let places = i32::try_from(fraction.len()).map_err(|_| SHAPE)?;
    let (binary, decimal) = match unit(suffix).ok_or(SHAPE)? {
        Unit::Binary(power) => (power, more - places),
        Unit::Decimal(power) => (0, power.saturating_add(more - places)),
    };
    let value = value.checked_shl(binary).filter(|shifted| shifted >> binary == value).ok_or(TOO_LARGE)?;
    let value = if value == 0 {
        0
    } else if decimal >= 0 {
        10_u128.checked_pow(decimal.unsigned_abs()).and_then(|power| value.checked_mul(power)).ok_or(TOO_LARGE)?
    } else {
        // A divisor that does not fit is larger than the value: rounded up, that is one.
        10_u128.checked_pow(decimal.unsigned_abs()).map_or(1, |power| value.div_ceil(power))
    };
    if value > QUANTITY_MAX {
        return Err(TOO_LARGE);
    }
    u64::try_from(value).map_err(|_| TOO_LARGE)
}

fn unit(suffix: &str) -> Option<Unit> {
    Some(match suffix {
        "" => Unit::Decimal(0),
        "n" => Unit::Decimal(-9),
        "u" => Unit::Decimal(-6),
        "m" => Unit::Decimal(-3),
        "k" => Unit::Decimal(3),
        "M" => Unit::Decimal(6),
        "G" => Unit::Decimal(9),
        "T" => Unit::Decimal(12),
        "P" => Unit::Decimal(15),
        "E" => Unit::Decimal(18),
        "Ki" => Unit::Binary(10),
        "Mi" => Unit::Binary(20),
        "Gi" => Unit::Binary(30),
        "Ti" => Unit::Binary(40),
        "Pi" => Unit::Binary(50),
        "Ei" => Unit::Binary(60),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E'])?;
            let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            Unit::Decimal(exponent.parse::<i32>().ok()?.clamp(-1000, 1000))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_as_kubernetes_reads_them() {
        for (text, bytes) in [
            ("0", 0),
            ("1048576", 1_048_576),
            ("1Ki", 1024),
            ("512Mi", 536_870_912),
            ("1.5Gi", 1_610_612_736),
            ("1Ti", 1 << 40),
            ("1k", 1000),
            ("2G", 2_000_000_000),
            ("1e6", 1_000_000),
            ("1E3", 1000),
            ("1E", 1_000_000_000_000_000_000),
            ("1e-1", 1),
            ("12e-1", 2),
            ("100m", 1),
            ("1500m", 2),
            ("2000m", 2),
            ("1n", 1),
            (".5Ki", 512),
            ("1.", 1),
            ("+3", 3),
            ("0.000", 0),
            ("0e999", 0),
            ("1e-999", 1),
            ("7Ei", 7 << 60),
            ("9223372036854775807", i64::MAX as u64),
        ] {
            assert_eq!(parse_quantity(text), Ok(bytes), "{text}");
        }
        for (text, milli) in [("500m", 500), ("2", 2000), ("0.5", 500), ("1u", 1)] {
            assert_eq!(parse_milli_quantity(text), Ok(milli), "{text}");
        }
    }

    #[test]
    fn broken_and_oversized_quantities_are_refused() {
        for text in ["", "Mi", ".", "1.2.3", "1 Gi", "1gi", "1K", "1GB", "1e", "1ex", "ten", "-", "1Gi1", "0x10", "e5"]
        {
            assert_eq!(parse_quantity(text), Err(SHAPE), "{text}");
        }
        for text in ["8Ei", "10E", "1e30", "1e999", "9223372036854775808", &"9".repeat(50)] {
            assert_eq!(parse_quantity(text), Err(TOO_LARGE), "{text}");
        }
        assert_eq!(parse_quantity("-1"), Err("it is negative"));
    }
}
