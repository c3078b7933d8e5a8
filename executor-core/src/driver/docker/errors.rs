//! What does an error of an engine mean, for the user of a task and for whoever runs the executor?

use std::error::Error as _;

use bollard::errors::Error;

use crate::driver::{DriverError, chain};

/// The engine was asked for something and did not do it.
pub(super) fn failed(doing: impl Into<String>) -> impl FnOnce(Error) -> DriverError {
    let doing = doing.into();
    move |error| DriverError::failed(doing, text(&error))
}

/// As [`failed`], for what the definition of a task can be the reason of: then the engine says so by its status.
pub(super) fn failed_or_refused(doing: impl Into<String>) -> impl FnOnce(Error) -> DriverError {
    let doing = doing.into();
    move |error| match &error {
        Error::DockerResponseServerError { status_code: 400 | 404, .. } => {
            DriverError::Refused { message: format!("{doing} failed: {}", text(&error)) }
        }
        _ if is_of_definition(&text(&error)) => {
            DriverError::Refused { message: format!("{doing} failed: {}", text(&error)) }
        }
        _ => DriverError::failed(doing, text(&error)),
    }
}

/// What engines answer with status 500 although the definition is the reason.
fn is_of_definition(text: &str) -> bool {
    let known = [
        "unable to find user",
        "no matching entries in passwd",
        "no matching entries in group",
        "executable file not found",
    ];
    known.iter().any(|known| text.contains(known))
}

/// Whether the engine answered with this status.
pub(super) fn has_status(error: &Error, status: u16) -> bool {
    matches!(error, Error::DockerResponseServerError { status_code, .. } if *status_code == status)
}

/// What the engine said, in one line.
pub(super) fn text(error: &Error) -> String {
    let text = match error {
        Error::DockerResponseServerError { message, .. } => message.clone(),
        Error::DockerStreamError { error } => error.clone(),
        // Its own text would be repeated: it is transparent.
        Error::HyperResponseError { .. } | Error::HyperLegacyError { .. } | Error::IOError { .. } => {
            let source = error.source().map(chain).unwrap_or_default();
            let text = error.to_string();
            if source.is_empty() || text.ends_with(&source) { text } else { format!("{text}: {source}") }
        }
        other => chain(other),
    };
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Why an image could not be had.
pub(super) fn pull_failed(image: &str, had_credentials: bool, error: &Error) -> DriverError {
    let text = text(error);
    let lower = text.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let refused =
        |hint: &str| DriverError::Refused { message: format!("image `{image}` cannot be had: {text}. {hint}") };
    if says(&["unauthorized", "denied", "authentication required", "no basic auth", "incorrect username"]) {
        return refused(if had_credentials {
            "The registry does not accept the credentials that the task has for it, or does not have the image: check \
             `docker_registries_auth` and the name of the image"
        } else {
            "Check the name of the image; if it is private, add credentials for its registry to `docker_registries_auth`"
        });
    }
    if says(&["invalid reference", "invalid repository name", "must be lowercase", "repository name", "invalid tag"]) {
        return refused("An image is `[registry/]name[:tag]` in small letters");
    }
    if says(&["not found", "manifest unknown", "name unknown", "no such image", "does not exist"]) {
        return refused("Check its name and its tag");
    }
    DriverError::failed(format!("pulling image `{image}`"), text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status_code: u16, message: &str) -> Error {
        Error::DockerResponseServerError { status_code, message: message.to_owned() }
    }

    #[test]
    fn a_failed_pull_says_what_the_user_can_do() {
        let denied = "pull access denied for x, repository does not exist or may require 'docker login'";
        let message = |credentials, text| pull_failed("x", credentials, &answer(404, text)).user_message();
        assert!(message(false, denied).contains("add credentials"), "{}", message(false, denied));
        assert!(message(true, denied).contains("does not accept"), "{}", message(true, denied));
        assert!(message(false, "manifest for x not found: manifest unknown").contains("its tag"));
        assert!(
            message(false, "invalid reference format: repository name must be lowercase").contains("small letters")
        );
    }

    #[test]
    fn an_unreachable_registry_is_not_the_fault_of_the_task() {
        let error = answer(500, "Get \"http://127.0.0.1:1/v2/\": dial tcp 127.0.0.1:1: connect: connection refused");
        let error = pull_failed("127.0.0.1:1/x", false, &error);
        assert!(matches!(error, DriverError::Failed { .. }), "{error:?}");
        assert!(error.user_message().contains("connection refused"), "{}", error.user_message());
    }
}
