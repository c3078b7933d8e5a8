//! Which format does a store have, and which store is it?
//!
//! One small object of JSON, written once, before anything else:
//! `{"format":1,"store":"<32 hex digits>","check":"<CRC-32 of the digits>"}`. Frozen by a golden file.

use std::sync::Arc;

use bytes::Bytes;
use runyard_objectstorage::{ObjectStorage, ObjectStorageExt, PutMode};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    Error, Result,
    broken::{self, Broken},
    layout::Layout,
    record::Hash,
};

/// The version of the format that this program reads and writes.
const VERSION: u32 = 1;

const ADVICE: &str = "use the version of Runyard that wrote it, or a later one, or export the store with that version \
                      and import it here";

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Format {
    format: u32,
    store: String,
    check: String,
}

/// What every version of the format begins with.
#[derive(Debug, Deserialize)]
struct AnyFormat {
    format: u32,
}

/// What the first batch of the log is chained to.
pub(crate) fn genesis(format: &[u8]) -> Hash {
    Sha256::digest(format).into()
}

/// The id of the store, as its format object has it.
pub(crate) fn store_id(format: &[u8]) -> Option<String> {
    serde_json::from_slice::<Format>(format).ok().map(|format| format.store)
}

/// Reads the format object; none if there is none.
pub(crate) async fn read(storage: &Arc<dyn ObjectStorage>, layout: &Layout) -> Result<Option<Bytes>> {
    let bytes = match storage.get_bytes(&layout.format()).await {
        Ok(bytes) => bytes,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(Error::storage("reading the format of the store")(error)),
    };
    check(layout, &bytes)?;
    Ok(Some(bytes))
}

/// Writes the format object of a new store; of several processes that do, one wins, and all read what it wrote.
pub(crate) async fn create(storage: &Arc<dyn ObjectStorage>, layout: &Layout, store: [u8; 16]) -> Result<Bytes> {
    let bytes = encode(store);
    let mode = if broken::is(Broken::FormatOverwritten) { PutMode::Overwrite } else { PutMode::Create };
    match storage.put_bytes(&layout.format(), bytes.clone(), mode).await {
        Ok(()) => Ok(bytes),
        Err(error) if error.is_already_exists() => read(storage, layout).await?.ok_or_else(|| Error::Corrupt {
            object: layout.format().to_string(),
            reason: "it can neither be created nor read".to_owned(),
        }),
        Err(error) => Err(Error::storage("writing the format of a new store")(error)),
    }
}

fn encode(store: [u8; 16]) -> Bytes {
    let store: String = store.iter().map(|byte| format!("{byte:02x}")).collect();
    text(&store).into()
}

fn text(store: &str) -> String {
    let check = check_of(store);
    format!("{{\"format\":{VERSION},\"store\":\"{store}\",\"check\":\"{check}\"}}\n")
}

pub(crate) fn check(layout: &Layout, bytes: &[u8]) -> Result<()> {
    let corrupt = |reason: String| Error::Corrupt { object: layout.format().to_string(), reason };
    let any: AnyFormat = serde_json::from_slice(bytes).map_err(|error| corrupt(error.to_string()))?;
    if any.format != VERSION {
        return Err(Error::FormatVersion {
            base_path: layout.base_path().to_owned(),
            found: any.format,
            supported: VERSION,
            advice: ADVICE,
        });
    }
    let format: Format = serde_json::from_slice(bytes).map_err(|error| corrupt(error.to_string()))?;
    if format.check != check_of(&format.store) {
        return Err(corrupt("its checksum does not match".to_owned()));
    }
    // The log is chained to its bytes, so there is one way to write it.
    if bytes != text(&format.store).as_bytes() {
        return Err(corrupt("it is not written as this program writes it".to_owned()));
    }
    Ok(())
}

fn check_of(store: &str) -> String {
    format!("{:08x}", crc32fast::hash(store.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_object_is_what_it_was() {
        let golden = include_bytes!("../../golden/format-v1.json");
        assert_eq!(encode([0x1f; 16])[..], golden[..]);
        check(&Layout::new("").unwrap(), golden).unwrap();
    }

    #[test]
    fn another_version_is_named_with_advice_and_garbage_is_corrupt() {
        let layout = Layout::new("base").unwrap();
        let error = check(&layout, b"{\"format\":2,\"anything\":{}}").expect_err("version 2");
        assert!(matches!(error, Error::FormatVersion { found: 2, supported: 1, .. }), "{error}");
        assert!(error.to_string().contains("`base`") && error.to_string().contains("export"), "{error}");
        for garbage in [&b""[..], b"\0", b"{}", b"{\"format\":1}", b"[1]"] {
            let error = check(&layout, garbage).expect_err("garbage");
            assert!(matches!(&error, Error::Corrupt { object, .. } if object == "base/format"), "{error}");
        }
    }

    #[test]
    fn no_flipped_bit_and_no_missing_end_goes_unnoticed() {
        let layout = Layout::new("").unwrap();
        let good = encode([0x1f; 16]);
        for bit in 0..good.len() * 8 {
            let mut damaged = good.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(check(&layout, &damaged).is_err(), "bit {bit}");
        }
        for length in 0..good.len() {
            assert!(check(&layout, &good[..length]).is_err(), "{length} bytes");
        }
    }
}
