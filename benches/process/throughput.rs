//! How many runs of one task, with a command that does nothing, are durably finished in a second?

use futures::{StreamExt, stream};
use runyard::runservice::{engine::Change, model::RunResult};

use crate::{
    Outcome,
    kit::{Yard, millis, now, one_task, percentile, persist},
};

const RUNS: usize = 1_000;
const AT_ONCE: usize = 64;

pub(crate) async fn bench(yard: &Yard) -> Outcome {
    let mut floor = Vec::new();
    for _ in 0..50 {
        floor.push(persist(&yard.storage).await?);
    }
    let (begun, after) = (now(), yard.runs.now());
    let created = stream::iter(0..RUNS).map(|index| async move {
        let config = one_task(&format!("throughput-{index}"), "true")?;
        Outcome::Ok(yard.runs.create(config.into()).await?)
    });
    let mut created = created.buffer_unordered(AT_ONCE);
    let creating = async {
        while let Some(run) = created.next().await {
            run?;
        }
        Outcome::Ok(())
    };
    let finishing = async {
        let mut events = yard.runs.events(after);
        let mut finished = 0;
        while finished < RUNS {
            let event = events.next().await.ok_or("no more events")??;
            if let Change::RunFinished { result } = event.event.change {
                if result != RunResult::Success {
                    let tasks = yard.runs.get(&event.event.run).await?.tasks;
                    return Err(format!("a run ended as {}: {tasks:?}", result.as_str()).into());
                }
                finished += 1;
            }
        }
        Outcome::Ok(())
    };
    futures::try_join!(creating, finishing)?;
    let took = begun.elapsed();
    println!(
        "{RUNS} runs of one task, {AT_ONCE} created and 16 executed at a time: {:.0} finished per second, floor {:.2} ms",
        RUNS as f64 / took.as_secs_f64(),
        millis(percentile(&mut floor, 50)),
    );
    Ok(())
}
