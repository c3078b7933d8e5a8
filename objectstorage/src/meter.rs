//! Does a body have the length that was announced?

use crate::{Error, ObjectKey, PutSize, Result};

/// Counts a body while it is read, and says at the earliest moment that it cannot have the announced size.
#[derive(Debug)]
pub(crate) struct BodyMeter {
    key: ObjectKey,
    announced: Option<u64>,
    seen: u64,
}

impl BodyMeter {
    pub(crate) fn new(key: &ObjectKey, size: PutSize) -> Self {
        let announced = match size {
            PutSize::Unknown => None,
            PutSize::Exact(size) => Some(size),
        };
        Self { key: key.clone(), announced, seen: 0 }
    }

    /// Counts a piece; fails once the body is longer than announced.
    pub(crate) fn add(&mut self, bytes: usize) -> Result<()> {
        self.seen += bytes as u64;
        match self.announced {
            Some(announced) if self.seen > announced => Err(self.mismatch(announced, "at least")),
            _ => Ok(()),
        }
    }

    /// The body has ended; fails if it is shorter than announced.
    pub(crate) fn finish(self) -> Result<()> {
        match self.announced {
            Some(announced) if self.seen < announced => Err(self.mismatch(announced, "only")),
            _ => Ok(()),
        }
    }

    fn mismatch(&self, announced: u64, actual_phrase: &'static str) -> Error {
        Error::SizeMismatch { key: self.key.clone(), announced, actual: self.seen, actual_phrase }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measure(size: PutSize, pieces: &[usize]) -> Result<()> {
        let mut meter = BodyMeter::new(&ObjectKey::parse("k").unwrap(), size);
        for piece in pieces {
            meter.add(*piece)?;
        }
        meter.finish()
    }

    #[test]
    fn only_an_announced_size_can_be_missed() {
        measure(PutSize::Unknown, &[1, 2, 3]).unwrap();
        measure(PutSize::Exact(6), &[1, 2, 3]).unwrap();
        measure(PutSize::Exact(0), &[]).unwrap();
        let short = measure(PutSize::Exact(7), &[1, 2, 3]).unwrap_err();
        assert!(short.to_string().contains("only 6"), "{short}");
        let long = measure(PutSize::Exact(2), &[1, 2, 3]).unwrap_err();
        assert!(long.to_string().contains("at least 3"), "{long}");
    }
}
