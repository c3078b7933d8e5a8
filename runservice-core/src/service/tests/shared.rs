//! Several processes on one store: one places tasks for the executors of all of them, whoever dies or is cut off.

use std::collections::BTreeSet;

use runyard_datamanager::{DataManager, DataManagerExt, Error as Data, KeyRange, Leadership, Position};

use super::{hints::Hints, *};
use crate::{Error, LogRequest, RunServiceBuilder, layout, process::ProcessId};

/// What processes share.
#[derive(Default)]
struct World {
    hints: Arc<Hints>,
    storage: Arc<MemoryStorage>,
}

impl World {
    /// The store, as one more process sees it.
    async fn data(&self) -> Arc<dyn DataManager> {
        let builder = WalDataManager::builder(self.storage.clone()).coordinator(self.hints.clone());
        Arc::new(builder.base_path(layout::RUN_DATA).open().await.expect("opened"))
    }

    async fn builder(&self, seed: u64) -> RunServiceBuilder {
        let builder = RunService::builder(self.data().await, Arc::clone(&self.storage)).ids(IdSource::from_seed(seed));
        builder.coordinator(self.hints.clone()).process_name(format!("process {seed}"))
    }

    /// A process whose workers do not run.
    async fn idle(&self, seed: u64) -> RunService {
        self.builder(seed).await.build()
    }

    /// A process that goes on until it is dropped, which is its death.
    async fn process(&self, seed: u64) -> Yard {
        self.started(self.idle(seed).await).await
    }

    async fn started(&self, runs: RunService) -> Yard {
        let data = Arc::clone(&runs.core.data);
        let yard = Yard::of(runs, data, Arc::clone(&self.storage));
        let mut vouched = yard.runs.core.process.vouched();
        in_time(vouched.wait_for(|vouched| *vouched)).await.expect("it leads its own role");
        yard
    }
}

impl Yard {
    /// Waits until `holds`, looking whenever this process sees that something was committed.
    async fn until(&self, holds: impl AsyncFn() -> bool) {
        let mut changes = self.data.follow(Position::ZERO);
        in_time(async {
            while !holds().await {
                changes.next().await.expect("it goes on").expect("readable");
            }
        })
        .await;
    }

    async fn assigned_to(&self, executor: &ExecutorId) -> usize {
        let at = self.data.snapshot();
        let rows = self.data.read_all(&at, &layout::ASSIGNMENTS, KeyRange::all()).await.expect("readable");
        rows.iter().filter(|(_, row)| row.executor == *executor).count()
    }

    /// Which processes an executor was connected to, one after another.
    async fn connections_of(&self, executor: &str) -> Vec<Option<ProcessId>> {
        let at = self.data.snapshot().position();
        let mut changes = self.data.follow(Position::ZERO);
        let mut seen = Vec::new();
        loop {
            let committed = changes.next().await.expect("it goes on").expect("readable");
            for change in committed.changes.iter().filter(|change| change.collection == layout::EXECUTORS.name()) {
                let row = layout::EXECUTORS.decode(&change.key, change.value.as_ref().expect("kept")).expect("a row");
                if row.status.id.as_str() == executor {
                    seen.push(row.process);
                }
            }
            if committed.position >= at {
                return seen;
            }
        }
    }
}

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("in time")
}

async fn reason(yard: &Yard, run: &crate::model::Run) -> Option<WaitingReason> {
    let detail = yard.runs.get(&run.id).await.expect("exists");
    detail.waiting_tasks.into_iter().map(|task| task.reason).next()
}

fn silent(name: &str) -> Option<WaitingReason> {
    Some(WaitingReason::AllSilent { executors: vec![name.to_owned()] })
}

#[tokio::test(start_paused = true)]
async fn the_leader_places_tasks_for_an_executor_of_another_process() {
    let world = World::default();
    let [leader, other] = [world.process(1).await, world.process(2).await];
    let mut hand = Hand::named("b", other.runs.client(), 4, &[]).await;
    for yard in [&leader, &other] {
        let run = yard.create(config(&["a", "b: a"])).await;
        for _ in 0..2 {
            let spec = hand.assigned().await;
            hand.succeed(&spec).await;
        }
        for yard in [&leader, &other] {
            assert_eq!(yard.finished(&run).await.run.result, RunResult::Success);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn when_the_leader_dies_another_process_places_tasks() {
    let world = World::default();
    let [leader, other] = [world.process(1).await, world.process(2).await];
    let mut hand = Hand::named("b", other.runs.client(), 4, &[]).await;
    other.create(config(&["a"])).await;
    let a = hand.assigned().await;
    drop(leader);
    hand.succeed(&a).await;
    let run = other.create(config(&["b"])).await;
    let b = hand.assigned().await;
    hand.succeed(&b).await;
    assert_eq!(other.finished(&run).await.run.result, RunResult::Success);
}

#[tokio::test(start_paused = true)]
async fn an_assignment_by_a_deposed_leader_is_refused_and_its_task_is_not_lost() {
    let world = World::default();
    let idle = world.idle(1).await;
    let run = idle.create(config(&["a"]).into()).await.expect("created");
    let old = Leadership::acquire(&*idle.core.data, layout::SCHEDULER, "the old one").await.expect("led");
    Leadership::acquire(&*world.data().await, layout::SCHEDULER, "the new one").await.expect("led");
    idle.core.process.set_vouched(true);
    let hand = Hand::named("b", idle.client(), 1, &[]).await;
    let refused = idle.core.assign(Some(&old), &run.id, &name("a"), 1, &hand.id).await.expect_err("it was deposed");
    assert!(
        matches!(&refused, Error::Data(Data::TakenOver { message }) if message.contains("the new one")),
        "{refused:?}"
    );
    let detail = idle.get(&run.id).await.expect("exists");
    assert!(detail.tasks[&name("a")].assignment.is_none());

    let process = world.process(2).await;
    let mut hand = Hand::named("b", process.runs.client(), 1, &[]).await;
    assert_eq!(hand.assigned().await.name.as_str(), "a");
}

#[tokio::test(start_paused = true)]
async fn two_that_believe_to_lead_place_nothing_twice_and_keep_the_limits() {
    const TASKS: usize = 40;
    let world = World::default();
    let [first, second] = [world.process(1).await, world.process(2).await];
    let mut hands =
        [Hand::named("a", first.runs.client(), 2, &[]).await, Hand::named("b", second.runs.client(), 2, &[]).await];
    let names: Vec<_> = (0..TASKS).map(|task| format!("t{task}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let run = first.create(config(&names)).await;
    let (mut done, mut given_away) = (BTreeSet::new(), 0);
    for round in 0..TASKS / 2 {
        if round % 4 == 1 {
            // Whoever leads does not hear of it.
            given_away += usize::from(world.hints.give_away(layout::SCHEDULER));
        }
        for hand in &mut hands {
            let spec = hand.assigned().await;
            assert!(done.insert(spec.name.clone()), "{} was placed twice", spec.name);
            let held = first.assigned_to(&hand.id).await;
            assert!(held <= 2, "{held} tasks of at most 2");
            hand.succeed(&spec).await;
        }
    }
    assert_eq!(second.finished(&run).await.run.result, RunResult::Success);
    assert!(done.len() == TASKS && given_away > 0, "given away {given_away} times");
}

#[tokio::test(start_paused = true)]
async fn an_executor_of_a_dead_process_gets_no_new_tasks_until_it_is_back() {
    let world = World::default();
    let [leader, other] = [world.process(1).await, world.process(2).await];
    let mut hand = Hand::named("b", other.runs.client(), 4, &[]).await;
    let run = leader.create(config(&["a", "b: a"])).await;
    let a = hand.assigned().await;
    hand.accept(&a).await;
    drop(other);
    let next = leader.create(RunConfig { group: group("next"), ..config(&["c"]) }).await;
    leader.until(async || reason(&leader, &next).await == silent("b")).await;
    // Its process is another one now, and what it held it still holds.
    let held = [HeldTask { task: a.id.clone(), attempt: 1 }];
    let mut hand = Hand::named("b", leader.runs.client(), 4, &held).await;
    assert_eq!(hand.assigned().await.name.as_str(), "c");
    hand.report(&a, AttemptState::Success, vec![done(StepStatus::Success, 0)]).await.expect("reported");
    let b = hand.assigned().await;
    hand.succeed(&b).await;
    assert_eq!(leader.finished(&run).await.run.result, RunResult::Success);
}

#[tokio::test(start_paused = true)]
async fn what_an_executor_of_a_dead_process_had_not_accepted_goes_to_another_one() {
    let world = World::default();
    let [leader, other] = [world.process(1).await, world.process(2).await];
    let mut hand = Hand::named("b", other.runs.client(), 4, &[]).await;
    leader.create(config(&["a"])).await;
    let spec = hand.assigned().await;
    drop(other);
    let mut successor = Hand::named("a", leader.runs.client(), 4, &[]).await;
    assert_eq!(successor.assigned().await, spec);
    let late = hand.client.accept(&hand.fence(&spec)).await.expect_err("it was taken back");
    assert!(matches!(late, ClientError::Fenced { .. }), "{late}");
    successor.succeed(&spec).await;
}

#[tokio::test(start_paused = true)]
async fn the_next_leader_finds_what_a_dead_leader_left() {
    let world = World::default();
    let [leader, other] = [world.process(1).await, world.process(2).await];
    let _hand = Hand::named("a", leader.runs.client(), 4, &[]).await;
    drop(leader);
    let run = other.create(config(&["t"])).await;
    other.until(async || reason(&other, &run).await == silent("a")).await;
    let mut hand = Hand::named("b", other.runs.client(), 4, &[]).await;
    assert_eq!(hand.assigned().await.name.as_str(), "t");
}

#[tokio::test(start_paused = true)]
async fn a_process_that_was_taken_for_dead_says_again_who_is_connected() {
    let world = World::default();
    let [leader, other] = [world.process(1).await, world.process(2).await];
    let mut hand = Hand::named("b", other.runs.client(), 4, &[]).await;
    let process = &other.runs.core.process;
    // The leader waits for that role: it gets it, and clears the row.
    let role = layout::process_role(&process.id);
    in_time(world.hints.campaigned(&role, 2)).await;
    world.hints.revoke(&role);
    let id = Some(process.id.clone());
    leader.until(async || leader.connections_of("b").await == [id.clone(), None, id.clone()]).await;
    let run = leader.create(config(&["a"])).await;
    let spec = hand.assigned().await;
    hand.succeed(&spec).await;
    assert_eq!(leader.finished(&run).await.run.result, RunResult::Success);
}

#[tokio::test(start_paused = true)]
async fn an_executor_is_given_tasks_only_through_a_process_whose_end_would_be_noticed() {
    let world = World::default();
    let leader = world.process(1).await;
    // Nobody would: its workers do not run.
    let idle = world.idle(2).await;
    let _hand = Hand::named("b", idle.client(), 4, &[]).await;
    let run = leader.create(config(&["a"])).await;
    assert_eq!(reason(&leader, &run).await, silent("b"));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_connection_is_seen_by_every_process() {
    let world = World::default();
    let [leader, other] = [world.process(1).await, world.process(2).await];
    let hand = Hand::named("b", other.runs.client(), 4, &[]).await;
    drop(hand);
    leader.until(async || leader.connections_of("b").await.last() == Some(&None)).await;
    let run = leader.create(config(&["a"])).await;
    assert_eq!(reason(&leader, &run).await, silent("b"));
    let mut hand = Hand::named("b", leader.runs.client(), 4, &[]).await;
    assert_eq!(hand.assigned().await.name.as_str(), "a");
}

#[tokio::test(start_paused = true)]
async fn an_executor_that_registers_elsewhere_loses_its_older_connection() {
    let world = World::default();
    let [first, second] = [world.process(1).await, world.process(2).await];
    let mut old = Hand::named("a", first.runs.client(), 4, &[]).await;
    let mut new = Hand::named("a", second.runs.client(), 4, &[]).await;
    let end = in_time(old.registration.commands.next()).await;
    assert!(end.is_none(), "a replaced connection ends without an error");
    first.create(config(&["a"])).await;
    let spec = new.assigned().await;
    new.succeed(&spec).await;
}

#[tokio::test(start_paused = true)]
async fn a_log_that_moves_between_processes_is_whole_for_readers_of_each() {
    let world = World::default();
    let [first, second] = [world.process(1).await, world.process(2).await];
    let mut hand = Hand::named("a", first.runs.client(), 4, &[]).await;
    let run = first.create(config(&["a"])).await;
    let spec = hand.assigned().await;
    hand.accept(&spec).await;
    let append = async |hand: &Hand, offset: u64, text: &'static str| {
        let stored = hand.client.append_log(&hand.fence(&spec), StepRef::Step(0), offset, Bytes::from(text)).await;
        assert_eq!(stored.expect("stored"), offset + text.len() as u64);
    };
    append(&hand, 0, "one\n").await;
    let follow = async |yard: &Yard| {
        let log = yard.runs.log(&yard.log(&run, "a", StepRef::Step(0))).await.expect("followed");
        let mut log = log.peekable();
        assert!(std::pin::Pin::new(&mut log).peek().await.is_some(), "it has begun");
        log.boxed()
    };
    second.until(async || second.runs.get(&run.id).await.is_ok()).await;
    let followers = [follow(&first).await, follow(&second).await];
    let held = [HeldTask { task: spec.id.clone(), attempt: 1 }];
    append(&hand, 4, "two\n").await;
    // The second process has looked at the log before, and does not know of the last line.
    let hand = Hand::named("a", second.runs.client(), 4, &held).await;
    append(&hand, 8, "three\n").await;
    // And back: the first one has written it itself, and does not know of the third line.
    let mut hand = Hand::named("a", first.runs.client(), 4, &held).await;
    hand.sequence = 1;
    hand.report(&spec, AttemptState::Success, vec![done(StepStatus::Success, 14)]).await.expect("reported");
    for follower in followers {
        assert_eq!(text(follower).await, "one\ntwo\nthree\n");
    }
    assert_eq!(second.finished(&run).await.run.result, RunResult::Success);
}

/// The processes of a world, by name.
#[derive(Clone, Debug, Default)]
struct Known(Arc<std::sync::Mutex<std::collections::BTreeMap<String, RunService>>>);

#[async_trait::async_trait]
impl crate::Peers for Known {
    async fn log(
        &self,
        process: &str,
        request: &LogRequest,
    ) -> crate::Result<futures::stream::BoxStream<'static, crate::Result<Bytes>>> {
        let known = self.0.lock().expect("not poisoned").get(process).cloned();
        let unknown = || Error::NotExist { what: format!("process `{process}`") };
        known.ok_or_else(unknown)?.log_here(request).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_is_followed_live_through_whichever_process_it_is_written() {
    let (world, known) = (World::default(), Known::default());
    let mut yards = Vec::new();
    for seed in 1..=3 {
        let runs = world.builder(seed).await.peers(known.clone()).build();
        known.0.lock().expect("not poisoned").insert(format!("process {seed}"), runs.clone());
        yards.push(world.started(runs).await);
    }
    let [first, second, third] = &yards[..] else { panic!("three") };
    let mut hand = Hand::named("a", first.runs.client(), 4, &[]).await;
    let run = first.create(config(&["a"])).await;
    let spec = hand.assigned().await;
    hand.accept(&spec).await;
    third
        .until(async || third.runs.get(&run.id).await.is_ok_and(|detail| detail.tasks[&name("a")].assignment.is_some()))
        .await;
    let mut log = third.runs.log(&third.log(&run, "a", StepRef::Step(0))).await.expect("followed");
    let append = async |hand: &Hand, offset: u64, text: &'static str| {
        let stored = hand.client.append_log(&hand.fence(&spec), StepRef::Step(0), offset, Bytes::from(text)).await;
        assert_eq!(stored.expect("stored"), offset + text.len() as u64);
    };
    append(&hand, 0, "one\n").await;
    assert_eq!(in_time(log.next()).await.expect("more").expect("readable"), "one\n");
    // The executor moves, and the log with it.
    let held = [HeldTask { task: spec.id.clone(), attempt: 1 }];
    let mut hand = Hand::named("a", second.runs.client(), 4, &held).await;
    append(&hand, 4, "two\n").await;
    assert_eq!(in_time(log.next()).await.expect("more").expect("readable"), "two\n");
    hand.sequence = 1;
    append(&hand, 8, "three\n").await;
    hand.report(&spec, AttemptState::Success, vec![done(StepStatus::Success, 14)]).await.expect("reported");
    assert_eq!(text(log).await, "three\n");
}

#[tokio::test(start_paused = true)]
async fn who_asks_how_long_a_log_is_hears_of_what_another_process_stored() {
    let world = World::default();
    let [first, second] = [world.process(1).await, world.process(2).await];
    let mut hand = Hand::named("a", first.runs.client(), 4, &[]).await;
    first.create(config(&["a"])).await;
    let spec = hand.assigned().await;
    hand.accept(&spec).await;
    let held = [HeldTask { task: spec.id.clone(), attempt: 1 }];
    let append = async |hand: &Hand, offset: u64, text: &'static str| {
        let stored = hand.client.append_log(&hand.fence(&spec), StepRef::Step(0), offset, Bytes::from(text)).await;
        stored.expect("stored")
    };
    append(&hand, 0, "one\n").await;
    let hand = Hand::named("a", second.runs.client(), 4, &held).await;
    append(&hand, 4, "two\n").await;
    // Back again, and after a crash: it does not know any more how far it was.
    let hand = Hand::named("a", first.runs.client(), 4, &held).await;
    assert_eq!(append(&hand, 0, "").await, 8);
}

#[tokio::test(start_paused = true)]
async fn a_process_that_is_alone_clears_what_the_one_before_it_left() {
    let yard = Yard::new();
    let _hand = yard.executor().await;
    let storage = Arc::clone(&yard.storage);
    let data = Arc::clone(&yard.data);
    drop(yard);
    let runs = RunService::builder(data.clone(), Arc::clone(&storage)).ids(IdSource::from_seed(2)).build();
    let yard = Yard::of(runs, data, storage);
    let run = yard.create(config(&["a"])).await;
    yard.until(async || reason(&yard, &run).await == silent("hand")).await;
    let mut hand = yard.executor().await;
    assert_eq!(hand.assigned().await.name.as_str(), "a");
}
