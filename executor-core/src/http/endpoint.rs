//! Where does a server answer, how does one show who one is, and how patient is one?

use std::{
    fmt,
    sync::{Arc, RwLock},
    time::Duration,
};

use bytes::Bytes;
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde::{Deserialize, Serialize};

use super::{
    upload::{UploadError, upload},
    wire::Problem,
};
use crate::{
    contract::{ByteStream, StreamError},
    executor::{backoff::Backoff, random::Random},
};

/// The most bytes of an answer that is read as a whole.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// The numbers of a client over HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpSettings {
    /// How often a call is tried before its failure is the caller's. Default: 8.
    pub tries: u32,
    /// The first wait between two tries; it doubles. Default: 50 ms.
    pub backoff_first: Duration,
    /// The longest wait between two tries. Default: 5 s.
    pub backoff_max: Duration,
    /// How long a small call may take, and how long a server may take to begin an answer. Default: 30 s.
    pub call_timeout: Duration,
    /// After how long without a byte a stream is broken. Default: 30 s, three times the interval at which a run service
    /// says that it is there.
    pub silence_max: Duration,
    /// How long a server may take to store an archive that it has in full. Default: 10 min.
    pub store_timeout: Duration,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            tries: 8,
            backoff_first: Duration::from_millis(50),
            backoff_max: Duration::from_secs(5),
            call_timeout: Duration::from_secs(30),
            silence_max: Duration::from_secs(30),
            store_timeout: Duration::from_secs(600),
        }
    }
}

/// A server to call. Cloning is cheap; clones share their token.
#[derive(Clone)]
pub struct Endpoint {
    base: Url,
    http: reqwest::Client,
    settings: Arc<HttpSettings>,
    token: Arc<RwLock<Option<String>>>,
    random: Arc<Random>,
}

/// Why a text is not the URL of a server.
#[derive(Debug, thiserror::Error)]
#[error("`{url}` is not the URL of a server: {reason}; it looks like `http://host:8080/path`")]
pub struct InvalidUrl {
    /// The text.
    pub url: String,
    /// What is wrong with it.
    pub reason: String,
}

/// Why a call failed, after all tries.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The server answered with a problem.
    #[error(transparent)]
    Problem(Box<Problem>),
    /// There was no answer, or not all of it.
    #[error("there was no answer from {url}")]
    Transport {
        /// Where it was asked for, without what follows the host.
        url: String,
        /// What was reported.
        source: StreamError,
    },
}

impl CallError {
    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            // What a proxy says about a server that is not there, and what the server says itself.
            Self::Problem(problem) => matches!(problem.status, 429 | 502 | 503 | 504),
            Self::Transport { .. } => true,
        }
    }
}

impl Endpoint {
    /// A server at a URL, whose paths go on from there.
    ///
    /// Without [`http_client`](Self::http_client) it has a client without TLS, unless the program's `reqwest` has it.
    ///
    /// # Errors
    /// [`InvalidUrl`] if that is no URL of a server, or there is no randomness for jitter.
    ///
    /// # Panics
    /// As `reqwest::Client::new`, where some part of the program has built `reqwest` with TLS of nobody's choice.
    pub fn new(url: &str) -> Result<Self, InvalidUrl> {
        let invalid = |reason: String| InvalidUrl { url: url.to_owned(), reason };
        let mut base = Url::parse(url).map_err(|error| invalid(error.to_string()))?;
        if !matches!(base.scheme(), "http" | "https") || base.cannot_be_a_base() {
            return Err(invalid("it begins with neither `http://` nor `https://`".to_owned()));
        }
        if !base.path().ends_with('/') {
            let path = format!("{}/", base.path());
            base.set_path(&path);
        }
        let random = Random::from_os().map_err(|error| invalid(format!("no randomness: {error}")))?;
        Ok(Self {
            base,
            http: reqwest::Client::new(),
            settings: Arc::default(),
            token: Arc::default(),
            random: Arc::new(random),
        })
    }

    /// The token to show. See [`set_token`](Self::set_token).
    #[must_use]
    pub fn token(self, token: impl Into<String>) -> Self {
        self.set_token(token);
        self
    }

    /// The client to call with, such as one with TLS and certificates of its own.
    #[must_use]
    pub fn http_client(mut self, http: reqwest::Client) -> Self {
        self.http = http;
        self
    }

    /// Its numbers.
    #[must_use]
    pub fn settings(mut self, settings: HttpSettings) -> Self {
        self.settings = Arc::new(settings);
        self
    }

    /// Makes jitter repeatable. Default: the operating system's randomness.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.random = Arc::new(Random::seeded(seed));
        self
    }

    /// The token that every clone shows from now on.
    pub fn set_token(&self, token: impl Into<String>) {
        *self.token.write().expect("no panic happens while it is locked") = Some(token.into());
    }

    /// Its numbers, for reading.
    pub fn numbers(&self) -> &HttpSettings {
        &self.settings
    }

    /// A name that no other client has.
    pub(super) fn random_name(&self) -> String {
        self.random.id("client")
    }

    /// Begins a request to a path below the base; its segments are escaped.
    ///
    /// # Panics
    /// If a segment is `.` or `..`, which no URL can carry: ids and fixed words are not.
    pub fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        assert!(!path.iter().any(|segment| matches!(*segment, "." | "..")), "a segment that no URL can carry");
        let mut url = self.base.clone();
        url.path_segments_mut().expect("it was checked that it can be a base").pop_if_empty().extend(path);
        let request = self.http.request(method, url);
        match &*self.token.read().expect("no panic happens while it is locked") {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Waits as often as a call is tried.
    pub fn patience(&self) -> Patience {
        let Self { settings, random, .. } = self.clone();
        Patience { left: settings.tries.saturating_sub(1), backoff: fresh(&settings), settings, random }
    }

    /// Sends a request once, and returns the answer when its headers are there; what is no success is an error.
    pub async fn open(&self, request: RequestBuilder) -> Result<Response, CallError> {
        self.open_within(request, self.settings.call_timeout).await
    }

    pub(super) async fn open_within(&self, request: RequestBuilder, limit: Duration) -> Result<Response, CallError> {
        let sent = tokio::time::timeout(limit, request.send()).await;
        let response = sent.map_err(|_| self.broken("the answer took too long".into()))?;
        self.check(response.map_err(|error| self.broken(error.without_url().into()))?).await
    }

    /// Makes an error of an answer that is no success; also of one that is not ours, such as a proxy's.
    async fn check(&self, response: Response) -> Result<Response, CallError> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        // A refusal that breaks off says nothing: it is not to be taken for that of somebody else.
        let body = self.body(response).await?;
        let problem = serde_json::from_slice(&body).unwrap_or_else(|_| {
            let text: String = String::from_utf8_lossy(&body).chars().take(200).collect();
            let code = if status == StatusCode::NOT_FOUND { "no-route" } else { "not-ours" };
            Problem::new(status.as_u16(), code, status.canonical_reason().unwrap_or_default(), text)
        });
        Err(CallError::Problem(Box::new(problem)))
    }

    /// Sends a request until there is an answer, as often as its settings say, and returns its body.
    pub async fn call(&self, request: impl Fn() -> RequestBuilder + Send) -> Result<Bytes, CallError> {
        let mut patience = self.patience();
        loop {
            let answer = self.call_once(request());
            let answer = tokio::time::timeout(self.settings.call_timeout, answer).await;
            match answer.unwrap_or_else(|_| Err(self.broken("the answer took too long".into()))) {
                Ok(answer) => return Ok(answer),
                Err(error) => patience.after(error).await?,
            }
        }
    }

    async fn call_once(&self, request: RequestBuilder) -> Result<Bytes, CallError> {
        let response = self.open(request).await?;
        self.body(response).await
    }

    /// Like [`call`](Self::call), for an answer in JSON.
    pub async fn call_json<T: serde::de::DeserializeOwned>(
        &self,
        request: impl Fn() -> RequestBuilder + Send,
    ) -> Result<T, CallError> {
        let body = self.call(request).await?;
        serde_json::from_slice(&body)
            .map_err(|error| self.broken(format!("the answer is not what was expected: {error}").into()))
    }

    /// Like [`open`](Self::open), tried as often as its settings say.
    pub async fn open_retried(&self, request: impl Fn() -> RequestBuilder + Send) -> Result<Response, CallError> {
        let mut patience = self.patience();
        loop {
            match self.open(request()).await {
                Ok(response) => return Ok(response),
                Err(error) => patience.after(error).await?,
            }
        }
    }

    /// Sends something long, once, and returns the body of the answer.
    ///
    /// It may take any time to be made; the network and the run service may not take longer than the settings say.
    pub async fn upload(&self, request: RequestBuilder, source: ByteStream) -> Result<Bytes, UploadError> {
        upload(self, request, source, |source| source).await
    }

    async fn body(&self, mut response: Response) -> Result<Bytes, CallError> {
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|error| self.broken(error.without_url().into()))? {
            if body.len() + piece.len() > ANSWER_BYTES_MAX {
                return Err(self.broken("the answer is too long".into()));
            }
            body.extend_from_slice(&piece);
        }
        Ok(body.into())
    }

    pub(super) fn broken(&self, source: StreamError) -> CallError {
        CallError::Transport { url: self.base.origin().ascii_serialization(), source }
    }
}

fn fresh(settings: &HttpSettings) -> Backoff {
    Backoff::new(settings.backoff_first, settings.backoff_max)
}

/// How often, and after how long, something is tried again.
pub struct Patience {
    left: u32,
    backoff: Backoff,
    settings: Arc<HttpSettings>,
    random: Arc<Random>,
}

impl Patience {
    /// Waits before the next try; false if there is none.
    pub async fn wait(&mut self) -> bool {
        let Some(left) = self.left.checked_sub(1) else { return false };
        self.left = left;
        self.backoff.wait(&self.random).await;
        true
    }

    /// Waits if the same call may succeed later.
    ///
    /// # Errors
    /// `error`, if that was the last try, or no other can succeed.
    pub async fn after(&mut self, error: CallError) -> Result<(), CallError> {
        tracing::debug!(error = &error as &dyn std::error::Error, "a call failed");
        if error.is_retryable() && self.wait().await { Ok(()) } else { Err(error) }
    }

    /// Something went on: as many tries as in the beginning.
    pub fn reset(&mut self) {
        self.left = self.settings.tries.saturating_sub(1);
        self.backoff = fresh(&self.settings);
    }
}

impl fmt::Debug for Patience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Patience").field("left", &self.left).finish_non_exhaustive()
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("base", &self.base.as_str()).finish_non_exhaustive()
    }
}
