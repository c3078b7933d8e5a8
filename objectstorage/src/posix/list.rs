//! How does a listing get from the blocking threads to its reader? In pages, each read when the one before is used up.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};

use super::{Store, blocking, walk::Walk};
use crate::{ListEntry, ListRequest, Result};

pub(super) fn list(store: Arc<Store>, request: ListRequest) -> BoxStream<'static, Result<ListEntry>> {
    let name = request.prefix.clone();
    stream::try_unfold(Walk::new(store.layout, request), move |mut walk| {
        let (store, name) = (store.clone(), name.clone());
        async move {
            if walk.is_done() {
                return Ok(None);
            }
            let page = move || {
                store.check_usable()?;
                let page = walk.page(&store.root)?;
                Ok(Some((page, walk)))
            };
            blocking("listing", name, page).await
        }
    })
    .map_ok(|page| stream::iter(page).map(Ok))
    .try_flatten()
    .boxed()
}
