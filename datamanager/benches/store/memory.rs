//! How much memory does a store take, and what does it do when nobody uses it?

use std::time::Duration;

use runyard_objectstorage::CallKind;

use crate::{
    Outcome,
    measure::{compared, count_memory, live, mib, row},
    stores::{Values, builder, directory, fill, key, storage},
};

const STORED: f64 = 1_000_000.0;
const VALUE_BYTES: usize = 100;
const IDLE: Duration = Duration::from_secs(30);

pub(crate) async fn bench(scale: f64) -> Outcome {
    count_memory();
    let directory = directory()?;
    let storage = storage(directory.path()).await?;
    let before = live();
    let data = builder(&storage).open().await?;
    let stored = (STORED * scale).ceil() as u64;
    fill(&data, (0..stored).map(|number| (key(number), Values::Random.make(number, 0, VALUE_BYTES)))).await?;
    println!("{stored} entries of {VALUE_BYTES} bytes");
    let told = |name: &str, below: f64| {
        let bytes = live() - before;
        let target = format!("under {below} at full scale");
        row(name, format!("{bytes} bytes"), &compared(mib(bytes), "MiB live", |it| it < below, &target));
    };
    told("  before a checkpoint", 250.0);
    data.checkpoint().await?;
    told("  after it", 64.0);
    let calls = storage.metrics();
    tokio::time::sleep(IDLE.mul_f64(scale)).await;
    let idle = storage.metrics().since(&calls);
    let writes = idle.calls(CallKind::Put) + idle.calls(CallKind::Delete);
    let remark = compared(writes as f64, "of them write", |it| it == 0.0, "none");
    row("  storage calls while idle", format!("{}", idle.calls_total()), &remark);
    data.close().await;
    Ok(())
}
