//! Where do objects live when many machines need them? In a bucket of S3, or of a server that speaks it. Feature `s3`.
//!
//! | file | question |
//! |---|---|
//! | `settings.rs` | where is the bucket, and who may use it? |
//! | `url.rs` | how is a bucket written as one line? |
//! | `credentials.rs` | where do the keys come from? |
//! | `http.rs` | with which client are requests sent? |
//!
//! Everything else is [`ObjectStoreStorage`].

use std::{fmt, net::IpAddr, sync::Arc};

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::{
    BackoffConfig, RetryConfig,
    aws::{AmazonS3Builder, S3ConditionalPut},
};

use crate::{
    Body, Capabilities, Error, GetObject, GetRange, ListEntry, ListRequest, ObjectKey, ObjectMeta, ObjectStorage,
    ObjectStoreStorage, PutOptions, Result,
};

mod credentials;
mod http;
pub(crate) mod settings;
pub(crate) mod url;

use credentials::Keys;
use settings::S3Settings;
use url::endpoint_host;

/// A storage in a bucket. Clones share their connections.
///
/// What [`ObjectStoreStorage`] says of names, sizes and creates holds here. The credentials need `s3:ListBucket`,
/// `s3:GetObject`, `s3:PutObject`, `s3:DeleteObject` and `s3:AbortMultipartUpload`; where those are for a prefix only,
/// [`probe_prefix`](crate::ObjectStoreSettings::probe_prefix) has to be below it. Of a bucket that several services
/// share, each gets a [`PrefixStorage`](crate::PrefixStorage).
///
/// A request that fails because of the network or the server is repeated as the settings say, except a create whose
/// reply did not come in time: that is [`Error::Unavailable`], because it may have had its effect.
///
/// # TLS
/// A storage brings the TLS of its connections along (`rustls` with `ring`, and the certificates that the machine
/// trusts), and installs nothing for the process. But Cargo builds `reqwest` and `rustls` once for a whole program, so
/// the feature `s3` reaches the program's own clients. Where nothing else turns on `reqwest`'s feature `rustls` or
/// `native-tls`, they get TLS without a provider of it and panic when they are made, those for plain HTTP too; where
/// something else turns on another provider, `rustls` configurations of the program's own panic, because they cannot
/// tell which one is meant. Such a program says it, first in `main`, with
/// `rustls = { version = "0.23", default-features = false, features = ["ring"] }` among its dependencies:
///
/// ```
/// let _ = rustls::crypto::ring::default_provider().install_default();
///
/// let client = reqwest::Client::new();
/// # drop(client);
/// ```
///
/// # Example
/// ```no_run
/// use runyard_objectstorage::{PrefixStorage, S3Location, S3Storage};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let location: S3Location = "s3://ci-objects/runyard?region=eu-central-1".parse()?;
/// let storage = PrefixStorage::new(S3Storage::open(location.settings).await?, &location.prefix)?;
/// # drop(storage);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct S3Storage {
    objects: ObjectStoreStorage,
    place: Arc<str>,
}

impl S3Storage {
    /// Opens a bucket, and finds out with a probe object what the server can do.
    ///
    /// The environment is read here: for credentials, region and endpoint, as far as the settings leave them open, and
    /// for proxies.
    ///
    /// # Errors
    /// [`Error::Unusable`] names the bucket and the endpoint and says what to check: settings that contradict each
    /// other, wrong credentials, an absent bucket, missing permissions, a server that cannot be reached, and one
    /// without conditional creates.
    pub async fn open(settings: S3Settings) -> Result<Self> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let settings = complete(settings, &variable);
        let place = place(&settings);
        let endpoint = bucket_endpoint(&settings).map_err(|reason| unusable(format!("{place}: {reason}")))?;
        let read = |path: &std::path::PathBuf| std::fs::read_to_string(path).ok();
        // Environment first: what is set below overrides it.
        let mut builder = match credentials::find(&settings.credentials, &variable, read)? {
            Keys::Environment => AmazonS3Builder::from_env(),
            Keys::Static { access_key_id, secret_access_key, session_token } => {
                let builder = AmazonS3Builder::new()
                    .with_access_key_id(access_key_id)
                    .with_secret_access_key(secret_access_key.expose());
                match session_token {
                    Some(token) => builder.with_token(token.expose()),
                    None => builder,
                }
            }
        };
        if let Some(endpoint) = endpoint {
            builder = builder.with_config(object_store::aws::AmazonS3ConfigKey::S3Endpoint, endpoint);
        }
        let store = builder
            .with_bucket_name(&settings.bucket)
            .with_region(settings.region.as_deref().unwrap_or("us-east-1"))
            .with_virtual_hosted_style_request(!settings.is_path_style())
            .with_allow_http(false)
            .with_skip_signature(false)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            // One request per key, in which names are not XML.
            .with_disable_bulk_delete(true)
            .with_retry(RetryConfig {
                backoff: BackoffConfig::default(),
                max_retries: settings.retries_max,
                retry_timeout: settings.retry_timeout,
            })
            .with_http_connector(http::Connector {
                connect_timeout: settings.connect_timeout,
                silence_timeout: settings.silence_timeout,
                allow_http: settings.endpoint.as_deref().is_some_and(|endpoint| endpoint.starts_with("http://")),
            })
            .build();
        let store = Arc::new(store.map_err(|source| Error::Unusable {
            message: format!("{place} cannot be used with these settings"),
            source: Some(source.into()),
        })?);
        let objects = ObjectStoreStorage::open_at(store.clone(), Some(store), settings.objects, &place).await?;
        Ok(Self { objects, place: place.into() })
    }

    /// What the server was found to do when the bucket was opened.
    pub fn capabilities(&self) -> Capabilities {
        self.objects.capabilities()
    }
}

/// The settings with what they leave to the environment.
fn complete(mut settings: S3Settings, variable: credentials::Lookup<'_>) -> S3Settings {
    let first = |names: [&str; 2]| names.into_iter().find_map(variable);
    settings.endpoint = settings.endpoint.or_else(|| first(["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]));
    settings.region = settings.region.or_else(|| first(["AWS_REGION", "AWS_DEFAULT_REGION"]));
    settings
}

/// What a user knows the bucket by.
fn place(settings: &S3Settings) -> String {
    let endpoint = settings.endpoint.as_deref().unwrap_or("AWS");
    let region = settings.region.as_deref().unwrap_or("us-east-1");
    format!("bucket `{}` at {endpoint} (region `{region}`)", settings.bucket)
}

/// The endpoint as the library wants it: with the bucket in front of the host, if that is where it is.
fn bucket_endpoint(settings: &S3Settings) -> Result<Option<String>, &'static str> {
    let Some(endpoint) = &settings.endpoint else { return Ok(None) };
    let (scheme, host) = endpoint_host(endpoint)
        .ok_or("the endpoint is not `http://` or `https://` and a host, without a path: correct it")?;
    if scheme == "http" && !settings.allow_http && !is_loopback(host) {
        return Err("the endpoint would get data in the clear: use https, or set `allow_http`");
    }
    let bucket = if settings.is_path_style() { String::new() } else { format!("{}.", settings.bucket) };
    Ok(Some(format!("{scheme}://{bucket}{host}")))
}

fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(bracketed) => bracketed.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost" || name.ends_with(".localhost") || name.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

fn unusable(message: String) -> Error {
    Error::Unusable { message, source: None }
}

#[async_trait]
impl ObjectStorage for S3Storage {
    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta> {
        self.objects.head(key).await
    }

    async fn get(&self, key: &ObjectKey, range: GetRange) -> Result<GetObject> {
        self.objects.get(key, range).await
    }

    async fn put(&self, key: &ObjectKey, body: Body, options: PutOptions) -> Result<()> {
        self.objects.put(key, body, options).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<()> {
        self.objects.delete(key).await
    }

    fn list(&self, request: ListRequest) -> BoxStream<'static, Result<ListEntry>> {
        self.objects.list(request)
    }
}

impl fmt::Debug for S3Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "S3Storage({})", self.place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bucket_is_in_the_path_or_in_the_host() {
        for (endpoint, path_style, allow_http, expected) in [
            (None, None, false, Ok(None)),
            (Some("https://s3.example"), None, false, Ok(Some("https://s3.example"))),
            (Some("https://s3.example:9/"), Some(false), false, Ok(Some("https://buck.s3.example:9"))),
            (Some("http://127.0.0.1:9000"), None, false, Ok(Some("http://127.0.0.1:9000"))),
            (Some("http://[::1]:9000"), None, false, Ok(Some("http://[::1]:9000"))),
            (Some("http://localhost"), None, false, Ok(Some("http://localhost"))),
            (Some("http://minio"), None, true, Ok(Some("http://minio"))),
            (Some("http://minio"), None, false, Err("in the clear")),
            (Some("http://127.0.0.1.example"), None, false, Err("in the clear")),
            (Some("minio:9000"), None, false, Err("without a path")),
        ] {
            let mut settings = S3Settings::bucket("buck");
            settings.endpoint = endpoint.map(str::to_owned);
            (settings.path_style, settings.allow_http) = (path_style, allow_http);
            match (bucket_endpoint(&settings), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found.as_deref(), expected),
                (Err(reason), Err(expected)) => assert!(reason.contains(expected), "{reason}"),
                (found, expected) => panic!("{endpoint:?}: {found:?}, expected {expected:?}"),
            }
        }
    }

    #[test]
    fn settings_go_before_the_environment() {
        let variable = |name: &str| match name {
            "AWS_REGION" => Some("from-env".to_owned()),
            "AWS_ENDPOINT_URL" => Some("https://env.example".to_owned()),
            _ => None,
        };
        let open = complete(S3Settings::bucket("b"), &variable);
        assert_eq!(place(&open), "bucket `b` at https://env.example (region `from-env`)");
        let mut fixed = S3Settings::bucket("b");
        (fixed.region, fixed.endpoint) = (Some("eu".into()), Some("https://s3.example".into()));
        assert_eq!(complete(fixed.clone(), &variable), fixed);
    }
}
