//! The server under test, spoken to without the library that is tested.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use runyard_objectstorage::{S3Credentials, S3Settings, S3Storage};

/// The URL of the server.
pub(crate) fn endpoint() -> String {
    std::env::var("RUNYARD_TEST_S3")
        .expect("RUNYARD_TEST_S3 has to be the URL of a server: `scripts/s3-server up DIR` starts one and prints it")
}

/// The settings for a bucket on a server whose keys are those that the scripts set.
pub(crate) fn settings(endpoint: &str, bucket: &str) -> S3Settings {
    let mut settings = S3Settings::bucket(bucket);
    settings.endpoint = Some(endpoint.to_owned());
    settings.region = Some("us-east-1".to_owned());
    settings.credentials = S3Credentials::Keys {
        access_key_id: "runyard".to_owned(),
        secret_access_key: "runyard-secret".into(),
        session_token: None,
    };
    settings.silence_timeout = Duration::from_secs(60);
    settings
}

/// A bucket of its own for each caller, in this run and the next.
pub(crate) async fn new_bucket() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let bucket = format!("test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let answer = client().put(format!("{}/{bucket}", endpoint())).header("authorization", AUTHORIZATION).send().await;
    assert!(answer.unwrap().status().is_success(), "the bucket could not be created");
    bucket
}

pub(crate) async fn open(bucket: &str) -> S3Storage {
    S3Storage::open(settings(&endpoint(), bucket)).await.unwrap()
}

/// The answer to "which uploads are open?", as XML.
pub(crate) async fn open_uploads(bucket: &str) -> String {
    let request = client().get(format!("{}/{bucket}?uploads", endpoint())).header("authorization", AUTHORIZATION);
    let answer = request.send().await.unwrap();
    assert!(answer.status().is_success(), "the uploads could not be listed");
    answer.text().await.unwrap()
}

/// moto reads the region and the service from it, and checks nothing.
const AUTHORIZATION: &str = "AWS4-HMAC-SHA256 Credential=runyard/20200101/us-east-1/s3/aws4_request, \
                             SignedHeaders=host, Signature=0";

fn client() -> reqwest::Client {
    // With TLS compiled in, and no process-wide provider of it, a client has to be told.
    let tls = rustls::ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().build().unwrap()
}
