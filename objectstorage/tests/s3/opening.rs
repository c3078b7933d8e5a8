//! Does a bucket that cannot be used say why, and what to do?

use std::{error::Error as _, time::Duration};

use runyard_objectstorage::{Error, S3Settings, S3Storage};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use crate::server::{endpoint, settings};

async fn refused(settings: S3Settings) -> String {
    let error = S3Storage::open(settings).await.expect_err("it cannot be used");
    assert!(matches!(error, Error::Unusable { .. }), "{error:?}");
    let source = error.source().map(ToString::to_string).unwrap_or_default();
    assert!(!format!("{error:?} {source}").contains("runyard-secret"), "the secret is shown");
    error.to_string()
}

/// A server on loopback that gives every request this answer; none at all if it is empty.
async fn answering(status: &'static str, body: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut silent = Vec::new();
        while let Ok((mut connection, _)) = listener.accept().await {
            if status.is_empty() {
                silent.push(connection);
                continue;
            }
            let mut request = [0; 16_384];
            let _ = connection.read(&mut request).await;
            let length = body.len();
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
            let _ = connection.write_all(answer.as_bytes()).await;
        }
    });
    format!("http://{address}")
}

#[tokio::test]
async fn an_absent_bucket_is_named() {
    let message = refused(settings(&endpoint(), "no-such-bucket")).await;
    assert!(message.contains("bucket `no-such-bucket`") && message.contains(&endpoint()), "{message}");
    assert!(message.contains("create the bucket"), "{message}");
}

#[tokio::test]
async fn refusals_say_what_to_check() {
    for (status, body, expected) in [
        ("403 Forbidden", "<Error><Code>SignatureDoesNotMatch</Code></Error>", "check the access key, the secret"),
        ("403 Forbidden", "<Error><Code>InvalidAccessKeyId</Code></Error>", "check the access key, the secret"),
        ("403 Forbidden", "<Error><Code>AccessDenied</Code></Error>", "allowed s3:ListBucket"),
        ("301 Moved Permanently", "<Error><Code>PermanentRedirect</Code></Error>", "another region"),
    ] {
        let endpoint = answering(status, body).await;
        let message = refused(settings(&endpoint, "bucket")).await;
        assert!(message.contains(&endpoint) && message.contains("bucket `bucket`"), "{message}");
        assert!(message.contains(expected), "{body}: {message}");
    }
}

#[tokio::test]
async fn opening_ends_where_nobody_answers() {
    let silent = answering("", "").await;
    let mut patient = settings(&silent, "bucket");
    patient.objects.open_timeout = Duration::from_millis(300);
    let message = refused(patient).await;
    assert!(message.contains("did not answer within 300ms") && message.contains(&silent), "{message}");

    // A port on which nobody listens: it was free a moment ago.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let mut hasty = settings(&closed, "bucket");
    hasty.retries_max = 1;
    let message = refused(hasty).await;
    assert!(message.contains("cannot be reached") && message.contains(&closed), "{message}");
}
