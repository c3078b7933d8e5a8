//! Which keys are surely not in a file?
//!
//! A bloom filter over XXH3 hashes of the keys, both of them part of the format.
//!
//! ```text
//! filter    count of probes u8 | bits ...
//! ```

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use crate::codec::Damage;

/// How many bits a filter spends on a key, and how many of them it looks at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    bits_per_key: usize,
    probes: u8,
}

impl Rate {
    /// One false positive in a hundred.
    pub(super) const ONE_PERCENT: Self = Self { bits_per_key: 10, probes: 7 };
    /// One in a thousand.
    pub(super) const ONE_PER_MILLE: Self = Self { bits_per_key: 15, probes: 10 };

    /// How long a filter of so many keys is.
    pub(super) fn bytes(self, keys: usize) -> usize {
        1 + (keys * self.bits_per_key).div_ceil(8).max(BITS_BYTES_MIN)
    }
}

/// In fewer bits the probes of a key are too much alike.
const BITS_BYTES_MIN: usize = 32;

/// More probes than that are damage.
const PROBES_MAX: u8 = 30;

/// What a filter is made of, and asked for.
pub(crate) fn hash(key: &[u8]) -> u64 {
    xxh3_64(key)
}

/// A filter that contains all of these keys.
pub(super) fn build(hashes: &[u64], rate: Rate) -> Vec<u8> {
    let mut filter = vec![0; rate.bytes(hashes.len())];
    filter[0] = rate.probes;
    let bits = &mut filter[1..];
    let count = bits.len() as u64 * 8;
    for hash in hashes {
        for bit in probed(*hash, rate.probes, count) {
            bits[bit / 8] |= 1 << (bit % 8);
        }
    }
    filter
}

/// The keys of a file, and some that are not in it.
#[derive(Clone, Debug)]
pub(crate) struct Filter(Bytes);

impl Filter {
    /// Takes the bytes that [`build`] made.
    pub(crate) fn decode(bytes: Bytes) -> Result<Self, Damage> {
        match bytes.split_first() {
            Some((1..=PROBES_MAX, bits)) if !bits.is_empty() => Ok(Self(bytes)),
            _ => Err("a filter cannot be"),
        }
    }

    /// Whether a key may be in the file.
    pub(crate) fn may_contain(&self, key: &[u8]) -> bool {
        may_contain(&self.0, hash(key))
    }
}

/// Whether a key may be in what a filter was made of; a filter that cannot be excludes nothing.
pub(crate) fn may_contain(filter: &[u8], hash: u64) -> bool {
    let Some((probes @ 1..=PROBES_MAX, bits)) = filter.split_first() else { return true };
    let count = bits.len() as u64 * 8;
    bits.is_empty() || probed(hash, *probes, count).all(|bit| bits[bit / 8] & 1 << (bit % 8) != 0)
}

/// The bits of a key: the two halves of its hash in turns, spread over `count` bits.
fn probed(hash: u64, probes: u8, count: u64) -> impl Iterator<Item = usize> {
    let step = hash.rotate_left(32) | 1;
    (0..u64::from(probes)).map(move |n| {
        let probe = hash.wrapping_add(n.wrapping_mul(step));
        ((u128::from(probe) * u128::from(count)) >> 64) as usize
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_found_and_hardly_any_other() {
        for (rate, most) in [(Rate::ONE_PERCENT, 0.012), (Rate::ONE_PER_MILLE, 0.0012)] {
            for keys in [1_u64, 10, 50, 1_000, 100_000] {
                let hashes: Vec<_> = (0..keys).map(|key| hash(&key.to_be_bytes())).collect();
                let filter = Filter::decode(build(&hashes, rate).into()).unwrap();
                assert_eq!(filter.0.len(), rate.bytes(hashes.len()));
                assert!((0..keys).all(|key| filter.may_contain(&key.to_be_bytes())));
                let others = 200_000;
                let wrong = (keys..keys + others).filter(|key| filter.may_contain(&key.to_be_bytes())).count();
                assert!(wrong as f64 <= most * others as f64, "{wrong} of {others} beside {keys}");
            }
        }
    }

    #[test]
    fn the_filter_is_what_it_was() {
        let hashes = [hash(b""), hash(b"a"), hash(b"runs/1")];
        assert_eq!(
            hashes,
            [0x2d06_8005_38d3_94c2, 0xe6c6_32b6_1e96_4e1f, 0xff2e_26ab_2b79_9794],
            "old files could not be read any more"
        );
        let filter = build(&hashes[1..2], Rate::ONE_PERCENT);
        let set: Vec<_> = (0..filter.len() * 8).filter(|bit| filter[bit / 8] & 1 << (bit % 8) != 0).collect();
        // The first three are the count of probes.
        assert_eq!(set, [0, 1, 2, 13, 43, 74, 105, 135, 166, 238]);
    }

    #[test]
    fn a_filter_that_cannot_be_is_refused_and_excludes_nothing() {
        for wrong in [&[][..], &[7], &[0, 0], &[31, 0]] {
            assert!(Filter::decode(Bytes::copy_from_slice(wrong)).is_err());
            assert!(may_contain(wrong, 1));
        }
    }
}
