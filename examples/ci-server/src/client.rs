//! How does the command line talk to a server?

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use reqwest::{Method, StatusCode, Url};
use serde::{Serialize, de::DeserializeOwned};

use crate::server::problem::Problem;

/// The API of one server.
#[derive(Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    server: Url,
    token: Option<String>,
}

/// Why a call to the server failed; the message says what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The address is of no use.
    #[error("`{url}` is not the address of a server: {reason}")]
    Address {
        /// What was given.
        url: String,
        /// Why not.
        reason: String,
    },
    /// Nobody answered.
    #[error(
        "the server at {server} cannot be reached: start it with `runyard serve`, or give its address with --server"
    )]
    Unreachable {
        /// Where it should be.
        server: Url,
        source: reqwest::Error,
    },
    /// The server said no.
    #[error("{}", .0.detail)]
    Refused(Problem),
    /// The answer did not come whole.
    #[error("the answer of the server at {server} broke off: try again")]
    BrokenOff {
        /// Where it is.
        server: Url,
        source: reqwest::Error,
    },
    /// What answered is not a Runyard server.
    #[error("{server} does not answer as a Runyard server ({what}): is the address right?")]
    NotRunyard {
        /// Where it should be.
        server: Url,
        /// What was seen instead.
        what: String,
    },
}

/// What speaks HTTP to servers.
pub(crate) fn http() -> reqwest::Result<reqwest::Client> {
    #[cfg(feature = "s3")]
    // With TLS compiled in, a client does not start without a provider of it. Another one may be installed already.
    drop(rustls::crypto::ring::default_provider().install_default());
    reqwest::Client::builder().no_proxy().build()
}

impl Client {
    /// A client of the server at `server`.
    pub(crate) fn new(server: &str, token: Option<String>) -> Result<Self, Error> {
        let invalid = |reason: &str| Error::Address { url: server.to_owned(), reason: reason.to_owned() };
        let url = Url::parse(server).map_err(|error| invalid(&format!("{error}; write it as http://host:port")))?;
        match url.scheme() {
            "http" if url.host().is_some() => {}
            "https" => {
                return Err(invalid(
                    "this build speaks plain http only; reach the server over a tunnel, such as `ssh -L 8080:localhost:8080 host`",
                ));
            }
            _ => return Err(invalid("write it as http://host:port")),
        }
        let http = http().map_err(|error| invalid(&error.to_string()))?;
        Ok(Self { http, server: url, token })
    }

    /// The address of a path below the server's.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.server.as_str().trim_end_matches('/'))
    }

    /// Asks for something; `query` is a structure of plain fields.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str, query: &impl Serialize) -> Result<T, Error> {
        self.call(self.request(Method::GET, path).query(query)).await
    }

    /// Asks for something to be made.
    pub(crate) async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Error> {
        self.call(self.request(Method::POST, path).json(body)).await
    }

    /// Asks for a body that is read while it comes.
    pub(crate) async fn stream(
        &self,
        path: &str,
        query: &impl Serialize,
    ) -> Result<BoxStream<'static, Result<Bytes, Error>>, Error> {
        let response = self.send(self.request(Method::GET, path).query(query)).await?;
        let server = self.server.clone();
        let broken = move |source| Error::BrokenOff { server: server.clone(), source };
        Ok(response.bytes_stream().map_err(broken).boxed())
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, self.url(&format!("/api/v1{path}")));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    async fn call<T: DeserializeOwned>(&self, request: reqwest::RequestBuilder) -> Result<T, Error> {
        let body = self.send(request).await?.bytes().await;
        let body = body.map_err(|source| Error::BrokenOff { server: self.server.clone(), source })?;
        serde_json::from_slice(&body).map_err(|error| self.not_runyard(error.to_string()))
    }

    /// Sends a request, and turns every answer but a success into an error.
    async fn send(&self, request: reqwest::RequestBuilder) -> Result<reqwest::Response, Error> {
        let unreachable = |source| Error::Unreachable { server: self.server.clone(), source };
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        if matches!(status, StatusCode::OK | StatusCode::CREATED) {
            return Ok(response);
        }
        let body = response.bytes().await.map_err(unreachable)?;
        match serde_json::from_slice(&body) {
            Ok(problem) => Err(Error::Refused(problem)),
            Err(_) => Err(self.not_runyard(format!("status {status}"))),
        }
    }

    fn not_runyard(&self, what: String) -> Error {
        Error::NotRunyard { server: self.server.clone(), what }
    }
}

/// A text as one part of a path.
pub(crate) fn segment(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~');
    // A dot is written out as well: `..` would be taken for the directory above.
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_no_use_is_refused_with_what_to_do() {
        for (address, advice) in [
            ("https://ci.example.org", "ssh -L"),
            ("ci.example.org", "http://host:port"),
            ("ftp://ci.example.org", "http://host:port"),
            ("", "http://host:port"),
        ] {
            let error = Client::new(address, None).expect_err(address).to_string();
            assert!(error.contains(advice), "{address}: {error}");
        }
        let client = Client::new("http://localhost:8080/", None).expect("valid");
        assert_eq!(client.url("/git/a.git"), "http://localhost:8080/git/a.git");
    }
}
