//! Where is the bucket, and who may use it?

use std::{fmt, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use crate::ObjectStoreSettings;

/// Where the bucket is, who asks, and how patiently.
///
/// ```
/// use runyard_objectstorage::S3Settings;
///
/// let mut settings = S3Settings::bucket("ci-objects");
/// settings.endpoint = Some("https://minio.example:9000".into());
/// assert!(settings.is_path_style());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct S3Settings {
    /// The name of the bucket, which exists.
    pub bucket: String,
    /// The server, as a URL without a path. Default: `AWS_ENDPOINT_URL_S3` or `AWS_ENDPOINT_URL`, else AWS itself.
    #[serde(default)]
    pub endpoint: Option<String>,
    /// The region. Default: `AWS_REGION` or `AWS_DEFAULT_REGION`, else `us-east-1`, which servers other than AWS accept.
    #[serde(default)]
    pub region: Option<String>,
    /// Whether the bucket is part of the path and not of the host name. Default: where there is an endpoint.
    #[serde(default)]
    pub path_style: Option<bool>,
    /// Whether keys and data may go over the network in the clear. A loopback endpoint always may. Default: no.
    #[serde(default)]
    pub allow_http: bool,
    /// Who asks. Default: [`S3Credentials::Automatic`].
    #[serde(default)]
    pub credentials: S3Credentials,
    /// How often a request is repeated at most, after growing delays with jitter. Default: 6.
    #[serde(default = "retries_max")]
    pub retries_max: usize,
    /// After how long a request is repeated no more. Default: 60 s.
    #[serde(default = "retry_timeout")]
    pub retry_timeout: Duration,
    /// How long a connection may take. Default: 5 s.
    #[serde(default = "connect_timeout")]
    pub connect_timeout: Duration,
    /// How long the server may be silent: until it answers a request, the sending of a part included, and then between
    /// two pieces of the answer. Default: 60 s.
    #[serde(default = "silence_timeout")]
    pub silence_timeout: Duration,
    /// Limits, and what is probed at open.
    #[serde(default)]
    pub objects: ObjectStoreSettings,
}

fn retries_max() -> usize {
    6
}

fn retry_timeout() -> Duration {
    Duration::from_secs(60)
}

fn connect_timeout() -> Duration {
    Duration::from_secs(5)
}

fn silence_timeout() -> Duration {
    Duration::from_secs(60)
}

impl S3Settings {
    /// The defaults for this bucket.
    pub fn bucket(bucket: impl Into<String>) -> Self {
        Self {
            bucket: bucket.into(),
            endpoint: None,
            region: None,
            path_style: None,
            allow_http: false,
            credentials: S3Credentials::default(),
            retries_max: retries_max(),
            retry_timeout: retry_timeout(),
            connect_timeout: connect_timeout(),
            silence_timeout: silence_timeout(),
            objects: ObjectStoreSettings::default(),
        }
    }

    /// Whether the bucket is part of the path.
    pub fn is_path_style(&self) -> bool {
        self.path_style.unwrap_or(self.endpoint.is_some())
    }
}

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum S3Credentials {
    /// The environment, if it says something (`AWS_ACCESS_KEY_ID`, a web identity or a container's role); else the
    /// profile of `AWS_PROFILE` or `default`, if there is a credentials file; else the role of the machine.
    #[default]
    Automatic,
    /// What the environment says, else the role of the machine.
    Environment,
    /// A profile of a credentials file, which is read once.
    Profile {
        /// Its name. Default: `AWS_PROFILE`, else `default`.
        #[serde(default)]
        name: Option<String>,
        /// The file. Default: `AWS_SHARED_CREDENTIALS_FILE`, else `~/.aws/credentials`.
        #[serde(default)]
        file: Option<PathBuf>,
    },
    /// These.
    Keys {
        /// The access key's id.
        access_key_id: String,
        /// The secret that belongs to it.
        secret_access_key: Secret,
        /// The token of temporary credentials.
        #[serde(default)]
        session_token: Option<Secret>,
    },
}

/// A text that is not shown in debug output.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The secret itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl<T: Into<String>> From<T> for Secret {
    fn from(secret: T) -> Self {
        Self(secret.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_has_no_secret() {
        let mut settings = S3Settings::bucket("b");
        settings.credentials = S3Credentials::Keys {
            access_key_id: "AKIA".into(),
            secret_access_key: "hunter2".into(),
            session_token: Some("hunter3".into()),
        };
        let text = format!("{settings:?}");
        assert!(text.contains("AKIA") && !text.contains("hunter"), "{text}");
    }

    #[test]
    fn the_bucket_is_in_the_path_where_there_is_an_endpoint() {
        let mut settings = S3Settings::bucket("b");
        assert!(!settings.is_path_style());
        settings.endpoint = Some("https://s3.example".into());
        assert!(settings.is_path_style());
        settings.path_style = Some(false);
        assert!(!settings.is_path_style());
    }
}
