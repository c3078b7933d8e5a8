//! A store that was written when its formats were frozen: it opens, holds what it held, and goes on, wherever it lies.

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use runyard_objectstorage::MemoryStorage;
use serde::Deserialize;

use crate::script::{
    Objects, TRANSACTIONS, builder, check, check_hash, check_history, commit, commit_and_clean, litter, objects,
    storage_of,
};

/// An object of the store, without the base path.
#[derive(Deserialize)]
struct Object {
    name: String,
    base64: String,
}

/// What [`store`](crate::script::store) wrote then, at a base path.
async fn golden(base_path: &str) -> MemoryStorage {
    let lines = include_str!("../../golden/store-v1.jsonl").lines();
    let prefix = if base_path.is_empty() { String::new() } else { format!("{base_path}/") };
    let objects: Objects = lines
        .map(|line| {
            let Object { name, base64 } = serde_json::from_str(line).expect("an object");
            (format!("{prefix}{name}"), Bytes::from(STANDARD.decode(base64).expect("base64")))
        })
        .collect();
    storage_of(&objects).await
}

#[tokio::test(start_paused = true)]
async fn a_store_of_version_1_holds_what_it_held_and_goes_on_at_any_base_path() {
    for base_path in ["", "base", "a/deeper/path"] {
        let storage = golden(base_path).await;
        let data = builder(storage.clone(), base_path, 2).open().await.expect("whole");
        assert_eq!(check(&data).await.expect("readable"), TRANSACTIONS);
        assert!(check_history(&data).await.expect("readable") > 1);
        check_hash(&data).await;
        let report =
            runyard_datamanager::verify(std::sync::Arc::new(storage.clone()), base_path).await.expect("a store");
        assert!(report.is_sound() && report.orphans.is_empty() && report.foreign.is_empty(), "{report:?}");

        commit(&data, TRANSACTIONS + 1).await.expect("committed");
        commit_and_clean(&data, TRANSACTIONS + 2).await.expect("cleaned");
        assert_eq!(litter(&objects(&storage).await, base_path), [""; 0], "and nothing lies outside the base path");
        data.close().await;
        let data = builder(storage, base_path, 3).open().await.expect("whole");
        assert_eq!(check(&data).await.expect("readable"), TRANSACTIONS + 2);
    }
}
