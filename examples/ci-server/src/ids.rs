//! Where do new ids come from?
//!
//! From one source that is handed in: seeded by the operating system in the server, by a number in a test.

use std::sync::{Mutex, MutexGuard};

use rand::{Rng, SeedableRng, TryRng, rngs::StdRng, rngs::SysRng};

/// A source of ids.
#[derive(Debug)]
pub(crate) struct Ids(Mutex<StdRng>);

impl Ids {
    /// A source that nobody can predict.
    pub(crate) fn from_os() -> std::io::Result<Self> {
        let mut seed = [0; 32];
        fill_from_os(&mut seed)?;
        Ok(Self(Mutex::new(StdRng::from_seed(seed))))
    }

    /// A source that yields the same ids for the same seed.
    #[cfg(test)]
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(Mutex::new(StdRng::seed_from_u64(seed)))
    }

    /// A random UUID (version 4), as text.
    pub(crate) fn uuid(&self) -> String {
        let mut bytes = [0; 16];
        self.rng().fill_bytes(&mut bytes);
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        let hex = hex(&bytes);
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }

    fn rng(&self) -> MutexGuard<'_, StdRng> {
        self.0.lock().expect("the lock is never poisoned: no panic while held")
    }
}

/// Fills a buffer with bytes fit for a secret.
pub(crate) fn fill_from_os(bytes: &mut [u8]) -> std::io::Result<()> {
    SysRng.try_fill_bytes(bytes).map_err(std::io::Error::other)
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a text has the form of a UUID, and so could be taken for an id.
pub(crate) fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_the_form_of_a_uuid_and_differ() {
        let ids = Ids::seeded(1);
        let (first, second) = (ids.uuid(), ids.uuid());
        assert!(is_uuid(&first) && is_uuid(&second), "{first} {second}");
        assert_ne!(first, second);
        assert_eq!(Ids::seeded(1).uuid(), first);
        assert!(!is_uuid("backend") && !is_uuid(&first.replace('-', "0")));
    }
}
