//! How fast does what a command prints reach who follows it: supervised, masked, durable?

use std::{fs, io::Write};

use futures::StreamExt;
use runyard::executor::contract::Value;

use crate::{
    Outcome,
    kit::{Yard, now, one_task, the_log},
};

const LINE: usize = 100;
const SECRETS: usize = 50;
/// One line in so many has a secret in it.
const SECRET_EVERY: usize = 100;
const CHUNK_LINES: usize = 10_000;
const CHUNKS: usize = 1_000;

pub(crate) async fn bench(yard: &Yard) -> Outcome {
    let secret =
        |index: usize| format!("secret-{index:02}-{:016x}", (index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut chunk = tempfile::NamedTempFile::new()?;
    for line in 0..CHUNK_LINES {
        let mut text = format!("{line:08} ");
        if line % SECRET_EVERY == 0 {
            text += &secret(line / SECRET_EVERY % SECRETS);
        }
        writeln!(chunk, "{text:x<0$}", LINE - 1)?;
    }
    let path = chunk.path().display();
    let mut config = one_task("logs", &format!("i=0; while [ $i -lt {CHUNKS} ]; do cat {path}; i=$((i+1)); done"))?;
    config.environment = (0..SECRETS).map(|index| (format!("SECRET_{index}"), Value::secret(secret(index)))).collect();
    let began = now();
    let run = yard.runs.create(config.into()).await?;
    let mut log = yard.runs.log(&the_log(&run)?).await?;
    let (mut bytes, mut lines, mut peak) = (0_u64, 0_u64, 0.0_f64);
    while let Some(piece) = log.next().await.transpose()? {
        bytes += piece.len() as u64;
        lines += piece.iter().filter(|byte| **byte == b'\n').count() as u64;
        peak = peak.max(resident()?);
    }
    let took = began.elapsed();
    assert_eq!(lines, (CHUNK_LINES * CHUNKS) as u64);
    println!(
        "{lines} lines, {} MiB, {SECRETS} secrets masked, to a follower: {:.2} million lines/s, {peak:.0} MiB resident at most",
        bytes >> 20,
        lines as f64 / took.as_secs_f64() / 1e6,
    );
    Ok(())
}

/// Resident memory of this process, in MiB.
fn resident() -> Outcome<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    let kib: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib / 1024.0)
}
