//! Where does the server listen, and how does it end?

use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// How long open requests may go on after the end was asked for.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Takes the address, with an error that says what to do.
pub(crate) async fn bind(address: &str) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            format!("address {address} is in use: stop the program that listens there, or choose another with --listen")
        }
        std::io::ErrorKind::PermissionDenied => {
            format!("address {address} is not allowed for this user: choose a port above 1023 with --listen")
        }
        _ => format!("cannot listen on `{address}`: {error}; give an address such as 127.0.0.1:8080 with --listen"),
    })
}

/// Answers requests until `end` is cancelled, then lets the open ones finish for a while.
pub(crate) async fn serve(listener: TcpListener, router: Router, end: CancellationToken) -> std::io::Result<()> {
    let serving = axum::serve(listener, router).with_graceful_shutdown(end.clone().cancelled_owned()).into_future();
    let too_long = async {
        end.cancelled().await;
        tokio::time::sleep(DRAIN_TIMEOUT).await;
    };
    tokio::select! {
        ended = serving => ended,
        () = too_long => Ok(()),
    }
}

/// Completes when the process is asked to end, by Ctrl-C or SIGTERM.
pub(crate) async fn asked_to_end() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
