//! How are the parts of an address read that is written as one line, such as `s3://...`?
//!
//! For this crate and its sister crates, so that all of them read the same spelling; no part of the public interface.

/// Undoes percent-encoding (RFC 3986). None if a `%` is not followed by two hexadecimal digits, or no UTF-8 comes out.
pub fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let [high, low, after @ ..] = rest else { return None };
        let digit = |byte: u8| char::from(byte).to_digit(16);
        bytes.push((digit(*high)? * 16 + digit(*low)?) as u8);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

/// The parameters of a query, values still encoded; one without a `=` has an empty value.
///
/// # Errors
/// The name of the first one that is given twice.
pub fn parameters(query: &str) -> Result<Vec<(&str, &str)>, &str> {
    let mut parameters: Vec<(&str, &str)> = Vec::new();
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        if parameters.iter().any(|(known, _)| *known == name) {
            return Err(name);
        }
        parameters.push((name, value));
    }
    Ok(parameters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_well_encoded_is_nothing() {
        assert_eq!(percent_decode("a%20b%C3%A9%2f").as_deref(), Some("a bé/"));
        for text in ["%", "%2", "%zz", "%ff", "a%"] {
            assert_eq!(percent_decode(text), None, "{text}");
        }
    }

    #[test]
    fn parameters_are_given_once() {
        assert_eq!(parameters("a=1&&b&c=x=y"), Ok(vec![("a", "1"), ("b", ""), ("c", "x=y")]));
        assert_eq!(parameters("a=1&b=2&a=1"), Err("a"));
        assert_eq!(parameters(""), Ok(vec![]));
    }
}
