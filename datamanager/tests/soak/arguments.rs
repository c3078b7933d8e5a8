//! What is this process to do?

use std::time::Duration;

use crate::worker::Spec;

pub(crate) enum Command {
    Soak(Arguments),
    Worker(Box<Spec>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scenario {
    Leaders,
    Faults,
    Latency,
}

#[derive(Clone, Debug)]
pub(crate) struct Arguments {
    pub(crate) scenario: Scenario,
    pub(crate) seed: u64,
    /// How long the load goes on.
    pub(crate) length: Duration,
    /// Whether the files are kept.
    pub(crate) keep: bool,
    /// What the processes leave out: a soak that passes without it proves nothing.
    pub(crate) broken: Option<String>,
}

const USAGE: &str = "usage: soak leaders|faults|latency [--seed N] [--seconds N] [--keep] [--broken VARIANT]";

pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Command, String> {
    let usage = || USAGE.to_owned();
    let scenario = match arguments.next().as_deref() {
        Some("leaders") => Scenario::Leaders,
        Some("faults") => Scenario::Faults,
        Some("latency") => Scenario::Latency,
        Some("worker") => {
            let spec = arguments.next().ok_or_else(usage)?;
            return serde_json::from_str(&spec).map(Command::Worker).map_err(|error| error.to_string());
        }
        _ => return Err(usage()),
    };
    let seconds = match scenario {
        Scenario::Leaders => 120,
        Scenario::Faults => 300,
        Scenario::Latency => 20,
    };
    let seed = u64::from(std::process::id());
    let mut parsed = Arguments { scenario, seed, length: Duration::from_secs(seconds), keep: false, broken: None };
    while let Some(name) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(usage);
        let number = |value: String| value.parse().map_err(|_| usage());
        match name.as_str() {
            "--seed" => parsed.seed = number(value()?)?,
            "--seconds" => parsed.length = Duration::from_secs(number(value()?)?),
            "--keep" => parsed.keep = true,
            "--broken" => parsed.broken = Some(value()?),
            _ => return Err(usage()),
        }
    }
    Ok(Command::Soak(parsed))
}
