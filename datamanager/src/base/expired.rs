//! Why is a data file not there: was its checkpoint cleaned away, or is the store damaged?

use futures::TryStreamExt;
use runyard_objectstorage::{ListEntry, ObjectStorageExt};

use crate::{
    Error, Result,
    manifest::{Manifest, format},
    table::{DataFiles, missing},
};

/// What a missing file of a manifest means to who reads it.
///
/// Cleaners delete a manifest before its files. So if the manifest is there, its files should be; if it is not, and
/// there is a newer one, this was an old checkpoint that nobody knew to be in use.
pub(super) async fn explain(files: &DataFiles, manifest: &Manifest, error: Error) -> Error {
    let Some(file) = missing(&error) else { return error };
    let corrupt = Error::Corrupt { object: file.to_string(), reason: "it is missing".to_owned() };
    match oldest_from(files, manifest.number).await {
        Ok(Some(oldest)) if oldest.number > manifest.number => {
            Error::PositionExpired { position: manifest.position, oldest: oldest.position }
        }
        Ok(_) => corrupt,
        Err(error) => error,
    }
}

/// The first manifest that there is, from a number on.
async fn oldest_from(files: &DataFiles, number: u64) -> Result<Option<Manifest>> {
    let (layout, storage) = (files.layout(), files.storage());
    loop {
        let mut listing = storage.list(layout.manifests_after(number.saturating_sub(1)));
        let mut was_cleaned = false;
        while let Some(entry) = listing.try_next().await.map_err(Error::storage("listing the manifests"))? {
            let ListEntry::Object(meta) = entry else { continue };
            let Some(number) = layout.manifest_number_of(&meta.key) else { continue };
            let bytes = match storage.get_bytes(&meta.key).await {
                Ok(bytes) => bytes,
                Err(error) if error.is_not_found() => {
                    was_cleaned = true;
                    continue;
                }
                Err(error) => return Err(Error::storage("reading a manifest")(error)),
            };
            let (manifest, _) = format::decode(number, &bytes)
                .map_err(|damage| Error::Corrupt { object: meta.key.to_string(), reason: damage.to_owned() })?;
            return Ok(Some(manifest));
        }
        // What is cleaned has newer ones after it: the listing was too old to have them.
        if !was_cleaned {
            return Ok(None);
        }
    }
}
