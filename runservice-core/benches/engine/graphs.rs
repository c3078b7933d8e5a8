//! What does an edge of a large run cost?

use std::time::Duration;

use futures::StreamExt;
use runyard_runservice_core::{EventSequence, engine::Change};
use tokio::sync::mpsc;

use crate::{
    Outcome,
    measure::{floor, millis, now, percentile},
    null::{Yard, config, execute},
};

pub(crate) async fn bench(scale: f64) -> Outcome {
    let size = (1_000.0 * scale).max(10.0) as usize;
    let name = |index: usize| format!("t{index:05}");
    let chain: Vec<_> = (0..size).map(|n| (name(n), (n > 0).then(|| name(n - 1)).into_iter().collect())).collect();
    let wide: Vec<_> = (0..size).map(|n| (name(n), if n == 0 { vec![] } else { vec![name(0)] })).collect();
    // Removed at the end: ext4 without a journal is slow in making files for minutes after many were deleted.
    let mut left = Vec::new();
    for (what, tasks) in [("a chain", chain), ("a fan-out", wide)] {
        let yard = Yard::open().await?;
        let (told, _assigned) = mpsc::unbounded_channel();
        let executor = execute(&yard.runs, "null", 10_000, told).await?;
        let before = floor_now(&yard).await?;
        let (began, batches) = (now(), yard.transactions());
        yard.runs.create(config(0, &tasks)?.into()).await?;
        let mut events = yard.runs.events(EventSequence::ZERO);
        loop {
            let event = events.next().await.ok_or("no more events")??;
            if matches!(event.event.change, Change::RunFinished { .. }) {
                break;
            }
        }
        let per_edge = began.elapsed() / size as u32;
        let batches = (yard.transactions() - batches) as f64 / size as f64;
        let after = floor_now(&yard).await?;
        println!(
            "{what} of {size} tasks: {} per edge, {batches:.2} batches of the log per edge, floor {} before, {} after",
            millis(per_edge),
            millis(before),
            millis(after),
        );
        executor.abort();
        left.push(yard.close_keeping().await?);
    }
    Ok(())
}

async fn floor_now(yard: &Yard) -> Outcome<Duration> {
    let mut floors = Vec::new();
    for _ in 0..50 {
        floors.push(floor(&yard.storage).await?);
    }
    Ok(percentile(&mut floors, 50))
}
