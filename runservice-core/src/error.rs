//! What can go wrong with a call to the run service, and whose fault is it?

use runyard_executor_core::contract::{InvalidName, RunId};

use crate::{
    EventSequence, InvalidSequence,
    engine::{Refusal, RefusalKind},
    sealer::SealError,
};

/// The result of a call to the run service.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call to the run service failed.
///
/// [`Error::kind`] sorts every variant for API clients; the chain of sources is for the log.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What was asked for does not exist.
    #[error("{what}")]
    NotExist {
        /// What, with its name, as a sentence.
        what: String,
    },
    /// The request makes no sense, or not now.
    #[error("{message}")]
    BadRequest {
        /// Why, and what to do.
        message: String,
    },
    /// The caller may not do this.
    #[error("{message}")]
    Forbidden {
        /// Why.
        message: String,
    },
    /// It is unknown who the caller is.
    #[error("{message}")]
    Unauthorized {
        /// What is missing.
        message: String,
    },
    /// Somebody else changed the same thing at the same time.
    #[error("{message}")]
    Conflict {
        /// What was changed.
        message: String,
    },
    /// More was sent than is taken.
    #[error("{message}")]
    TooLarge {
        /// What, and how much may be sent.
        message: String,
    },
    /// A run service that was asked over a network reported this, or did not answer.
    #[error("{message}")]
    Remote {
        /// What was asked for, as a participle.
        doing: &'static str,
        /// Whose fault it is.
        kind: ErrorKind,
        /// What was reported, for the user.
        message: String,
        /// What came, or why nothing did, for the log: `executor_core::http`'s `Problem` or `CallError`.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Neither the caller's fault nor a question of permission, with a message that is meant for the user.
    #[error("{message}")]
    Internal {
        /// What cannot be done at the moment, for the user.
        message: String,
        /// Why, for the log.
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// Events after the cursor are not kept any more.
    #[error("the events up to {oldest} are not kept any more: read the runs as they are, and go on from there")]
    EventsExpired {
        /// The last one that is not.
        oldest: EventSequence,
    },
    /// The data manager failed.
    #[error("the run data failed")]
    Data(#[from] runyard_datamanager::Error),
    /// The object storage failed.
    #[error("the object storage failed while {doing}")]
    Storage {
        /// What was being done, as a participle.
        doing: &'static str,
        /// What the storage reported.
        source: runyard_objectstorage::Error,
    },
}

/// Whose fault an error is: what an API client acts on. The spelling is stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// What was asked for does not exist.
    NotExist,
    /// The request makes no sense, or not now.
    BadRequest,
    /// The caller may not do this.
    Forbidden,
    /// It is unknown who the caller is.
    Unauthorized,
    /// Somebody else changed the same thing at the same time.
    Conflict,
    /// More was sent than is taken.
    TooLarge,
    /// It is not kept any more.
    Expired,
    /// Whoever was asked did not answer; the call may be repeated.
    Unavailable,
    /// A failure with a message for the user.
    Internal,
    /// A failure without one: its detail is only for the log.
    Unexpected,
}

impl ErrorKind {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::NotExist,
        Self::BadRequest,
        Self::Forbidden,
        Self::Unauthorized,
        Self::Conflict,
        Self::TooLarge,
        Self::Expired,
        Self::Unavailable,
        Self::Internal,
        Self::Unexpected,
    ];

    /// The code that API clients see.
    pub fn code(self) -> &'static str {
        match self {
            Self::NotExist => "not-exist",
            Self::BadRequest => "bad-request",
            Self::Forbidden => "forbidden",
            Self::Unauthorized => "unauthorized",
            Self::Conflict => "conflict",
            Self::TooLarge => "too-large",
            Self::Expired => "expired",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
            Self::Unexpected => "unexpected",
        }
    }

    /// The kind that has a code, if one has.
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// What a person calls it.
    pub fn title(self) -> &'static str {
        match self {
            Self::NotExist => "Does not exist",
            Self::BadRequest => "Makes no sense",
            Self::Forbidden => "Not allowed",
            Self::Unauthorized => "Who are you?",
            Self::Conflict => "Changed meanwhile",
            Self::TooLarge => "Too large",
            Self::Expired => "Not kept any more",
            Self::Unavailable => "Not available now",
            Self::Internal | Self::Unexpected => "Failed",
        }
    }

    /// The HTTP status that stands for it.
    pub fn http_status(self) -> u16 {
        match self {
            Self::NotExist => 404,
            Self::BadRequest => 400,
            Self::Forbidden => 403,
            Self::Unauthorized => 401,
            Self::Conflict => 409,
            Self::TooLarge => 413,
            Self::Expired => 410,
            Self::Unavailable => 503,
            Self::Internal | Self::Unexpected => 500,
        }
    }
}

impl Error {
    /// Whose fault it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotExist { .. } => ErrorKind::NotExist,
            Self::BadRequest { .. } => ErrorKind::BadRequest,
            Self::Forbidden { .. } => ErrorKind::Forbidden,
            Self::Unauthorized { .. } => ErrorKind::Unauthorized,
            Self::Conflict { .. } => ErrorKind::Conflict,
            Self::TooLarge { .. } => ErrorKind::TooLarge,
            Self::EventsExpired { .. } => ErrorKind::Expired,
            Self::Remote { kind, .. } => *kind,
            Self::Internal { .. } => ErrorKind::Internal,
            Self::Data(error) if error.is_conflict() => ErrorKind::Conflict,
            Self::Data(runyard_datamanager::Error::Maintenance { .. }) => ErrorKind::Unavailable,
            Self::Data(runyard_datamanager::Error::Line { .. } | runyard_datamanager::Error::Refused { .. }) => {
                ErrorKind::BadRequest
            }
            Self::Data(_) | Self::Storage { .. } => ErrorKind::Unexpected,
        }
    }

    pub(crate) fn no_run(run: &RunId) -> Self {
        Self::NotExist { what: format!("run `{run}` does not exist") }
    }

    pub(crate) fn storage(doing: &'static str) -> impl FnOnce(runyard_objectstorage::Error) -> Self {
        move |source| Self::Storage { doing, source }
    }
}

impl From<InvalidSequence> for Error {
    fn from(error: InvalidSequence) -> Self {
        Self::BadRequest { message: error.to_string() }
    }
}

impl From<InvalidName> for Error {
    fn from(error: InvalidName) -> Self {
        Self::BadRequest { message: error.to_string() }
    }
}

impl From<SealError> for Error {
    fn from(error: SealError) -> Self {
        Self::Internal {
            message: format!("the secrets of the run cannot be sealed: {error}"),
            source: Some(error.into()),
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal.kind() {
            RefusalKind::NotFound => Self::NotExist { what: refusal.to_string() },
            RefusalKind::BadRequest | RefusalKind::Stale => Self::BadRequest { message: refusal.to_string() },
            RefusalKind::Internal => Self::Internal { message: refusal.to_string(), source: Some(refusal.into()) },
        }
    }
}
