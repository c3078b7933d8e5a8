//! Does a commit ask for no runs?

/// What asks for no runs, anywhere in the message of a commit or in the title of a pull request.
pub const CI_SKIP: &str = "[ci skip]";

/// Whether a commit message, or the title of a pull request, asks for no runs.
///
/// ```
/// assert!(runyard_runconfig::asks_to_skip("Mend a typo\n\n[ci skip]\n"));
/// assert!(!runyard_runconfig::asks_to_skip("Document how to skip ci"));
/// ```
pub fn asks_to_skip(message: &str) -> bool {
    message.contains(CI_SKIP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subject_and_body_count_and_nothing_similar_does() {
        for yes in ["[ci skip]", "Fix [ci skip] it", "Fix\n\nlong\n[ci skip]"] {
            assert!(asks_to_skip(yes), "{yes}");
        }
        for no in ["", "ci skip", "[ci  skip]", "[skip]", "[ci\nskip]"] {
            assert!(!asks_to_skip(no), "{no}");
        }
    }
}
