//! With which client are requests sent? With one whose TLS is its own: nothing is installed for the whole process.

use std::{sync::Arc, time::Duration};

use object_store::{
    ClientOptions,
    client::{HttpClient, HttpConnector},
};
use rustls::{ClientConfig, crypto::ring};
use rustls_platform_verifier::BuilderVerifierExt;

/// Makes clients that trust what the machine trusts.
#[derive(Debug)]
pub(super) struct Connector {
    pub(super) connect_timeout: Duration,
    pub(super) silence_timeout: Duration,
    /// Whether requests may go over the network in the clear.
    pub(super) allow_http: bool,
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| object_store::Error::Generic {
            store: "HTTP client",
            source,
        };
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(BuilderVerifierExt::with_platform_verifier)
            .map_err(|error| failed(error.into()))?
            .with_no_client_auth();
        // The clients that ask a machine or a container for credentials are allowed what S3 itself is not.
        let is_for_credentials =
            options.get_config_value(&object_store::ClientConfigKey::AllowHttp).as_deref() == Some("true");
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .http1_only()
            .https_only(!(self.allow_http || is_for_credentials))
            .connect_timeout(self.connect_timeout)
            .read_timeout(self.silence_timeout)
            .user_agent(concat!("runyard/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(HttpClient::new(client.map_err(|error| failed(error.into()))?))
    }
}
