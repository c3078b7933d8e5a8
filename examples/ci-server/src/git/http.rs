//! Which requests make up smart HTTP? (*gitprotocol-http*)

use std::{pin::Pin, sync::Arc, time::Duration};

use async_compression::tokio::bufread::GzipDecoder;
use axum::{
    Extension, Router,
    body::Body,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt, stream};
use tokio::io::{AsyncRead, AsyncReadExt, BufReader};
use tokio_util::io::StreamReader;

use super::{
    Error, GitService, Result, pktline,
    push_request::{self, PushRequest},
    upload_pack,
};
use crate::configdata::{self, Project, ProjectId};

/// How often a client is told that its push is still worked on, so that nothing between closes the connection.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// The largest request of a fetch, in bytes.
const FETCH_REQUEST_BYTES_MAX: u64 = 64 << 20;

/// What a request may do. Authentication adds it to the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Everything.
    Full,
    /// Fetch from the repository of one project.
    Read(ProjectId),
}

/// A body as the git programs read it.
type Reader = Pin<Box<dyn AsyncRead + Send>>;

/// The routes of every repository, `/git/<project>.git/...`. Whoever gets here is authenticated.
pub(crate) fn routes(service: Arc<GitService>) -> Router {
    Router::new()
        .route("/git/{repository}/info/refs", get(info_refs))
        .route("/git/{repository}/git-upload-pack", post(fetch))
        .route("/git/{repository}/git-receive-pack", post(push))
        .with_state(service)
}

#[derive(Debug, serde::Deserialize)]
struct InfoRefs {
    service: Option<String>,
}

async fn info_refs(
    State(service): State<Arc<GitService>>,
    Extension(access): Extension<Access>,
    Path(repository): Path<String>,
    Query(query): Query<InfoRefs>,
    headers: HeaderMap,
) -> Result<Response> {
    let writes = query.service.as_deref() == Some("git-receive-pack");
    let project = find(&service, &repository, &access, writes).await?;
    let protocol = protocol(&headers);
    match query.service.as_deref() {
        Some("git-upload-pack") => {
            let git_dir = service.caches.synced(&project.id).await?;
            let refs = upload_pack::advertisement(&git_dir, protocol).await?;
            Ok(reply("application/x-git-upload-pack-advertisement", refs))
        }
        Some("git-receive-pack") => {
            let repository = service.config.repository(&project.id).await?;
            let refs = push_request::advertisement(&repository.refs, protocol);
            Ok(reply("application/x-git-receive-pack-advertisement", refs))
        }
        _ => Err(Error::Protocol("this server speaks only the smart protocol of git: use a newer client".to_owned())),
    }
}

async fn fetch(
    State(service): State<Arc<GitService>>,
    Extension(access): Extension<Access>,
    Path(repository): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    let project = find(&service, &repository, &access, false).await?;
    let git_dir = service.caches.synced(&project.id).await?;
    let request = reader(&headers, body)?.take(FETCH_REQUEST_BYTES_MAX);
    let answer = upload_pack::answer(&git_dir, protocol(&headers), request)?;
    Ok(reply("application/x-git-upload-pack-result", answer))
}

async fn push(
    State(service): State<Arc<GitService>>,
    Extension(access): Extension<Access>,
    Path(repository): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response> {
    let project = find(&service, &repository, &access, true).await?;
    let mut body = reader(&headers, body)?;
    let request = PushRequest::read(&mut body).await?;
    let kind = "application/x-git-receive-pack-result";
    // Before a large push, git asks with an empty one whether it may.
    if request.commands.is_empty() {
        return Ok(reply(kind, Body::empty()));
    }
    let side_band = request.side_band;
    let work = Box::pin(async move { service.receive(&project.id, &request, body).await.encode(&request) });
    // The reply begins at once, and the work is done while it is being read: if the client goes away, it ends.
    let pieces = stream::unfold(Some(work), move |work| async move {
        let mut work = work?;
        if !side_band {
            return Some((work.await, None));
        }
        match tokio::time::timeout(KEEPALIVE_INTERVAL, &mut work).await {
            Ok(report) => Some((report, None)),
            Err(_) => Some((keepalive(), Some(work))),
        }
    });
    Ok(reply(kind, Body::from_stream(pieces.map(Ok::<_, std::convert::Infallible>))))
}

/// A packet with nothing in it.
fn keepalive() -> Bytes {
    let mut out = BytesMut::new();
    pktline::write(&mut out, [pktline::BAND_DATA]);
    out.freeze()
}

async fn find(service: &GitService, repository: &str, access: &Access, writes: bool) -> Result<Project> {
    let reference = repository.strip_suffix(".git").unwrap_or(repository);
    let project = service.config.find_project(reference).await?;
    match access {
        Access::Full => Ok(project),
        Access::Read(only) if *only == project.id && !writes => Ok(project),
        Access::Read(_) => Err(Error::Forbidden),
    }
}

fn protocol(headers: &HeaderMap) -> &str {
    headers.get("git-protocol").and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn reader(headers: &HeaderMap, body: Body) -> Result<Reader> {
    let plain = StreamReader::new(body.into_data_stream().map_err(std::io::Error::other));
    match headers.get(header::CONTENT_ENCODING).map(|value| value.as_bytes()) {
        None | Some(b"identity") => Ok(Box::pin(plain)),
        Some(b"gzip" | b"x-gzip") => Ok(Box::pin(GzipDecoder::new(BufReader::new(plain)))),
        Some(_) => Err(Error::Protocol("its body has an encoding other than gzip".to_owned())),
    }
}

fn reply(kind: &'static str, body: impl Into<Body>) -> Response {
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-cache, max-age=0, must-revalidate")], body.into())
        .into_response()
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::Config(configdata::Error::ProjectNotFound { .. }) => StatusCode::NOT_FOUND,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::Protocol(_) | Self::Body(_) => StatusCode::BAD_REQUEST,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        if status.is_server_error() {
            tracing::error!(error = &self as &dyn std::error::Error, "a git request failed");
        }
        // Git shows plain text to its user.
        (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], format!("{self}\n")).into_response()
    }
}
