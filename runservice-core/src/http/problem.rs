//! How is an error of the run service said over HTTP, and read back?

use axum::{
    extract::Request,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use runyard_executor_core::{
    contract::ClientError,
    http::{
        CallError,
        wire::{Facts, PROBLEM_JSON, Problem},
    },
};

use crate::{Error, ErrorKind};

/// What finds a request in the host's log. A host's middleware puts it into the extensions of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceId(pub String);

/// What a handler ends with that cannot do what was asked for.
#[derive(Clone, Debug)]
pub(super) struct Failed(Box<Problem>);

impl From<Problem> for Failed {
    fn from(problem: Problem) -> Self {
        Self(Box::new(problem))
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        problem(&error).into()
    }
}

impl From<ClientError> for Failed {
    fn from(error: ClientError) -> Self {
        if matches!(error, ClientError::Unavailable { .. }) {
            tracing::error!(error = &error as &dyn std::error::Error, "a call of an executor failed");
        }
        Problem::from(&error).into()
    }
}

/// Says an error. What nobody meant for the user is only for the log.
pub(super) fn problem(error: &Error) -> Problem {
    let kind = error.kind();
    if matches!(kind, ErrorKind::Internal | ErrorKind::Unexpected | ErrorKind::Unavailable) {
        tracing::error!(error = error as &dyn std::error::Error, "a call failed");
    }
    let detail = match error {
        _ if kind == ErrorKind::Unexpected => {
            "the server could not do this; its log says why, if there is one under the trace id".to_owned()
        }
        Error::Data(source) => source.to_string(),
        error => error.to_string(),
    };
    let oldest = match error {
        Error::EventsExpired { oldest } => Some(oldest.to_string()),
        _ => None,
    };
    Problem::new(kind.http_status(), kind.code(), kind.title(), detail).with(Facts { oldest, ..Facts::default() })
}

/// Reads a failed call back.
pub(super) fn remote(doing: &'static str) -> impl Fn(CallError) -> Error + Copy {
    move |error| match error {
        CallError::Problem(problem) => of_problem(doing, *problem),
        error => {
            let message = format!("the run service did not answer while {doing}");
            Error::Remote { doing, kind: ErrorKind::Unavailable, message, source: error.into() }
        }
    }
}

pub(super) fn of_problem(doing: &'static str, problem: Problem) -> Error {
    let oldest = problem.facts.oldest.as_deref().and_then(|oldest| oldest.parse().ok());
    let kind = ErrorKind::from_code(&problem.code).unwrap_or(match problem.status {
        401 => ErrorKind::Unauthorized,
        403 => ErrorKind::Forbidden,
        404 => ErrorKind::NotExist,
        409 => ErrorKind::Conflict,
        413 => ErrorKind::TooLarge,
        429 | 502..=504 => ErrorKind::Unavailable,
        400..=499 => ErrorKind::BadRequest,
        _ => ErrorKind::Unexpected,
    });
    match oldest {
        Some(oldest) if kind == ErrorKind::Expired => Error::EventsExpired { oldest },
        _ => {
            let ours = ErrorKind::from_code(&problem.code).is_some();
            let message = if ours { problem.detail.clone() } else { problem.to_string() };
            Error::Remote { doing, kind, message, source: problem.into() }
        }
    }
}

/// The body is made by [`finish`], which knows the trace id.
impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Gives every problem its body. The outermost layer of a router.
pub(super) async fn finish(request: Request, next: Next) -> Response {
    let from_host = request.extensions().get::<TraceId>().map(|TraceId(id)| id.clone());
    let trace_id = from_host.or_else(|| of_traceparent(request.headers()));
    let mut response = next.run(request).await;
    if let Some(Failed(mut problem)) = response.extensions_mut().remove() {
        problem.trace_id = trace_id;
        let body = serde_json::to_vec(&*problem).expect("a problem is plain text and numbers");
        *response.body_mut() = body.into();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        headers.remove(header::CONTENT_LENGTH);
        if problem.status == 401 {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
    }
    response
}

/// The trace id of W3C's Trace Context: `00-<trace id>-<span id>-<flags>`.
fn of_traceparent(headers: &HeaderMap) -> Option<String> {
    let id = headers.get("traceparent")?.to_str().ok()?.split('-').nth(1)?;
    (id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| id.to_owned())
}

/// There is nothing under a path.
pub(super) async fn no_route(request: Request) -> Failed {
    let (method, path) = (request.method(), request.uri().path());
    Problem::new(404, "no-route", "No such route", format!("there is no route {method} {path}")).into()
}

/// There is something under a path, but not for that method.
pub(super) async fn no_method(request: Request) -> Failed {
    let (method, path) = (request.method(), request.uri().path());
    Problem::new(405, "no-route", "No such route", format!("{path} does not take {method}")).into()
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;
    use crate::EventSequence;

    fn every_error() -> Vec<(Error, u16, &'static str)> {
        let text = || "build 7 is gone".to_owned();
        let key = runyard_objectstorage::ObjectKey::parse("secret/key").expect("valid");
        let storage = runyard_objectstorage::Error::NotFound { key };
        vec![
            (Error::NotExist { what: text() }, 404, "not-exist"),
            (Error::BadRequest { message: text() }, 400, "bad-request"),
            (Error::Forbidden { message: text() }, 403, "forbidden"),
            (Error::Unauthorized { message: text() }, 401, "unauthorized"),
            (Error::Conflict { message: text() }, 409, "conflict"),
            (Error::TooLarge { message: text() }, 413, "too-large"),
            (Error::EventsExpired { oldest: EventSequence::ZERO }, 410, "expired"),
            (remote("listing runs")(CallError::Problem(Box::new(Problem::new(503, "?", "", "x")))), 503, "unavailable"),
            (Error::Internal { message: text(), source: Some("secret".into()) }, 500, "internal"),
            (Error::Storage { doing: "reading", source: storage }, 500, "unexpected"),
        ]
    }

    #[test]
    fn every_kind_comes_through_http() {
        let mut kinds = Vec::new();
        for (error, status, code) in every_error() {
            let said = problem(&error);
            assert_eq!((said.status, said.code.as_str()), (status, code), "{error:?}");
            let json = serde_json::to_string(&said).expect("encodes");
            assert!(!json.contains("secret"), "{json}");
            let back = of_problem("listing runs", serde_json::from_str(&json).expect("decodes"));
            assert_eq!(back.kind(), error.kind());
            if error.kind() != ErrorKind::Unexpected {
                assert_eq!(back.to_string(), error.to_string(), "a message for the user reaches the user");
            }
            // Said again, by a gateway, it is the same.
            assert_eq!(problem(&back), said);
            kinds.push(back.kind());
        }
        assert_eq!(kinds, ErrorKind::ALL, "every kind is in the table");
        for kind in ErrorKind::ALL {
            assert_eq!(ErrorKind::from_code(kind.code()), Some(kind));
        }
    }

    #[test]
    fn what_came_is_found_behind_a_remote_error() {
        let problem = Problem { trace_id: Some("7f".into()), ..Problem::new(404, "not-exist", "", "no run `x`") };
        let error = of_problem("reading a run", problem.clone());
        let source = error.source().and_then(|source| source.downcast_ref::<Problem>());
        assert_eq!(source, Some(&problem), "with its trace id");
    }

    #[test]
    fn a_trace_id_is_taken_from_the_request() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        let headers = |value: &str| HeaderMap::from_iter([("traceparent".parse().unwrap(), value.parse().unwrap())]);
        assert_eq!(of_traceparent(&headers(&format!("00-{id}-00f067aa0ba902b7-01"))).as_deref(), Some(id));
        for bad in ["", "00", "00-zz-00f067aa0ba902b7-01"] {
            assert_eq!(of_traceparent(&headers(bad)), None);
        }
    }
}
