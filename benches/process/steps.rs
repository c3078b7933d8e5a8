//! How long from the end of a step to the first byte of the next?
//!
//! A task of many steps, each of which prints a word: the time from the first byte of the first to that of the last, divided
//! by how many lie between. The command itself is part of it.

use futures::StreamExt;

use crate::{
    Outcome,
    kit::{Yard, log_of, millis, now, percentile, persist, some_steps},
};

const WARM_UP: usize = 2;
const RUNS: usize = 20;
const STEPS: u32 = 21;

pub(crate) async fn bench(yard: &Yard) -> Outcome {
    let (mut times, mut floor) = (Vec::new(), Vec::new());
    for index in 0..WARM_UP + RUNS {
        let run = yard.runs.create(some_steps(&format!("steps-{index}"), "echo hello", STEPS as usize)?.into()).await?;
        let (mut first, mut last) =
            (yard.runs.log(&log_of(&run, 0)?).await?, yard.runs.log(&log_of(&run, STEPS - 1)?).await?);
        first.next().await.ok_or("the first log ended without a byte")??;
        let start = now();
        last.next().await.ok_or("the last log ended without a byte")??;
        let taken = start.elapsed();
        while last.next().await.transpose()?.is_some() {}
        let one_object = persist(&yard.storage).await?;
        if index >= WARM_UP {
            times.push(taken / (STEPS - 1));
            floor.push(one_object);
        }
    }
    let floor = percentile(&mut floor, 50);
    let (p50, p99) = (percentile(&mut times, 50), percentile(&mut times, 99));
    let ratio = p50.as_secs_f64() / floor.as_secs_f64();
    println!("{RUNS} tasks of {STEPS} steps, floor {:.2} ms", millis(floor));
    println!("  step to step p50 {:.2} ms   p99 {:.2} ms   p50 / floor {ratio:.1}", millis(p50), millis(p99));
    Ok(())
}
