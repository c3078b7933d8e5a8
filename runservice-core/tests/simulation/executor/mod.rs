//! How does a simulated executor live and die?
//!
//! By the contract, as the real one does: it registers with a process that it can reach, sends signs of life, and obeys.
//! It crashes in the middle of whatever it does and comes back with its disk, or without it; it hangs; it drains; and it
//! goes over to another process.

mod attempt;
mod disk;
mod mouth;

use std::{
    collections::{BTreeMap, VecDeque},
    pin::pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use runyard_executor_core::contract::{
    Arch, ClientError, Command, ExecutorId, ExecutorStatus, Registration, RunServiceClient as _, TaskSpec,
};
use tokio::time::Instant;

use self::{
    attempt::{Attempt, Signals},
    disk::{Disk, Entry},
    mouth::Mouth,
};
use crate::{link::Link, pods, random::Random, variants::Variant, world::World};

const HEARTBEAT: Duration = Duration::from_secs(5);

/// One life of an executor, as its attempts see it.
pub(crate) struct Executor {
    pub(crate) world: Arc<World>,
    pub(crate) id: ExecutorId,
    pub(crate) limit: u32,
    pub(crate) disk: Arc<Disk>,
    pub(crate) mouth: Mouth,
}

/// How a life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Crashed,
    Drained,
    /// Not before all is over.
    Last,
}

/// What the lives of an executor have in common.
#[derive(Clone)]
struct Machine {
    id: ExecutorId,
    limit: u32,
    archs: Vec<Arch>,
    labels: BTreeMap<String, String>,
    disk: Arc<Disk>,
}

/// Lives again and again, until all is over.
pub(crate) async fn live(world: Arc<World>, index: u64) {
    let mut random = Random::new(world.profile.seed, 200 + index);
    let machine = Machine {
        id: ExecutorId::parse(format!("e{index}")).expect("valid"),
        // The first one can run everything, so that no run waits for ever.
        limit: if index == 0 { random.between(1..4) as u32 } else { random.pick(&[1, 1, 2, 4]) },
        archs: if index == 0 || random.chance(500) { vec![Arch::Amd64, Arch::Arm64] } else { vec![Arch::Amd64] },
        labels: if index == 0 { [("disk".to_owned(), "fast".to_owned())].into() } else { BTreeMap::new() },
        disk: Arc::default(),
    };
    let pause = world.profile.pause(&mut random, 5_000);
    world.calm_or_sleep(pause).await;
    loop {
        live_once(&world, &machine, &mut random).await;
        if world.is_over() {
            return;
        }
        // The first one can run everything, so that one is always there again.
        if index > 0 && !world.is_calm() && random.chance(world.profile.crashes / 5) {
            world.count("executors that never came back");
            world.trace(|| format!("{} never comes back", machine.id));
            return;
        }
        let pause = random.mostly_short(5_000, 2_000_000);
        world.calm_or_sleep(pause).await;
    }
}

async fn live_once(world: &Arc<World>, machine: &Machine, random: &mut Random) {
    let end = match random.below(1_000) {
        drawn if drawn < world.profile.crashes => End::Crashed,
        drawn if drawn % 5 == 0 => End::Drained,
        _ => End::Last,
    };
    let until = random.mostly_short(20_000, 120_000) * world.profile.pace;
    let executor = Arc::new(Executor {
        world: Arc::clone(world),
        id: machine.id.clone(),
        limit: machine.limit,
        disk: Arc::clone(&machine.disk),
        mouth: Mouth::new(machine.id.clone(), Random::new(random.next(), 0)),
    });
    let drains_at = (end == End::Drained && !world.is_calm()).then(|| Instant::now() + until);
    let life = Life {
        executor: Arc::clone(&executor),
        machine: machine.clone(),
        drains_at,
        random: Random::new(random.next(), 0),
    };
    let mut life = pin!(life.run());
    let crash = async {
        tokio::time::sleep(until).await;
        if world.is_calm() || end != End::Crashed {
            std::future::pending::<()>().await;
        }
    };
    let mut crash = pin!(crash);
    loop {
        // Nothing of it goes on while it hangs.
        let hang = tokio::time::sleep(random.millis(1_000..200_000) * world.profile.pace);
        tokio::select! {
            biased;
            () = world.over() => return,
            () = &mut crash => break,
            () = hang, if !world.is_calm() => {
                let took = random.mostly_short(10_000, 1_500_000);
                if random.chance(100 + world.profile.crashes / 2) {
                    world.count("executors that hung");
                    world.trace(|| format!("{} hangs for {took:?}", machine.id));
                    world.calm_or_sleep(took).await;
                }
            }
            () = &mut life => {
                world.count("executors that drained");
                world.trace(|| format!("{} has drained", machine.id));
                return;
            }
        }
    }
    world.count("crashes of executors");
    world.trace(|| format!("{} crashes", machine.id));
    if random.chance(world.profile.wipes) {
        world.count("executors that lost their disk");
        world.trace(|| format!("{} loses its disk", machine.id));
        world.pods.end_all(&machine.id);
        machine.disk.wipe();
    } else if world.is(Variant::ExecutorForgetsJournal) {
        machine.disk.wipe();
    }
}

/// A life of an executor while it goes on.
struct Life {
    executor: Arc<Executor>,
    machine: Machine,
    drains_at: Option<Instant>,
    random: Random,
}

/// Why a connection ended.
enum Break {
    /// Register again.
    Lost(ClientError),
    Drained,
}

impl Life {
    /// Ends when it has drained.
    async fn run(mut self) {
        let mut tasks = Tasks::new(&self.executor);
        for mut entry in self.machine.disk.read() {
            entry.generation += 1;
            tasks.begin(entry, false);
        }
        let mut pause = 50;
        loop {
            match self.connect(&mut tasks).await {
                Ok(Break::Drained) => return,
                Ok(Break::Lost(error)) => {
                    self.executor.mouth.disconnected();
                    self.executor.world.trace(|| format!("{} lost its connection: {error}", self.machine.id));
                    pause = 50;
                }
                Err(error) if error.is_retryable() => pause = (pause * 2).min(5_000),
                Err(error) => self.executor.world.fail(format!("{} cannot register: {error}", self.machine.id)),
            }
            let pause = tokio::time::sleep(self.random.millis(pause / 2..pause));
            let mut pause = pin!(pause);
            loop {
                tokio::select! {
                    biased;
                    () = &mut pause => break,
                    () = tasks.tick(&self.executor) => {}
                }
            }
        }
    }

    fn status(&self) -> ExecutorStatus {
        ExecutorStatus {
            id: self.machine.id.clone(),
            name: self.machine.id.to_string(),
            version: "0".to_owned(),
            group: "simulated".to_owned(),
            siblings: Vec::new(),
            archs: self.machine.archs.clone(),
            labels: self.machine.labels.clone(),
            allow_privileged_containers: false,
            not_ready: None,
            task_limit: if self.is_draining() { 0 } else { self.machine.limit },
            dynamic: false,
            held: self.machine.disk.held(),
        }
    }

    fn is_draining(&self) -> bool {
        self.drains_at.is_some_and(|at| at <= Instant::now())
    }

    /// Registers once, and serves that until it ends.
    async fn connect(&mut self, tasks: &mut Tasks) -> Result<Break, ClientError> {
        let world = Arc::clone(&self.executor.world);
        let process = world.some_process(&mut self.random).await;
        let link = Arc::new(Link::new(&world, &process, Random::new(self.random.next(), 0)));
        let sent = Instant::now();
        let registration = {
            let mut registering = pin!(link.register(self.status()));
            loop {
                tokio::select! {
                    biased;
                    registered = &mut registering => break registered?,
                    () = tasks.tick(&self.executor) => {}
                }
            }
        };
        world.count("registrations");
        world.trace(|| {
            format!("{} is registered with {} in epoch {}", self.machine.id, link.process, registration.epoch)
        });
        self.executor.mouth.heard(sent);
        self.executor.mouth.connected(registration.epoch, Arc::clone(&link));
        let moves = self.random.mostly_short(60_000, 600_000) * world.profile.pace;
        self.serve(registration, &link, moves, tasks).await
    }

    async fn serve(
        &mut self,
        registration: Registration,
        link: &Arc<Link>,
        moves: Duration,
        tasks: &mut Tasks,
    ) -> Result<Break, ClientError> {
        let Registration { epoch, mut commands } = registration;
        let (world, id) = (Arc::clone(&self.executor.world), self.machine.id.clone());
        let limit = if self.is_draining() { 0 } else { self.machine.limit };
        let mut beat = pin!(heartbeat(Arc::clone(link), id.clone(), epoch));
        let mut moves = pin!(tokio::time::sleep(moves));
        let drains = self.drains_at.filter(|_| limit > 0);
        loop {
            if limit == 0 && tasks.is_idle() {
                return Ok(Break::Drained);
            }
            tasks.fill(limit);
            tokio::select! {
                biased;
                command = commands.next() => match command {
                    Some(Ok(Command::Drain)) => {
                        world.count("executors that were told to drain");
                        self.drains_at = Some(Instant::now());
                        if limit > 0 {
                            let source = "it drains".into();
                            return Ok(Break::Lost(ClientError::Unavailable { doing: "draining", source }));
                        }
                    }
                    Some(Ok(command)) => tasks.obey(command, limit),
                    Some(Err(error)) => return Ok(Break::Lost(error)),
                    None => {
                        world.fail(format!("{id} was told that it registered elsewhere, and it did not"));
                        return Ok(Break::Lost(ClientError::Replaced { executor: id }));
                    }
                },
                (sent, beaten) = &mut beat => match beaten {
                    Ok(()) => {
                        self.executor.mouth.heard(sent);
                        beat.set(heartbeat(Arc::clone(link), id.clone(), epoch));
                    }
                    Err(error) => return Ok(Break::Lost(error)),
                },
                () = &mut moves, if !world.is_calm() => {
                    world.count("executors that moved");
                    return Ok(Break::Lost(ClientError::Unavailable { doing: "moving", source: "it moves".into() }));
                }
                () = until(drains) => {
                    let source = "it drains".into();
                    return Ok(Break::Lost(ClientError::Unavailable { doing: "draining", source }));
                }
                () = tasks.tick(&self.executor) => {}
            }
        }
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// One sign of life, after a pause; when it was sent, and what was answered.
async fn heartbeat(link: Arc<Link>, id: ExecutorId, epoch: u64) -> (Instant, Result<(), ClientError>) {
    tokio::time::sleep(HEARTBEAT).await;
    let sent = Instant::now();
    (sent, link.heartbeat(&id, epoch).await)
}

/// An attempt that was assigned and is not begun: no slot is free, or it is being given up.
struct Waiting {
    spec: TaskSpec,
    is_stopped: bool,
}

impl Waiting {
    fn id(&self) -> pods::Attempt {
        (self.spec.id.clone(), self.spec.attempt)
    }
}

/// The attempts in the hands of an executor. Dropping it is the crash of the executor; nothing of it is spawned, so that
/// it hangs as a whole.
struct Tasks {
    executor: Arc<Executor>,
    /// An attempt, and whether its end was acknowledged.
    running: FuturesUnordered<BoxFuture<'static, (pods::Attempt, bool)>>,
    signals: BTreeMap<pods::Attempt, Signals>,
    waiting: VecDeque<Waiting>,
    touches: Instant,
}

impl Tasks {
    fn new(executor: &Arc<Executor>) -> Self {
        let (running, signals, waiting) = (FuturesUnordered::new(), BTreeMap::new(), VecDeque::new());
        Self { executor: Arc::clone(executor), running, signals, waiting, touches: Instant::now() }
    }

    fn is_idle(&self) -> bool {
        self.signals.is_empty()
    }

    fn begin(&mut self, entry: Entry, is_stopped: bool) {
        let signals = Signals::default();
        if is_stopped {
            signals.stop.cancel();
        }
        self.signals.insert(entry.attempt(), signals.clone());
        // What it holds it says, from the moment on at which it may have accepted it.
        self.executor.disk.write(&entry);
        self.running.push(Attempt::new(&self.executor, entry, signals).run().boxed());
    }

    /// Begins what waits, while there are free slots.
    fn fill(&mut self, limit: u32) {
        while self.signals.len() < limit as usize
            && let Some(at) = self.waiting.iter().position(|waiting| !self.signals.contains_key(&waiting.id()))
            && let Some(waiting) = self.waiting.remove(at)
        {
            self.begin(Entry::new(waiting.spec), waiting.is_stopped);
        }
    }

    fn obey(&mut self, command: Command, limit: u32) {
        let world = &self.executor.world;
        match command {
            Command::Assign { task } => {
                let waiting = Waiting { spec: *task, is_stopped: false };
                let is_known = self.waiting.iter().any(|known| known.id() == waiting.id());
                // Also one that is worked on, which is told again, too: only if that is given up, it is begun anew.
                if !is_known && (limit > 0 || self.signals.contains_key(&waiting.id())) {
                    self.waiting.push_back(waiting);
                }
            }
            Command::Stop { task, attempt } => {
                world.count("attempts that were told to stop");
                let id = (task, attempt);
                let at = self.waiting.iter().position(|waiting| waiting.id() == id);
                if let Some(at) = at {
                    self.waiting[at].is_stopped = true;
                }
                if let Some(signals) = self.signals.get(&id) {
                    signals.stop.cancel();
                } else if let Some(waiting) = at.and_then(|at| self.waiting.remove(at)) {
                    // It starts nothing, so it needs no slot: it is accepted and reported as stopped.
                    self.begin(Entry::new(waiting.spec), true);
                }
            }
            Command::Forget { task, attempt } => {
                world.count("attempts that were to be forgotten");
                let id = (task, attempt);
                self.waiting.retain(|waiting| waiting.id() != id);
                if let Some(signals) = self.signals.get(&id) {
                    signals.forget.cancel();
                }
            }
            Command::Drain => unreachable!("it is a matter of the whole executor"),
        }
    }

    /// Lets the attempts go on until something happened: one has ended, pods are touched, or the run service was silent
    /// for too long.
    async fn tick(&mut self, executor: &Executor) {
        let Executor { world, id, mouth, .. } = executor;
        let lost_after = world.profile.lost_after;
        tokio::select! {
            biased;
            () = tokio::time::sleep_until(mouth.silent_since() + lost_after) => {
                if !self.signals.is_empty() {
                    world.count("executors that gave up in silence");
                }
                world.trace(|| format!("{id} has not heard of the run service for {lost_after:?}, and stops its tasks"));
                for signals in self.signals.values() {
                    signals.is_silence.store(true, Ordering::Relaxed);
                    signals.stop.cancel();
                }
                mouth.heard(Instant::now());
            }
            () = tokio::time::sleep_until(self.touches) => {
                world.pods.touch(id);
                self.touches = Instant::now() + lost_after / 4;
            }
            Some((ended, is_reported)) = self.running.next() => {
                self.signals.remove(&ended);
                if is_reported {
                    self.waiting.retain(|waiting| waiting.id() != ended);
                }
            }
        }
    }
}
