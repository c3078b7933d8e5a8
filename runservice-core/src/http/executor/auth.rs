//! Which executor calls, and does it speak for itself?

use axum::{
    extract::{FromRequestParts, Request, State},
    http::{header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use runyard_executor_core::contract::{ExecutorId, Fence};

use crate::{Error, RunService, http::problem::Failed};

/// The executor whose token was shown.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) executor: ExecutorId,
    pub(super) token: String,
}

/// Lets those through who show the token of an executor.
pub(super) async fn authenticate(State(runs): State<RunService>, mut request: Request, next: Next) -> Response {
    let shown = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = shown.and_then(|value| value.strip_prefix("Bearer ")).map(str::to_owned);
    match caller(&runs, token).await {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(error) => Failed::from(error).into_response(),
    }
}

async fn caller(runs: &RunService, token: Option<String>) -> Result<Caller, Error> {
    let Some(token) = token else {
        let message = "an executor shows its token as `Authorization: Bearer <token>`".to_owned();
        return Err(Error::Unauthorized { message });
    };
    match runs.core().executor_of(&token).await? {
        Some(executor) => Ok(Caller { executor, token }),
        None => {
            let message = "the token is no executor's (any more): join again with a new join token".to_owned();
            Err(Error::Unauthorized { message })
        }
    }
}

impl Caller {
    /// Refuses what is said in the name of another executor.
    pub(super) fn is(&self, executor: &ExecutorId) -> Result<(), Failed> {
        if self.executor == *executor {
            return Ok(());
        }
        let message = format!("the token is that of executor `{}`, and not of `{executor}`", self.executor);
        Err(Error::Forbidden { message }.into())
    }

    /// Refuses a fence of another executor.
    pub(super) fn holds(&self, fence: &Fence) -> Result<(), Failed> {
        self.is(&fence.executor)
    }
}

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Failed;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Failed> {
        let missing = || Error::Unauthorized { message: "nobody has shown a token".to_owned() };
        parts.extensions.get().cloned().ok_or_else(|| missing().into())
    }
}
