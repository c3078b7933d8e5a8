//! Does the whole suite pass, in a bucket and below a prefix?

use std::sync::Arc;

use runyard_objectstorage::{
    Capabilities, ConditionalCreate, KEY_BYTES_MAX, ObjectStorage, ObjectStorageExt, PrefixStorage, conformance,
};

use crate::server::{new_bucket, open};

/// Enough objects for a second page; a server in Python writes 30 a second.
fn slow() -> conformance::Settings {
    let mut settings = conformance::Settings::default();
    (settings.race_rounds, settings.listed_objects) = (100, 1_050);
    settings
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_conforms() {
    conformance::run_with(async || Arc::new(open(&new_bucket().await).await) as Arc<dyn ObjectStorage>, slow()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_below_a_prefix_conforms() {
    let mut settings = slow();
    settings.key_bytes_max = KEY_BYTES_MAX - 2;
    // The races and the pages are those of the bucket.
    (settings.race_rounds, settings.listed_objects) = (5, 300);
    let make = async || {
        let part = PrefixStorage::new(open(&new_bucket().await).await, "p");
        Arc::new(part.unwrap()) as Arc<dyn ObjectStorage>
    };
    conformance::run_with(make, settings).await;
}

#[tokio::test]
async fn the_server_is_found_to_create_atomically_and_nothing_is_left_of_the_probe() {
    let storage = open(&new_bucket().await).await;
    let Capabilities { conditional_create, attributes, .. } = storage.capabilities();
    assert_eq!((conditional_create, attributes), (ConditionalCreate::Honoured, true));
    assert_eq!(storage.list_objects("").await.unwrap(), []);
}
