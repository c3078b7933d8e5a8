//! How is an error of the contract said over HTTP, and read back? One table, both ways.

use super::{
    endpoint::CallError,
    wire::{Facts, Problem},
};
use crate::contract::ClientError;

/// Says an error of the contract as a problem. Why something is unavailable is for the log of the run service.
impl From<&ClientError> for Problem {
    fn from(error: &ClientError) -> Self {
        let problem = |status, code, title| Self::new(status, code, title, error.to_string());
        match error {
            ClientError::Fenced { task, attempt, reason } => {
                let (task, attempt) = (Some(task.clone()), Some(*attempt));
                let facts = Facts { task, attempt, reason: Some(reason.clone()), ..Facts::default() };
                problem(409, "fenced", "Not this executor's any more").with(facts)
            }
            ClientError::Replaced { executor } => {
                let facts = Facts { executor: Some(executor.clone()), ..Facts::default() };
                problem(409, "replaced", "Registered again").with(facts)
            }
            ClientError::LogGap { step, stored, offset } => {
                let (step, stored, offset) = (Some(*step), Some(*stored), Some(*offset));
                problem(409, "log-gap", "Bytes are missing").with(Facts { step, stored, offset, ..Facts::default() })
            }
            ClientError::NotFound { what } => {
                let facts = Facts { what: Some(what.clone()), ..Facts::default() };
                problem(404, "not-exist", "Does not exist").with(facts)
            }
            ClientError::BadRequest { .. } => problem(400, "bad-request", "Makes no sense"),
            ClientError::Forbidden { .. } => problem(403, "forbidden", "Not allowed"),
            ClientError::Unavailable { .. } => problem(503, "unavailable", "Not available now"),
        }
    }
}

/// Reads a failed call back as an error of the contract.
pub(super) fn client_error(doing: &'static str) -> impl Fn(CallError) -> ClientError + Copy {
    move |error| match error {
        CallError::Problem(problem) => of_problem(*problem, doing),
        error @ CallError::Transport { .. } => ClientError::Unavailable { doing, source: error.into() },
    }
}

fn of_problem(problem: Problem, doing: &'static str) -> ClientError {
    let facts = problem.facts.clone();
    match (problem.code.as_str(), facts) {
        ("fenced", Facts { task: Some(task), attempt: Some(attempt), reason, .. }) => {
            ClientError::Fenced { task, attempt, reason: reason.unwrap_or_default() }
        }
        ("replaced", Facts { executor: Some(executor), .. }) => ClientError::Replaced { executor },
        ("log-gap", Facts { step: Some(step), stored: Some(stored), offset: Some(offset), .. }) => {
            ClientError::LogGap { step, stored, offset }
        }
        ("not-exist", Facts { what: Some(what), .. }) => ClientError::NotFound { what },
        ("forbidden" | "unauthorized", _) => ClientError::Forbidden { message: problem.detail },
        // Of these an executor is told to try later, or to try another server of the same run service.
        _ if problem.status >= 500 || problem.status == 429 => {
            ClientError::Unavailable { doing, source: problem.into() }
        }
        // As a proxy or a server without such a route says it; a message of ours is shown as it is.
        ("no-route" | "not-ours", _) => ClientError::BadRequest { message: problem.to_string() },
        _ => ClientError::BadRequest { message: problem.detail },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{ExecutorId, StepRef, TaskId};

    fn every_error() -> Vec<ClientError> {
        let (task, executor) = (TaskId::parse("t").expect("valid"), ExecutorId::parse("e").expect("valid"));
        vec![
            ClientError::Fenced { task, attempt: 2, reason: "it is not scheduled".into() },
            ClientError::Replaced { executor },
            ClientError::LogGap { step: StepRef::Step(1), stored: 8, offset: 9 },
            ClientError::NotFound { what: "the archive".into() },
            ClientError::BadRequest { message: "the key is empty".into() },
            ClientError::Forbidden { message: "not yours".into() },
            ClientError::Unavailable { doing: "reporting", source: "the disk is full".into() },
        ]
    }

    #[test]
    fn every_error_comes_through_http() {
        let mut seen = Vec::new();
        for error in every_error() {
            let problem = Problem::from(&error);
            let json = serde_json::to_vec(&problem).expect("encodes");
            let read: Problem = serde_json::from_slice(&json).expect("decodes");
            assert_eq!(read, problem);
            let back = client_error("reporting")(CallError::Problem(Box::new(read)));
            assert_eq!(back.to_string(), error.to_string());
            assert_eq!(std::mem::discriminant(&back), std::mem::discriminant(&error));
            assert_eq!(back.is_retryable(), error.is_retryable());
            seen.push((problem.status, problem.code));
        }
        let codes: Vec<_> = seen.iter().map(|(status, code)| (*status, code.as_str())).collect();
        assert_eq!(
            codes,
            [
                (409, "fenced"),
                (409, "replaced"),
                (409, "log-gap"),
                (404, "not-exist"),
                (400, "bad-request"),
                (403, "forbidden"),
                (503, "unavailable"),
            ]
        );
    }

    #[test]
    fn why_something_is_unavailable_stays_with_the_run_service() {
        let error = ClientError::Unavailable { doing: "reporting", source: "secret disk".into() };
        assert!(!serde_json::to_string(&Problem::from(&error)).expect("encodes").contains("secret"));
    }

    #[test]
    fn what_is_not_ours_is_tried_again_if_a_server_may_come_back() {
        for (status, retryable) in [(502, true), (503, true), (504, true), (500, true), (429, true), (404, false)] {
            let problem = Problem::new(status, "not-ours", "", "<html>");
            let error = client_error("reporting")(CallError::Problem(Box::new(problem)));
            assert_eq!(error.is_retryable(), retryable, "{status}");
        }
    }
}
