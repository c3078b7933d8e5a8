//! What does an error of a foreign store mean to our callers?
//!
//! `object_store` keeps the answer of an S3 server as text, so the code in it is read from there.
//!
//! | what the store says | what we say |
//! |---|---|
//! | not found, while reading | `NotFound` |
//! | 401, 403, expired or foreign credentials | `PermissionDenied` |
//! | the bucket is gone; a path that is no key; not supported | `Unusable` |
//! | the key is too long | `UnsupportedKey` |
//! | the server's disk or quota is full | `Full` |
//! | a conflict, 429, 5xx, a timeout, a lost connection, anything else | `Unavailable` |

use std::io;

use object_store::Error as StoreError;

use crate::{Error, ObjectKey};

/// What a failed call was about.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target<'a> {
    Key(&'a ObjectKey),
    Prefix(&'a str),
}

impl Target<'_> {
    fn name(self) -> String {
        match self {
            Self::Key(key) => key.to_string(),
            Self::Prefix(prefix) => prefix.to_owned(),
        }
    }
}

pub(super) const READING: &str = "reading";
pub(super) const WRITING: &str = "writing";
pub(super) const DELETING: &str = "deleting";
pub(super) const LISTING: &str = "listing";

/// Sorts an error of a store into its variant; `doing` is a participle.
pub(super) fn from_store(source: StoreError, doing: &'static str, target: Target<'_>) -> Error {
    let (text, name) = (source.to_string(), target.name());
    match (code(&text).unwrap_or_default(), target) {
        ("NoSuchBucket", _) => {
            return unusable("the bucket does not exist (any more): create it, or correct its name", source);
        }
        ("KeyTooLongError", Target::Key(key)) => {
            return Error::UnsupportedKey { key: key.clone(), reason: "it is too long for the server" };
        }
        ("QuotaExceeded" | "XMinioStorageFull" | "InsufficientStorage" | "StorageFull", _) => {
            return Error::Full { doing, name, source: io::Error::other(source) };
        }
        (code, _) if is_about_credentials(code) || is_denial(code) => {
            return Error::PermissionDenied { doing, name, source: source.into() };
        }
        _ => {}
    }
    match (source, target) {
        (StoreError::NotFound { .. }, Target::Key(key)) if doing == READING => Error::NotFound { key: key.clone() },
        (source @ (StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. }), _) => {
            Error::PermissionDenied { doing, name, source: source.into() }
        }
        (source @ (StoreError::NotSupported { .. } | StoreError::NotImplemented { .. }), _) => {
            unusable("the store does not support what a storage needs", source)
        }
        (source @ StoreError::InvalidPath { .. }, Target::Prefix(_)) => unusable(
            "the store holds an object whose name is no key (an empty, `.` or `..` component): remove it",
            source,
        ),
        (source, _) => Error::Unavailable { doing, name, source: source.into() },
    }
}

fn unusable(message: &str, source: StoreError) -> Error {
    Error::Unusable { message: message.to_owned(), source: Some(source.into()) }
}

/// The code in the answer of an S3 server.
pub(super) fn code(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("<Code>")?;
    Some(rest.split_once("</Code>")?.0)
}

/// Whether the code says that the credentials do not fit, whatever the HTTP status is.
pub(super) fn is_about_credentials(code: &str) -> bool {
    matches!(
        code,
        "InvalidAccessKeyId"
            | "SignatureDoesNotMatch"
            | "ExpiredToken"
            | "InvalidToken"
            | "TokenRefreshRequired"
            | "RequestTimeTooSkewed"
            | "AuthorizationHeaderMalformed"
    )
}

/// Whether the code says that permissions are missing. A failed listing has no other sign of it.
pub(super) fn is_denial(code: &str) -> bool {
    matches!(code, "AccessDenied" | "AllAccessDisabled" | "AccountProblem")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(code: &str) -> Box<dyn std::error::Error + Send + Sync> {
        format!("Server returned non-2xx status code: 400: <Error><Code>{code}</Code></Error>").into()
    }

    fn generic(code: &str) -> StoreError {
        StoreError::Generic { store: "S3", source: answer(code) }
    }

    fn not_found(code: &str) -> StoreError {
        StoreError::NotFound { path: String::new(), source: answer(code) }
    }

    fn denied(code: &str) -> StoreError {
        StoreError::PermissionDenied { path: String::new(), source: answer(code) }
    }

    fn variant(error: &Error) -> String {
        let text = format!("{error:?}");
        text.split([' ', '(']).next().expect("a name").to_owned()
    }

    #[test]
    fn each_error_becomes_what_a_caller_acts_on() {
        let exists = || StoreError::AlreadyExists { path: String::new(), source: answer("ConditionalRequestConflict") };
        let unsupported = StoreError::NotSupported { source: "no".into() };
        for (source, doing, expected) in [
            (not_found("NoSuchKey"), READING, "NotFound"),
            (not_found("NoSuchKey"), WRITING, "Unavailable"),
            (not_found("NoSuchUpload"), WRITING, "Unavailable"),
            (not_found("NoSuchBucket"), READING, "Unusable"),
            (denied("AccessDenied"), WRITING, "PermissionDenied"),
            (denied("InvalidAccessKeyId"), READING, "PermissionDenied"),
            (generic("ExpiredToken"), READING, "PermissionDenied"),
            (generic("AccessDenied"), READING, "PermissionDenied"),
            (generic("KeyTooLongError"), WRITING, "UnsupportedKey"),
            (generic("XMinioStorageFull"), WRITING, "Full"),
            (exists(), WRITING, "Unavailable"),
            (generic("SlowDown"), WRITING, "Unavailable"),
            (generic("InternalError"), READING, "Unavailable"),
            (unsupported, WRITING, "Unusable"),
        ] {
            let text = source.to_string();
            let key = ObjectKey::parse("log/1").unwrap();
            let error = from_store(source, doing, Target::Key(&key));
            assert_eq!(variant(&error), expected, "{text}");
            let names_the_key = error.to_string().contains("log/1");
            assert!(names_the_key || matches!(error, Error::Unusable { .. }), "{error}");
        }
        let listed = from_store(not_found("NoSuchKey"), LISTING, Target::Prefix("log/"));
        assert!(listed.is_retryable() && listed.to_string().contains("`log/`"), "{listed}");
    }

    #[test]
    fn a_code_is_read_from_the_answer() {
        for (text, expected) in [
            ("<Error><Code>SlowDown</Code><Message>x</Message></Error>", Some("SlowDown")),
            ("connection refused", None),
            ("<Code>cut off", None),
        ] {
            assert_eq!(code(text), expected);
        }
    }
}
