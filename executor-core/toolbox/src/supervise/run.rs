//! The event loop of a supervisor: it waits for output, clients, ended processes and deadlines, and does what they ask
//! for. One thread, woken by the kernel; the only timers are the deadlines of grace and `lost_after`.

use std::fs;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{getpid, set_child_subreaper, setsid};

use super::clock::now;
use super::command::{self, NotStarted, Started};
use super::connection::Connection;
use super::lifecycle::{Action, CommandEnd, Lifecycle};
use super::spec::{
    CLAIMED_FILE, EXIT_FILE, ExitReason, ExitStatus, PID_FILE, PidFile, SPEC_FILE, SURVIVORS_FILE, SuperviseSpec,
};
use super::spool::Spool;
use super::tree::{Reaped, Tree};
use super::{files, memory, processes, signals, socket};
use crate::Masker;
use crate::protocol::ClientFrame;

/// What a supervisor prints once it listens and the command was started (or has failed to).
pub const READY_LINE: &str = "ready\n";

const READ_SIZE: usize = 64 << 10;

/// The exit status of a command that was killed, and of a shell whose command was.
const KILLED: i32 = 137;

/// A terminal holds less than this.
const TERMINAL_BUFFER: u64 = 128 << 10;

/// Runs the step in `dir` to its end. See the crate's `supervise` for what it promises.
pub(crate) fn run(dir: &Path) -> io::Result<()> {
    claim(dir)?;
    // Fails if the executor made it the leader of a process group: then no Ctrl-C reaches it either.
    let _ = setsid();
    set_child_subreaper(Some(getpid()))?;
    let spec = files::read_json::<SuperviseSpec>(dir, CLAIMED_FILE).and_then(|spec| {
        spec.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("{CLAIMED_FILE} was not found")))
    });
    let spool = Spool::create(dir, spec.as_ref().map_or(0, |spec| spec.output_max))?;
    let listener = socket::listen(dir)?;
    let started = match &spec {
        Ok(spec) => command::start(dir, spec),
        Err(error) => Err(NotStarted::new(format!("the specification of the step cannot be read: {error}"))),
    };
    let supervised = record_pids(dir, started.as_ref().ok())
        .and_then(|()| Supervisor::new(dir, spec.ok(), spool, listener, started))
        .and_then(Supervisor::run);
    if supervised.is_err() {
        // Nothing runs on without a supervisor: nobody would know.
        let _ = signals::kill_tree();
    }
    supervised
}

/// Makes the step this supervisor's own: of several claims and `StepDir::withdraw`s exactly one succeeds.
fn claim(dir: &Path) -> io::Result<()> {
    fs::rename(dir.join(SPEC_FILE), dir.join(CLAIMED_FILE)).map_err(|error| {
        let message = format!("{SPEC_FILE} is not there to be claimed: the step was withdrawn or already started");
        io::Error::new(error.kind(), format!("{message} ({error})"))
    })
}

fn record_pids(dir: &Path, started: Option<&Started>) -> io::Result<()> {
    let id_of = |pid| processes::find(pid).map(|process| process.id);
    let supervisor = id_of(getpid().as_raw_nonzero().get());
    let supervisor = supervisor.ok_or_else(|| io::Error::other("/proc is not mounted"))?;
    // The command is not reaped yet, so its pid is its own even if it has already ended.
    let command = started.and_then(|started| id_of(started.pid));
    files::write_json(dir, PID_FILE, &PidFile { boot_id: processes::boot_id(), supervisor, command })
}

// Whoever started the supervisor reads this line or the end of the stream; nothing is printed after it.
fn announce() -> io::Result<()> {
    let mut stdout = io::stdout();
    // An executor that went away meanwhile will attach after its restart.
    let _ = stdout.write_all(READY_LINE.as_bytes()).and_then(|()| stdout.flush());
    let null = fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    Ok(())
}

struct Supervisor<'a> {
    dir: &'a Path,
    grace: Duration,
    lost_after: Duration,
    command: i32,
    /// How many processes the kernel had killed for lack of memory when the command was started.
    memory_kills: Option<u64>,
    tty: bool,
    lifecycle: Lifecycle,
    tree: Option<Tree>,
    output: Option<OwnedFd>,
    masker: Masker,
    spool: Spool,
    spool_error: Option<String>,
    listener: UnixListener,
    connections: Vec<Connection>,
    last_touch: Instant,
    exit: Option<ExitStatus>,
}

/// What a wait has found to be ready.
#[derive(Default)]
struct Ready {
    output: bool,
    reaped: bool,
}

impl<'a> Supervisor<'a> {
    fn new(
        dir: &'a Path,
        spec: Option<SuperviseSpec>,
        spool: Spool,
        listener: UnixListener,
        started: Result<Started, NotStarted>,
    ) -> io::Result<Self> {
        let mut supervisor = Self {
            dir,
            grace: spec.as_ref().map_or(Duration::ZERO, |spec| spec.grace),
            lost_after: spec.as_ref().map_or(Duration::MAX, |spec| spec.lost_after),
            command: 0,
            memory_kills: memory::kills(),
            tty: false,
            lifecycle: Lifecycle::new(),
            tree: None,
            output: None,
            masker: Masker::new(spec.iter().flat_map(|spec| &spec.secrets)),
            spool,
            spool_error: None,
            listener,
            connections: Vec::new(),
            last_touch: now(),
            exit: None,
        };
        match started {
            Ok(started) => {
                supervisor.command = started.pid;
                supervisor.tty = started.tty;
                supervisor.output = Some(started.output);
                supervisor.tree = Some(Tree::watch()?);
            }
            Err(NotStarted { code, message }) => supervisor.record_exit(ExitStatus {
                code,
                signal: None,
                reason: ExitReason::FailedToStart,
                message: Some(message),
                output_end: 0,
                nothing_left: true,
            })?,
        }
        Ok(supervisor)
    }

    fn run(mut self) -> io::Result<()> {
        announce()?;
        let _ = fs::remove_file(self.dir.join(CLAIMED_FILE));
        self.serve()?;
        self.leave()
    }

    /// Until the step has ended and nobody waits for more.
    fn serve(&mut self) -> io::Result<()> {
        loop {
            self.accept()?;
            self.hear_clients()?;
            self.push_output()?;
            if self.exit.is_some() && self.is_done() {
                return Ok(());
            }
            let ready = self.wait()?;
            if ready.output {
                self.read_output();
            }
            if ready.reaped {
                for reaped in self.tree.iter().flat_map(Tree::reaped).collect::<Vec<_>>() {
                    self.note_reaped(&reaped)?;
                }
            }
            self.check_deadlines()?;
        }
    }

    fn is_done(&self) -> bool {
        let acknowledged = self.spool.acknowledged() == self.spool.end();
        let abandoned = self.lost_at().is_some_and(|lost_at| lost_at <= now());
        abandoned || self.connections.is_empty() || (acknowledged && self.connections.iter().all(Connection::is_served))
    }

    fn wait(&self) -> io::Result<Ready> {
        let timeout = self.next_deadline().map(|deadline| {
            let left = deadline.saturating_duration_since(now());
            Timespec { tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX), tv_nsec: left.subsec_nanos().into() }
        });
        let output = self.output.as_ref().filter(|_| self.exit.is_some() || self.spool.room() > 0);
        let wake = self.tree.as_ref().map(Tree::wake);
        let mut fds = vec![PollFd::new(&self.listener, PollFlags::IN)];
        for connection in &self.connections {
            let unsent = if connection.has_unsent() { PollFlags::OUT } else { PollFlags::empty() };
            fds.push(PollFd::new(connection.stream(), PollFlags::IN | unsent));
        }
        let clients = fds.len();
        fds.extend(output.map(|output| PollFd::new(output, PollFlags::IN)));
        fds.extend(wake.map(|wake| PollFd::new(wake, PollFlags::IN)));
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(Ready::default()),
            Err(error) => return Err(error.into()),
        }
        let mut ready = fds[clients..].iter().map(|fd| !fd.revents().is_empty());
        Ok(Ready {
            output: output.is_some() && ready.next().unwrap_or(false),
            reaped: wake.is_some() && ready.next().unwrap_or(false),
        })
    }

    fn next_deadline(&self) -> Option<Instant> {
        let lost_at = self.lost_at().filter(|_| self.lifecycle.is_running() || self.exit.is_some());
        [lost_at, self.lifecycle.deadline()].into_iter().flatten().min()
    }

    fn lost_at(&self) -> Option<Instant> {
        self.last_touch.checked_add(self.lost_after)
    }

    fn check_deadlines(&mut self) -> io::Result<()> {
        let now = now();
        if self.lifecycle.is_running() && self.exit.is_none() && self.lost_at().is_some_and(|lost_at| lost_at <= now) {
            let action = self.lifecycle.stop(now, self.grace, ExitReason::Lost);
            self.act(action)?;
        }
        let action = self.lifecycle.expire(now);
        self.act(action)
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => self.connections.push(Connection::new(stream)?),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A client that is gone already, or too many files for one more: neither ends a step.
                Err(_) => return Ok(()),
            }
        }
    }

    fn hear_clients(&mut self) -> io::Result<()> {
        for index in 0..self.connections.len() {
            for frame in self.connections[index].receive() {
                self.last_touch = now();
                self.obey(index, frame)?;
            }
        }
        self.connections.retain(Connection::is_open);
        Ok(())
    }

    fn obey(&mut self, index: usize, frame: ClientFrame) -> io::Result<()> {
        let kept = self.spool.acknowledged()..=self.spool.end();
        match frame {
            ClientFrame::Attach { offset } if kept.contains(&offset) => {
                for (other, connection) in self.connections.iter_mut().enumerate() {
                    if other == index {
                        connection.stream_from(offset);
                    } else {
                        connection.displace();
                    }
                }
            }
            ClientFrame::Ack { offset } if offset <= *kept.end() => self.spool.acknowledge(offset)?,
            ClientFrame::Attach { offset } | ClientFrame::Ack { offset } => {
                let (start, end) = kept.into_inner();
                let message = format!("offset {offset} is outside of the output that is kept, {start} to {end}");
                self.connections[index].say(message);
            }
            ClientFrame::Stop { grace_ms } => {
                let grace = Duration::from_millis(grace_ms);
                if self.exit.is_none() {
                    let action = self.lifecycle.stop(now(), grace, ExitReason::Stopped);
                    self.act(action)?;
                }
            }
            ClientFrame::Touch => {}
        }
        Ok(())
    }

    fn push_output(&mut self) -> io::Result<()> {
        for connection in &mut self.connections {
            connection.push(&mut self.spool, self.exit.as_ref())?;
        }
        self.connections.retain(Connection::is_open);
        Ok(())
    }

    /// Reads once. After the end of the step what survivors write is dropped, so that they never block on it.
    fn read_output(&mut self) {
        let room = if self.exit.is_some() { READ_SIZE as u64 } else { self.spool.room() };
        self.read_at_most(room);
    }

    // Returns how much was read; 0 if nothing is there now or ever.
    fn read_at_most(&mut self, most: u64) -> u64 {
        let Some(output) = &self.output else { return 0 };
        let mut buffer = [0; READ_SIZE];
        let size = usize::try_from(most).unwrap_or(READ_SIZE).min(READ_SIZE);
        match rustix::io::read(output, &mut buffer[..size]) {
            Ok(0) => self.output = None,
            Ok(count) => {
                if self.exit.is_none() {
                    let kept = self.masker.pass(&buffer[..count]);
                    if let Err(error) = self.spool.append(&kept) {
                        self.give_up(&error);
                    }
                }
                return count as u64;
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            // A terminal that nobody holds open any more says EIO.
            Err(_) => self.output = None,
        }
        0
    }

    // A step whose output is lost does not go on. Closing the pipe ends most commands by itself.
    fn give_up(&mut self, error: &io::Error) {
        self.spool_error = Some(format!("the output of the step cannot be kept: {error}"));
        self.output = None;
        let action = self.lifecycle.stop(now(), Duration::ZERO, ExitReason::SpoolFailed);
        if action == Some(Action::TerminateGroup) {
            signals::terminate_group(self.command);
        }
    }

    fn note_reaped(&mut self, reaped: &Reaped) -> io::Result<()> {
        let command_end =
            (reaped.pid == self.command).then_some(CommandEnd { code: reaped.code, signal: reaped.signal });
        let action = self.lifecycle.reaped(command_end, reaped.last);
        if action == Some(Action::Finish) {
            return self.finish(!reaped.last);
        }
        self.act(action)
    }

    fn act(&mut self, action: Option<Action>) -> io::Result<()> {
        match action {
            None => Ok(()),
            Some(Action::TerminateGroup) => {
                signals::terminate_group(self.command);
                Ok(())
            }
            Some(Action::TerminateRest) => signals::terminate_outside(self.command),
            Some(Action::KillTree) => {
                if signals::kill_tree()? {
                    return Ok(());
                }
                let action = self.lifecycle.nothing_to_kill();
                self.act(action)
            }
            Some(Action::Finish) => self.finish(true),
        }
    }

    fn finish(&mut self, others_live: bool) -> io::Result<()> {
        self.drain();
        if others_live {
            let survivors: Vec<_> = signals::tree()?.iter().map(|process| process.id).collect();
            files::write_json(self.dir, SURVIVORS_FILE, &survivors)?;
        }
        let end = self.lifecycle.command_end();
        let message = self.spool_error.take();
        let reason = match self.lifecycle.reason() {
            _ if message.is_some() => ExitReason::SpoolFailed,
            ExitReason::Exited if end.code == KILLED && self.memory_kills < memory::kills() => ExitReason::OutOfMemory,
            reason => reason,
        };
        let output_end = self.spool.end();
        let nothing_left = !others_live;
        self.record_exit(ExitStatus { code: end.code, signal: end.signal, reason, message, output_end, nothing_left })
    }

    // All that the command wrote is in the pipe by now. A process in the background may write on for ever, so not
    // more than can have been there is read, whatever the room in the spool.
    fn drain(&mut self) {
        let terminal = self.tty;
        let unread = |output| if terminal { None } else { rustix::io::ioctl_fionread(output).ok() };
        let mut left = self.output.as_ref().map_or(0, |output| unread(output).unwrap_or(TERMINAL_BUFFER));
        while left > 0 {
            match self.read_at_most(left) {
                0 => break,
                count => left -= count,
            }
        }
        if self.spool_error.is_none() {
            let held_back = self.masker.finish();
            if let Err(error) = self.spool.append(&held_back) {
                self.give_up(&error);
            }
        }
    }

    fn record_exit(&mut self, status: ExitStatus) -> io::Result<()> {
        let recorded = files::write_json(self.dir, EXIT_FILE, &status);
        // On a full disk whoever listens can still be told, which whoever comes later cannot.
        if self.connections.is_empty() {
            recorded?;
        }
        self.exit = Some(status);
        self.last_touch = now();
        Ok(())
    }

    /// Lets go of everything but the output of survivors: without a reader, their next line would kill them.
    fn leave(self) -> io::Result<()> {
        socket::unlink(self.dir)?;
        let Self { listener, connections, output, spool, .. } = self;
        drop((listener, connections, spool));
        let Some(output) = output else { return Ok(()) };
        rustix::io::ioctl_fionbio(&output, false)?;
        let mut buffer = [0; READ_SIZE];
        loop {
            match rustix::io::read(&output, &mut buffer) {
                Ok(0) => return Ok(()),
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => return Ok(()),
            }
        }
    }
}
