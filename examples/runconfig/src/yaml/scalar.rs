//! What is a scalar taken for? Pure.
//!
//! The core schema of YAML 1.2 (chapter 10.3), with what other parsers read too: digits in groups (`1_000`), binary numbers,
//! zeros in front. The text is kept in any case, so that nothing depends on it but what a diagnostic says.

use crate::node::{NodeKind, Scalar, ScalarKind};

/// How a scalar is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// As it is.
    Plain,
    /// As it is, and to be taken for text: in a block, or with a tag that says so.
    Text,
    /// In quotes.
    Quoted,
}

pub(super) fn scalar(text: String, style: Style) -> NodeKind {
    let kind = match style {
        Style::Quoted => ScalarKind::Quoted,
        Style::Text => ScalarKind::Plain,
        Style::Plain if is_null(&text) => return NodeKind::Null,
        Style::Plain if matches!(text.as_str(), "true" | "True" | "TRUE" | "false" | "False" | "FALSE") => {
            ScalarKind::Bool
        }
        Style::Plain if is_number(&text) => ScalarKind::Number,
        Style::Plain => ScalarKind::Plain,
    };
    NodeKind::Scalar(Scalar { text, kind })
}

fn is_null(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    // Most scalars are words: looked at once.
    if !unsigned.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
        return false;
    }
    is_integer(unsigned) || is_finite_float(unsigned)
}

fn is_integer(text: &str) -> bool {
    let (digits, radix) = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&text[2..], 16),
        [b'0', b'o' | b'O', ..] => (&text[2..], 8),
        [b'0', b'b' | b'B', ..] => (&text[2..], 2),
        _ => (text, 10),
    };
    !digits.is_empty() && digits.split('_').all(|group| !group.is_empty() && group.chars().all(|c| c.is_digit(radix)))
}

/// A number beyond all floats, such as the commit `12e4567`, is none.
fn is_finite_float(text: &str) -> bool {
    let allowed = |char: char| char.is_ascii_digit() || matches!(char, '.' | 'e' | 'E' | '+' | '-');
    text.chars().all(allowed) && text.parse().is_ok_and(|number: f64| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_told_from_words() {
        for number in ["0", "-1", "+7", "007", "1_000", "0x1F", "0o17", "0b101", "1.10", ".5", "1.", "1e3", "-1.5E-3"] {
            assert!(is_number(number), "{number}");
        }
        for word in [
            "",
            "-",
            ".",
            "e3",
            "1_",
            "_1",
            "1__0",
            "0x",
            "0xg",
            "12e4567",
            "1.2.3",
            "12:30",
            "2001-01-01",
            "inf",
            ".inf",
        ] {
            assert!(!is_number(word), "{word}");
        }
        assert!(is_number(&"9".repeat(100)));
    }
}
