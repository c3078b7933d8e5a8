//! How fast does output become durable and reach a follower, and what does a page of it cost?

use bytes::Bytes;
use futures::StreamExt;
use runyard_executor_core::contract::{Fence, StepRef, TaskName};
use runyard_runservice_core::{LogPlace, LogRef, LogRequest};
use tokio::sync::mpsc;

use crate::{
    Outcome,
    measure::{millis, now, percentile, resident},
    null::{Yard, one_task, register_idle},
};

const LINE: usize = 100;
/// What an executor sends at a time when there is much to send.
const PIECE: usize = 256 << 10;

pub(crate) async fn bench(scale: f64) -> Outcome {
    let bytes = ((1_u64 << 30) as f64 * scale).max(16e6) as usize;
    let yard = Yard::open().await?;
    let (told, mut assigned) = mpsc::unbounded_channel();
    let (client, id, epoch) = register_idle(&yard.runs, told).await?;
    let run = yard.runs.create(one_task(0)?.into()).await?;
    let spec = assigned.recv().await.ok_or("the executor ended")?;
    let fence = Fence { task: spec.id, attempt: 1, executor: id, epoch };
    client.accept(&fence).await?;
    let line: String = "x".repeat(LINE - 1) + "\n";
    let piece = Bytes::from(line.repeat(PIECE / LINE));
    let log = LogRef { run: run.id.clone(), task: TaskName::parse("task")?, attempt: None, step: StepRef::Step(0) };
    let mut follower = yard.runs.log(&LogRequest { log: log.clone(), offset: 0, follow: true }).await?;
    let (began, before) = (now(), resident()?);
    let mut offset = 0;
    while (offset as usize) < bytes {
        offset = client.append_log(&fence, StepRef::Step(0), offset, piece.clone()).await?;
    }
    let took = began.elapsed();
    let mut read = 0;
    while read < offset {
        read += follower.next().await.ok_or("the log ended")??.len() as u64;
    }
    println!(
        "{} MiB of log: {:.2} million lines/s stored, {:.2} with a follower behind it; {:.0} MiB more resident",
        offset >> 20,
        offset as f64 / LINE as f64 / took.as_secs_f64() / 1e6,
        offset as f64 / LINE as f64 / began.elapsed().as_secs_f64() / 1e6,
        resident()? - before,
    );
    let mut told = Vec::new();
    for _ in 0..200 {
        let began = now();
        let append = client.append_log(&fence, StepRef::Step(0), offset, Bytes::from(line.clone()));
        let hear = async { follower.next().await.map(|_| began.elapsed()).ok_or("the log ended") };
        let (stored, heard) = tokio::join!(append, hear);
        (offset, _) = (stored?, told.push(heard?));
    }
    println!(
        "  a line to a follower: p50 {}, p99 {}",
        millis(percentile(&mut told, 50)),
        millis(percentile(&mut told, 99))
    );
    let mut pages = Vec::new();
    for index in 0..50 {
        let first = offset / LINE as u64 / 50 * index;
        let began = now();
        yard.runs.log_page(&log, LogPlace::From(first), 100).await?;
        pages.push(began.elapsed());
    }
    println!(
        "  a page of 100 lines: p50 {}, p99 {}",
        millis(percentile(&mut pages, 50)),
        millis(percentile(&mut pages, 99))
    );
    yard.close().await
}
