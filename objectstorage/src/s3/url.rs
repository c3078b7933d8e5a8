//! How is a bucket written as one line, for command lines?

use super::settings::{S3Credentials, S3Settings};
use crate::{
    ObjectKey,
    address::{parameters, percent_decode},
};

/// A bucket and a prefix in it.
///
/// `s3://BUCKET[/PREFIX][?PARAMETER=VALUE&...]`; names and values are percent-encoded where they need it.
///
/// | parameter | is |
/// |---|---|
/// | `endpoint` | [`S3Settings::endpoint`] |
/// | `region` | [`S3Settings::region`] |
/// | `path_style` | [`S3Settings::path_style`], `true` or `false` |
/// | `allow_http` | [`S3Settings::allow_http`], `true` or `false` |
/// | `profile` | the name of [`S3Credentials::Profile`] |
///
/// Keys are none of them: command lines are seen by every user of a machine.
///
/// ```
/// use runyard_objectstorage::S3Location;
///
/// let location: S3Location = "s3://builds/team/a?endpoint=http://127.0.0.1:9000&region=eu-west-1".parse()?;
/// assert_eq!((location.settings.bucket.as_str(), location.prefix.as_str()), ("builds", "team/a"));
/// # Ok::<(), runyard_objectstorage::InvalidS3Url>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct S3Location {
    /// The bucket; its probe is below the prefix.
    pub settings: S3Settings,
    /// For a [`PrefixStorage`](crate::PrefixStorage); empty for the whole bucket.
    pub prefix: String,
}

/// Why a text is no [`S3Location`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidS3Url {
    /// It does not begin with `s3://`.
    #[error("it does not begin with `s3://`")]
    Scheme,
    /// There is no bucket, or no possible one.
    #[error("`{bucket}` is not the name of a bucket: 3 to 63 of a-z, 0-9, `-`, `.` and `_`")]
    Bucket {
        /// What stands in its place.
        bucket: String,
    },
    /// The prefix is neither empty nor a key.
    #[error("the prefix `{prefix}` is not an object key")]
    Prefix {
        /// What stands in its place.
        prefix: String,
    },
    /// There is no such parameter.
    #[error("there is no parameter `{name}`; there are endpoint, region, path_style, allow_http and profile")]
    UnknownParameter {
        /// Its name.
        name: String,
    },
    /// A parameter is there twice.
    #[error("the parameter `{name}` is given twice")]
    DuplicateParameter {
        /// Its name.
        name: String,
    },
    /// A parameter has a value that it cannot have.
    #[error("the parameter `{name}` cannot be `{value}`: {reason}")]
    Parameter {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
        /// What it can be.
        reason: &'static str,
    },
    /// Something is percent-encoded, but not as UTF-8.
    #[error("`{text}` is not well percent-encoded")]
    Encoding {
        /// What could not be decoded.
        text: String,
    },
}

impl std::str::FromStr for S3Location {
    type Err = InvalidS3Url;

    fn from_str(url: &str) -> Result<Self, InvalidS3Url> {
        let rest = url.strip_prefix("s3://").ok_or(InvalidS3Url::Scheme)?;
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        if !is_bucket(bucket) {
            return Err(InvalidS3Url::Bucket { bucket: bucket.to_owned() });
        }
        let prefix = decode(prefix.strip_suffix('/').unwrap_or(prefix))?;
        if !prefix.is_empty() && ObjectKey::parse(&prefix).is_err() {
            return Err(InvalidS3Url::Prefix { prefix });
        }
        let mut settings = S3Settings::bucket(bucket);
        settings.objects.probe_prefix.clone_from(&prefix);
        let duplicate = |name: &str| InvalidS3Url::DuplicateParameter { name: name.to_owned() };
        for (name, value) in parameters(query).map_err(duplicate)? {
            set(&mut settings, name, decode(value)?)?;
        }
        Ok(Self { settings, prefix })
    }
}

fn set(settings: &mut S3Settings, name: &str, value: String) -> Result<(), InvalidS3Url> {
    let refused = |value: String, reason| Err(InvalidS3Url::Parameter { name: name.to_owned(), value, reason });
    if value.is_empty() {
        return refused(value, "it is empty");
    }
    match name {
        "endpoint" if endpoint_host(&value).is_some() => settings.endpoint = Some(value),
        "endpoint" => return refused(value, "it is `http://` or `https://` and a host, without a path"),
        "region" => settings.region = Some(value),
        "profile" => settings.credentials = S3Credentials::Profile { name: Some(value), file: None },
        "path_style" | "allow_http" => match value.parse() {
            Ok(value) if name == "allow_http" => settings.allow_http = value,
            Ok(value) => settings.path_style = Some(value),
            Err(_) => return refused(value, "it is `true` or `false`"),
        },
        _ => return Err(InvalidS3Url::UnknownParameter { name: name.to_owned() }),
    }
    Ok(())
}

fn is_bucket(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._".contains(&byte);
    (3..=63).contains(&name.len()) && name.bytes().all(is_allowed)
}

/// The scheme and the host, with its port, of an endpoint.
pub(super) fn endpoint_host(endpoint: &str) -> Option<(&str, &str)> {
    let (scheme, host) = endpoint.split_once("://")?;
    let host = host.strip_suffix('/').unwrap_or(host);
    let is_host = !host.is_empty() && !host.contains(['/', '?', '#', '@', ' ']);
    (matches!(scheme, "http" | "https") && is_host).then_some((scheme, host))
}

fn decode(text: &str) -> Result<String, InvalidS3Url> {
    percent_decode(text).ok_or_else(|| InvalidS3Url::Encoding { text: text.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_bucket_a_prefix_and_parameters() {
        let parse = |url: &str| url.parse::<S3Location>().expect(url);
        for (url, prefix) in [
            ("s3://bucket", ""),
            ("s3://bucket/", ""),
            ("s3://bucket/a", "a"),
            ("s3://bucket/a/b/", "a/b"),
            ("s3://bucket/a%20b%C3%A9", "a bé"),
            ("s3://bucket?", ""),
        ] {
            let location = parse(url);
            assert_eq!((location.settings.bucket.as_str(), location.prefix.as_str()), ("bucket", prefix), "{url}");
            assert_eq!(location.settings.objects.probe_prefix, prefix);
        }
        let settings = parse(
            "s3://b.c-d/p?endpoint=http%3A%2F%2F127.0.0.1:9000&region=eu&path_style=false&allow_http=true&profile=ci",
        )
        .settings;
        assert_eq!(settings.endpoint.as_deref(), Some("http://127.0.0.1:9000"));
        assert_eq!(settings.region.as_deref(), Some("eu"));
        assert_eq!((settings.path_style, settings.allow_http), (Some(false), true));
        assert_eq!(settings.credentials, S3Credentials::Profile { name: Some("ci".into()), file: None });
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (url, expected) in [
            ("", "`s3://`"),
            ("http://bucket", "`s3://`"),
            ("s3://", "`` is not the name of a bucket"),
            ("s3://ab", "`ab`"),
            ("s3://Bucket/x", "`Bucket`"),
            ("s3://bucket//a", "`/a`"),
            ("s3://bucket/a/../b", "`a/../b`"),
            ("s3://bucket/%zz", "`%zz`"),
            ("s3://bucket/%ff", "`%ff`"),
            ("s3://bucket/%2", "`%2`"),
            ("s3://bucket?endpont=x", "no parameter `endpont`"),
            ("s3://bucket?region=a&region=b", "`region` is given twice"),
            ("s3://bucket?region", "`region` cannot be ``"),
            ("s3://bucket?path_style=yes", "`path_style` cannot be `yes`"),
            ("s3://bucket?endpoint=localhost:9000", "`endpoint` cannot be `localhost:9000`"),
            ("s3://bucket?endpoint=http://x/path", "without a path"),
            ("s3://bucket?secret=x", "no parameter `secret`"),
        ] {
            let error = url.parse::<S3Location>().expect_err(url).to_string();
            assert!(error.contains(expected), "{url}: {error}");
        }
    }
}
