//! Where do the objects of a server live, and what cannot hold them?

use std::{fmt, path::PathBuf, str::FromStr, sync::Arc};

use runyard_objectstorage::{ObjectStorage, PosixStorage};

use super::data_dir::DataDir;

/// What may stand after `--storage`.
#[cfg(feature = "s3")]
const OFFERED: &str = "a directory, or s3://BUCKET/PREFIX?endpoint=URL for a bucket";
#[cfg(not(feature = "s3"))]
const OFFERED: &str = "a directory";

/// A storage, as it is given on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StorageLocation {
    /// A directory, which servers on one machine can share.
    Directory(PathBuf),
    /// A bucket.
    #[cfg(feature = "s3")]
    S3(Box<runyard_objectstorage::S3Location>),
}

/// Why a text is no storage of a server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidStorage {
    /// Nothing of that kind is offered.
    #[error("there is no storage `{scheme}:`; give {OFFERED} (for a directory of that name, ./{scheme}:...)")]
    Scheme {
        /// What it begins with.
        scheme: String,
    },
    /// It says nothing.
    #[error("it is empty; give {OFFERED}")]
    Empty,
    /// It is no URL of a bucket.
    #[cfg(feature = "s3")]
    #[error("{0}; write it as s3://BUCKET/PREFIX?endpoint=URL")]
    S3(#[from] runyard_objectstorage::InvalidS3Url),
    /// This program was built without it.
    #[cfg(not(feature = "s3"))]
    #[error("this program was built without buckets; build it with `--features s3`, or give {OFFERED}")]
    WithoutS3,
}

/// Why a storage cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("storage `{storage}` cannot be used")]
pub(crate) struct StorageError {
    storage: String,
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl FromStr for StorageLocation {
    type Err = InvalidStorage;

    fn from_str(text: &str) -> Result<Self, InvalidStorage> {
        match scheme(text) {
            None if text.is_empty() => Err(InvalidStorage::Empty),
            None => Ok(Self::Directory(text.into())),
            #[cfg(feature = "s3")]
            Some("s3") => Ok(Self::S3(Box::new(text.parse()?))),
            #[cfg(not(feature = "s3"))]
            Some("s3") => Err(InvalidStorage::WithoutS3),
            Some(scheme) => Err(InvalidStorage::Scheme { scheme: scheme.to_owned() }),
        }
    }
}

/// What stands before the first colon, if it looks like the name of a kind.
fn scheme(text: &str) -> Option<&str> {
    let (scheme, _) = text.split_once(':')?;
    let is_name = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    is_name.then_some(scheme)
}

/// As people know it.
impl fmt::Display for StorageLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(directory) => write!(f, "{}", directory.display()),
            #[cfg(feature = "s3")]
            Self::S3(location) => write!(f, "s3://{}/{}", location.settings.bucket, location.prefix),
        }
    }
}

impl StorageLocation {
    /// The storage in a data directory.
    pub(crate) fn in_data(directory: &DataDir) -> Self {
        Self::Directory(directory.objects())
    }

    /// Opens it, and finds out whether it can do what is needed.
    pub(crate) async fn open(&self) -> Result<Arc<dyn ObjectStorage>, StorageError> {
        let opened: Result<Arc<dyn ObjectStorage>, _> = match self {
            Self::Directory(directory) => PosixStorage::open(directory).await.map(|storage| Arc::new(storage) as _),
            #[cfg(feature = "s3")]
            Self::S3(location) => open_bucket(location).await,
        };
        opened.map_err(|error| self.error(error))
    }

    /// Says of an error that it is one of what is in the storage.
    pub(crate) fn error<E: std::error::Error + Send + Sync + 'static>(&self, source: E) -> StorageError {
        StorageError { storage: self.to_string(), source: source.into() }
    }
}

#[cfg(feature = "s3")]
async fn open_bucket(
    location: &runyard_objectstorage::S3Location,
) -> runyard_objectstorage::Result<Arc<dyn ObjectStorage>> {
    use runyard_objectstorage::{PrefixStorage, S3Storage};
    // Other parts of the program bring TLS along, too, and none of them may be left to guess whose.
    drop(rustls::crypto::ring::default_provider().install_default());
    let bucket = S3Storage::open(location.settings.clone()).await?;
    Ok(Arc::new(PrefixStorage::new(bucket, &location.prefix)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_one_whatever_its_name() {
        for text in ["/var/lib/objects", "objects", "./s3:x", "../a:b", "/a:b", "9:x", "a b:c", "~"] {
            assert_eq!(text.parse(), Ok(StorageLocation::Directory(text.into())), "{text}");
        }
    }

    #[test]
    fn what_is_not_offered_is_refused_with_what_is() {
        for (text, expected) in [
            ("posixflat:/objects", "no storage `posixflat:`"),
            ("posix:/objects", "no storage `posix:`"),
            ("file:///objects", "no storage `file:`"),
            ("gs://bucket", "no storage `gs:`"),
            ("", "it is empty"),
        ] {
            let refused = text.parse::<StorageLocation>().expect_err(text).to_string();
            assert!(refused.contains(expected) && refused.contains(OFFERED), "{text}: {refused}");
        }
    }

    #[cfg(feature = "s3")]
    #[test]
    fn a_bucket_is_named_without_its_parameters() {
        let location: StorageLocation = "s3://builds/team/a?endpoint=http://127.0.0.1:9000".parse().expect("a bucket");
        assert_eq!(location.to_string(), "s3://builds/team/a");
        for (text, expected) in [("s3://B", "`B` is not the name of a bucket"), ("s3://builds?x=1", "no parameter `x`")]
        {
            let refused = text.parse::<StorageLocation>().expect_err(text).to_string();
            assert!(refused.contains(expected) && refused.contains("s3://BUCKET/PREFIX"), "{text}: {refused}");
        }
    }

    #[cfg(not(feature = "s3"))]
    #[test]
    fn a_build_without_buckets_says_which_one_has_them() {
        let refused = "s3://builds".parse::<StorageLocation>().expect_err("not built").to_string();
        assert!(refused.contains("--features s3"), "{refused}");
    }
}
