//! What does a floor look like in the storage?
//!
//! ```text
//! floor   magic "RYFL" | version u32 | number u64 | lsn u64 | CRC-32 of everything before u32
//! ```
//!
//! Frozen by a golden file.

use bytes::{BufMut, Bytes};

use super::Floor;
use crate::codec::{Damage, Reader};

const MAGIC: &[u8; 4] = b"RYFL";
const VERSION: u32 = 1;

/// How long a floor is.
pub(super) const BYTES: usize = 4 + 4 + 8 + 8 + 4;

pub(super) fn encode(floor: Floor) -> Bytes {
    let mut out = Vec::with_capacity(BYTES);
    out.put_slice(MAGIC);
    out.put_u32_le(VERSION);
    out.put_u64_le(floor.number);
    out.put_u64_le(floor.lsn);
    let crc = crc32fast::hash(&out);
    out.put_u32_le(crc);
    out.into()
}

/// Reads the floor that should have this number.
pub(crate) fn decode(number: u64, bytes: &[u8]) -> Result<Floor, Damage> {
    let mut reader = Reader::new(bytes);
    if reader.array::<4>()? != *MAGIC {
        return Err("it is not the floor of a log");
    }
    if reader.u32()? != VERSION {
        return Err("its version is not one that this program reads");
    }
    let floor = Floor { number: reader.u64()?, lsn: reader.u64()? };
    let crc = reader.u32()?;
    reader.end()?;
    if crc32fast::hash(&bytes[..BYTES - 4]) != crc {
        return Err("its checksum does not match its content");
    }
    if floor.number != number {
        return Err("it is a floor of another number");
    }
    Ok(floor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_floor_is_what_it_was() {
        let floor = Floor { number: 7, lsn: 0x0102_0304 };
        let golden = include_bytes!("../../../golden/floor-v1.bin");
        assert_eq!(encode(floor)[..], golden[..]);
        assert_eq!(decode(7, golden), Ok(floor));
    }

    #[test]
    fn no_damage_goes_unnoticed() {
        let good = encode(Floor { number: 7, lsn: 99 });
        for bit in 0..good.len() * 8 {
            let mut damaged = good.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(7, &damaged).is_err(), "bit {bit}");
        }
        for length in 0..good.len() {
            assert!(decode(7, &good[..length]).is_err(), "{length} bytes");
        }
        assert!(decode(7, &[&good[..], b"\0"].concat()).is_err());
        assert!(decode(8, &good).is_err(), "a floor of another number");
    }
}
