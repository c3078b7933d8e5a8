//! Seals with a key of the host: XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha), whose nonces are long enough to be random.

use std::{fmt, sync::Mutex};

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use chacha20poly1305::{
    Key, XChaCha20Poly1305, XNonce,
    aead::{Aead, KeyInit, Payload},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use sha2::{Digest, Sha256};

use super::{SealError, Sealer};

/// The length of a key, in bytes.
const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;
/// How much of the hash of a key names it in what it sealed.
const KEY_ID_BYTES: usize = 4;

/// Seals with a key, and opens with that key and with older ones.
///
/// A sealed value is base64 of the first 4 bytes of the SHA-256 of the key, the nonce (24 bytes), and the ciphertext with
/// its tag.
///
/// ```
/// use runyard_runservice_core::sealer::{AeadSealer, Sealer};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let old = AeadSealer::new(&[7; 32])?;
/// let sealed = old.seal("/project/1", "hunter2").await?;
///
/// // Rotation: the new key seals, the old one still opens.
/// let rotated = AeadSealer::new(&[8; 32])?.with_old_key(&[7; 32])?;
/// assert_eq!(rotated.open("/project/1", &sealed).await?, "hunter2");
/// assert!(rotated.open("/project/2", &sealed).await.is_err());
/// # Ok(())
/// # }
/// ```
pub struct AeadSealer {
    /// The first one seals.
    keys: Vec<(KeyId, XChaCha20Poly1305)>,
    nonces: Mutex<StdRng>,
}

type KeyId = [u8; KEY_ID_BYTES];

/// Why bytes are not a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a sealing key has 32 bytes, and this one has {bytes}")]
pub struct InvalidKey {
    /// How many there were.
    pub bytes: usize,
}

impl AeadSealer {
    /// A sealer with one key, of 32 random bytes.
    ///
    /// # Errors
    /// [`InvalidKey`] for any other length.
    #[expect(clippy::disallowed_methods, reason = "what hides a secret must not come from a seed that is handed in")]
    pub fn new(key: &[u8]) -> Result<Self, InvalidKey> {
        Ok(Self { keys: vec![cipher(key)?], nonces: Mutex::new(StdRng::from_rng(&mut rand::make_rng::<StdRng>())) })
    }

    /// Opens also what was sealed with another key.
    ///
    /// # Errors
    /// As for [`AeadSealer::new`].
    pub fn with_old_key(mut self, key: &[u8]) -> Result<Self, InvalidKey> {
        self.keys.push(cipher(key)?);
        Ok(self)
    }

    fn open_bytes(&self, context: &str, sealed: &str) -> Result<String, &'static str> {
        const DAMAGED: &str = "a sealed secret is damaged, or it was sealed for another root group";
        let sealed = STANDARD_NO_PAD.decode(sealed).map_err(|_| DAMAGED)?;
        let (id, rest) = sealed.split_at_checked(KEY_ID_BYTES).ok_or(DAMAGED)?;
        let (nonce, ciphertext) = rest.split_at_checked(NONCE_BYTES).ok_or(DAMAGED)?;
        let (_, cipher) = self
            .keys
            .iter()
            .find(|(known, _)| known == id)
            .ok_or("a secret was sealed with a key that this run service was not given")?;
        let nonce = XNonce::try_from(nonce).map_err(|_| DAMAGED)?;
        let payload = Payload { msg: ciphertext, aad: context.as_bytes() };
        let secret = cipher.decrypt(&nonce, payload).map_err(|_| DAMAGED)?;
        String::from_utf8(secret).map_err(|_| DAMAGED)
    }
}

fn cipher(key: &[u8]) -> Result<(KeyId, XChaCha20Poly1305), InvalidKey> {
    let key = <[u8; KEY_BYTES]>::try_from(key).map_err(|_| InvalidKey { bytes: key.len() })?;
    let hash: [u8; 32] = Sha256::digest(key).into();
    let mut id = KeyId::default();
    id.copy_from_slice(&hash[..KEY_ID_BYTES]);
    Ok((id, XChaCha20Poly1305::new(&Key::from(key))))
}

#[async_trait]
impl Sealer for AeadSealer {
    async fn seal(&self, context: &str, secret: &str) -> Result<String, SealError> {
        let mut nonce = [0; NONCE_BYTES];
        self.nonces.lock().expect("the lock is never poisoned: no panic while held").fill_bytes(&mut nonce);
        let (id, cipher) = &self.keys[0];
        let payload = Payload { msg: secret.as_bytes(), aad: context.as_bytes() };
        let ciphertext = cipher
            .encrypt(&XNonce::from(nonce), payload)
            .map_err(|_| SealError::Refused { reason: "a secret is too long to be sealed".to_owned() })?;
        Ok(STANDARD_NO_PAD.encode([&id[..], &nonce, &ciphertext].concat()))
    }

    async fn open(&self, context: &str, sealed: &str) -> Result<String, SealError> {
        self.open_bytes(context, sealed).map_err(|reason| SealError::Refused { reason: reason.to_owned() })
    }
}

impl fmt::Debug for AeadSealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AeadSealer({} keys)", self.keys.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn no_change_of_a_sealed_value_goes_unnoticed() {
        let sealer = AeadSealer::new(&[1; 32]).expect("a key");
        let sealed = sealer.seal("/project/1", "hunter2").await.expect("sealed");
        assert!(!sealed.contains("hunter2"));
        assert_ne!(sealed, sealer.seal("/project/1", "hunter2").await.expect("sealed"), "a nonce was used twice");
        let bytes = STANDARD_NO_PAD.decode(&sealed).expect("base64");
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            sealer.open("/project/1", &STANDARD_NO_PAD.encode(changed)).await.expect_err("changed");
            sealer.open("/project/1", &STANDARD_NO_PAD.encode(&bytes[..at])).await.expect_err("cut");
        }
        sealer.open("/project/2", &sealed).await.expect_err("another context");
        let other = AeadSealer::new(&[2; 32]).expect("a key");
        let error = other.open("/project/1", &sealed).await.expect_err("another key").to_string();
        assert!(error.contains("a key that this run service was not given"), "{error}");
        assert_eq!(sealer.open("/project/1", &sealed).await.expect("opens"), "hunter2");
    }

    #[test]
    fn a_key_of_another_length_is_refused() {
        assert_eq!(AeadSealer::new(b"short").expect_err("refused"), InvalidKey { bytes: 5 });
    }
}
