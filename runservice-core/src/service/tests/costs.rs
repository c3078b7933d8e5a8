//! What does a run cost, counted: transactions, and what is done when nothing happens. And what is logged about it.

use std::sync::Mutex;

use runyard_datamanager::Position;
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

use super::*;

impl Yard {
    /// How many transactions there were.
    async fn transactions(&self) -> usize {
        let at = self.data.snapshot().position();
        let up_to = |committed: &runyard_datamanager::Committed| committed.position < at;
        let changes = self.data.follow(Position::ZERO).map(|committed| committed.expect("readable"));
        // The last one, and those before it.
        1 + changes.take_while(|committed| futures::future::ready(up_to(committed))).count().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_of_one_task_costs_four_transactions_and_the_next_of_its_group_starts_with_the_last() {
    let yard = Yard::new();
    let mut hand = yard.executor().await;
    let before = yard.transactions().await;
    let first = yard.create(config(&["a"])).await;
    let spec = hand.assigned().await;
    assert_eq!(yard.transactions().await - before, 2, "created, assigned");
    hand.accept(&spec).await;
    let second = yard.create(config(&["b"])).await;
    let waiting = yard.transactions().await;
    let steps = vec![done(StepStatus::Success, 0)];
    hand.report(&spec, AttemptState::Success, steps).await.expect("reported");
    assert_eq!(yard.transactions().await - waiting, 1, "the end of one run is the start of the next");
    assert_eq!(yard.runs.get(&second.id).await.expect("exists").run.phase, RunPhase::Running);
    assert_eq!(yard.runs.get(&first.id).await.expect("exists").run.phase, RunPhase::Finished);
    // Created, assigned, accepted, reported; and the second one was created.
    assert_eq!(yard.transactions().await - before, 5);
}

#[tokio::test(start_paused = true)]
async fn from_the_end_of_a_task_to_the_start_of_its_child_there_are_two_commits() {
    let yard = Yard::new();
    let mut hand = yard.executor().await;
    yard.create(config(&["a", "b: a"])).await;
    let a = hand.assigned().await;
    hand.accept(&a).await;
    let before = yard.transactions().await;
    hand.report(&a, AttemptState::Success, vec![done(StepStatus::Success, 0)]).await.expect("reported");
    assert_eq!(hand.assigned().await.name.as_str(), "b");
    assert_eq!(yard.transactions().await - before, 2);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_committed_while_nothing_happens() {
    let yard = Yard::new();
    let mut hands = Vec::new();
    for index in 0..100 {
        hands.push(Hand::named(&format!("x{index}"), yard.runs.client(), 5, &[]).await);
    }
    for index in 0..1_000 {
        yard.create(RunConfig { group: group(&index.to_string()), ..config(&["a", "b: a"]) }).await;
    }
    // Half of them were given to executors, and the rest waits.
    tokio::time::sleep(Duration::from_secs(30)).await;
    let before = yard.transactions().await;
    tokio::time::sleep(Duration::from_secs(60 * 60)).await;
    assert_eq!(yard.transactions().await, before);
    assert!(hands.iter().all(|hand| !hand.id.as_str().is_empty()), "the executors lived for as long");
}

/// What a span about a run says.
#[derive(Clone, Debug, Default)]
struct Span {
    trace_id: Option<String>,
    doing: Option<String>,
}

/// Keeps what spans say.
#[derive(Clone, Default)]
struct Traces(Arc<Mutex<Vec<Span>>>);

struct Fields<'a>(&'a mut Span);

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "trace_id" => self.0.trace_id = Some(value.to_owned()),
            "doing" => self.0.doing = Some(value.to_owned()),
            _ => {}
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

impl Subscriber for Traces {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span()
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut spans = self.0.lock().expect("not poisoned");
        let mut fields = Span::default();
        span.record(&mut Fields(&mut fields));
        spans.push(fields);
        Id::from_u64(spans.len() as u64)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        let mut spans = self.0.lock().expect("not poisoned");
        values.record(&mut Fields(&mut spans[span.into_u64() as usize - 1]));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[tokio::test(start_paused = true)]
async fn all_that_is_done_about_a_run_is_of_one_trace() {
    let traces = Traces::default();
    // With one subscriber alone, what other tests log first on their threads, where it is none, would be off for ever.
    let _other = tracing::Dispatch::new(Traces::default());
    let _subscribed = tracing::subscriber::set_default(traces.clone());
    let yard = Yard::new();
    let mut hand = yard.executor().await;
    let run = yard.create(config(&["a"])).await;
    let spec = hand.assigned().await;
    hand.succeed(&spec).await;
    yard.finished(&run).await;
    let spans = traces.0.lock().expect("not poisoned").clone();
    let of_run: Vec<_> = spans.iter().filter(|span| span.trace_id.is_some()).collect();
    let doing: Vec<&str> = of_run.iter().filter_map(|span| span.doing.as_deref()).collect();
    assert_eq!(doing, ["creating a run", "assigning a task", "accepting a task", "reporting a task"]);
    assert!(of_run.iter().all(|span| span.trace_id.as_deref() == Some(&run.id.trace_id())), "{of_run:?}");
}
