//! How long is it from a run's creation until its executor is told, with few and with many live runs?

use futures::{StreamExt, stream};
use tokio::sync::mpsc;

use crate::{
    Outcome,
    measure::{floor, millis, now, percentile},
    null::{Yard, execute, one_task},
};

pub(crate) async fn bench(scale: f64) -> Outcome {
    for live in [1, (10_000.0 * scale) as usize] {
        let yard = Yard::open().await?;
        // They wait for an executor that never comes.
        let waiting = stream::iter(0..live).map(async |index| {
            let mut config = one_task(index)?;
            for task in config.tasks.values_mut() {
                task.labels.insert("never".to_owned(), "there".to_owned());
            }
            yard.runs.create(config.into()).await?;
            Outcome::Ok(())
        });
        for created in waiting.buffer_unordered(64).collect::<Vec<_>>().await {
            created?;
        }
        let (told, mut assigned) = mpsc::unbounded_channel();
        let executor = execute(&yard.runs, "null", 8, told).await?;
        let (mut times, mut floors) = (Vec::new(), Vec::new());
        for index in 0..200 {
            let began = now();
            yard.runs.create(one_task(1_000_000 + index)?.into()).await?;
            assigned.recv().await.ok_or("the executor ended")?;
            times.push(began.elapsed());
            floors.push(floor(&yard.storage).await?);
        }
        let (floor, p50, p99) = (percentile(&mut floors, 50), percentile(&mut times, 50), percentile(&mut times, 99));
        let above = p50.saturating_sub(floor * 2);
        println!(
            "create to assignment told, {live} live runs: p50 {}, p99 {}, floor {}; p50 above its two commits {}",
            millis(p50),
            millis(p99),
            millis(floor),
            millis(above)
        );
        executor.abort();
        yard.close().await?;
    }
    Ok(())
}
