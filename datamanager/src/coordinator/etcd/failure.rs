//! What went wrong with etcd, in plain words, and what should somebody do about it?

use std::{error::Error as StdError, fmt};

/// That something went wrong: what, while doing what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) kind: Kind,
    pub(super) doing: &'static str,
    pub(super) detail: String,
}

/// What kind of a failure it is, as far as somebody acts on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// There is no connection, or it broke.
    Unreachable,
    /// There was a connection, and the other side ended it.
    Closed,
    /// There is a connection, and no answer in time.
    Silent,
    /// The member has no leader, or none for long enough.
    NoLeader,
    /// The name or the password is wrong, or one is needed.
    Credentials,
    /// The user may not do what has to be done.
    Permission,
    /// A file of TLS, a certificate, or that one side speaks TLS and the other does not.
    Tls,
    /// The lease ran out or is unknown.
    LeaseGone,
    /// The watch was ended by etcd.
    WatchEnded,
    /// What should be watched is no longer held.
    Compacted,
    /// Anything else.
    Other,
}

impl Failure {
    pub(super) fn new(kind: Kind, doing: &'static str, detail: impl Into<String>) -> Self {
        Self { kind, doing, detail: detail.into() }
    }

    pub(super) fn silent(doing: &'static str, timeout: std::time::Duration) -> Self {
        Self::new(Kind::Silent, doing, format!("no answer within {timeout:?}"))
    }

    pub(super) fn of(doing: &'static str, error: &etcd_client::Error) -> Self {
        let (detail, code) = match error {
            // What is reported so is nothing that was sent: the endpoint itself cannot be made, from what TLS was given.
            etcd_client::Error::TransportError(error) => return Self::new(Kind::Tls, doing, chain(error)),
            etcd_client::Error::GRpcStatus(status) => {
                let causes = status.source().map(chain).unwrap_or_default();
                let message = status.message().to_owned();
                (if causes.is_empty() { message } else { format!("{message}: {causes}") }, Some(status.code() as i32))
            }
            // The crate's own words for a lease that etcd does not know.
            etcd_client::Error::LeaseKeepAliveError(text) => (text.clone(), Some(NOT_FOUND)),
            other => (other.to_string(), None),
        };
        Self { kind: kind(code, &detail), doing, detail }
    }

    /// What an operator can do about it, if it happens at the start.
    pub(super) fn advice(&self) -> &'static str {
        match self.kind {
            Kind::Unreachable => "check that etcd runs there, and that the endpoints are right",
            Kind::Closed => {
                "check that it is etcd that runs there, whether it speaks TLS (`etcds://` does, `etcd://` does not), and \
                 whether it wants a certificate of this client"
            }
            Kind::Silent => "check that etcd is alive there, and that nothing between drops what is sent",
            Kind::NoLeader => "check that most members of the cluster run and reach each other",
            Kind::Credentials => "check the user and the password, and whether authentication is enabled",
            Kind::Permission => "grant the user to read and to write everything below the prefix",
            Kind::Tls => {
                "check the files of TLS, whether this etcd speaks TLS (`etcds://` does, `etcd://` does not), and whether it \
                 wants a certificate of this client"
            }
            Kind::LeaseGone | Kind::WatchEnded | Kind::Compacted | Kind::Other => "see the log of etcd",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed: {}", self.doing, self.detail)
    }
}

/// Codes of gRPC; the crate that names them is not one of ours.
const INVALID_ARGUMENT: i32 = 3;
const NOT_FOUND: i32 = 5;
const PERMISSION_DENIED: i32 = 7;
const FAILED_PRECONDITION: i32 = 9;
const UNAVAILABLE: i32 = 14;
const UNAUTHENTICATED: i32 = 16;

/// The kind of a failure that was reported with a code, or with none because nobody answered, and these words.
fn kind(code: Option<i32>, detail: &str) -> Kind {
    let says = |words: &[&str]| words.iter().any(|word| detail.contains(word));
    if says(&["certificate", "InvalidContentType", "corrupt message", "fatal alert", "TLS", "tls"]) {
        return Kind::Tls;
    }
    match code {
        Some(UNAUTHENTICATED) => Kind::Credentials,
        Some(INVALID_ARGUMENT | FAILED_PRECONDITION) if says(&["authentication", "user name", "auth token"]) => {
            Kind::Credentials
        }
        Some(PERMISSION_DENIED) => Kind::Permission,
        Some(NOT_FOUND) if says(&["lease"]) => Kind::LeaseGone,
        _ if says(&["no leader", "leader changed", "request timed out"]) => Kind::NoLeader,
        _ if says(&["connection closed", "reset", "broken pipe", "protocol error", "error reading"]) => Kind::Closed,
        Some(UNAVAILABLE) | None => Kind::Unreachable,
        _ => Kind::Other,
    }
}

/// An error and its causes, each once.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if !words.iter().any(|before| before.contains(&text)) {
            words.push(text);
        }
        next = error.source();
    }
    words.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_etcd_and_the_network_report_is_told_apart() {
        for (code, detail, expected) in [
            (Some(14), "tcp connect error: Connection refused (os error 111)", Kind::Unreachable),
            (None, "transport error", Kind::Unreachable),
            (Some(2), "h2 protocol error: error reading a body from connection", Kind::Closed),
            (Some(1), "operation was canceled: connection closed", Kind::Closed),
            (Some(14), "etcdserver: no leader", Kind::NoLeader),
            (Some(14), "etcdserver: request timed out, possibly due to previous leader failure", Kind::NoLeader),
            (Some(14), "etcdserver: leader changed", Kind::NoLeader),
            (Some(3), "etcdserver: authentication failed, invalid user ID or password", Kind::Credentials),
            (Some(3), "etcdserver: user name is empty", Kind::Credentials),
            (Some(9), "etcdserver: authentication is not enabled", Kind::Credentials),
            (Some(16), "etcdserver: invalid auth token", Kind::Credentials),
            (Some(7), "etcdserver: permission denied", Kind::Permission),
            (Some(5), "etcdserver: requested lease not found", Kind::LeaseGone),
            (Some(5), "lease not found", Kind::LeaseGone),
            (Some(14), "tcp connect error: invalid peer certificate: UnknownIssuer", Kind::Tls),
            (Some(14), "received corrupt message of type InvalidContentType", Kind::Tls),
            (Some(14), "received fatal alert: BadCertificate", Kind::Tls),
            (Some(8), "etcdserver: mvcc: database space exceeded", Kind::Other),
        ] {
            assert_eq!(kind(code, detail), expected, "{detail}");
        }
    }

    #[test]
    fn a_failure_says_what_was_done_and_what_went_wrong() {
        let failure = Failure::silent("reading the keys", std::time::Duration::from_secs(3));
        assert_eq!(failure.to_string(), "reading the keys failed: no answer within 3s");
    }
}
