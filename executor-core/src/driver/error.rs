//! Why did a driver not do what it was asked for, and whose fault is that?

use std::io;

use crate::contract::FailureClass;

/// A result of a driver.
pub type Result<T, E = DriverError> = std::result::Result<T, E>;

/// Why a driver failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DriverError {
    /// The task asks for something that this driver cannot do. Repeating it changes nothing.
    #[error("{message}")]
    Refused {
        /// What is asked for, and what to do instead; written for the task's user.
        message: String,
    },
    /// A step of this number was started before, by this process or another.
    #[error("step {step} was started already")]
    AlreadyStarted {
        /// The step.
        step: u32,
    },
    /// No step of this number was ever started.
    #[error("step {step} was never started")]
    NotStarted {
        /// The step.
        step: u32,
    },
    /// The pod has ended, or was removed: nothing runs in it, and nothing can be started in it ever again.
    #[error("the pod is gone: {message}")]
    Gone {
        /// Why, as far as it is known; written for the task's user.
        message: String,
    },
    /// The token of the call was cancelled.
    #[error("cancelled while {doing}")]
    Cancelled {
        /// What was being done, as a participle.
        doing: &'static str,
    },
    /// Something outside the task broke.
    #[error("{doing} failed")]
    Failed {
        /// What was being done, as a participle with its object.
        doing: String,
        /// What was reported.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl DriverError {
    /// Something outside the task broke while `doing` this.
    pub fn failed(doing: impl Into<String>, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Failed { doing: doing.into(), source: source.into() }
    }

    /// Maps an I/O error, for `map_err`.
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::failed(doing, source)
    }

    /// What kind of failure a task has that ends because of this.
    pub fn class(&self) -> FailureClass {
        match self {
            Self::Refused { .. } => FailureClass::Setup,
            Self::Gone { .. } => FailureClass::Lost,
            _ => FailureClass::Infrastructure,
        }
    }

    /// The whole chain of causes in one line, for the task's user.
    pub fn user_message(&self) -> String {
        chain(self)
    }
}

/// An error and all its sources in one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_message_for_users_holds_every_cause_once() {
        let error = DriverError::failed("creating the pod", io::Error::other("no space left on device"));
        assert_eq!(error.user_message(), "creating the pod failed: no space left on device");
        assert_eq!(error.class(), FailureClass::Infrastructure);
    }
}
