//! What happens to the processes of a step, and when has it ended? Plain data: no clock, no process.
//!
//! ```text
//!   Running --- command ended ----------------------------------------------------> Ended (others may survive)
//!      |
//!      | stop, lost                                  .--- last process ended -----> Ended
//!      v                                             |
//!   Terminating --- grace is over --> Killing -------+--- nothing left to kill ---> Ended
//!      |
//!      '--- last process ended ---------------------------------------------------> Ended
//! ```

use std::time::{Duration, Instant};

use super::spec::ExitReason;

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// SIGTERM to the process group of the command.
    TerminateGroup,
    /// SIGTERM to what is left outside of the group, now that the command has ended.
    TerminateRest,
    /// SIGKILL to every process of the tree.
    KillTree,
    /// Collect the last output and record the exit.
    Finish,
}

/// How the command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CommandEnd {
    pub(crate) code: i32,
    pub(crate) signal: Option<i32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Running,
    Terminating { kill_at: Instant },
    Killing,
    Ended,
}

/// The life of one command and of what it started.
#[derive(Debug)]
pub(crate) struct Lifecycle {
    phase: Phase,
    reason: ExitReason,
    command_end: Option<CommandEnd>,
}

impl Lifecycle {
    pub(crate) fn new() -> Self {
        Self { phase: Phase::Running, reason: ExitReason::Exited, command_end: None }
    }

    /// Somebody wants the step to end. A second wish can only shorten the grace; the first reason stays.
    pub(crate) fn stop(&mut self, now: Instant, grace: Duration, reason: ExitReason) -> Option<Action> {
        // A grace beyond what the clock can hold is no deadline that anybody lives to see; a day is.
        let kill_at = now.checked_add(grace).unwrap_or(now + Duration::from_secs(86_400));
        match &mut self.phase {
            Phase::Running => {
                self.reason = reason;
                self.phase = Phase::Terminating { kill_at };
                Some(Action::TerminateGroup)
            }
            Phase::Terminating { kill_at: earlier } => {
                *earlier = kill_at.min(*earlier);
                None
            }
            Phase::Killing | Phase::Ended => None,
        }
    }

    /// When [`expire`](Self::expire) has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Terminating { kill_at } => Some(kill_at),
            _ => None,
        }
    }

    pub(crate) fn expire(&mut self, now: Instant) -> Option<Action> {
        let Phase::Terminating { kill_at } = self.phase else { return None };
        (kill_at <= now).then(|| {
            self.phase = Phase::Killing;
            Action::KillTree
        })
    }

    /// A process was reaped: the command if `command_end` is given, an orphan otherwise.
    pub(crate) fn reaped(&mut self, command_end: Option<CommandEnd>, last: bool) -> Option<Action> {
        self.command_end = self.command_end.or(command_end);
        match self.phase {
            Phase::Running if command_end.is_some() => self.end(),
            Phase::Terminating { .. } | Phase::Killing if last => self.end(),
            Phase::Terminating { .. } if command_end.is_some() => Some(Action::TerminateRest),
            // Whoever forked before it was killed left a child that only now became ours.
            Phase::Killing => Some(Action::KillTree),
            Phase::Running | Phase::Terminating { .. } | Phase::Ended => None,
        }
    }

    /// What is left of the tree cannot be killed: it is another user's.
    pub(crate) fn nothing_to_kill(&mut self) -> Option<Action> {
        (self.phase == Phase::Killing).then(|| {
            self.phase = Phase::Ended;
            Action::Finish
        })
    }

    pub(crate) fn is_running(&self) -> bool {
        self.phase == Phase::Running
    }

    pub(crate) fn reason(&self) -> ExitReason {
        self.reason
    }

    /// How the command ended; 137 where it was not seen to end.
    pub(crate) fn command_end(&self) -> CommandEnd {
        self.command_end.unwrap_or(CommandEnd { code: 137, signal: Some(9) })
    }

    fn end(&mut self) -> Option<Action> {
        self.phase = Phase::Ended;
        Some(Action::Finish)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: CommandEnd = CommandEnd { code: 143, signal: Some(15) };
    const GRACE: Duration = Duration::from_secs(10);

    #[expect(clippy::disallowed_methods, reason = "any instant will do, and there is no other way to get one")]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn a_command_that_ends_by_itself_ends_the_step_whatever_survives() {
        for last in [true, false] {
            let mut life = Lifecycle::new();
            assert_eq!(life.reaped(None, false), None, "an orphan before it changes nothing");
            assert_eq!(life.reaped(Some(END), last), Some(Action::Finish));
            assert_eq!((life.reason(), life.command_end()), (ExitReason::Exited, END));
        }
    }

    #[test]
    fn a_stopped_step_ends_with_its_last_process() {
        let now = start();
        let mut life = Lifecycle::new();
        assert_eq!(life.stop(now, GRACE, ExitReason::Stopped), Some(Action::TerminateGroup));
        assert_eq!(life.deadline(), Some(now + GRACE));
        assert_eq!(life.reaped(Some(END), false), Some(Action::TerminateRest));
        assert_eq!(life.reaped(None, true), Some(Action::Finish));
        assert_eq!((life.reason(), life.deadline()), (ExitReason::Stopped, None));
    }

    #[test]
    fn after_the_grace_the_tree_is_killed_until_nothing_is_left() {
        let now = start();
        let mut life = Lifecycle::new();
        life.stop(now, GRACE, ExitReason::Lost);
        assert_eq!(life.expire(now + GRACE / 2), None);
        assert_eq!(life.expire(now + GRACE), Some(Action::KillTree));
        assert_eq!(life.reaped(Some(END), false), Some(Action::KillTree));
        assert_eq!(life.reaped(None, true), Some(Action::Finish));
        assert_eq!(life.reason(), ExitReason::Lost);
    }

    #[test]
    fn a_second_stop_shortens_the_grace_and_keeps_the_first_reason() {
        let now = start();
        let mut life = Lifecycle::new();
        life.stop(now, GRACE, ExitReason::Stopped);
        assert_eq!(life.stop(now, GRACE * 2, ExitReason::Lost), None);
        assert_eq!(life.deadline(), Some(now + GRACE));
        assert_eq!(life.stop(now, Duration::ZERO, ExitReason::Lost), None);
        assert_eq!((life.deadline(), life.reason()), (Some(now), ExitReason::Stopped));
    }

    #[test]
    fn a_tree_that_cannot_be_killed_does_not_keep_the_step() {
        let now = start();
        let mut life = Lifecycle::new();
        assert_eq!(life.nothing_to_kill(), None);
        life.stop(now, Duration::ZERO, ExitReason::Stopped);
        life.expire(now);
        assert_eq!(life.nothing_to_kill(), Some(Action::Finish));
        assert_eq!(life.command_end().code, 137);
    }
}
