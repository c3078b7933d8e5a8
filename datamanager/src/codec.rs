//! How do numbers and byte strings become bytes, and come back from bytes that may be anything?
//!
//! Integers are little-endian; lengths and counts are LEB128 in their shortest form. Reading never panics, and never
//! allocates more than the input is long.

use bytes::{BufMut, Bytes};

/// Why bytes do not decode, as a phrase.
pub(crate) type Damage = &'static str;

/// Writes a length or a count.
pub(crate) fn put_length(out: &mut Vec<u8>, length: usize) {
    put_number(out, length as u64);
}

/// Writes a number that is mostly small.
pub(crate) fn put_number(out: &mut Vec<u8>, number: u64) {
    let mut rest = number;
    while rest >= 0x80 {
        out.put_u8(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.put_u8(rest as u8);
}

/// Writes a byte string with its length.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_length(out, bytes.len());
    out.put_slice(bytes);
}

/// Reads what the functions of this module wrote.
#[derive(Debug)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], Damage> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or("it ends early")?;
        self.0 = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Damage> {
        let (taken, rest) = self.0.split_first_chunk().ok_or("it ends early")?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Damage> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Damage> {
        self.array().map(u64::from_le_bytes)
    }

    /// A number of any size, in its shortest form.
    #[inline]
    pub(crate) fn number(&mut self) -> Result<u64, Damage> {
        // Nearly all of them are one byte.
        if let Some((byte @ 0..0x80, rest)) = self.0.split_first() {
            self.0 = rest;
            return Ok((*byte).into());
        }
        self.long_number()
    }

    fn long_number(&mut self) -> Result<u64, Damage> {
        let mut number = 0_u64;
        for shift in (0..u64::BITS).step_by(7) {
            let [byte] = self.array()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                return Err("a number is too large");
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return if byte == 0 && shift > 0 { Err("a number is not in its shortest form") } else { Ok(number) };
            }
        }
        Err("a number is too long")
    }

    /// A length or a count of things that take at least one byte each: more than there are bytes is damage.
    pub(crate) fn length(&mut self) -> Result<usize, Damage> {
        let length = self.number()?;
        usize::try_from(length).ok().filter(|length| *length <= self.0.len()).ok_or("a length goes past the end")
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Damage> {
        let length = self.length()?;
        self.take(length)
    }

    /// A copy of a byte string: a slice would keep the whole object in memory.
    pub(crate) fn owned(&mut self) -> Result<Bytes, Damage> {
        self.bytes().map(Bytes::copy_from_slice)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, Damage> {
        std::str::from_utf8(self.bytes()?).map_err(|_| "a name is not UTF-8")
    }

    /// How much is left.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether everything was read.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn end(self) -> Result<(), Damage> {
        if self.0.is_empty() { Ok(()) } else { Err("it goes on after its end") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_read_back_and_never_go_past_the_end() {
        for length in [0, 1, 127, 128, 16_383, 16_384, 100_000] {
            let mut out = Vec::new();
            put_bytes(&mut out, &vec![7; length]);
            let mut reader = Reader::new(&out);
            assert_eq!(reader.bytes().unwrap().len(), length);
            reader.end().unwrap();
            assert!(length == 0 || Reader::new(&out[..out.len() - 1]).bytes().is_err());
        }
        for number in [0, 1, 0x7f, 0x80, u64::from(u32::MAX), 1 << 62, 1 << 63, u64::MAX] {
            let mut out = Vec::new();
            put_number(&mut out, number);
            let mut reader = Reader::new(&out);
            assert_eq!(reader.number().unwrap(), number);
            assert!(reader.is_empty());
        }
        assert!(Reader::new(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]).number().is_err());
        for bad in [&[0x80, 0x00][..], &[0xff; 12], &[0x80], &[]] {
            assert!(Reader::new(bad).length().is_err(), "{bad:?}");
        }
    }
}
