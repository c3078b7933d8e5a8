//! What do many runs cost that are over, or that wait?

use std::path::Path;

use futures::{StreamExt, stream};
use runyard_runservice_core::{RunFilter, model::RunResult};

use crate::{
    Outcome,
    measure::{millis, now, percentile, resident},
    null::{Yard, config, one_task},
};

/// The part of the bench that another part starts as a process of its own.
pub(crate) const MAKE_FINISHED: &str = "make-finished";

async fn create(
    yard: &Yard,
    count: usize,
    config: impl Fn(usize) -> Outcome<runyard_runservice_core::model::RunConfig>,
) -> Outcome {
    let created = stream::iter(0..count).map(|index| {
        let (config, runs) = (config(index), &yard.runs);
        async move {
            runs.create(config?.into()).await?;
            Outcome::Ok(())
        }
    });
    let mut created = created.buffer_unordered(256);
    while let Some(created) = created.next().await {
        created?;
    }
    Ok(())
}

/// Runs that end as they begin, because they have no task: what remains of them is what remains of any.
pub(crate) async fn make_finished(scale: f64, dir: &Path) -> Outcome {
    let count = finished_count(scale);
    let yard = Yard::open_in(dir).await?;
    let began = now();
    create(&yard, count, |index| config(index, &[])).await?;
    println!("{count} finished runs made in {:.0} s", began.elapsed().as_secs_f64());
    yard.data.checkpoint().await?;
    yard.close().await
}

fn finished_count(scale: f64) -> usize {
    (1_000_000.0 * scale).max(1_000.0) as usize
}

pub(crate) async fn finished(scale: f64) -> Outcome {
    let dir = tempfile::tempdir()?;
    // Another process makes them, so that the memory of this one is that of a server that has just started.
    let mut maker = tokio::process::Command::new(std::env::current_exe()?);
    maker.arg(scale.to_string()).arg(MAKE_FINISHED).arg(dir.path());
    if !maker.status().await?.success() {
        return Err("the process that makes the runs failed".into());
    }
    let began = now();
    let yard = Yard::open_in(dir.path()).await?;
    println!("  start: {}, resident {:.0} MiB", millis(began.elapsed()), resident()?);
    let mut pages = Vec::new();
    for page in 0..50 {
        let root = runyard_runservice_core::model::GroupPath::new("project", &(page % 100).to_string())?;
        let filter =
            RunFilter { root: Some(root), result: Some(RunResult::Success), limit: 50, ..RunFilter::default() };
        let began = now();
        let found = yard.runs.list(&filter).await?;
        pages.push(began.elapsed());
        assert!(!found.runs.is_empty());
    }
    println!(
        "  a page of a filtered list: p50 {}, p99 {}",
        millis(percentile(&mut pages, 50)),
        millis(percentile(&mut pages, 99))
    );
    println!("  resident after it: {:.0} MiB", resident()?);
    yard.close().await
}

/// Runs of few groups, of which all but the first wait.
pub(crate) async fn queued(scale: f64) -> Outcome {
    let count = (100_000.0 * scale).max(1_000.0) as usize;
    let (before, yard) = (resident()?, Yard::open().await?);
    let began = now();
    create(&yard, count, |index| one_task(index % (count / 100).max(1))).await?;
    println!(
        "{count} queued runs made in {:.0} s: resident {:.0} MiB, {before:.0} of them before",
        began.elapsed().as_secs_f64(),
        resident()?
    );
    yard.close().await
}
