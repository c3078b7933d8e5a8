//! What does the durable data manager cost, in time, memory and bytes?
//!
//! Each time stands beside its floor, and the two are measured in turn, because a figure on a noisy machine means little
//! without it; the processor time stands beside the wall time, because only the latter depends on the neighbours. What
//! can be counted is counted.
//!
//! `cargo bench -p runyard-datamanager --bench store` takes half an hour and some ten gigabytes of disk;
//! `cargo bench -p runyard-datamanager --bench store -- 0.01` does the hundredth part, to see that it works;
//! a second argument, `commit`, `reads`, `checkpoints`, `recovery` or `memory`, only that part.

mod checkpoints;
mod commit;
mod measure;
mod memory;
mod reads;
mod recovery;
mod stores;

use measure::load;

type Outcome<T = ()> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> Outcome {
    // Cargo adds an argument of its own.
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with('-'));
    let scale = arguments.next().map_or(Ok(1.0), |scale| scale.parse::<f64>())?;
    let only = arguments.next();
    let is_wanted = |part: &str| only.as_deref().is_none_or(|only| only == part);
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        println!("scale {scale}, load average {}", load()?);
        if is_wanted("commit") {
            commit::bench(scale).await?;
        }
        if is_wanted("reads") {
            reads::bench(scale).await?;
        }
        if is_wanted("recovery") {
            recovery::bench(scale).await?;
        }
        if is_wanted("memory") {
            memory::bench(scale).await?;
        }
        if is_wanted("checkpoints") {
            checkpoints::bench(scale).await?;
        }
        println!("load average {}", load()?);
        Ok(())
    })
}
