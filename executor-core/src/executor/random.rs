//! Where do ids and jitter come from?

use std::sync::Mutex;

use rand::{Rng, SeedableRng, rngs::StdRng, rngs::SysRng};

/// A seedable source of ids and jitter, shared by all tasks of an executor.
pub(crate) struct Random(Mutex<StdRng>);

impl Random {
    /// A source that repeats itself for the same seed.
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(Mutex::new(StdRng::seed_from_u64(seed)))
    }

    /// A source seeded by the operating system.
    pub(crate) fn from_os() -> std::io::Result<Self> {
        let rng = StdRng::try_from_rng(&mut SysRng).map_err(std::io::Error::other)?;
        Ok(Self(Mutex::new(rng)))
    }

    /// `prefix-` and 20 random characters of `a-z` and `2-7`: 100 bits.
    pub(crate) fn id(&self, prefix: &str) -> String {
        const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
        let mut bytes = [0; 20];
        self.rng().fill_bytes(&mut bytes);
        let random: String = bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect();
        format!("{prefix}-{random}")
    }

    /// A number in `0.0..1.0`.
    pub(crate) fn fraction(&self) -> f64 {
        f64::from(self.rng().next_u32()) / (f64::from(u32::MAX) + 1.0)
    }

    fn rng(&self) -> std::sync::MutexGuard<'_, StdRng> {
        self.0.lock().expect("no panic happens while the source is locked")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_ids() {
        let ids = |seed| {
            let random = Random::seeded(seed);
            [random.id("pod"), random.id("pod")]
        };
        assert_eq!(ids(7), ids(7));
        assert_ne!(ids(7)[0], ids(7)[1]);
        assert_ne!(ids(7), ids(8));
    }
}
