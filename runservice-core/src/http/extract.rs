//! What of a request does a handler work with? What cannot be read is a problem that says why.

use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Path, Query, Request},
    http::{StatusCode, request::Parts},
    response::IntoResponse,
};
use serde::{Serialize, de::DeserializeOwned};

use super::problem::Failed;
use crate::Error;

/// A body in JSON, whatever it is called; an answer in JSON.
pub(super) struct Json<T>(pub(super) T);

/// The query.
pub(super) struct Params<T>(pub(super) T);

/// What of the path is not fixed.
pub(super) struct At<T>(pub(super) T);

/// All bytes of the body.
pub(super) struct Whole(pub(super) Bytes);

fn bad_request(message: String) -> Failed {
    Error::BadRequest { message }.into()
}

impl<S: Send + Sync> FromRequest<S> for Whole {
    type Rejection = Failed;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failed> {
        match Bytes::from_request(request, state).await {
            Ok(bytes) => Ok(Self(bytes)),
            Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                let message = "the body is longer than is taken here: send it in smaller parts".to_owned();
                Err(Error::TooLarge { message }.into())
            }
            Err(rejection) => Err(bad_request(rejection.body_text())),
        }
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Failed;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failed> {
        let Whole(bytes) = Whole::from_request(request, state).await?;
        let read = serde_json::from_slice(&bytes);
        read.map(Self).map_err(|error| bad_request(format!("the body is not what is asked for: {error}")))
    }
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Failed;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failed> {
        let read = Query::from_request_parts(parts, state).await;
        read.map(|Query(query)| Self(query)).map_err(|rejection| bad_request(rejection.body_text()))
    }
}

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for At<T> {
    type Rejection = Failed;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failed> {
        let read = Path::from_request_parts(parts, state).await;
        read.map(|Path(path)| Self(path)).map_err(|rejection| bad_request(rejection.body_text()))
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> axum::response::Response {
        axum::Json(self.0).into_response()
    }
}
