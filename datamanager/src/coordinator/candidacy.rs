//! Should this process still believe that it is the one?

use std::{any::Any, fmt, future::pending};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

/// That this process should try to lead a role, until it is [`lost`](Self::lost). Dropping it resigns, without
/// waiting for anything.
///
/// Whoever writes a [`Coordinator`](super::Coordinator) makes one with [`new`](Self::new), and says with the other half
/// how long to believe in it:
///
/// ```
/// use std::time::Duration;
///
/// use runyard_datamanager::coordinator::{Candidacy, LostReason};
/// use tokio::time::Instant;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let (candidacy, belief) = Candidacy::new("cleaner");
/// belief.until(Instant::now() + Duration::from_secs(5));
/// assert!(!candidacy.is_lost());
/// // Nobody prolongs it in time.
/// assert_eq!(candidacy.lost().await, LostReason::LeaseExpired);
/// # }
/// ```
pub struct Candidacy {
    role: String,
    believed: watch::Receiver<Believed>,
    /// What is given back when this is dropped.
    _guard: Option<Box<dyn Any + Send + Sync>>,
}

/// How long a [`Candidacy`] is to be believed in. Dropping it ends the belief.
#[derive(Debug)]
pub struct Belief {
    believed: watch::Sender<Believed>,
}

/// What is believed in; once lost, it stays lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Believed {
    Always,
    Until(Instant),
    Lost(LostReason),
}

/// Why a process should no longer believe that it is the one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LostReason {
    /// The coordinator was not heard of for so long that it may have given the role to somebody else.
    LeaseExpired,
    /// The coordinator no longer knows of this candidacy: somebody removed it, or the coordinator lost its memory.
    Forgotten,
    /// The coordinator was closed or dropped.
    Closed,
}

impl fmt::Display for LostReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LeaseExpired => "the coordinator was not heard of for longer than the lease",
            Self::Forgotten => "the coordinator no longer knows of the candidacy",
            Self::Closed => "the coordinator was closed",
        })
    }
}

impl Believed {
    fn lost(self, now: Instant) -> Option<LostReason> {
        match self {
            Self::Always => None,
            Self::Until(until) => (now >= until).then_some(LostReason::LeaseExpired),
            Self::Lost(reason) => Some(reason),
        }
    }
}

impl Candidacy {
    /// A candidacy to be believed in until the other half says something else.
    pub fn new(role: impl Into<String>) -> (Self, Belief) {
        let believed = watch::Sender::new(Believed::Always);
        let candidacy = Self { role: role.into(), believed: believed.subscribe(), _guard: None };
        (candidacy, Belief { believed })
    }

    /// Drops `guard` when this is dropped, which is how a coordinator hears that somebody resigned.
    #[must_use]
    pub fn with_guard(mut self, guard: impl Send + Sync + 'static) -> Self {
        self._guard = Some(Box::new((self._guard.take(), guard)));
        self
    }

    /// The role.
    pub fn role(&self) -> &str {
        &self.role
    }

    /// Whether this process should no longer believe that it is the one.
    pub fn is_lost(&self) -> bool {
        // Without the other half, nobody is there to say that it is lost.
        self.believed.has_changed().is_err() || self.believed.borrow().lost(Instant::now()).is_some()
    }

    /// Waits until this process should no longer believe that it is the one, and says why.
    ///
    /// That may be before the role is given to anybody else, and nobody waits for what is done then: what must not be
    /// done by two is committed through a [`Leadership`](crate::Leadership). The clock is one that stands still while
    /// the machine is suspended; after that, it completes when the coordinator has been asked.
    ///
    /// # Cancel safety
    /// It can be dropped and called again, by several tasks.
    pub async fn lost(&self) -> LostReason {
        let mut believed = self.believed.clone();
        loop {
            let now = *believed.borrow_and_update();
            if let Some(reason) = now.lost(Instant::now()) {
                return reason;
            }
            let expired = async {
                match now {
                    Believed::Until(until) => sleep_until(until).await,
                    Believed::Always | Believed::Lost(_) => pending().await,
                }
            };
            tokio::select! {
                biased;
                changed = believed.changed() => if changed.is_err() {
                    return believed.borrow().lost(Instant::now()).unwrap_or(LostReason::Closed);
                },
                () = expired => {}
            }
        }
    }
}

impl fmt::Debug for Candidacy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let believed = *self.believed.borrow();
        f.debug_struct("Candidacy").field("role", &self.role).field("believed", &believed).finish_non_exhaustive()
    }
}

impl Belief {
    /// Believes until then, unless it is lost already: a belief that has run out does not come back.
    pub fn until(&self, until: Instant) {
        let now = Instant::now();
        self.believed.send_if_modified(|believed| {
            let next = believed.lost(now).map_or(Believed::Until(until), Believed::Lost);
            std::mem::replace(believed, next) != next
        });
    }

    /// Believes as long as nothing else is said, unless it is lost already.
    #[cfg(feature = "test-util")]
    pub(super) fn always(&self) {
        let now = Instant::now();
        self.believed.send_if_modified(|believed| {
            let next = believed.lost(now).map_or(Believed::Always, Believed::Lost);
            std::mem::replace(believed, next) != next
        });
    }

    /// Believes no more; the first reason counts.
    pub fn lose(&self, reason: LostReason) {
        let now = Instant::now();
        self.believed.send_if_modified(|believed| {
            let next = Believed::Lost(believed.lost(now).unwrap_or(reason));
            std::mem::replace(believed, next) != next
        });
    }

    /// Whether there is nothing left to believe in.
    pub fn is_lost(&self) -> bool {
        self.believed.borrow().lost(Instant::now()).is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_belief_that_is_prolonged_in_time_goes_on() {
        let (candidacy, belief) = Candidacy::new("r");
        let began = Instant::now();
        belief.until(began + SECOND);
        let lost = candidacy.lost();
        let prolonged = async {
            tokio::time::sleep(SECOND / 2).await;
            belief.until(began + 2 * SECOND);
        };
        let (reason, ()) = tokio::join!(lost, prolonged);
        assert_eq!((reason, began.elapsed()), (LostReason::LeaseExpired, 2 * SECOND));
    }

    #[tokio::test(start_paused = true)]
    async fn a_belief_that_has_run_out_does_not_come_back() {
        let (candidacy, belief) = Candidacy::new("r");
        belief.until(Instant::now() + SECOND);
        tokio::time::advance(SECOND).await;
        belief.until(Instant::now() + SECOND);
        assert!(candidacy.is_lost() && belief.is_lost());
        assert_eq!(candidacy.lost().now_or_never(), Some(LostReason::LeaseExpired));
        belief.lose(LostReason::Forgotten);
        assert_eq!(candidacy.lost().await, LostReason::LeaseExpired, "the first reason counts");
    }

    #[tokio::test]
    async fn all_who_wait_are_told_that_it_is_lost() {
        let (candidacy, belief) = Candidacy::new("r");
        let lose = async { belief.lose(LostReason::Forgotten) };
        let (first, second, ()) = tokio::join!(candidacy.lost(), candidacy.lost(), lose);
        assert_eq!((first, second), (LostReason::Forgotten, LostReason::Forgotten));
        assert!(candidacy.is_lost());
    }

    #[tokio::test]
    async fn without_its_coordinator_a_candidacy_is_lost() {
        let (candidacy, belief) = Candidacy::new("r");
        assert!(!candidacy.is_lost() && candidacy.lost().now_or_never().is_none());
        drop(belief);
        assert!(candidacy.is_lost());
        assert_eq!(candidacy.lost().await, LostReason::Closed);
    }

    #[test]
    fn every_guard_is_dropped_with_it() {
        let guard = std::sync::Arc::new(());
        let (candidacy, _belief) = Candidacy::new("r");
        let candidacy = candidacy.with_guard(guard.clone()).with_guard(guard.clone());
        assert_eq!(std::sync::Arc::strong_count(&guard), 3);
        drop(candidacy);
        assert_eq!(std::sync::Arc::strong_count(&guard), 1);
    }
}
