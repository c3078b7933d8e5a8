//! What becomes of tasks whose executor is silent, gone, full, drained or removed.

use runyard_datamanager::{DataManagerExt, KeyRange};
use runyard_executor_core::contract::{Arch, Siblings};

use super::*;
use crate::{
    Error, ExecutorState,
    layout::{ASSIGNMENTS, QUEUE, READY, RUNNING},
};

const SECOND: Duration = Duration::from_secs(1);

fn id(text: &str) -> ExecutorId {
    ExecutorId::parse(text).expect("valid")
}

fn status(name: &str, task_limit: u32) -> ExecutorStatus {
    ExecutorStatus { group: "hand".into(), ..ExecutorStatus::new(id(name), task_limit) }
}

impl Hand {
    /// Says nothing any more, and stays connected.
    fn fall_silent(&self) {
        self._beats.abort();
    }

    async fn beat(&self) {
        self.client.heartbeat(&self.id, self.registration.epoch).await.expect("connected");
    }
}

async fn reasons(yard: &Yard, run: &crate::model::Run) -> Vec<String> {
    let detail = yard.runs.get(&run.id).await.expect("exists");
    detail.waiting_tasks.iter().map(|task| task.reason.to_string()).collect()
}

#[tokio::test(start_paused = true)]
async fn who_is_silent_gets_no_new_tasks_until_it_is_heard_again() {
    let yard = Yard::new();
    let mut hand = yard.executor().await;
    let held = yard.create(RunConfig { group: group("held"), ..config(&["a"]) }).await;
    let spec = hand.assigned().await;
    hand.accept(&spec).await;
    hand.fall_silent();
    tokio::time::sleep(25 * SECOND).await;
    let run = yard.create(config(&["b"])).await;
    assert_eq!(reasons(&yard, &run).await, ["every executor that could run it is silent: `hand`"]);
    let [reason] = &reasons(&yard, &held).await[..] else { panic!("no reason") };
    assert!(reason.starts_with("executor `hand` silent for 2"), "{reason}");
    let detail = yard.runs.executor(&id("hand")).await.expect("exists");
    assert!(matches!(detail.state, ExecutorState::Silent { since: Some(_) }), "{detail:?}");
    assert_eq!(detail.tasks.len(), 1);

    hand.beat().await;
    let b = hand.assigned().await;
    assert_eq!(b.name.as_str(), "b");
    assert_eq!(yard.runs.executor(&id("hand")).await.expect("exists").state, ExecutorState::Connected);
    hand.succeed(&spec).await;
    assert_eq!(yard.finished(&held).await.run.result, RunResult::Success);
}

#[tokio::test(start_paused = true)]
async fn what_an_absent_executor_never_accepted_goes_to_another_one() {
    let yard = Yard::new();
    let mut gone = Hand::with(yard.runs.client(), status("a", 1)).await;
    let run = yard.create(config(&["t"])).await;
    let spec = gone.assigned().await;
    let mut other = Hand::with(yard.runs.client(), status("b", 1)).await;
    drop(gone.registration);
    tokio::time::sleep(30 * SECOND).await;
    let again = other.assigned().await;
    assert_eq!((again.id, again.attempt), (spec.id, spec.attempt));
    assert_eq!(run.number, 1);
}

#[tokio::test(start_paused = true)]
async fn what_an_absent_executor_accepted_is_lost_when_nothing_of_it_can_be_executing() {
    let yard = Yard::new();
    let mut hand = yard.executor().await;
    let mut retried = config(&["t"]);
    retried.tasks.get_mut(&name("t")).expect("there").retry =
        crate::model::RetryPolicy { max: 1, on: vec![FailureClass::Lost] };
    let once = yard.create(RunConfig { group: group("once"), ..config(&["t"]) }).await;
    let twice = yard.create(retried).await;
    for _ in 0..2 {
        let spec = hand.assigned().await;
        hand.accept(&spec).await;
        let fence = hand.fence(&spec);
        hand.client.append_log(&fence, StepRef::Step(0), 0, Bytes::from("partial\n")).await.expect("stored");
    }
    drop(hand);
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(yard.runs.get(&once.id).await.expect("exists").run.phase, RunPhase::Running, "too early");
    tokio::time::sleep(Duration::from_secs(70)).await;
    let detail = yard.finished(&once).await;
    let failure = detail.tasks[&name("t")].failure.clone().expect("it failed");
    assert_eq!(failure.class, FailureClass::Lost);
    assert!(failure.message.contains("`hand` was not heard of for more than 10 minutes"), "{}", failure.message);
    let log = text(yard.runs.log(&yard.log(&once, "t", StepRef::Step(0))).await.expect("kept")).await;
    assert!(log.starts_with("partial\n"), "{log}");
    assert_eq!(yard.runs.metrics().tasks_lost, 2);

    let mut other = Hand::with(yard.runs.client(), status("other", 1)).await;
    let again = other.assigned().await;
    assert_eq!((again.run.clone(), again.attempt), (twice.id.clone(), 2));
    other.succeed(&again).await;
    assert_eq!(yard.finished(&twice).await.run.result, RunResult::Success);
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_in_time_keeps_its_tasks_and_who_comes_too_late_is_told_to_forget_them() {
    for (away, kept) in [(Duration::from_secs(590), true), (Duration::from_secs(700), false)] {
        let yard = Yard::new();
        let mut hand = yard.executor().await;
        let run = yard.create(config(&["t"])).await;
        let spec = hand.assigned().await;
        hand.accept(&spec).await;
        drop(hand);
        tokio::time::sleep(away).await;
        let held = HeldTask { task: spec.id.clone(), attempt: spec.attempt };
        let mut back = Hand::register(yard.runs.client(), 4, &[held]).await;
        if kept {
            let steps = vec![done(StepStatus::Success, 0)];
            back.report(&spec, AttemptState::Success, steps).await.expect("it is its own");
            assert_eq!(yard.finished(&run).await.run.result, RunResult::Success);
        } else {
            assert_eq!(back.command().await, Command::Forget { task: spec.id.clone(), attempt: 1 });
            let steps = vec![done(StepStatus::Success, 0)];
            let late = back.report(&spec, AttemptState::Success, steps).await.expect_err("too late");
            assert!(matches!(late, ClientError::Fenced { .. }), "{late:?}");
            assert_eq!(yard.finished(&run).await.run.result, RunResult::Failed);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_executor_that_does_not_come_back_after_a_restart_loses_its_tasks() {
    let yard = Yard::new();
    let mut hand = yard.executor().await;
    let run = yard.create(config(&["t"])).await;
    let spec = hand.assigned().await;
    hand.accept(&spec).await;
    let yard = yard.restarted();
    drop(hand);
    tokio::time::sleep(Duration::from_secs(670)).await;
    assert_eq!(yard.finished(&run).await.run.result, RunResult::Failed);
}

#[tokio::test(start_paused = true)]
async fn a_sibling_that_has_removed_the_pods_ends_the_wait() {
    let yard = Yard::new();
    let mut gone = Hand::with(yard.runs.client(), ExecutorStatus { dynamic: true, ..status("a", 1) }).await;
    let run = yard.create(config(&["t"])).await;
    let spec = gone.assigned().await;
    gone.accept(&spec).await;
    drop(gone);
    tokio::time::sleep(SECOND).await;
    let stranger = Hand::with(yard.runs.client(), ExecutorStatus { group: "other".into(), ..status("s", 0) }).await;
    let removed = || Siblings { seen: Vec::new(), removed: vec![id("a")] };
    let refused = stranger.client.siblings(&stranger.id, stranger.registration.epoch, removed()).await;
    assert!(matches!(refused, Err(ClientError::BadRequest { .. })), "{refused:?}");
    let sibling = Hand::with(yard.runs.client(), status("b", 0)).await;
    sibling.client.siblings(&sibling.id, sibling.registration.epoch, removed()).await.expect("noted");
    let failure = yard.finished(&run).await.tasks[&name("t")].failure.clone().expect("it failed");
    assert!(failure.message.contains("a sibling has removed its pods"), "{}", failure.message);
    assert_eq!(yard.runs.executor(&id("a")).await.expect_err("forgotten").kind(), ErrorKind::NotExist);
}

#[tokio::test(start_paused = true)]
async fn a_dynamic_executor_is_forgotten_when_nobody_sees_it() {
    let yard = Yard::new();
    let dynamic = |name: &str| ExecutorStatus { dynamic: true, ..status(name, 1) };
    drop(Hand::with(yard.runs.client(), dynamic("unseen")).await);
    drop(Hand::with(yard.runs.client(), dynamic("seen")).await);
    drop(Hand::with(yard.runs.client(), status("fixed", 1)).await);
    let sibling = Hand::with(yard.runs.client(), ExecutorStatus { siblings: vec![id("seen")], ..status("b", 0) }).await;
    tokio::time::sleep(60 * SECOND).await;
    let names = async || -> Vec<String> {
        let all = yard.runs.executors().await.expect("listed");
        all.into_iter().map(|executor| executor.status.name).collect()
    };
    assert_eq!(names().await, ["b", "fixed", "seen"]);
    sibling.client.siblings(&sibling.id, sibling.registration.epoch, Siblings::default()).await.expect("noted");
    tokio::time::sleep(10 * SECOND).await;
    assert_eq!(names().await, ["b", "fixed"]);
}

#[tokio::test(start_paused = true)]
async fn a_drained_executor_gets_no_tasks_and_is_told_until_it_knows() {
    let yard = Yard::new();
    let mut hand = yard.executor().await;
    // Only then the workers are there.
    tokio::time::sleep(SECOND).await;
    yard.runs.drain_executor(&hand.id).await.expect("asked");
    assert_eq!(hand.command().await, Command::Drain);
    let run = yard.create(config(&["t"])).await;
    assert_eq!(reasons(&yard, &run).await, ["every executor that could run it takes no new tasks: `hand`"]);
    // It had not heard it before its connection broke.
    let mut again = Hand::register(yard.runs.client(), 4, &[]).await;
    assert_eq!(again.command().await, Command::Drain);
    let knows = Hand::register(yard.runs.client(), 0, &[]).await;
    assert!(yard.runs.executor(&knows.id).await.expect("exists").draining);
    // It has ended, and was started anew.
    let mut anew = Hand::register(yard.runs.client(), 4, &[]).await;
    assert_eq!(anew.assigned().await.name.as_str(), "t");
    let missing = yard.runs.drain_executor(&id("nobody")).await.expect_err("unknown");
    assert_eq!(missing.kind(), ErrorKind::NotExist);
}

#[tokio::test(start_paused = true)]
async fn an_executor_is_removed_only_when_nothing_of_it_can_be_executing() {
    let yard = Yard::new();
    let mut hand = Hand::with(yard.runs.client(), status("a", 2)).await;
    yard.create(config(&["t"])).await;
    let spec = hand.assigned().await;
    let refused = async || yard.runs.remove_executor(&id("a")).await.expect_err("refused").to_string();
    assert!(refused().await.contains("it is connected"));
    hand.accept(&spec).await;
    drop(hand);
    tokio::time::sleep(SECOND).await;
    assert!(refused().await.contains("may be executing"));
    tokio::time::sleep(Duration::from_secs(700)).await;
    yard.runs.remove_executor(&id("a")).await.expect("removed");
    assert!(yard.runs.executors().await.expect("listed").is_empty());
}

#[tokio::test(start_paused = true)]
async fn one_hung_executor_and_one_unplaceable_task_stop_nothing_else() {
    let yard = Yard::new();
    let mut hung = Hand::with(yard.runs.client(), status("hung", 1)).await;
    yard.create(RunConfig { group: group("hung"), ..config(&["t"]) }).await;
    hung.assigned().await;
    let mut well = Hand::with(yard.runs.client(), status("well", 2)).await;
    let mut mixed = config(&["a", "b", "stuck"]);
    mixed.tasks.get_mut(&name("stuck")).expect("there").runtime.arch = Some(Arch::Arm64);
    let run = yard.create(mixed).await;
    for _ in 0..2 {
        let spec = well.assigned().await;
        well.succeed(&spec).await;
    }
    assert_eq!(reasons(&yard, &run).await, ["no executor with arch arm64"]);
}

#[tokio::test(start_paused = true)]
async fn a_limit_is_never_exceeded_and_none_means_none_and_load_spreads() {
    let yard = Yard::new();
    let mut none = Hand::with(yard.runs.client(), status("none", 0)).await;
    let mut small = Hand::with(yard.runs.client(), status("small", 1)).await;
    let mut large = Hand::with(yard.runs.client(), status("large", 2)).await;
    yard.create(config(&["a", "b", "c", "d", "e"])).await;
    let given = async |id: &str| yard.runs.executor(&super::executors::id(id)).await.expect("exists").tasks.len();
    let first = small.assigned().await;
    large.assigned().await;
    large.assigned().await;
    assert_eq!((given("none").await, given("small").await, given("large").await), (0, 1, 2));
    small.succeed(&first).await;
    small.assigned().await;
    assert_eq!((given("none").await, given("small").await, given("large").await), (0, 1, 2));
    assert!(futures::FutureExt::now_or_never(none.command()).is_none());
}

#[tokio::test(start_paused = true)]
async fn the_audit_repairs_nothing_of_what_goes_well() {
    let yard = Yard::new();
    let mut hand = yard.executor().await;
    for round in 0..20 {
        for branch in ["a", "b"] {
            yard.create(RunConfig { group: group(branch), ..config(&["x", "y: x"]) }).await;
        }
        for _ in 0..4 {
            let spec = hand.assigned().await;
            hand.succeed(&spec).await;
        }
        tokio::time::sleep(Duration::from_secs(7 + round)).await;
    }
    let waiting = yard.create(config(&["z"])).await;
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(yard.runs.get(&waiting.id).await.expect("exists").run.phase, RunPhase::Running);
    assert_eq!(yard.runs.metrics().audit_repairs, 0);
}

#[tokio::test(start_paused = true)]
async fn the_audit_repairs_and_counts_what_was_damaged() {
    let yard = Yard::new();
    let first = yard.create(config(&["a"])).await;
    let second = yard.create(config(&["b"])).await;
    assert_eq!(second.phase, RunPhase::Queued);
    // As a fault of the program would: the queue of tasks, the running run and the queue of the group are gone.
    let damage = |tx: runyard_datamanager::Tx| async move {
        for (key, _) in tx.scan(&READY, KeyRange::all(), Default::default(), usize::MAX).await? {
            tx.delete(&READY, key).await?;
        }
        for collection in [&RUNNING, &QUEUE] {
            for (key, _) in tx.scan(collection, KeyRange::all(), Default::default(), usize::MAX).await? {
                tx.delete(collection, key).await?;
            }
        }
        let nobody = crate::rows::AssignmentRow {
            run: runyard_executor_core::contract::RunId::parse("gone").expect("valid"),
            name: name("x"),
            attempt: 1,
            executor: id("x"),
            stop: false,
        };
        tx.put(&ASSIGNMENTS, "task-of-nobody", &nobody).await?;
        Ok::<_, Error>(())
    };
    yard.data.transact(damage).await.expect("damaged");
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(yard.runs.metrics().audit_repairs, 4);
    let mut hand = yard.executor().await;
    for run in [first, second] {
        let spec = hand.assigned().await;
        hand.succeed(&spec).await;
        assert_eq!(yard.finished(&run).await.run.result, RunResult::Success);
    }
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(yard.runs.metrics().audit_repairs, 4);
}
