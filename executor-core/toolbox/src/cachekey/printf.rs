//! `printf` of Go, as far as a key needs it: `%s %v %d %q %x %X %t %c %%`, with a width and the flags `-` and `0`.

use super::eval::Value;

/// A width beyond what any key needs.
const WIDTH_MAX: usize = 1000;

/// Formats `values`. Where Go would write a complaint into the text, this is an error.
pub(super) fn printf(format: &str, values: &[Value]) -> Result<String, String> {
    let mut text = String::new();
    let mut values = values.iter();
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        let (mut left, mut zero) = (false, false);
        while let Some(flag) = chars.next_if(|c| matches!(c, '-' | '0')) {
            left |= flag == '-';
            zero |= flag == '0';
        }
        let mut width = 0;
        while let Some(digit) = chars.peek().and_then(|c| c.to_digit(10)) {
            chars.next();
            width = width * 10 + digit as usize;
            if width > WIDTH_MAX {
                return Err(format!("`printf`: a width is more than {WIDTH_MAX}"));
            }
        }
        let verb = chars.next().ok_or("`printf`: the format ends after `%`")?;
        if verb == '%' {
            text.push('%');
            continue;
        }
        let value = values.next().ok_or_else(|| format!("`printf`: there is no value for `%{verb}`"))?;
        let formatted = one(verb, value)?;
        let missing = width.saturating_sub(formatted.chars().count());
        if left {
            text.push_str(&formatted);
            text.extend(std::iter::repeat_n(' ', missing));
        } else if zero && let Some(digits) = formatted.strip_prefix('-') {
            text.push('-');
            text.extend(std::iter::repeat_n('0', missing));
            text.push_str(digits);
        } else {
            text.extend(std::iter::repeat_n(if zero { '0' } else { ' ' }, missing));
            text.push_str(&formatted);
        }
    }
    match values.next() {
        None => Ok(text),
        Some(extra) => Err(format!("`printf`: the format has no place for `{extra}`")),
    }
}

fn one(verb: char, value: &Value) -> Result<String, String> {
    let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    match (verb, value) {
        ('v', value) => Ok(value.to_string()),
        ('s', Value::String(text)) => Ok(text.clone()),
        ('q', Value::String(text)) => Ok(format!("{text:?}")),
        ('x', Value::String(text)) => Ok(hex(text)),
        ('X', Value::String(text)) => Ok(hex(text).to_uppercase()),
        ('d', Value::Integer(number)) => Ok(number.to_string()),
        ('x', Value::Integer(number)) => {
            Ok(format!("{}{:x}", if *number < 0 { "-" } else { "" }, number.unsigned_abs()))
        }
        ('X', Value::Integer(number)) => {
            Ok(format!("{}{:X}", if *number < 0 { "-" } else { "" }, number.unsigned_abs()))
        }
        ('c', Value::Integer(number)) => {
            let c = u32::try_from(*number).ok().and_then(char::from_u32);
            c.map(String::from).ok_or_else(|| format!("`printf`: {number} is no character"))
        }
        ('t', Value::Bool(truth)) => Ok(truth.to_string()),
        ('s' | 'q' | 'x' | 'X' | 'd' | 'c' | 't', value) => {
            Err(format!("`printf`: `%{verb}` does not fit the value `{value}`"))
        }
        _ => Err(format!("`printf`: `%{verb}` is not supported")),
    }
}
