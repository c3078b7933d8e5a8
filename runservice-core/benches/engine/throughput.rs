//! How many runs of one task are finished durably in a second?

use futures::{StreamExt, stream};
use runyard_runservice_core::{EventSequence, SequencedEvent, engine::Change};
use tokio::sync::mpsc;

use crate::{
    Outcome,
    measure::{floor, millis, now, percentile},
    null::{Yard, execute, one_task},
};

pub(crate) async fn bench(scale: f64) -> Outcome {
    let runs = (10_000.0 * scale).max(100.0) as usize;
    for at_a_time in [1, 64] {
        let runs = if at_a_time == 1 { runs / 20 } else { runs };
        let yard = Yard::open().await?;
        let (told, _assigned) = mpsc::unbounded_channel();
        let executor = execute(&yard.runs, "null", 1_000, told).await?;
        let mut floors = Vec::new();
        for _ in 0..50 {
            floors.push(floor(&yard.storage).await?);
        }
        let (began, batches) = (now(), yard.transactions());
        let service = &yard.runs;
        let finished = async {
            let mut events = yard.runs.events(EventSequence::ZERO);
            let mut left = runs;
            while left > 0 {
                let SequencedEvent { event, .. } = events.next().await.ok_or("no more events")??;
                left -= usize::from(matches!(event.change, Change::RunFinished { .. }));
            }
            Outcome::Ok(())
        };
        let creating = async {
            let create = |index| async move {
                service.create(one_task(index)?.into()).await?;
                Outcome::Ok(())
            };
            let mut created = stream::iter(0..runs).map(create).buffer_unordered(at_a_time);
            while let Some(created) = created.next().await {
                created?;
            }
            Outcome::Ok(())
        };
        tokio::try_join!(finished, creating)?;
        let took = began.elapsed();
        println!(
            "{runs} runs of one task, {at_a_time} created at a time: {:.0} runs/s, {:.2} batches of the log per run, floor {}",
            runs as f64 / took.as_secs_f64(),
            (yard.transactions() - batches) as f64 / runs as f64,
            millis(percentile(&mut floors, 50)),
        );
        executor.abort();
        yard.close().await?;
    }
    Ok(())
}
