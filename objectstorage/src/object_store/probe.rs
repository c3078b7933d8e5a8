//! What can a store do, and if it cannot be used, why?
//!
//! Whether a create is conditional shows only when creates race: a server that does not know the condition ignores it,
//! and one that checks before it writes lets several win. So a few creators race for one object, and a late one follows.

use futures::{TryStreamExt, future};
use object_store::{Error as StoreError, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, path::Path};

use super::{
    create::{PutIds, attributes, id_of},
    error::{code, is_about_credentials, is_denial},
};
use crate::{Error, Result};

/// What a store was found to do when it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// What becomes of a create where there is an object.
    pub conditional_create: ConditionalCreate,
    /// Whether objects keep user metadata. Without, a create whose reply was lost can be reported as
    /// [`Error::AlreadyExists`], if the store repeats requests by itself.
    pub attributes: bool,
}

/// What becomes of a create where there is an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionalCreate {
    /// It fails; of several creators exactly one succeeds.
    Honoured,
    /// The store says that it cannot.
    Refused,
    /// It overwrites, or several creators succeed.
    Ignored,
}

const RACERS: usize = 4;

/// Finds out what the store can do, with an object whose name begins with `prefix`, and which is removed.
///
/// # Errors
/// [`Error::Unusable`] names `place` and says what to check.
pub(super) async fn probe(store: &dyn ObjectStore, ids: &PutIds, prefix: &str, place: &str) -> Result<Capabilities> {
    let separator = if prefix.is_empty() { "" } else { "/" };
    let path = Path::parse(format!("{prefix}{separator}.runyard-probe-{}", ids.next())).map_err(|source| {
        let message = format!("`{prefix}` cannot be the prefix of a probe object: it is no object key");
        Error::Unusable { message, source: Some(source.into()) }
    })?;
    let failed = |needs: &'static str| move |error: StoreError| unusable(error, place, needs);
    // A listing first: only its answer has a body that says what is wrong.
    store.list(Some(&path)).try_next().await.map_err(failed("s3:ListBucket"))?;
    let found = async {
        let attributes = keeps_attributes(store, ids, &path).await.map_err(failed("s3:PutObject and s3:GetObject"))?;
        store.delete(&path).await.map_err(failed("s3:DeleteObject"))?;
        let conditional_create = race(store, &path).await.map_err(failed("s3:PutObject"))?;
        Ok(Capabilities { attributes, conditional_create })
    };
    let found: Result<_> = found.await;
    // Whatever was found, nothing is left behind.
    let removed = store.delete(&path).await;
    let found = found?;
    match removed {
        Ok(()) | Err(StoreError::NotFound { .. }) => Ok(found),
        Err(error) => Err(failed("s3:DeleteObject")(error)),
    }
}

/// Writes the probe object, and reads its metadata back.
async fn keeps_attributes(store: &dyn ObjectStore, ids: &PutIds, path: &Path) -> object_store::Result<bool> {
    let id = ids.next();
    let options = PutOptions { attributes: attributes(&id), ..PutOptions::default() };
    match store.put_opts(path, PutPayload::default(), options).await {
        Ok(_) => Ok(id_of(store, path).await?.flatten() == Some(id)),
        Err(StoreError::NotImplemented { .. } | StoreError::NotSupported { .. }) => {
            store.put(path, PutPayload::default()).await?;
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Lets a few creators of one object race, and one follow.
async fn race(store: &dyn ObjectStore, path: &Path) -> object_store::Result<ConditionalCreate> {
    let create = || store.put_opts(path, PutPayload::default(), PutMode::Create.into());
    let mut answers = future::join_all((0..RACERS).map(|_| create())).await;
    answers.push(create().await);
    let mut created = 0;
    for answer in answers {
        match answer {
            Ok(_) => created += 1,
            // A conflict, too, if nobody wins: then the one that follows does.
            Err(StoreError::AlreadyExists { .. }) => {}
            Err(StoreError::NotImplemented { .. } | StoreError::NotSupported { .. }) => {
                return Ok(ConditionalCreate::Refused);
            }
            Err(error) if code(&error.to_string()) == Some("NotImplemented") => return Ok(ConditionalCreate::Refused),
            Err(error) => return Err(error),
        }
    }
    // None, if the only one that succeeded was repeated and met its own object.
    Ok(if created <= 1 { ConditionalCreate::Honoured } else { ConditionalCreate::Ignored })
}

/// Says what to do about a storage that cannot be opened; `needs` are the permissions of what was tried.
fn unusable(source: StoreError, place: &str, needs: &str) -> Error {
    let text = source.to_string();
    let message = match (code(&text), &source) {
        (Some("NoSuchBucket"), _) => {
            format!("{place} does not exist: create the bucket, or correct its name, the endpoint or the region")
        }
        (Some("AuthorizationHeaderMalformed" | "PermanentRedirect" | "IllegalLocationConstraintException"), _) => {
            format!("{place} is in another region: correct the region, or the endpoint")
        }
        (Some(code), _) if is_about_credentials(code) => format!(
            "{place} refuses the credentials ({code}): check the access key, the secret, the session token and the clock"
        ),
        (code, source)
            if code.is_some_and(is_denial)
                || matches!(source, StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. }) =>
        {
            format!("{place} denies access: check the credentials and that they are allowed {needs}")
        }
        (_, StoreError::NotFound { .. }) => {
            format!("{place} does not exist: check the name of the bucket, the endpoint, and path-style addressing")
        }
        _ if text.contains("incorrectly configured region") => format!("{place} is in another region: correct it"),
        _ => format!("{place} cannot be reached: check the endpoint, the network and where credentials come from"),
    };
    Error::Unusable { message, source: Some(source.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_at_open_says_what_to_check() {
        let answer = |code: &str| format!("status code: 400: <Error><Code>{code}</Code></Error>").into();
        let generic = |code| StoreError::Generic { store: "S3", source: answer(code) };
        let denied = |code| StoreError::PermissionDenied { path: String::new(), source: answer(code) };
        for (error, expected) in [
            (StoreError::NotFound { path: String::new(), source: answer("NoSuchBucket") }, "create the bucket"),
            (generic("PermanentRedirect"), "correct the region"),
            (denied("SignatureDoesNotMatch"), "check the access key, the secret"),
            (denied("InvalidAccessKeyId"), "check the access key, the secret"),
            (generic("ExpiredToken"), "the session token"),
            (denied("AccessDenied"), "allowed s3:ListBucket"),
            (generic("AccessDenied"), "allowed s3:ListBucket"),
            (generic("InternalError"), "check the endpoint"),
        ] {
            let text = error.to_string();
            let error = unusable(error, "bucket `b` at https://s3.example", "s3:ListBucket");
            let message = error.to_string();
            assert!(message.starts_with("bucket `b` at https://s3.example"), "{message}");
            assert!(message.contains(expected), "{text}: {message}");
        }
    }
}
