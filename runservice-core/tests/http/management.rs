//! The typed client does what the service does, also over a network that breaks.

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use runyard_executor_core::{
    contract::{AttemptState, Command, StepRef, Value},
    http::{HttpSettings, wire::Problem},
};
use runyard_runservice_core::{
    ErrorKind, EventSequence, LogPlace, LogRef, LogRequest, NewJoinToken, NewRun, RestartPoint, RunFilter,
    http::ManagementClient,
    model::{Run, RunPhase},
};

use crate::{
    hand::{Hand, config},
    world::{Way, World, group, id, name, noise},
};

#[tokio::test]
async fn runs_are_created_found_and_changed() {
    let world = World::new(Way::Http).await;
    let client = world.management();
    let mut first = config(&["a", "b: a"]);
    first.environment.insert("K".into(), Value::secret("hunter2"));
    first.tasks.get_mut(&name("b")).expect("there is one").needs_approval = true;
    let new = NewRun { idempotency_key: Some("push 1".into()), ..NewRun::from(first) };
    let run = client.create(new.clone()).await.expect("created");
    assert_eq!(client.create(new).await.expect("the same").id, run.id);
    let second = client.create(config(&["a"]).into()).await.expect("created");
    assert_eq!(second.phase, RunPhase::Queued);

    let detail = client.get(&run.id).await.expect("there");
    assert_eq!(detail.run, run);
    assert!(detail.config.environment["K"].expose().is_empty() && detail.config.environment["K"].is_secret());
    assert_eq!(client.run_config(&run.id).await.expect("there"), detail.config);
    let known = world.runs.get(&run.id).await.expect("there");
    assert_eq!(detail.tasks, known.tasks);
    assert_eq!(detail.waiting_tasks[0].reason, known.waiting_tasks[0].reason);
    assert_eq!(client.get(&second.id).await.expect("there").waiting, world.runs.get(&second.id).await.unwrap().waiting);
    assert_eq!(client.find(&group("main").root(), 2).await.expect("there").id, second.id);

    let patch = [("note".to_owned(), Some("x".to_owned()))].into();
    client.annotate(&run.id, &name("b"), patch).await.expect("annotated");
    client.approve(&run.id, &name("b"), Some("me")).await.expect("approved");
    assert_eq!(client.get(&run.id).await.expect("there").tasks[&name("b")].annotations["note"], "x");
    assert_eq!(client.cancel(&second.id).await.expect("cancelled").phase, RunPhase::Cancelled);
    assert!(client.stop(&run.id).await.expect("asked").phase.is_final(), "nothing of it runs");

    let again = client.restart(&second.id, RestartPoint::Scratch).await.expect("restarted");
    assert_eq!((again.number, again.restart_of), (3, Some(second.id.clone())));
    assert!(client.set_pinned(&second.id, true).await.expect("pinned").pinned);
    let error = client.delete(&second.id).await.expect_err("it is pinned");
    assert!(error.to_string().contains("unpin it"), "{error}");
    client.set_pinned(&second.id, false).await.expect("unpinned");
    client.delete(&second.id).await.expect("deleted");
    assert_eq!(client.get(&second.id).await.expect_err("gone").kind(), ErrorKind::NotExist);

    let error = client.cancel(&run.id).await.expect_err("it is over");
    assert_eq!(error.kind(), ErrorKind::BadRequest);
    assert_eq!(error.to_string(), world.runs.cancel(&run.id).await.expect_err("it is over").to_string());
    let gone = runyard_executor_core::contract::RunId::parse("gone").expect("valid");
    let error = client.get(&gone).await.expect_err("it does not exist");
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::NotExist, "run `gone` does not exist"));
    let source = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<Problem>());
    assert_eq!(source.map(|problem| problem.status), Some(404), "what came is kept for the log");
}

#[tokio::test]
async fn executors_are_listed_drained_and_removed() {
    let world = World::new(Way::Http).await;
    let client = world.management();
    let mut hand = Hand::register("local", world.runs.client(), &[]).await;
    assert_eq!(client.executors().await.expect("listed"), world.runs.executors().await.expect("listed"));
    client.drain_executor(&id("local")).await.expect("asked");
    assert!(client.executor(&id("local")).await.expect("there").draining);
    assert_eq!(hand.command().await, Command::Drain);
    let error = client.remove_executor(&id("local")).await.expect_err("it is connected");
    assert_eq!(error.kind(), ErrorKind::BadRequest);
    drop(hand);
    world.gone("local").await;
    client.remove_executor(&id("local")).await.expect("removed");
    assert_eq!(client.executor(&id("local")).await.expect_err("gone").kind(), ErrorKind::NotExist);
}

#[tokio::test]
async fn a_list_is_read_page_by_page() {
    let world = World::new(Way::Http).await;
    let client = world.management();
    for _ in 0..5 {
        world.create(config(&["a"])).await;
    }
    for root in [None, Some(group("main").root())] {
        let mut filter = RunFilter { root, limit: 2, ..RunFilter::default() };
        let mut numbers = Vec::new();
        loop {
            let page = client.list(&filter).await.expect("listed");
            numbers.extend(page.runs.iter().map(|run| run.number));
            match page.next {
                Some(next) => filter.after = Some(next),
                None => break,
            }
        }
        numbers.sort_unstable();
        assert_eq!(numbers, [1, 2, 3, 4, 5]);
    }
    let error = client.list(&RunFilter { limit: 9_999, ..RunFilter::default() }).await.expect_err("too many");
    assert_eq!(error.to_string(), "`limit` is 9999, and must be from 1 to 1000");
}

async fn with_log(world: &World, whole: &[u8]) -> (Run, LogRef) {
    let mut hand = Hand::register("local", world.runs.client(), &[]).await;
    let run = world.create(config(&["a"])).await;
    let spec = hand.assigned("a").await;
    hand.accept(&spec).await;
    let bytes = Bytes::copy_from_slice(whole);
    hand.client.append_log(&hand.fence(&spec), StepRef::Step(0), 0, bytes).await.expect("stored");
    hand.report(&spec, AttemptState::Success, whole.len() as u64).await.expect("reported");
    let log = LogRef { run: run.id.clone(), task: name("a"), attempt: None, step: StepRef::Step(0) };
    (run, log)
}

#[tokio::test]
async fn a_log_survives_a_breaking_network_from_any_offset() {
    let world = World::new(Way::Breaking).await;
    let whole = noise(3 << 20);
    let (_, log) = with_log(&world, &whole).await;
    let client = world.management();
    for offset in [0, 1, 2 << 20, 9 << 20] {
        let request = LogRequest { log: log.clone(), offset, follow: true };
        let read = client.log(&request).await.expect("there is one");
        let pieces: Vec<Bytes> = read.try_collect().await.expect("to its end");
        assert!(pieces.concat() == whole[whole.len().min(offset as usize)..], "from {offset} on");
    }
    let missing = LogRef { step: StepRef::Step(7), ..log };
    let error = client.log(&LogRequest { log: missing, offset: 0, follow: true }).await.err().expect("no such step");
    assert_eq!(error.kind(), ErrorKind::NotExist);
}

#[tokio::test]
async fn a_log_is_read_by_lines() {
    let world = World::new(Way::Http).await;
    let (_, log) = with_log(&world, b"one\ntwo\nthree\n").await;
    let client = world.management();
    for place in [LogPlace::Last, LogPlace::From(1)] {
        let page = client.log_page(&log, place, 2).await.expect("read");
        assert_eq!(page, world.runs.log_page(&log, place, 2).await.expect("read"));
        assert_eq!((page.first, page.lines[1].text.as_ref()), (1, &b"three"[..]));
    }
}

#[tokio::test]
async fn every_event_comes_once_over_a_breaking_network() {
    let world = World::new(Way::Breaking).await;
    let client = world.management();
    let mut followed = client.events(EventSequence::ZERO);
    let mut known = world.runs.events(EventSequence::ZERO);
    let mut last = EventSequence::ZERO;
    for run in 0..60 {
        let mut config = config(&["a", "b: a", "c: b"]);
        config.group = group(&format!("b{run}"));
        world.create(config).await;
        // That it was created, and that it started.
        for _ in 0..2 {
            let (here, there) = (known.next().await, followed.next().await);
            let (here, there) = (here.expect("goes on").expect("read"), there.expect("goes on").expect("read"));
            assert_eq!((there.sequence, &there.event), (here.sequence, &here.event));
            assert!(there.sequence > last);
            last = there.sequence;
        }
    }
    // From the middle, and what is news from now on.
    world.create(config(&["y"])).await;
    let mut rest = client.events(last);
    let here = known.next().await.expect("goes on").expect("read");
    assert_eq!(rest.next().await.expect("goes on").expect("read").sequence, here.sequence);
    let mut news = client.events(client.now().await.expect("asked"));
    let created = world.create(config(&["z"])).await;
    assert_eq!(news.next().await.expect("goes on").expect("read").event.run, created.id);
}

#[tokio::test]
async fn a_server_that_is_gone_ends_a_stream_and_a_call_after_bounded_tries() {
    let mut world = World::new(Way::Breaking).await;
    let settings = HttpSettings {
        tries: 3,
        backoff_first: std::time::Duration::from_millis(1),
        backoff_max: std::time::Duration::from_millis(2),
        ..HttpSettings::default()
    };
    let client = ManagementClient::new(world.endpoint("api").settings(settings));
    world.create(config(&["a"])).await;
    let mut events = client.events(EventSequence::ZERO);
    events.next().await.expect("goes on").expect("read");
    // With every connection through it.
    drop(world.proxy.take());
    let mut end = None;
    while let Some(event) = events.next().await {
        end = Some(event);
    }
    let error = end.expect("something came").expect_err("it ended with an error");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(client.now().await.expect_err("nobody answers").kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn join_tokens_are_made_listed_and_deleted() {
    let world = World::new(Way::Http).await;
    let client = world.management();
    let new = NewJoinToken { name: "rack 1".into(), uses: Some(3) };
    let made = client.create_join_token(new).await.expect("made");
    let listed = client.join_tokens().await.expect("listed");
    assert_eq!((listed[0].id.as_str(), listed[0].name.as_str(), listed[0].uses_left), (&*made.id, "rack 1", Some(3)));
    world.runs.join(&made.token, &id("a")).await.expect("joined");
    client.revoke_executor(&id("a")).await.expect("revoked");
    client.delete_join_token(&made.id).await.expect("deleted");
    assert!(client.join_tokens().await.expect("listed").is_empty());
    assert_eq!(client.metrics().await.expect("read").len(), world.runs.metrics().iter().count());
}
