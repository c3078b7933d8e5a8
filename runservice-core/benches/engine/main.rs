//! What does the engine cost, with an executor that does nothing?
//!
//! Each time stands beside its floor, one persisted object of the same machine, measured in turn; transactions are counted.
//!
//! `cargo bench -p runyard-runservice-core --bench engine` tries everything in sizes that take some minutes; `-- 0.01` the
//! hundredth part of them, to see that it works; a second argument, `latency`, `throughput`, `graphs`, `finished`, `queued`
//! or `logs`, only that part.

mod graphs;
mod latency;
mod logs;
mod many;
mod measure;
mod null;
mod throughput;

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> Outcome {
    // Cargo adds an argument of its own.
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with('-'));
    let scale = arguments.next().map_or(Ok(1.0), |scale| scale.parse::<f64>())?;
    let only = arguments.next();
    let dir = arguments.next();
    let is_wanted = |part: &str| only.as_deref().is_none_or(|only| only == part);
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        if let (Some(many::MAKE_FINISHED), Some(dir)) = (only.as_deref(), dir) {
            return many::make_finished(scale, dir.as_ref()).await;
        }
        if is_wanted("latency") {
            latency::bench(scale).await?;
        }
        if is_wanted("throughput") {
            throughput::bench(scale).await?;
        }
        if is_wanted("graphs") {
            graphs::bench(scale).await?;
        }
        if is_wanted("logs") {
            logs::bench(scale).await?;
        }
        if is_wanted("queued") {
            many::queued(scale).await?;
        }
        if is_wanted("finished") {
            many::finished(scale).await?;
        }
        Ok(())
    })
}
