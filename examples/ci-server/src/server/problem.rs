//! How does the API say that something went wrong? As `application/problem+json` (RFC 9457) with a stable `code`.

use std::sync::Arc;

use axum::{
    extract::{Request, State, rejection::JsonRejection},
    http::{HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};

use crate::{configdata, ids::Ids};

/// An error of the API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Problem {
    /// The HTTP status.
    pub(crate) status: u16,
    /// What a program acts on; never changes its meaning.
    pub(crate) code: String,
    /// What a person reads: what failed, on what, and what to do.
    pub(crate) detail: String,
    /// Finds the request in the server's log.
    #[serde(default)]
    pub(crate) trace_id: String,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        Self { status: status.as_u16(), code: code.to_owned(), detail: detail.into(), trace_id: String::new() }
    }

    /// Something that is nobody's business but the log's.
    fn internal() -> Self {
        let detail = "the server could not do this; its log says why under the trace id";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
    }

    pub(crate) fn bad_request(code: &str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail)
    }
}

/// Whether the cause of an error is a disk without space.
pub(crate) fn is_full(error: &(dyn std::error::Error + 'static)) -> bool {
    use std::io::ErrorKind;
    std::iter::successors(Some(error), |error| error.source())
        .filter_map(|error| error.downcast_ref::<std::io::Error>())
        .any(|error| matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded))
}

/// The body is made by [`finish`], which knows the trace id.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<configdata::Error> for Problem {
    fn from(error: configdata::Error) -> Self {
        use configdata::Error;
        let detail = error.to_string();
        match error {
            Error::InvalidProjectName { .. } => Self::bad_request("invalid-name", detail),
            Error::ProjectNameTaken { .. } => Self::new(StatusCode::CONFLICT, "name-taken", detail),
            Error::ProjectNotFound { .. } => Self::new(StatusCode::NOT_FOUND, "not-exist", detail),
            Error::Data(runyard_datamanager::Error::OutcomeUnknown { .. }) => {
                tracing::error!(error = &error as &dyn std::error::Error, "a call has an unknown outcome");
                let (why, what_to_do) = match is_full(&error) {
                    true => ("the disk of the server has no space left", "make room there, then look"),
                    false => ("the storage did not say whether the change was written", "look"),
                };
                let detail = format!("{why}: {what_to_do} whether the change was made before you try again");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "outcome-unknown", detail)
            }
            Error::Data(_) => {
                tracing::error!(error = &error as &dyn std::error::Error, "a call failed");
                Self::internal()
            }
        }
    }
}

impl From<runyard_runservice_core::Error> for Problem {
    fn from(error: runyard_runservice_core::Error) -> Self {
        use runyard_runservice_core::ErrorKind;
        let kind = error.kind();
        let status = StatusCode::from_u16(kind.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if status.is_server_error() {
            tracing::error!(error = &error as &dyn std::error::Error, "a call failed");
        }
        match kind {
            ErrorKind::Unexpected => Self::internal(),
            _ => Self::new(status, kind.code(), error.to_string()),
        }
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Self {
        Self::new(rejection.status(), "invalid-body", rejection.body_text())
    }
}

/// Gives every request a trace id, and every problem its body.
pub(super) async fn finish(State(ids): State<Arc<Ids>>, request: Request, next: Next) -> Response {
    use tracing::Instrument;
    let trace_id = ids.uuid();
    let span = tracing::info_span!("request", method = %request.method(), path = request.uri().path(), trace_id);
    let mut response = next.run(request).instrument(span).await;
    if let Some(mut problem) = response.extensions_mut().remove::<Problem>() {
        problem.trace_id = trace_id.clone();
        let body = serde_json::to_vec(&problem).expect("a problem is plain text and a number");
        *response.body_mut() = body.into();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.remove(header::CONTENT_LENGTH);
    }
    if let Ok(value) = HeaderValue::from_str(&trace_id) {
        response.headers_mut().insert("x-trace-id", value);
    }
    response
}
