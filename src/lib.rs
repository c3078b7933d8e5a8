//! Runyard: build CI/CD services from parts.
//!
//! This crate is the front door: it re-exports the rooms of the house, and adds [`serve`], which runs what a host put
//! together until it is told to stop.
//!
//! | module | answers |
//! |---|---|
//! | [`objectstorage`] | where do bytes live? |
//! | [`datamanager`] | how is a change made durable, ordered and readable? |
//! | [`runservice`] | what should happen next to a run? |
//! | [`executor`] | how is a task executed? |
//!
//! `examples/embed.rs` puts them together.
//!
//! With the feature `etcd`, several processes share a store, with hints from an etcd
//! (`datamanager::coordinator::EtcdCoordinator`). Its build needs `protoc` and the well-known `.proto` files (Debian's
//! `protobuf-compiler` and `libprotobuf-dev`); what it compiles links to no C library.
//!
//! With the feature `s3`, objects live in a bucket. A program that makes `reqwest` clients of its own then has to begin
//! with `let _ = rustls::crypto::ring::default_provider().install_default();`, or they panic where nothing else chose a
//! provider of TLS: Cargo builds `reqwest` once for all, and `objectstorage::S3Storage` says the rest.
//!
//! With the feature `docker`, tasks run in containers (`executor::driver::DockerDriver`): of Docker, or of Podman by the same
//! API. Containers get a toolbox of their own, linked statically, which `scripts/toolbox` of the repository builds.
//!
//! With the feature `http`, executors may be elsewhere (`executor::http::HttpClient`, `runservice::http::executor_router`), and a
//! host may offer its runs to its users (`runservice::http::management_router`).

use std::future::Future;

use futures::{StreamExt, pin_mut};
use futures::{future::BoxFuture, stream::FuturesUnordered};
pub use runyard_datamanager as datamanager;
pub use runyard_executor_core as executor;
pub use runyard_objectstorage as objectstorage;
pub use runyard_runservice_core as runservice;
use tokio_util::sync::CancellationToken;

/// What a service ends with.
pub type ServiceResult = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// Runs services side by side until `stop` resolves or one of them ends, then lets all of them end cleanly.
///
/// Each service is made with a token that is cancelled when it is to end.
///
/// # Errors
/// The first error of a service.
///
/// # Cancel safety
/// Dropping the future ends the services at once, without their clean end.
pub async fn serve<'a, S>(
    stop: impl Future<Output = ()>,
    services: impl FnOnce(CancellationToken) -> S,
) -> ServiceResult
where
    S: IntoIterator<Item = BoxFuture<'a, ServiceResult>>,
{
    let shutdown = CancellationToken::new();
    let mut running: FuturesUnordered<_> = services(shutdown.clone()).into_iter().collect();
    let mut first = Ok(());
    pin_mut!(stop);
    tokio::select! {
        () = &mut stop => {}
        Some(ended) = running.next() => first = ended,
    }
    shutdown.cancel();
    while let Some(ended) = running.next().await {
        first = first.and(ended);
    }
    first
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn the_end_of_one_service_ends_the_others_cleanly() {
        let ended = AtomicUsize::new(0);
        let result = serve(std::future::pending(), |shutdown| {
            let waits = |token: CancellationToken| {
                let ended = &ended;
                async move {
                    token.cancelled().await;
                    ended.fetch_add(1, Ordering::Relaxed);
                    Ok(())
                }
                .boxed()
            };
            [async { Err("broken".into()) }.boxed(), waits(shutdown.clone()), waits(shutdown)]
        })
        .await;
        assert_eq!(result.expect_err("the first error").to_string(), "broken");
        assert_eq!(ended.load(Ordering::Relaxed), 2);
    }
}
