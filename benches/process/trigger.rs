//! How long from a trigger to the first byte of the first command?
//!
//! A run of one task is created and its log is followed; the clock stops when the first byte arrives.

use std::time::Duration;

use futures::StreamExt;
use runyard::runservice::RunService;

use crate::{
    Outcome,
    kit::{Yard, millis, now, one_task, percentile, persist, the_log},
};

const WARM_UP: usize = 20;
const RUNS: usize = 200;

pub(crate) async fn bench(yard: &Yard) -> Outcome {
    let (mut created, mut first_byte, mut floor) = (Vec::new(), Vec::new(), Vec::new());
    for index in 0..WARM_UP + RUNS {
        let (to_created, to_first_byte) = trigger(&yard.runs, index).await?;
        let one_object = persist(&yard.storage).await?;
        if index >= WARM_UP {
            created.push(to_created);
            first_byte.push(to_first_byte);
            floor.push(one_object);
        }
    }
    println!("{RUNS} runs, one after the other");
    let floor_p50 = percentile(&mut floor, 50);
    for (name, mut times) in [
        ("one persisted object (the floor)", floor),
        ("trigger to acknowledged", created),
        ("trigger to first byte", first_byte),
    ] {
        let (p50, p99) = (percentile(&mut times, 50), percentile(&mut times, 99));
        let ratio = p50.as_secs_f64() / floor_p50.as_secs_f64();
        println!("  {name:34} p50 {:7.2} ms   p99 {:7.2} ms   p50 / floor {ratio:5.1}", millis(p50), millis(p99));
    }
    Ok(())
}

/// The time until the run was durable, and until its first byte arrived.
async fn trigger(runs: &RunService, index: usize) -> Outcome<(Duration, Duration)> {
    let config = one_task(&format!("trigger-{index}"), "echo hello")?;
    let start = now();
    let run = runs.create(config.into()).await?;
    let created = start.elapsed();
    let mut log = runs.log(&the_log(&run)?).await?;
    let first = log.next().await.ok_or("the log ended without a byte")??;
    let first_byte = start.elapsed();
    assert_eq!(first.first(), Some(&b'h'));
    while log.next().await.transpose()?.is_some() {}
    Ok((created, first_byte))
}
