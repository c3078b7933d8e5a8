//! How do secret values rest in the store? Sealed, by a part that the host chooses.
//!
//! A run config marks its secret values. They are sealed before the run is committed, so neither the data manager's
//! files nor an export or a backup holds one in clear, and opened when an assignment is delivered to its executor.

#[cfg(feature = "aead")]
mod aead;
mod values;

use std::fmt;

use async_trait::async_trait;

#[cfg(feature = "aead")]
pub use aead::{AeadSealer, InvalidKey};
pub(crate) use values::{open, seal};

/// Seals secret values for the store, and opens them again.
///
/// The text that [`seal`](Sealer::seal) returns is kept as it is, so it must say all that opening needs, such as which of
/// several keys it was sealed with. With `AeadSealer` (feature `aead`) the key is the host's; another implementation may
/// ask a key service.
#[async_trait]
pub trait Sealer: Send + Sync + fmt::Debug + 'static {
    /// Seals a value. `context` is to be bound to it: the same text must not open in another one, so that nobody who may
    /// write to the store moves a secret of one root group into a run of another.
    async fn seal(&self, context: &str, secret: &str) -> Result<String, SealError>;

    /// Opens what [`seal`](Sealer::seal) made in the same context.
    async fn open(&self, context: &str, sealed: &str) -> Result<String, SealError>;
}

/// Why a secret value could not be sealed or opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// It will not open, however often it is tried: it was sealed with a key that is not there, in another context, or it
    /// is damaged. The task that needs it fails.
    #[error("{reason}")]
    Refused {
        /// What is wrong and what to do, for the user.
        reason: String,
    },
    /// It cannot be said now; the same may succeed later.
    #[error("the sealer of secrets is unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}
