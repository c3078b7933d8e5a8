//! Where is etcd, who asks, and how patiently?

use std::{fmt, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use super::failure::{Failure, Kind};

/// Where etcd is, what of it is ours, and how patiently it is asked.
///
/// ```
/// use std::time::Duration;
///
/// use runyard_datamanager::coordinator::EtcdSettings;
///
/// let mut settings = EtcdSettings::new(["10.0.0.1:2379", "10.0.0.2:2379"], "ci/rundata");
/// settings.lease = Duration::from_secs(10);
/// // The same, as one line.
/// assert_eq!(Ok(settings), "etcd://10.0.0.1:2379,10.0.0.2:2379/ci/rundata?lease=10s".parse());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct EtcdSettings {
    /// The members, each as a host and a port. One at a time is used; after a failure, the next one.
    pub endpoints: Vec<String>,
    /// What the keys begin with, without a slash at either end. Everything below it is this store's: another store has
    /// another one.
    pub prefix: String,
    /// Who asks, if etcd has authentication enabled. The user reads and writes everything below the prefix. Default:
    /// nobody.
    #[serde(default)]
    pub user: Option<EtcdUser>,
    /// How the connection is secured. Default: not at all.
    #[serde(default)]
    pub tls: Option<EtcdTls>,
    /// After how long somebody else leads what a process led that is not heard of: whole seconds. From 4 s on etcd is told
    /// a second less, since it looks only every half a second for what has run out; it takes nothing below its election
    /// timeout, 2 s as a rule. A third of what it is told is what passes between two keep-alives, and how long etcd may
    /// take to answer one. Default: 4 s.
    #[serde(default = "lease")]
    pub lease: Duration,
    /// How long a connection may take, TLS included. Default: 2 s.
    #[serde(default = "connect_timeout")]
    pub connect_timeout: Duration,
    /// How long etcd may take to answer a request. Default: 3 s.
    #[serde(default = "request_timeout")]
    pub request_timeout: Duration,
}

fn lease() -> Duration {
    Duration::from_secs(4)
}

/// What etcd is told of a lease.
pub(super) fn time_to_live(lease: Duration) -> Duration {
    let second = Duration::from_secs(1);
    if lease >= 4 * second { lease - second } else { lease }
}

fn connect_timeout() -> Duration {
    Duration::from_secs(2)
}

fn request_timeout() -> Duration {
    Duration::from_secs(3)
}

/// Who asks.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EtcdUser {
    /// The user's name.
    pub name: String,
    /// The password, which debug output does not show.
    pub password: String,
}

impl fmt::Debug for EtcdUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdUser").field("name", &self.name).finish_non_exhaustive()
    }
}

/// How the connection is secured. The files hold PEM, and are read anew for each connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EtcdTls {
    /// The certificates of those who may vouch for etcd. Default: those that the operating system trusts.
    pub ca: Option<PathBuf>,
    /// This client's certificate, if etcd asks for one; with its key.
    pub cert: Option<PathBuf>,
    /// The key of the certificate.
    pub key: Option<PathBuf>,
}

impl EtcdSettings {
    /// The defaults, with these members and this prefix.
    pub fn new<E: Into<String>>(endpoints: impl IntoIterator<Item = E>, prefix: impl Into<String>) -> Self {
        Self {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            prefix: prefix.into(),
            user: None,
            tls: None,
            lease: lease(),
            connect_timeout: connect_timeout(),
            request_timeout: request_timeout(),
        }
    }

    /// What no server is needed for to know that it is wrong.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.endpoints.is_empty() {
            return Err("there is no endpoint: give at least one as HOST:PORT".to_owned());
        }
        if let Some(endpoint) = self.endpoints.iter().find(|endpoint| !is_endpoint(endpoint)) {
            return Err(format!("`{endpoint}` is no endpoint: give a host and a port, as HOST:PORT"));
        }
        let prefix = &self.prefix;
        if prefix.is_empty() || prefix.starts_with('/') || prefix.ends_with('/') {
            let rule = "it is not empty, and has no slash at either end";
            return Err(format!("`{prefix}` is no prefix of keys: {rule}"));
        }
        for (name, duration, least) in [
            ("lease", self.lease, Duration::from_secs(1)),
            ("connect_timeout", self.connect_timeout, Duration::from_millis(1)),
            ("request_timeout", self.request_timeout, Duration::from_millis(1)),
        ] {
            if duration < least || duration > Duration::from_secs(86_400) {
                return Err(format!("`{name}` cannot be {duration:?}: it is {least:?} at least, and a day at most"));
            }
        }
        match &self.tls {
            Some(EtcdTls { cert: Some(_), key: None, .. }) => {
                Err("a client certificate needs its key: give the file of that too".to_owned())
            }
            Some(EtcdTls { cert: None, key: Some(_), .. }) => {
                Err("a client key needs its certificate: give the file of that too".to_owned())
            }
            _ => Ok(()),
        }
    }
}

/// Whether it is a host and a port.
pub(super) fn is_endpoint(endpoint: &str) -> bool {
    let Some((host, port)) = endpoint.rsplit_once(':') else { return false };
    let is_ipv6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).is_some_and(|host| host.contains(':'));
    let is_name = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    (is_ipv6 || is_name) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

impl EtcdTls {
    /// Reads the files.
    pub(super) fn read(&self) -> Result<etcd_client::TlsOptions, Failure> {
        let mut options = etcd_client::TlsOptions::new();
        options = match &self.ca {
            Some(ca) => options.ca_certificate(etcd_client::Certificate::from_pem(pem(ca, "CERTIFICATE")?)),
            None => options.with_native_roots(),
        };
        if let (Some(cert), Some(key)) = (&self.cert, &self.key) {
            let (cert, key) = (pem(cert, "CERTIFICATE")?, pem(key, "PRIVATE KEY")?);
            options = options.identity(etcd_client::Identity::from_pem(cert, key));
        }
        Ok(options)
    }
}

fn pem(path: &std::path::Path, holds: &str) -> Result<String, Failure> {
    let failure = |detail| Failure::new(Kind::Tls, "reading the files of TLS", detail);
    let path_shown = path.display();
    let text =
        std::fs::read_to_string(path).map_err(|error| failure(format!("`{path_shown}` cannot be read: {error}")))?;
    if text.contains(&format!("{holds}-----")) {
        return Ok(text);
    }
    Err(failure(format!("`{path_shown}` holds no {} in PEM", holds.to_lowercase())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_has_no_password() {
        let mut settings = EtcdSettings::new(["h:1"], "p");
        settings.user = Some(EtcdUser { name: "ci".into(), password: "hunter2".into() });
        let text = format!("{settings:?}");
        assert!(text.contains("ci") && !text.contains("hunter"), "{text}");
    }

    #[test]
    fn an_endpoint_is_a_host_and_a_port() {
        for endpoint in ["localhost:2379", "10.0.0.1:1", "[::1]:2379", "etcd-0.etcd:65535"] {
            assert!(is_endpoint(endpoint), "{endpoint}");
        }
        for endpoint in ["", "host", "host:", ":1", "host:0", "host:65536", "http://h:1", "::1:2", "a b:1", "h:1/x"] {
            assert!(!is_endpoint(endpoint), "{endpoint}");
        }
    }

    #[test]
    fn settings_that_cannot_be_right_are_refused_with_what_is_wrong() {
        type Spoil = fn(&mut EtcdSettings);
        let cases: [(Spoil, &str); 7] = [
            (|settings| settings.endpoints.clear(), "no endpoint"),
            (|settings| settings.endpoints = vec!["host".into()], "`host`"),
            (|settings| settings.prefix.clear(), "prefix"),
            (|settings| settings.prefix = "/a".into(), "`/a`"),
            (|settings| settings.lease = Duration::from_millis(999), "`lease`"),
            (|settings| settings.request_timeout = Duration::ZERO, "`request_timeout`"),
            (|settings| settings.tls = Some(EtcdTls { cert: Some("c".into()), ..EtcdTls::default() }), "key"),
        ];
        for (spoil, expected) in cases {
            let mut settings = EtcdSettings::new(["h:1"], "p");
            assert_eq!(settings.check(), Ok(()));
            spoil(&mut settings);
            let error = settings.check().expect_err(expected);
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn files_of_tls_that_are_not_what_they_should_be_are_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.pem");
        let tls = EtcdTls { ca: Some(path.clone()), ..EtcdTls::default() };
        let missing = tls.read().expect_err("missing").to_string();
        std::fs::write(&path, "no certificate").unwrap();
        let garbage = tls.read().expect_err("garbage").to_string();
        for (message, expected) in [(missing, "cannot be read"), (garbage, "holds no certificate in PEM")] {
            assert!(message.contains(path.to_str().unwrap()) && message.contains(expected), "{message}");
        }
    }
}
