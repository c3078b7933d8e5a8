//! Restart, deletion, references, expiry: what is kept, for whom, and for how long.

use std::time::SystemTime;

use runyard_objectstorage::{ObjectStorageExt, PutMode};
use tokio::time::Instant;

use super::*;
use crate::{Clock, Error, EventSequence, RestartPoint, Settings, engine::Change};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Goes with the paused clock of the test.
#[derive(Debug)]
struct TestClock(Instant);

impl Clock for TestClock {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + 20_000 * DAY + self.0.elapsed()
    }
}

fn aging_yard(settings: Settings) -> Yard {
    let (data, storage) = (Arc::new(MemoryDataManager::new()), Arc::new(MemoryStorage::new()));
    let builder = RunService::builder(Arc::clone(&data), Arc::clone(&storage)).ids(IdSource::from_seed(1));
    let runs = builder.clock(TestClock(Instant::now())).settings(settings).build();
    Yard::of(runs, data, storage)
}

impl Yard {
    /// The keys of all objects that are not the data manager's.
    async fn objects(&self) -> Vec<String> {
        let all = self.storage.list_objects("").await.expect("listed");
        all.into_iter().map(|object| object.key.as_str().to_owned()).collect()
    }

    /// Waits until the objects are as expected; they follow what was committed.
    async fn comes_to_have(&self, what: &str, expected: impl Fn(&[String]) -> bool) {
        let waiting = async {
            while !expected(&self.objects().await) {
                // Objects tell nobody that they come and go, and time is paused: this costs none.
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let found = tokio::time::timeout(Duration::from_secs(60), waiting).await;
        assert!(found.is_ok(), "{what}: {:?}", self.objects().await);
    }

    async fn log_text(&self, run: &crate::model::Run, task: &str) -> Result<String, Error> {
        let stream = self.runs.log(&self.log(run, task, StepRef::Step(0))).await?;
        Ok(text(stream).await)
    }
}

impl Hand {
    /// Accepts, prints a line, stores an archive where the step is one, and ends.
    async fn print_and_end(&mut self, spec: &TaskSpec, succeeds: bool) {
        self.accept(spec).await;
        let fence = self.fence(spec);
        let line = format!("log of {}\n", spec.name);
        let bytes = line.len() as u64;
        self.client.append_log(&fence, StepRef::Step(0), 0, Bytes::from(line)).await.expect("stored");
        if spec.steps.0.iter().any(|step| matches!(step, Step::SaveToWorkspace(_))) {
            let archive = futures::stream::iter([Ok(Bytes::from("archive"))]).boxed();
            self.client.put_workspace(&fence, 1, archive).await.expect("stored");
        }
        let status = if succeeds { StepStatus::Success } else { StepStatus::Failed };
        let mut steps = vec![done(status, bytes)];
        steps.extend(spec.steps.0.iter().skip(1).map(|_| done(StepStatus::Success, 0)));
        let state = if succeeds { AttemptState::Success } else { failure() };
        self.report(spec, state, steps).await.expect("reported");
    }
}

/// `build` saves an archive and succeeds, `test` fails.
fn build_and_test() -> RunConfig {
    let mut config = config(&["build", "test: build"]);
    let build = config.tasks.get_mut(&name("build")).expect("there");
    build.steps.0.push(Step::SaveToWorkspace(SaveToWorkspaceStep::default()));
    config
}

async fn failed_run(yard: &Yard, hand: &mut Hand) -> crate::model::Run {
    let run = yard.create(build_and_test()).await;
    let build = hand.assigned().await;
    hand.print_and_end(&build, true).await;
    let test = hand.assigned().await;
    hand.print_and_end(&test, false).await;
    yard.finished(&run).await.run
}

/// The run that repeats what failed, and succeeds.
async fn restarted_run(yard: &Yard, hand: &mut Hand, first: &crate::model::Run) -> crate::model::Run {
    let second = yard.runs.restart(&first.id, RestartPoint::FailedTasks).await.expect("restarted");
    let test = hand.assigned().await;
    hand.print_and_end(&test, true).await;
    yard.finished(&second).await.run
}

#[tokio::test(start_paused = true)]
async fn a_restart_from_failed_tasks_shares_what_succeeded_and_repeats_the_rest() {
    let yard = Yard::new();
    let mut hand = yard.executor().await;
    let first = failed_run(&yard, &mut hand).await;
    let second = yard.runs.restart(&first.id, RestartPoint::FailedTasks).await.expect("restarted");
    assert_eq!((second.number, second.phase, second.restart_of), (2, RunPhase::Running, Some(first.id.clone())));
    let test = hand.assigned().await;
    assert_eq!((test.name.as_str(), test.workspace.len()), ("test", 1));
    let fence = hand.fence(&test);
    hand.accept(&test).await;
    let shared = &test.workspace[0];
    let archive = hand.client.get_workspace(&fence, &shared.task, shared.step).await.expect("of the first run");
    assert_eq!(archive.try_collect::<Vec<Bytes>>().await.expect("readable").concat(), b"archive");
    let second = yard.runs.get(&second.id).await.expect("exists");
    let first = yard.runs.get(&first.id).await.expect("exists");
    let id = |detail: &super::super::RunDetail, task: &str| detail.tasks[&name(task)].id.clone();
    assert_eq!(id(&first, "build"), id(&second, "build"));
    assert_ne!(id(&first, "test"), id(&second, "test"));
    assert_eq!(yard.log_text(&second.run, "build").await.expect("shared"), "log of build\n");
}

#[tokio::test(start_paused = true)]
async fn a_restart_is_refused_with_the_reason() {
    let yard = Yard::new();
    let mut hand = yard.executor().await;
    let run = yard.create(config(&["a"])).await;
    let refused = async |from| yard.runs.restart(&run.id, from).await.expect_err("refused");
    let error = refused(RestartPoint::Scratch).await;
    assert_eq!(error.kind(), ErrorKind::BadRequest);
    assert!(error.to_string().contains("run #1 is running"), "{error}");
    let spec = hand.assigned().await;
    hand.succeed(&spec).await;
    let error = refused(RestartPoint::FailedTasks).await;
    assert!(error.to_string().contains("no failed tasks"), "{error}");
    let again = yard.runs.restart(&run.id, RestartPoint::Scratch).await.expect("restarted");
    assert_ne!(hand.assigned().await.id, spec.id);
    assert_eq!(again.number, 2);
}

#[tokio::test(start_paused = true)]
async fn shared_logs_stay_until_the_last_run_that_has_them_is_deleted() {
    for first_goes_first in [true, false] {
        let yard = Yard::new();
        let mut hand = yard.executor().await;
        let first = failed_run(&yard, &mut hand).await;
        let second = restarted_run(&yard, &mut hand, &first).await;
        yard.comes_to_have("six references", |all| all.iter().filter(|key| key.contains("/runs/")).count() == 6).await;

        let (goes, stays) = if first_goes_first { (&first, &second) } else { (&second, &first) };
        yard.runs.delete(&goes.id).await.expect("deleted");
        assert_eq!(yard.runs.get(&goes.id).await.expect_err("gone").kind(), ErrorKind::NotExist);
        yard.comes_to_have("only those of one run", |all| !all.iter().any(|key| key.ends_with(goes.id.as_str()))).await;
        assert_eq!(yard.log_text(stays, "build").await.expect("kept"), "log of build\n");
        assert!(yard.objects().await.iter().any(|key| key.starts_with("workspacearchives/")));

        yard.runs.delete(&stays.id).await.expect("deleted");
        yard.comes_to_have("nothing", <[String]>::is_empty).await;
        let left = yard.runs.list(&RunFilter::default()).await.expect("listed");
        assert!(left.runs.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_that_races_with_a_deletion_has_everything_or_is_refused() {
    for delay in 0..20 {
        let yard = Yard::new();
        let mut hand = yard.executor().await;
        let first = failed_run(&yard, &mut hand).await;
        let delete = async {
            for _ in 0..delay {
                tokio::task::yield_now().await;
            }
            yard.runs.delete(&first.id).await
        };
        let restart = async {
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            yard.runs.restart(&first.id, RestartPoint::FailedTasks).await
        };
        let (restarted, deleted) = futures::join!(restart, delete);
        deleted.expect("deleted");
        match restarted {
            Ok(second) => {
                let gone = |all: &[String]| !all.iter().any(|key| key.ends_with(first.id.as_str()));
                yard.comes_to_have("no reference of the first", gone).await;
                assert_eq!(yard.log_text(&second, "build").await.expect("shared"), "log of build\n");
                let test = hand.assigned().await;
                hand.accept(&test).await;
                let shared = &test.workspace[0];
                let archive = hand.client.get_workspace(&hand.fence(&test), &shared.task, shared.step).await;
                assert!(archive.is_ok(), "{:?}", archive.err());
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::NotExist, "{error}");
                yard.comes_to_have("nothing", <[String]>::is_empty).await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_goes_on_or_is_pinned_is_not_deleted() {
    let yard = Yard::new();
    let mut hand = yard.executor().await;
    let run = yard.create(config(&["a"])).await;
    let error = yard.runs.delete(&run.id).await.expect_err("refused");
    assert!(error.to_string().contains("stop or cancel it"), "{error}");
    let spec = hand.assigned().await;
    hand.succeed(&spec).await;
    yard.runs.set_pinned(&run.id, true).await.expect("pinned");
    let error = yard.runs.delete(&run.id).await.expect_err("refused");
    assert!(error.to_string().contains("unpin"), "{error}");
    yard.runs.set_pinned(&run.id, false).await.expect("unpinned");
    yard.runs.delete(&run.id).await.expect("deleted");
    let mut events = yard.runs.events(EventSequence::ZERO);
    while events.next().await.expect("goes on").expect("readable").event.change != Change::RunDeleted {}
}

#[tokio::test(start_paused = true)]
async fn what_a_crash_left_to_be_removed_is_removed_by_the_next_start() {
    let (data, storage) = (Arc::new(MemoryDataManager::new()), FaultyStorage::new(MemoryStorage::new()));
    let runs = RunService::builder(Arc::clone(&data), storage.clone()).build();
    let memory = Arc::new(MemoryStorage::new());
    let yard = Yard::of(runs, data.clone(), Arc::clone(&memory));
    let mut hand = yard.executor().await;
    let run = failed_run(&yard, &mut hand).await;
    // From now on nothing can be deleted.
    storage.plan(|call| match call.kind {
        runyard_objectstorage::CallKind::Delete => Verdict::FailBefore,
        _ => Verdict::Pass,
    });
    yard.runs.delete(&run.id).await.expect("deleted");
    assert_eq!(yard.runs.get(&run.id).await.expect_err("gone").kind(), ErrorKind::NotExist);
    let Yard { _workers, runs, .. } = yard;
    drop((runs, _workers));
    storage.plan(|_| Verdict::Pass);
    assert!(!storage.list_objects("").await.expect("listed").is_empty());
    let again = RunService::builder(data.clone(), storage.clone()).build();
    let _yard = Yard::of(again, data, memory);
    let empty = async {
        while !storage.list_objects("").await.expect("listed").is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), empty).await.expect("removed by the next start");
}

#[tokio::test(start_paused = true)]
async fn logs_and_archives_expire_each_in_its_time_and_pinned_ones_do_not() {
    let settings = Settings {
        workspaces_keep_for: Some(DAY),
        logs_keep_for: Some(3 * DAY),
        runs_keep_for: Some(10 * DAY),
        ..Settings::default()
    };
    let yard = aging_yard(settings);
    let mut hand = yard.executor().await;
    let run = failed_run(&yard, &mut hand).await;
    let pinned = failed_run(&yard, &mut hand).await;
    yard.runs.set_pinned(&pinned.id, true).await.expect("pinned");

    tokio::time::sleep(DAY + Duration::from_secs(60)).await;
    let archives = |all: &[String]| all.iter().filter(|key| key.starts_with("workspacearchives/")).count();
    yard.comes_to_have("the archives of the pinned run alone", |all| archives(all) == 2).await;
    let error = yard.runs.restart(&run.id, RestartPoint::FailedTasks).await.expect_err("refused");
    assert!(error.to_string().contains("`build` have expired"), "{error}");
    assert_eq!(yard.log_text(&run, "build").await.expect("kept"), "log of build\n");

    tokio::time::sleep(2 * DAY).await;
    let error = yard.log_text(&run, "build").await.expect_err("gone");
    assert_eq!(error.kind(), ErrorKind::NotExist);
    assert!(error.to_string().contains("not kept any more"), "{error}");
    assert_eq!(yard.log_text(&pinned, "build").await.expect("kept"), "log of build\n");

    tokio::time::sleep(8 * DAY).await;
    assert_eq!(yard.runs.get(&run.id).await.expect_err("gone").kind(), ErrorKind::NotExist);
    yard.runs.get(&pinned.id).await.expect("kept");
    assert!(yard.runs.metrics().objects_expired > 0);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_was_cancelled_or_could_not_be_set_up_goes_with_the_others() {
    let yard = aging_yard(Settings { runs_keep_for: Some(DAY), ..Settings::default() });
    let running = yard.create(config(&["a"])).await;
    let queued = yard.create(config(&["a"])).await;
    yard.runs.cancel(&queued.id).await.expect("cancelled");
    let broken = yard.create(RunConfig { setup_errors: vec!["line 1".into()], ..config(&[]) }).await;
    tokio::time::sleep(DAY + Duration::from_secs(60)).await;
    for gone in [&queued, &broken] {
        assert_eq!(yard.runs.get(&gone.id).await.expect_err("gone").kind(), ErrorKind::NotExist);
    }
    yard.runs.get(&running.id).await.expect("it goes on");
}

#[tokio::test(start_paused = true)]
async fn the_oldest_logs_make_room_for_newer_ones() {
    let yard = aging_yard(Settings { logs_bytes_max: Some(40), ..Settings::default() });
    let mut hand = yard.executor().await;
    let mut all = Vec::new();
    for _ in 0..3 {
        all.push(failed_run(&yard, &mut hand).await);
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    tokio::time::sleep(2 * Duration::from_secs(60 * 60)).await;
    let kept: Vec<bool> = [
        yard.log_text(&all[0], "build").await.is_ok(),
        yard.log_text(&all[1], "build").await.is_ok(),
        yard.log_text(&all[2], "build").await.is_ok(),
    ]
    .to_vec();
    assert_eq!(kept, [false, false, true]);
}

#[tokio::test(start_paused = true)]
async fn events_are_replayed_from_any_sequence_until_they_expire() {
    let yard = aging_yard(Settings { events_keep_for: Some(DAY), ..Settings::default() });
    let mut hand = yard.executor().await;
    let first = failed_run(&yard, &mut hand).await;
    let all = |after| {
        let runs = yard.runs.clone();
        async move {
            let now = runs.now();
            let mut events = runs.events(after).take_while(|event| {
                let goes_on = event.as_ref().is_ok_and(|event| event.sequence <= now);
                futures::future::ready(goes_on || event.is_err())
            });
            let mut found = Vec::new();
            while let Ok(Some(event)) = tokio::time::timeout(Duration::from_secs(1), events.next()).await {
                found.push(event?);
            }
            Ok::<_, Error>(found)
        }
    };
    let everything = all(EventSequence::ZERO).await.expect("kept");
    assert!(everything.len() > 10 && everything.is_sorted_by_key(|event| event.sequence));
    for (index, event) in everything.iter().enumerate() {
        let parsed: EventSequence = event.sequence.to_string().parse().expect("it reads back");
        assert_eq!(all(parsed).await.expect("kept"), everything[index + 1..]);
    }
    tokio::time::sleep(2 * DAY).await;
    let error = all(EventSequence::ZERO).await.expect_err("expired");
    assert_eq!(error.kind(), ErrorKind::Expired);
    let Error::EventsExpired { oldest } = error else { panic!("{error:?}") };
    assert_eq!(Some(oldest), everything.last().map(|event| event.sequence));
    let second = yard.runs.restart(&first.id, RestartPoint::Scratch).await.expect("restarted");
    let since = all(oldest).await.expect("kept");
    assert!(since.iter().all(|event| event.event.run == second.id) && !since.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_list_is_filtered_and_its_cursor_goes_on() {
    let yard = Yard::new();
    let mut hand = yard.executor().await;
    let failed = failed_run(&yard, &mut hand).await;
    for _ in 0..3 {
        let run = yard.create(RunConfig { group: group("other"), ..config(&["a"]) }).await;
        let spec = hand.assigned().await;
        hand.succeed(&spec).await;
        yard.finished(&run).await;
    }
    let numbers = async |filter: RunFilter| {
        let (mut numbers, mut after) = (Vec::new(), None);
        loop {
            let page = yard.runs.list(&RunFilter { after, limit: 2, ..filter.clone() }).await.expect("listed");
            numbers.extend(page.runs.iter().map(|run| run.number));
            after = page.next;
            if after.is_none() {
                return numbers;
            }
        }
    };
    assert_eq!(numbers(RunFilter { result: Some(RunResult::Failed), ..RunFilter::default() }).await, [failed.number]);
    assert_eq!(numbers(RunFilter { group: Some(group("other")), ..RunFilter::default() }).await, [4, 3, 2]);
    assert_eq!(numbers(RunFilter { phase: Some(RunPhase::Running), ..RunFilter::default() }).await, [0; 0]);
}

/// Stores a cache entry, or opens one, as a task of a run.
async fn cache_task(yard: &Yard, hand: &mut Hand, config: RunConfig) -> Fence {
    yard.create(config).await;
    let spec = hand.assigned().await;
    hand.accept(&spec).await;
    hand.fence(&spec)
}

async fn put(hand: &Hand, fence: &Fence, key: &str, content: &'static str) -> CachePut {
    let archive = futures::stream::iter([Ok(Bytes::from(content))]).boxed();
    hand.client.put_cache(fence, key, archive).await.expect("stored")
}

async fn get(hand: &Hand, fence: &Fence, keys: &[&str]) -> Option<String> {
    let keys: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
    let hit = hand.client.get_cache(fence, &keys).await.expect("looked up")?;
    let pieces: Vec<Bytes> = hit.archive.try_collect().await.expect("readable");
    Some(format!("{}={}", hit.key, String::from_utf8(pieces.concat()).expect("text")))
}

fn in_group(project: &str, cache_group: Option<&str>) -> RunConfig {
    let group = GroupPath::new("project", project).expect("valid");
    RunConfig { group, cache_group: cache_group.map(str::to_owned), ..config(&["a"]) }
}

#[tokio::test(start_paused = true)]
async fn two_root_groups_with_one_cache_group_share_entries_and_without_it_they_do_not() {
    for (cache_group, expected) in [(Some("shared"), Some("k=v".to_owned())), (None, None)] {
        let yard = Yard::new();
        let mut hand = yard.executor().await;
        let one = cache_task(&yard, &mut hand, in_group("1", cache_group)).await;
        let two = cache_task(&yard, &mut hand, in_group("2", cache_group)).await;
        assert_eq!(put(&hand, &one, "k", "v").await, CachePut::Stored);
        assert_eq!(get(&hand, &two, &["k"]).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_fork_reads_the_caches_of_its_project_and_cannot_write_them() {
    let yard = Yard::new();
    let mut hand = yard.executor().await;
    let trusted = cache_task(&yard, &mut hand, in_group("1", None)).await;
    let fork = RunConfig { cache_write_group: Some("fork-7".into()), ..in_group("1", None) };
    let fork = cache_task(&yard, &mut hand, RunConfig { concurrency: ConcurrencyPolicy::Parallel, ..fork }).await;
    assert_eq!(put(&hand, &trusted, "deps-1", "good").await, CachePut::Stored);
    assert_eq!(get(&hand, &fork, &["deps-1"]).await.as_deref(), Some("deps-1=good"));
    assert_eq!(put(&hand, &fork, "deps-1", "poison").await, CachePut::Stored);
    assert_eq!(put(&hand, &fork, "deps-2", "poison").await, CachePut::Stored);
    assert_eq!(get(&hand, &trusted, &["deps-2", "deps-"]).await.as_deref(), Some("deps-1=good"));
    assert_eq!(get(&hand, &fork, &["deps-"]).await.as_deref(), Some("deps-2=poison"));
}

#[tokio::test(start_paused = true)]
async fn a_prefix_restores_the_newest_entry_and_a_damaged_one_is_a_miss() {
    let yard = Yard::new();
    let mut hand = yard.executor().await;
    let fence = cache_task(&yard, &mut hand, in_group("1", None)).await;
    for (key, content) in [("deps-b", "older"), ("deps-a", "newer"), ("other", "x")] {
        put(&hand, &fence, key, content).await;
    }
    assert_eq!(get(&hand, &fence, &["deps-"]).await.as_deref(), Some("deps-a=newer"));
    // As after a crash of the machine: the object is shorter than it was.
    let caches: Vec<_> = yard.storage.list_objects("caches/").await.expect("listed");
    for object in caches {
        if yard.storage.get_bytes(&object.key).await.expect("readable") == "newer" {
            yard.storage.put_bytes(&object.key, Bytes::from("new"), PutMode::Overwrite).await.expect("torn");
        }
    }
    assert_eq!(get(&hand, &fence, &["deps-"]).await.as_deref(), Some("deps-b=older"));
    assert_eq!(put(&hand, &fence, "deps-a", "again").await, CachePut::Stored);
}

#[tokio::test(start_paused = true)]
async fn cache_entries_go_when_nobody_has_used_them_for_long() {
    let yard = aging_yard(Settings { caches_keep_for: Some(2 * DAY), ..Settings::default() });
    let mut hand = yard.executor().await;
    let fence = cache_task(&yard, &mut hand, in_group("1", None)).await;
    put(&hand, &fence, "used", "u").await;
    put(&hand, &fence, "unused", "n").await;
    for _ in 0..3 {
        tokio::time::sleep(DAY).await;
        assert_eq!(get(&hand, &fence, &["used"]).await.as_deref(), Some("used=u"));
    }
    assert_eq!(get(&hand, &fence, &["unused"]).await, None);
    yard.comes_to_have("one entry", |all| all.iter().filter(|key| key.starts_with("caches/")).count() == 1).await;
}

#[tokio::test(start_paused = true)]
async fn the_entries_that_were_used_longest_ago_make_room() {
    let yard = aging_yard(Settings { caches_bytes_max: Some(8), ..Settings::default() });
    let mut hand = yard.executor().await;
    let fence = cache_task(&yard, &mut hand, in_group("1", None)).await;
    for key in ["a", "b", "c"] {
        put(&hand, &fence, key, "1234").await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    tokio::time::sleep(Duration::from_secs(2 * 60 * 60)).await;
    assert_eq!(get(&hand, &fence, &["a"]).await, None);
    assert_eq!(get(&hand, &fence, &["b"]).await.as_deref(), Some("b=1234"));
}

#[tokio::test(start_paused = true)]
async fn an_archive_that_is_too_large_is_refused_and_not_stored() {
    let yard = aging_yard(Settings { archive_bytes_max: 10, ..Settings::default() });
    let mut hand = yard.executor().await;
    let fence = cache_task(&yard, &mut hand, in_group("1", None)).await;
    let archive = || futures::stream::iter([Ok(Bytes::from("12345")), Ok(Bytes::from("6789ab"))]).boxed();
    let cache = hand.client.put_cache(&fence, "k", archive()).await.expect_err("too large").to_string();
    let workspace = hand.client.put_workspace(&fence, 0, archive()).await.expect_err("too large").to_string();
    for error in [cache, workspace] {
        assert!(error.contains("larger than 10 bytes"), "{error}");
    }
    assert!(!yard.objects().await.iter().any(|key| key.contains("/data/") || key.starts_with("caches/")));
}

/// What a run has shared with a pinned one stays, whatever of the first expires and in which order it goes.
async fn deleted_after(first_expires: Duration, settings: Settings) -> (Yard, crate::model::Run) {
    let yard = aging_yard(settings);
    let mut hand = yard.executor().await;
    let first = failed_run(&yard, &mut hand).await;
    let second = restarted_run(&yard, &mut hand, &first).await;
    yard.runs.set_pinned(&second.id, true).await.expect("pinned");
    tokio::time::sleep(first_expires).await;
    yard.runs.delete(&first.id).await.expect("deleted");
    tokio::time::sleep(Duration::from_secs(60)).await;
    (yard, second)
}

#[tokio::test(start_paused = true)]
async fn shared_archives_outlive_a_run_whose_own_had_expired_before_it_was_deleted() {
    let settings = Settings { workspaces_keep_for: Some(DAY), logs_keep_for: None, ..Settings::default() };
    let (yard, second) = deleted_after(2 * DAY, settings).await;
    assert_eq!(yard.log_text(&second, "build").await.expect("kept"), "log of build\n");
    let objects = yard.objects().await;
    assert!(objects.iter().any(|key| key.starts_with("workspacearchives/") && key.contains("/data/")), "{objects:?}");
}

#[tokio::test(start_paused = true)]
async fn shared_logs_outlive_a_run_whose_own_had_expired_before_it_was_deleted() {
    let settings = Settings { workspaces_keep_for: Some(DAY), logs_keep_for: Some(DAY), ..Settings::default() };
    let (yard, second) = deleted_after(2 * DAY, settings).await;
    assert_eq!(yard.log_text(&second, "build").await.expect("kept"), "log of build\n");
}

#[tokio::test(start_paused = true)]
async fn what_is_shared_outlives_a_run_that_is_deleted_before_anything_expires() {
    let settings = Settings { workspaces_keep_for: None, logs_keep_for: None, ..Settings::default() };
    let (yard, second) = deleted_after(2 * DAY, settings).await;
    assert_eq!(yard.log_text(&second, "build").await.expect("kept"), "log of build\n");
    let objects = yard.objects().await;
    assert!(objects.iter().any(|key| key.starts_with("workspacearchives/") && key.contains("/data/")), "{objects:?}");
}

#[tokio::test(start_paused = true)]
async fn what_was_pinned_for_long_is_given_up_as_soon_as_it_is_unpinned() {
    let yard = aging_yard(Settings { logs_keep_for: Some(Duration::from_secs(60)), ..Settings::default() });
    let mut hand = yard.executor().await;
    let run = failed_run(&yard, &mut hand).await;
    yard.runs.set_pinned(&run.id, true).await.expect("pinned");
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(!yard.runs.get(&run.id).await.expect("it is there").run.logs_expired);
    yard.runs.set_pinned(&run.id, false).await.expect("unpinned");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(yard.runs.get(&run.id).await.expect("it is there").run.logs_expired);
}
