//! Regular expressions with the meaning that Go gives them.
//!
//! The `regex` crate comes from the same family as Go's RE2, and differs in a few places: its `\d`, `\w`, `\s` and `\b`
//! know all of Unicode, its brackets nest and subtract, and it has no `\Q...\E`. A pattern is rewritten, so that it
//! means here what it means there.

use regex::bytes::{Regex, RegexBuilder};

/// The largest compiled expression, in bytes.
const COMPILED_BYTES_MAX: usize = 1 << 20;

/// Compiles a Go pattern. Matching is unanchored and takes linear time.
///
/// # Errors
/// What is wrong with the pattern.
pub(crate) fn compile(pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(&rewrite(pattern)).size_limit(COMPILED_BYTES_MAX).build().map_err(|error| {
        // The crate draws the pattern over several lines; its last line says what is wrong.
        let text = error.to_string();
        let last = text.lines().last().unwrap_or_default();
        last.strip_prefix("error: ").unwrap_or(last).to_owned()
    })
}

fn rewrite(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut rest = pattern;
    while let Some(char) = rest.chars().next() {
        let after = &rest[char.len_utf8()..];
        rest = match char {
            '\\' => escape(after, &mut out, false),
            '[' => class(after, &mut out),
            // A brace that counts nothing is a brace.
            '{' if !counts(after) => {
                out.push_str("\\{");
                after
            }
            other => {
                out.push(other);
                after
            }
        };
    }
    out
}

/// Whether what follows a `{` makes it a repetition: `3}`, `3,}` or `3,5}`.
fn counts(after: &str) -> bool {
    let Some((inside, _)) = after.split_once('}') else { return false };
    let (min, max) = inside.split_once(',').unwrap_or((inside, ""));
    !min.is_empty() && min.bytes().chain(max.bytes()).all(|byte| byte.is_ascii_digit())
}

/// Rewrites what follows a backslash; returns what follows that.
fn escape<'a>(after: &'a str, out: &mut String, in_class: bool) -> &'a str {
    let Some(char) = after.chars().next() else {
        out.push('\\');
        return after;
    };
    let rest = &after[char.len_utf8()..];
    let plain = match char {
        'd' => "0-9",
        'w' => "0-9A-Za-z_",
        's' => r"\t\n\f\r ",
        'D' => "^0-9",
        'W' => "^0-9A-Za-z_",
        'S' => r"^\t\n\f\r ",
        'b' if !in_class => {
            out.push_str(r"(?-u:\b)");
            return rest;
        }
        'B' if !in_class => {
            out.push_str(r"(?-u:\B)");
            return rest;
        }
        'Q' if !in_class => {
            let (literal, rest) = rest.split_once(r"\E").unwrap_or((rest, ""));
            out.push_str(&regex::escape(literal));
            return rest;
        }
        // The crate reads these as the ends of a word.
        '<' | '>' => {
            out.push(char);
            return rest;
        }
        _ => {
            out.push('\\');
            out.push(char);
            return rest;
        }
    };
    // Folding must not widen an ASCII class: `(?i)\w` would match the Kelvin sign.
    let (open, close) = if in_class { ("[", "]") } else { ("(?-i:[", "])") };
    out.extend([open, plain, close]);
    rest
}

/// Rewrites a class behind its `[`; returns what follows its `]`.
fn class<'a>(mut rest: &'a str, out: &mut String) -> &'a str {
    out.push('[');
    if let Some(after) = rest.strip_prefix('^') {
        out.push('^');
        rest = after;
    }
    let mut first = true;
    while let Some(char) = rest.chars().next() {
        let after = &rest[char.len_utf8()..];
        rest = match char {
            ']' if !first => {
                out.push(']');
                return after;
            }
            '\\' => escape(after, out, true),
            '[' if rest.starts_with("[:") && rest.contains(":]") => {
                let (name, after) = rest.split_once(":]").expect("it contains one");
                out.push_str(name);
                out.push_str(":]");
                after
            }
            // In the crate these nest, intersect and subtract.
            '[' | ']' | '&' | '~' => {
                out.push('\\');
                out.push(char);
                after
            }
            '-' if first || after.starts_with(']') => {
                out.push_str("\\-");
                after
            }
            // A range up to the minus sign; in the crate, two of them subtract.
            '-' if after.starts_with('-') => {
                out.push_str("-\\-");
                &after[1..]
            }
            other => {
                out.push(other);
                after
            }
        };
        first = false;
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_they_mean_in_go() {
        for (pattern, text, expected) in [
            (r"^\d+$", "42", true),
            (r"^\d+$", "٤٢", false),
            (r"^\w+$", "a_1", true),
            (r"^\w+$", "é", false),
            (r"^\W+$", "é", true),
            (r"^\s$", "\u{a0}", false),
            (r"^\S$", "\u{a0}", true),
            (r"^[\d.]+$", "1.2", true),
            (r"^[^\d]$", "٤", true),
            (r"^[^\D]$", "4", true),
            (r"é\b", "é", false),
            (r"e\b", "eé", true),
            (r"(?i)^\w$", "\u{212a}", false),
            (r"(?i)^k$", "\u{212a}", true),
            (r"^.$", "é", true),
            (r"^[é]$", "é", true),
            (r"^[[]$", "[", true),
            (r"^[]a]$", "]", true),
            (r"^[a&&b]+$", "a&b", true),
            (r"^[a~~b]+$", "~", true),
            (r"^[[:alpha:]]+$", "abc", true),
            (r"^[a-]+$", "a-", true),
            (r"^[-a]+$", "-a", true),
            (r"^[+--]+$", "+,-", true),
            (r"^\Qa.b\E+$", "a.bb", true),
            (r"^\Qa.b", "axb", false),
            (r"^a{2}$", "aa", true),
            (r"^a{,2}$", "a{,2}", true),
            (r"^{x}$", "{x}", true),
            (r"^\<b\>$", "<b>", true),
            (r"a.c", "xabcx", true),
            (r"^\pL$", "é", true),
            (r"(?P<n>a)", "a", true),
        ] {
            let regex = compile(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
            assert_eq!(regex.is_match(text.as_bytes()), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn broken_and_huge_patterns_are_refused_in_one_line() {
        for pattern in ["(", "[a", "a**b(", r"\", "*a", r"(?=a)", r"a(?!b)", r"(a)\1", "((a{1000}){1000}){1000}"] {
            let error = compile(pattern).expect_err(pattern);
            assert!(!error.is_empty() && !error.contains('\n'), "{pattern}: {error}");
        }
    }
}
