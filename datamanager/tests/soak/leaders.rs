//! Nothing is lost, and nobody who was deposed commits, while the process that leads is killed every ten seconds.

use std::time::Duration;

use runyard_datamanager::conformance::history::{Operation, Outcome};
use tokio::time::{Instant, sleep_until};

use crate::{
    arguments::Arguments,
    checks,
    gather::{Gathered, Led},
    observer::Board,
    place::{Place, now},
    random::Random,
    stage::{self, BACK_WITHIN, LEASE, Stage},
    worker::Load,
};

pub(crate) const PROCESSES: usize = 3;
const EVERY: Duration = Duration::from_secs(10);
/// In how many of a thousand cases the leader is frozen for longer than a lease, and not killed.
const PAUSES: u64 = 250;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Kill,
    Pause,
}

/// What was done to the process that led.
#[derive(Clone, Copy, Debug)]
struct Struck {
    fault: Fault,
    process: u64,
    at: Duration,
}

/// A time in which these processes were all there.
#[derive(Clone, Debug)]
struct Whole {
    processes: Vec<u64>,
    from: Duration,
    to: Duration,
}

pub(crate) async fn run(arguments: &Arguments) {
    let directory = stage::directory();
    let place = Place::Directory(directory.path().join("storage"));
    let mut stage = Stage::set(arguments, directory, place).await;
    (0..PROCESSES).for_each(|_| stage.start(Load::Mix));
    stage.are_back().await;
    let mut random = Random::new(arguments.seed, 1);
    let (mut struck, mut whole) = (Vec::new(), Vec::new());
    let end = Instant::now() + arguments.length;
    let mut next = Instant::now();
    loop {
        let (from, processes) = (now(), stage.children.iter().map(|child| child.spec.process).collect());
        next = (next + EVERY).max(Instant::now() + EVERY / 4);
        sleep_until(next.min(end)).await;
        whole.push(Whole { processes, from, to: now() });
        if next >= end {
            break;
        }
        let is_led = |board: &Board| board.leader.is_some();
        stage.observer.wait_for("somebody leads", BACK_WITHIN, is_led).await;
        let slot = stage.leader().expect("who leads is alive");
        let fault = if random.chance(PAUSES) { Fault::Pause } else { Fault::Kill };
        let process = stage.children[slot].spec.process;
        struck.push(Struck { fault, process, at: now() });
        match fault {
            Fault::Kill => stage.replace(slot).await,
            Fault::Pause => stage.pause(slot).await,
        }
        let took = stage.are_back().await;
        println!("{fault:?} of process {process}, which led: everything was back after {took:?}");
    }
    let ended = stage.end().await;
    let gathered = checks::check(ended);
    report_fail_overs(&struck, &gathered);
    report_shares(&whole, &gathered.operations);
}

/// How long it took from a fault until something of the next leader was committed.
fn fail_over(struck: &Struck, led: &[Led]) -> Option<Duration> {
    let before = led.iter().filter(|led| led.returned <= struck.at).map(|led| led.epoch).max();
    let next = led.iter().filter(|led| Some(led.epoch) > before && led.process != struck.process);
    next.map(|led| led.returned).min().map(|next| next - struck.at)
}

fn report_fail_overs(struck: &[Struck], gathered: &Gathered) {
    for (fault, target) in [(Fault::Kill, Duration::from_secs(5)), (Fault::Pause, LEASE)] {
        let struck = struck.iter().filter(|struck| struck.fault == fault);
        let mut took: Vec<_> = struck.filter_map(|struck| fail_over(struck, &gathered.led)).collect();
        took.sort_unstable();
        let (Some(shortest), Some(longest)) = (took.first(), took.last()) else { continue };
        let (times, median) = (took.len(), took[took.len() / 2]);
        let met = if *longest <= target { "met" } else { "MISSED" };
        println!(
            "{times} fail-overs after a {fault:?}, with a lease of {LEASE:?}: {shortest:.1?} to {longest:.1?}, median \
             {median:.1?}; target {target:?}: {met}"
        );
    }
}

fn report_shares(whole: &[Whole], operations: &[Operation]) {
    let mut shares = [0_usize; PROCESSES];
    let mut seconds = 0.0;
    for Whole { processes, from, to } in whole {
        seconds += (*to - *from).as_secs_f64();
        for operation in operations.iter().filter(|operation| !operation.writes.is_empty()) {
            if let Outcome::Acknowledged { returned, .. } = operation.outcome
                && (from..to).contains(&&returned)
                && let Some(slot) = processes.iter().position(|process| *process == operation.process)
            {
                shares[slot] += 1;
            }
        }
    }
    let sum: usize = shares.iter().sum();
    let percent = shares.map(|share| share * 100 / sum.max(1));
    let met = if percent.iter().all(|share| *share >= 20) { "met" } else { "MISSED" };
    println!(
        "{:.0} commits per second while all ran; shares of the processes in percent: {percent:?}; target 20 each: {met}",
        sum as f64 / seconds
    );
}
