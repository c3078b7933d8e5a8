//! Does an etcd that cannot be used say why, and what to do?

use std::{path::Path, process::Stdio, time::Duration};

use runyard_datamanager::{
    Error,
    coordinator::{Coordinator, EtcdCoordinator, EtcdSettings, EtcdTls, EtcdUser},
};
use tokio::{net::TcpListener, process::Command, time::timeout};

use crate::{
    contenders::{BACK_WITHIN, Contenders, NOTICED_WITHIN},
    server::{Cluster, connect, port, settings},
};

async fn refused(settings: EtcdSettings) -> String {
    let connecting = timeout(BACK_WITHIN, EtcdCoordinator::connect(settings));
    let error = connecting.await.expect("the first connection is tried once").expect_err("it cannot be used");
    assert!(matches!(error, Error::Coordinator { .. }), "{error:?}");
    let message = error.to_string();
    assert!(!message.contains("runyard-secret") && !message.contains("hunter2"), "{message}");
    message
}

#[track_caller]
fn assert_says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_that_are_not_there_or_do_not_answer_are_named() {
    let nobody = format!("127.0.0.1:{}", port());
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent_endpoint = silent.local_addr().unwrap().to_string();
    let mut hasty = settings(vec![nobody.clone(), silent_endpoint.clone()], "store");
    (hasty.connect_timeout, hasty.request_timeout) = (Duration::from_millis(300), Duration::from_millis(300));
    let message = refused(hasty).await;
    assert_says(&message, &[&nobody, "refused", &silent_endpoint, "within", "check that etcd runs there"]);

    let message = refused(EtcdSettings::new(["host"], "store")).await;
    assert_says(&message, &["`host`", "HOST:PORT"]);
    let message = refused(settings(vec!["does-not-exist.invalid:2379".to_owned()], "store")).await;
    assert_says(&message, &["does-not-exist.invalid:2379", "check that etcd runs there"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_member_that_answers_is_enough() {
    let cluster = Cluster::start(1).await;
    let mut endpoints = vec![format!("127.0.0.1:{}", port())];
    endpoints.extend(cluster.endpoints());
    let coordinator = connect(settings(endpoints, "store")).await;
    coordinator.campaign("scheduler").await.unwrap();
}

fn but(settings: &EtcdSettings, change: impl FnOnce(&mut EtcdSettings)) -> EtcdSettings {
    let mut changed = settings.clone();
    change(&mut changed);
    changed
}

fn user(name: &str, password: &str) -> Option<EtcdUser> {
    Some(EtcdUser { name: name.to_owned(), password: password.to_owned() })
}

#[tokio::test(flavor = "multi_thread")]
async fn users_need_the_right_password_and_permissions() {
    let mut cluster = Cluster::start(1).await;
    let mut with_user = cluster.settings("store");
    with_user.user = user("runyard", "runyard-secret");
    assert_says(&refused(with_user.clone()).await, &["not enabled", "check the user"]);

    for command in [
        &["user", "add", "root:root"][..],
        &["user", "grant-role", "root", "root"],
        &["role", "add", "store"],
        &["role", "grant-permission", "--prefix=true", "store", "readwrite", "store/"],
        &["role", "add", "reader"],
        &["role", "grant-permission", "--prefix=true", "reader", "read", "store/"],
        &["user", "add", "runyard:runyard-secret"],
        &["user", "grant-role", "runyard", "store"],
        &["user", "add", "reader:hunter2"],
        &["user", "grant-role", "reader", "reader"],
        &["auth", "enable"],
    ] {
        cluster.ctl(command).await;
    }
    cluster.ctl = vec!["--user".to_owned(), "root:root".to_owned()];

    let nobody = cluster.settings("store");
    assert_says(&refused(nobody.clone()).await, &["user name is empty", "check the user and the password"]);
    let wrong = but(&nobody, |settings| settings.user = user("runyard", "hunter2"));
    assert_says(&refused(wrong).await, &["authentication failed", "check the user and the password"]);
    let reader = but(&nobody, |settings| settings.user = user("reader", "hunter2"));
    assert_says(&refused(reader).await, &["permission denied", "grant the user"]);
    let elsewhere = but(&with_user, |settings| settings.prefix = "elsewhere".to_owned());
    assert_says(&refused(elsewhere).await, &["permission denied", "below the prefix"]);

    // And with the right ones, after a restart too, when the token is unknown.
    let contenders = Contenders::start(vec![with_user; 2]).await;
    contenders.are_back().await;
    cluster.kill_all().await;
    cluster.start_all().await;
    contenders.are_back().await;
    contenders.never_two_for_longer_than(NOTICED_WITHIN);
}

async fn certificates(directory: &Path) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/etcd");
    let made = Command::new(script).arg("certs").arg(directory).stdin(Stdio::null()).output().await.unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_needs_the_right_certificates_on_both_sides() {
    let directory = tempfile::tempdir().unwrap();
    certificates(directory.path()).await;
    let file = |name: &str| directory.path().join(name);
    let text = |name: &str| file(name).to_str().unwrap().to_owned();
    let (cert, key, ca) = (text("server.pem"), text("server-key.pem"), text("ca.pem"));
    let arguments = ["--cert-file", &cert, "--key-file", &key, "--client-cert-auth", "--trusted-ca-file", &ca];
    let (cert, key) = (text("client.pem"), text("client-key.pem"));
    let ctl = ["--cacert", &ca, "--cert", &cert, "--key", &key];
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let mut cluster = Cluster::start_with(1, "https", owned(&arguments), owned(&ctl)).await;

    let whole = EtcdTls { ca: Some(file("ca.pem")), cert: Some(file("client.pem")), key: Some(file("client-key.pem")) };
    let mut with_tls = cluster.settings("store");
    with_tls.tls = Some(whole.clone());
    let with = |tls: EtcdTls| but(&with_tls, |settings| settings.tls = Some(tls));

    let unknown_ca = EtcdTls { ca: Some(file("other-ca.pem")), ..whole.clone() };
    assert_says(&refused(with(unknown_ca)).await, &["certificate", "check the files of TLS"]);
    let system_ca = EtcdTls { ca: None, ..whole.clone() };
    assert_says(&refused(with(system_ca)).await, &["check the files of TLS"]);
    let no_certificate = EtcdTls { cert: None, key: None, ..whole.clone() };
    assert_says(&refused(with(no_certificate)).await, &["wants a certificate of this client"]);
    let missing = EtcdTls { ca: Some(file("missing.pem")), ..whole.clone() };
    assert_says(&refused(with(missing)).await, &["missing.pem", "cannot be read"]);
    let mixed_up = EtcdTls { key: Some(file("server-key.pem")), ..whole.clone() };
    assert_says(&refused(with(mixed_up)).await, &["check the files of TLS"]);
    let not_pem = EtcdTls { ca: Some(file("client.csr")), ..whole };
    assert_says(&refused(with(not_pem)).await, &["client.csr", "holds no certificate"]);
    let no_tls = but(&with_tls, |settings| settings.tls = None);
    assert_says(&refused(no_tls).await, &["whether it speaks TLS (`etcds://` does"]);

    let contenders = Contenders::start(vec![with_tls; 2]).await;
    contenders.are_back().await;
    cluster.kill_all().await;
    cluster.start_all().await;
    contenders.are_back().await;

    let plain = Cluster::start(1).await;
    let ca = EtcdTls { ca: Some(file("ca.pem")), ..EtcdTls::default() };
    let tls_to_plain = but(&plain.settings("store"), |settings| settings.tls = Some(ca));
    assert_says(&refused(tls_to_plain).await, &["check the files of TLS"]);
}
