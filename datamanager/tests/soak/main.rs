//! Do several real processes that share a store keep every promise, while they, etcd and the storage are broken?
//!
//! `soak SCENARIO [--seed N] [--seconds N] [--keep] [--broken VARIANT]`, by hand
//! `cargo test -p runyard-datamanager --features etcd --test soak -- leaders --seed 7`:
//!
//! | scenario | what |
//! |---|---|
//! | `leaders` | three processes on a directory; the one that leads is killed or paused, again and again |
//! | `faults` | three processes on a bucket; processes, etcd and the storage are broken in every way, as the seed says |
//! | `latency` | how long it takes until another process sees a commit, and what etcd has to do for it |
//!
//! One binary is all of it: the orchestrator starts itself again as the [`worker`]s. Each writes down what it does in a
//! file of its own ([`record`]); the orchestrator breaks things, and in the end has it all
//! [checked](runyard_datamanager::conformance::history). What runs at once depends on the machine, so a seed repeats the
//! faults and what is asked for, not what comes of it. `--keep` keeps the files of a soak that has passed; those of one
//! that fails are always kept. `--broken` has the processes leave out a step, such as `LoserNotRevalidated`: it must fail.

#![expect(clippy::unwrap_used, reason = "a soak fails by panicking, in its helpers too")]

mod arguments;
mod checks;
mod child;
mod faults;
mod follower;
mod gather;
mod latency;
mod leader;
mod leaders;
mod mix;
mod observer;
mod place;
#[path = "../simulation/random.rs"]
#[expect(dead_code, reason = "the simulation needs more of it")]
mod random;
mod record;
mod s3;
#[path = "../etcd/server.rs"]
#[expect(dead_code, reason = "the tests of the coordinator need more of it")]
mod server;
mod stage;
mod worker;

use arguments::{Arguments, Command, Scenario};
use runyard_datamanager::broken::Broken;
use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
};

fn main() {
    match arguments::parse(std::env::args().skip(1)) {
        Err(usage) => {
            eprintln!("{usage}");
            std::process::exit(2);
        }
        // One thread, because that is what is broken, if anything.
        Ok(Command::Worker(spec)) => {
            let _broken = spec.broken.as_ref().map(|name| broken(name).on_this_thread());
            runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(worker::run(*spec));
        }
        // One thread, which lives as long as the processes that it starts: they end with it.
        Ok(Command::Soak(arguments)) => {
            runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(orchestrate(arguments));
        }
    }
}

fn broken(name: &str) -> Broken {
    let variant = Broken::ALL.iter().find(|variant| format!("{variant:?}") == name);
    *variant.unwrap_or_else(|| panic!("there is no variant `{name}` of `Broken`"))
}

async fn orchestrate(arguments: Arguments) {
    println!("soak {:?} with --seed {} --seconds {}", arguments.scenario, arguments.seed, arguments.length.as_secs());
    let mut terminated = signal(SignalKind::terminate()).unwrap();
    let mut interrupted = signal(SignalKind::interrupt()).unwrap();
    let soak = async {
        match arguments.scenario {
            Scenario::Leaders => leaders::run(&arguments).await,
            Scenario::Faults => faults::run(&arguments).await,
            Scenario::Latency => latency::run(&arguments).await,
        }
    };
    tokio::select! {
        () = soak => println!("soak {:?} passed", arguments.scenario),
        // What was started is ended by being dropped.
        _ = terminated.recv() => panic!("ended by a signal"),
        _ = interrupted.recv() => panic!("interrupted"),
    }
}
