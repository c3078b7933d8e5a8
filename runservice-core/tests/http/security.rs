//! Who may call what, and what is refused before it does harm.

use bytes::Bytes;
use futures::StreamExt;
use runyard_executor_core::{
    contract::{AttemptState, ClientError, RunServiceClient, Siblings, StepRef},
    http::HttpClient,
};
use runyard_runservice_core::{Error, ErrorKind, NewJoinToken};

use crate::{
    hand::{Hand, archive, config, status},
    world::{Way, World, id, noise},
};

fn is_forbidden<T>(result: Result<T, ClientError>) {
    let error = result.err().expect("forbidden");
    assert!(matches!(error, ClientError::Forbidden { .. }), "{error:?}");
}

#[tokio::test]
async fn an_executor_speaks_for_nobody_else() {
    let world = World::new(Way::Http).await;
    let (victim, thief) = (world.client("victim").await, world.client("thief").await);
    let mut victim = Hand::register("victim", victim, &[]).await;
    world.create(config(&["a"])).await;
    let spec = victim.assigned("a").await;
    victim.accept(&spec).await;
    let fence = victim.fence(&spec);

    is_forbidden(thief.register(status("victim", &[])).await);
    is_forbidden(thief.heartbeat(&id("victim"), fence.epoch).await);
    is_forbidden(thief.siblings(&id("victim"), fence.epoch, Siblings::default()).await);
    is_forbidden(thief.accept(&fence).await);
    is_forbidden(thief.report(victim.report_of(&spec, AttemptState::Success, 0)).await);
    is_forbidden(thief.append_log(&fence, StepRef::Setup, 0, Bytes::from("x")).await);
    is_forbidden(thief.put_workspace(&fence, 0, archive(b"x")).await);
    is_forbidden(thief.get_workspace(&fence, &spec.id, 0).await);
    is_forbidden(thief.cache_exists(&fence, "k").await);
    is_forbidden(thief.put_cache(&fence, "k", archive(b"x")).await);
    is_forbidden(thief.get_cache(&fence, &["k".into()]).await);

    // With a fence of its own for what is not its own: that is what the service checks.
    let thief = Hand::register("thief", thief, &[]).await;
    let error = thief.client.accept(&thief.fence(&spec)).await.expect_err("not its own");
    assert!(matches!(error, ClientError::Fenced { .. }), "{error:?}");
    // Nothing of that reached the victim.
    victim.report(&spec, AttemptState::Success, 0).await.expect("it is still its own");
}

#[tokio::test]
async fn nobody_calls_without_a_token_of_an_executor() {
    let world = World::new(Way::Http).await;
    let join = world.runs.create_join_token(NewJoinToken::default()).await.expect("made");
    for token in [None, Some("rye_guessed"), Some(join.token.as_str())] {
        let client = HttpClient::new(world.endpoint("executors"));
        if let Some(token) = token {
            client.set_token(token);
        }
        is_forbidden(client.register(status("a", &[])).await);
        is_forbidden(client.heartbeat(&id("a"), 1).await);
    }
    let client = HttpClient::new(world.endpoint("executors"));
    is_forbidden(client.join("ryj_guessed", &id("a")).await);
}

#[tokio::test]
async fn an_executor_whose_token_is_revoked_is_told_nothing_more() {
    let world = World::new(Way::Http).await;
    let mut hand = Hand::register("a", world.client("a").await, &[]).await;
    world.runs.revoke_executor(&id("a")).await.expect("revoked");
    let error = hand.registration.commands.next().await.expect("told so").expect_err("refused");
    assert!(matches!(error, ClientError::Forbidden { .. }), "{error:?}");
    assert!(hand.registration.commands.next().await.is_none());
    is_forbidden(hand.client.register(status("a", &[])).await);
}

#[tokio::test]
async fn what_is_too_large_is_refused_with_its_limit() {
    let world = World::new(Way::Http).await;
    let mut hand = Hand::register("a", world.client("a").await, &[]).await;
    world.create(config(&["a"])).await;
    let spec = hand.assigned("a").await;
    hand.accept(&spec).await;
    let fence = hand.fence(&spec);
    let whole = noise((8 << 20) + 1);
    let error = hand.client.put_workspace(&fence, 0, archive(&whole)).await.expect_err("too large");
    assert!(matches!(&error, ClientError::BadRequest { message } if message.contains("8388608")), "{error:?}");
    let error = hand.client.put_cache(&fence, "k", archive(&whole)).await.expect_err("too large");
    assert!(matches!(&error, ClientError::BadRequest { message } if message.contains("8388608")), "{error:?}");
    assert!(!hand.client.cache_exists(&fence, "k").await.expect("asked"));
    let error = hand.client.append_log(&fence, StepRef::Setup, 0, whole.into()).await.expect_err("too large");
    assert!(matches!(&error, ClientError::BadRequest { message } if message.contains("longer")), "{error:?}");
}

#[tokio::test]
async fn an_upload_that_a_proxy_has_cut_short_is_not_stored() {
    let world = World::new(Way::Http).await;
    let client = world.http_client("a").await;
    let mut hand = Hand::register("a", std::sync::Arc::new(client.clone()), &[]).await;
    world.create(config(&["a"])).await;
    let spec = hand.assigned("a").await;
    hand.accept(&spec).await;
    let endpoint = world.endpoint("executors");
    let join = world.runs.create_join_token(NewJoinToken::default()).await.expect("made");
    world.runs.revoke_executor(&id("a")).await.expect("revoked");
    let token = world.runs.join(&join.token, &id("a")).await.expect("joined again");
    endpoint.set_token(token.clone());
    client.set_token(token);
    // A body that ends as HTTP has it, and in the middle of a frame.
    let query = [("task", spec.id.as_str()), ("attempt", "1"), ("executor", "a"), ("key", "k")];
    let request = endpoint.request(reqwest::Method::PUT, &["cache"]).query(&query);
    let request = request.query(&[("epoch", hand.registration.epoch)]).body(b"\0\0\0\x09abc".to_vec());
    let answer = request.send().await.expect("an answer");
    assert_eq!(answer.status(), 503, "to be sent again");
    assert!(!hand.client.cache_exists(&hand.fence(&spec), "k").await.expect("asked"));
}

#[tokio::test]
async fn a_broken_connection_is_taken_up_again_under_the_same_epoch() {
    let world = World::new(Way::Breaking).await;
    let mut hand = Hand::register("a", world.client("a").await, &[]).await;
    for task in 0..40 {
        let name = format!("t{task}");
        let run = world.create(config(&[&name])).await;
        let spec = hand.assigned(&name).await;
        hand.succeed(&spec).await;
        world.finished(&run).await;
    }
    assert!(world.proxy.as_ref().is_some_and(|proxy| proxy.cuts() > 10), "there was something to survive");
    // Every fence of it held, and they are all of one registration.
    let again = world.runs.client().register(status("a", &[])).await.expect("registered");
    assert_eq!(again.epoch, hand.registration.epoch + 1);
}

#[tokio::test]
async fn what_an_executor_is_refused_is_a_problem() {
    let world = World::new(Way::Http).await;
    let url = format!("http://{}/executors/heartbeat", world.address);
    let http = reqwest::Client::new();
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let answer = http.post(&url).header("traceparent", trace).body("{}").send().await.expect("an answer");
    assert_eq!(answer.status(), 401);
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    assert_eq!(answer.headers()["www-authenticate"], "Bearer");
    let problem: serde_json::Value = answer.json().await.expect("JSON");
    assert_eq!(problem["code"], "unauthorized");
    assert_eq!(problem["type"], "urn:runyard:problem:unauthorized");
    assert_eq!(problem["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    for (path, status) in [("executors/none", 404), ("executors/join", 405), ("api/none", 404)] {
        let answer = http.get(format!("http://{}/{path}", world.address)).send().await.expect("an answer");
        assert_eq!(answer.status(), status, "{path}");
        assert_eq!(answer.json::<serde_json::Value>().await.expect("JSON")["code"], "no-route", "{path}");
    }
}

#[tokio::test]
async fn a_registration_that_comes_after_its_successor_does_nothing() {
    let world = World::new(Way::Http).await;
    let join = world.runs.create_join_token(NewJoinToken::default()).await.expect("made");
    let token = world.runs.join(&join.token, &id("a")).await.expect("joined");
    let endpoint = world.endpoint("executors").token(token);
    let register = async |number: u64| {
        let body = serde_json::json!({ "client": "c", "number": number, "status": status("a", &[]) });
        endpoint.request(reqwest::Method::POST, &["register"]).json(&body).send().await.expect("an answer")
    };
    let second = register(2).await;
    assert_eq!(second.status(), 200);
    let before = world.runs.executor(&id("a")).await.expect("registered").epoch;
    for late in [1, 2] {
        assert_eq!(register(late).await.status(), 400, "{late}");
    }
    let after = world.runs.client().register(status("a", &[])).await.expect("registered");
    assert_eq!(after.epoch, before + 1, "the late ones made no epoch");
    let unknown: Result<(), Error> = world.runs.revoke_executor(&id("nobody")).await;
    assert_eq!(unknown.expect_err("never joined").kind(), ErrorKind::NotExist);
}
