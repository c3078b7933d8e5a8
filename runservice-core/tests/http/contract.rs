//! What the contract promises, whichever way an executor goes to its run service.

use bytes::Bytes;
use futures::{StreamExt, stream};
use runyard_executor_core::contract::{
    AttemptState, CacheHit, CachePut, ClientError, Command, HeldTask, Siblings, StepRef,
};
use runyard_runservice_core::{
    LogRef, LogRequest,
    model::{Run, RunResult},
};

use crate::{
    hand::{Hand, archive, config, read, retried, status, with_workspace},
    world::{Way, World, id, name, noise},
};

macro_rules! every_way {
    ($($test:ident,)*) => {
        mod in_process { $(#[tokio::test] async fn $test() { super::$test(super::World::new(super::Way::InProcess).await).await })* }
        mod over_http { $(#[tokio::test] async fn $test() { super::$test(super::World::new(super::Way::Http).await).await })* }
        mod over_a_breaking_network {
            $(#[tokio::test] async fn $test() { super::$test(super::World::new(super::Way::Breaking).await).await })*
        }
    };
}

every_way! {
    a_run_goes_through_its_graph,
    a_log_of_some_mebibytes_arrives_exactly,
    a_gap_in_a_log_is_refused_with_its_numbers,
    an_archive_reaches_descendants_exactly_and_nobody_else,
    an_archive_that_cannot_be_read_to_its_end_is_not_stored,
    a_cache_entry_is_stored_once_and_found_by_prefix,
    an_executor_is_told_to_stop_and_to_forget,
    a_newer_registration_replaces_the_older_one,
    what_is_said_twice_does_no_harm,
    an_executor_that_is_not_known_any_more_is_fenced_off,
}

async fn hand(world: &World) -> Hand {
    Hand::register("hand", world.client("hand").await, &[]).await
}

async fn log(world: &World, run: &Run, task: &str) -> Vec<u8> {
    let log = LogRef { run: run.id.clone(), task: name(task), attempt: None, step: StepRef::Step(0) };
    let log = world.runs.log(&LogRequest { log, offset: 0, follow: true }).await.expect("there is such a log");
    read(log.map(|piece| piece.map_err(Into::into)).boxed()).await.expect("readable")
}

async fn a_run_goes_through_its_graph(world: World) {
    let mut hand = hand(&world).await;
    let run = world.create(config(&["build", "test: build", "pack: test"])).await;
    for task in ["build", "test", "pack"] {
        let spec = hand.assigned(task).await;
        hand.succeed(&spec).await;
    }
    assert_eq!(world.finished(&run).await.run.result, RunResult::Success);
}

async fn a_log_of_some_mebibytes_arrives_exactly(world: World) {
    let mut hand = hand(&world).await;
    let run = world.create(config(&["a"])).await;
    let spec = hand.assigned("a").await;
    hand.accept(&spec).await;
    let (fence, whole) = (hand.fence(&spec), Bytes::from(noise(4 << 20)));
    let mut offset = 0;
    while offset < whole.len() {
        // As much as executors send, with an overlap now and then.
        let from = offset.saturating_sub(1000);
        let piece = whole.slice(from..whole.len().min(from + (300 << 10)));
        let end = (from + piece.len()) as u64;
        let stored = hand.client.append_log(&fence, StepRef::Step(0), from as u64, piece).await.expect("stored");
        assert!(stored <= end);
        offset = from + (300 << 10);
    }
    let mut stored = 0;
    while stored < whole.len() as u64 {
        stored = hand.client.append_log(&fence, StepRef::Step(0), 0, Bytes::new()).await.expect("asked");
    }
    hand.report(&spec, AttemptState::Success, whole.len() as u64).await.expect("reported");
    assert!(log(&world, &run, "a").await == whole, "every byte is there");
    assert_eq!(world.finished(&run).await.run.result, RunResult::Success);
}

async fn a_gap_in_a_log_is_refused_with_its_numbers(world: World) {
    let mut hand = hand(&world).await;
    world.create(config(&["a"])).await;
    let spec = hand.assigned("a").await;
    hand.accept(&spec).await;
    let fence = hand.fence(&spec);
    hand.client.append_log(&fence, StepRef::Step(0), 0, Bytes::from("12345678")).await.expect("stored");
    let gap = hand.client.append_log(&fence, StepRef::Step(0), 9, Bytes::from("x")).await.expect_err("a gap");
    assert!(matches!(gap, ClientError::LogGap { step: StepRef::Step(0), stored: 8, offset: 9 }), "{gap:?}");
}

async fn an_archive_reaches_descendants_exactly_and_nobody_else(world: World) {
    let mut hand = hand(&world).await;
    let run = world.create(with_workspace(config(&["a", "b: a", "c"]), "a", "b")).await;
    let (a, c) = (hand.assigned("a").await, hand.assigned("c").await);
    for spec in [&a, &c] {
        hand.accept(spec).await;
    }
    let whole = noise(3 << 20);
    let fence = hand.fence(&a);
    retried(async || hand.client.put_workspace(&fence, 1, archive(&whole)).await).await.expect("stored");
    hand.report(&a, AttemptState::Success, 0).await.expect("reported");

    let b = hand.assigned("b").await;
    hand.accept(&b).await;
    let (of_b, of_c) = (hand.fence(&b), hand.fence(&c));
    let client = &hand.client;
    let got = retried(async || {
        let archive = client.get_workspace(&of_b, &a.id, 1).await?;
        read(archive).await.map_err(|error| ClientError::Unavailable { doing: "reading", source: error.into() })
    });
    assert!(got.await.expect("read") == whole, "every byte is there");
    let missing = client.get_workspace(&of_b, &a.id, 9).await.err().expect("no such step");
    assert!(matches!(missing, ClientError::NotFound { .. }), "{missing:?}");
    let foreign = client.get_workspace(&of_c, &a.id, 1).await.err().expect("no ancestor");
    assert!(matches!(&foreign, ClientError::BadRequest { message } if message.contains("no ancestor")), "{foreign:?}");
    for spec in [&b, &c] {
        hand.report(spec, AttemptState::Success, 0).await.expect("reported");
    }
    assert_eq!(world.finished(&run).await.run.result, RunResult::Success);
}

async fn an_archive_that_cannot_be_read_to_its_end_is_not_stored(world: World) {
    let mut hand = hand(&world).await;
    world.create(with_workspace(config(&["a", "b: a"]), "a", "b")).await;
    let a = hand.assigned("a").await;
    hand.accept(&a).await;
    let fence = hand.fence(&a);
    let broken = || {
        let pieces = vec![Ok(Bytes::from(noise(100_000))), Err("the disk of the pod is gone".into())];
        stream::iter(pieces).boxed()
    };
    let refused = retried(async || hand.client.put_workspace(&fence, 1, broken()).await).await.expect_err("broken");
    let said = refused.to_string();
    assert!(matches!(refused, ClientError::BadRequest { .. }) && said.contains("the disk of the pod"), "{refused:?}");
    let refused = retried(async || hand.client.put_cache(&fence, "k", broken()).await).await.expect_err("broken");
    assert!(matches!(refused, ClientError::BadRequest { .. }), "{refused:?}");
    assert!(!hand.client.cache_exists(&fence, "k").await.expect("asked"));
    hand.report(&a, AttemptState::Success, 0).await.expect("reported");
    let b = hand.assigned("b").await;
    hand.accept(&b).await;
    let missing = hand.client.get_workspace(&hand.fence(&b), &a.id, 1).await.err().expect("nothing was stored");
    assert!(matches!(missing, ClientError::NotFound { .. }), "{missing:?}");
}

async fn a_cache_entry_is_stored_once_and_found_by_prefix(world: World) {
    let mut hand = hand(&world).await;
    world.create(config(&["a"])).await;
    let a = hand.assigned("a").await;
    hand.accept(&a).await;
    let (fence, client, whole) = (hand.fence(&a), &hand.client, noise(1 << 20));
    assert!(!client.cache_exists(&fence, "deps-1ü").await.expect("asked"));
    let none = client.get_cache(&fence, &["deps-".into()]).await.expect("asked");
    assert!(none.is_none(), "{none:?}");
    let put = retried(async || client.put_cache(&fence, "deps-1ü", archive(&whole)).await).await.expect("stored");
    // An answer may be lost on a breaking network, and then the entry is found there.
    assert!(put == CachePut::Stored || world.way == Way::Breaking);
    assert!(client.cache_exists(&fence, "deps-1ü").await.expect("asked"));
    let again = retried(async || client.put_cache(&fence, "deps-1ü", archive(b"other")).await).await.expect("exists");
    assert_eq!(again, CachePut::Exists);
    let keys = ["other".to_owned(), "deps-".to_owned()];
    let found = retried(async || {
        let CacheHit { key, size, archive } = client.get_cache(&fence, &keys).await?.expect("there is one");
        let read = read(archive).await.map_err(|error| ClientError::Unavailable { doing: "", source: error.into() })?;
        Ok((key, size, read))
    });
    let (key, size, read) = found.await.expect("read");
    assert_eq!((key.as_str(), size), ("deps-1ü", 1 << 20));
    assert!(read == whole, "every byte is there");
}

async fn an_executor_is_told_to_stop_and_to_forget(world: World) {
    let client = world.client("hand").await;
    let mut hand = Hand::register("hand", client.clone(), &[]).await;
    let run = world.create(config(&["a"])).await;
    let spec = hand.assigned("a").await;
    hand.accept(&spec).await;
    world.runs.stop(&run.id).await.expect("asked to stop");
    hand.told(&Command::Stop { task: spec.id.clone(), attempt: 1 }).await;
    hand.report(&spec, AttemptState::Stopped, 0).await.expect("reported");
    assert_eq!(world.finished(&run).await.run.result, RunResult::Stopped);

    drop(hand);
    let held = HeldTask { task: spec.id.clone(), attempt: 1 };
    let mut hand = Hand::register("hand", client, &[held]).await;
    hand.told(&Command::Forget { task: spec.id, attempt: 1 }).await;
}

async fn a_newer_registration_replaces_the_older_one(world: World) {
    let client = world.client("hand").await;
    let mut old = Hand::register("hand", client.clone(), &[]).await;
    world.create(config(&["a"])).await;
    let spec = old.assigned("a").await;
    let new = Hand::register("hand", client, &[]).await;
    assert!(new.registration.epoch > old.registration.epoch);
    // Whatever was on its way, and then the end, which is no error.
    while let Some(told) = old.registration.commands.next().await {
        told.expect("an end without an error");
    }
    let late = old.client.accept(&old.fence(&spec)).await.expect_err("replaced");
    assert!(matches!(late, ClientError::Fenced { .. }), "{late:?}");
    new.accept(&spec).await;
}

async fn what_is_said_twice_does_no_harm(world: World) {
    let mut hand = hand(&world).await;
    let run = world.create(config(&["a", "b: a"])).await;
    let spec = hand.assigned("a").await;
    let executor = id("hand");
    for _ in 0..2 {
        hand.client.heartbeat(&executor, hand.registration.epoch).await.expect("heard");
        let siblings = Siblings { seen: vec![id("other")], removed: Vec::new() };
        hand.client.siblings(&executor, hand.registration.epoch, siblings).await.expect("noted");
        hand.accept(&spec).await;
    }
    let running = hand.report_of(&spec, AttemptState::Running, 0);
    for _ in 0..2 {
        hand.client.report(running.clone()).await.expect("reported");
    }
    let done = hand.report_of(&spec, AttemptState::Success, 0);
    hand.client.report(done.clone()).await.expect("reported");
    // The answer to the last report may be lost as well, and then nobody expects the attempt any more.
    let again = hand.client.report(done).await;
    assert!(matches!(again, Ok(()) | Err(ClientError::Fenced { .. })), "{again:?}");
    let b = hand.assigned("b").await;
    hand.succeed(&b).await;
    assert_eq!(world.finished(&run).await.run.result, RunResult::Success);
}

async fn an_executor_that_is_not_known_any_more_is_fenced_off(world: World) {
    let mut hand = hand(&world).await;
    world.create(config(&["a"])).await;
    let spec = hand.assigned("a").await;
    hand.accept(&spec).await;
    let mut fence = hand.fence(&spec);
    fence.epoch += 1;
    let client = &hand.client;
    let fenced = |error: ClientError| assert!(matches!(&error, ClientError::Fenced { .. }), "{error:?}");
    fenced(client.accept(&fence).await.expect_err("another epoch"));
    fenced(client.append_log(&fence, StepRef::Setup, 0, Bytes::from("x")).await.expect_err("another epoch"));
    fenced(client.get_workspace(&fence, &spec.id, 0).await.err().expect("another epoch"));
    fenced(client.cache_exists(&fence, "k").await.expect_err("another epoch"));
    fenced(client.get_cache(&fence, &["k".into()]).await.expect_err("another epoch"));
    // However much of the archive was sent when the answer came.
    let whole = noise(2 << 20);
    let put = retried(async || client.put_workspace(&fence, 0, archive(&whole)).await).await;
    fenced(put.expect_err("another epoch"));
    let put = retried(async || client.put_cache(&fence, "k", archive(&whole)).await).await;
    fenced(put.expect_err("another epoch"));
    let registered = client.register(status("hand", &[])).await.expect("registered anew");
    fence.epoch = registered.epoch;
    client.accept(&fence).await.expect_err("its record of the task is gone");
}
