//! Processes that want to lead, and what they believed when.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::future::join_all;
use runyard_datamanager::coordinator::{Coordinator, EtcdCoordinator, EtcdSettings, LostReason};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, timeout, timeout_at},
};

use crate::server::{LEASE, connect};

/// What passes until everything is as it should be, after what was broken is whole again: the longest delay between two
/// attempts, a lease of somebody who is gone, and what the machine takes.
pub(crate) const BACK_WITHIN: Duration = Duration::from_secs(20);

/// For how long two may believe that they lead, after etcd has lost its memory: until both have heard of that.
pub(crate) const MARGIN: Duration = Duration::from_secs(2);

/// What passes on a busy machine until the task of a contender has noted what it was told.
pub(crate) const NOTICED_WITHIN: Duration = Duration::from_millis(200);

/// Some processes that all want to lead the same role, again and again.
pub(crate) struct Contenders {
    pub(crate) coordinators: Vec<Arc<EtcdCoordinator>>,
    board: Arc<watch::Sender<Vec<Reign>>>,
    announced: Mutex<u64>,
    _tasks: JoinSet<()>,
}

/// That one of them believed that it leads.
#[derive(Clone, Debug)]
pub(crate) struct Reign {
    pub(crate) contender: usize,
    pub(crate) began: Instant,
    pub(crate) ended: Option<(Instant, LostReason)>,
}

impl Contenders {
    pub(crate) async fn start(settings: Vec<EtcdSettings>) -> Self {
        let coordinators = join_all(settings.into_iter().map(connect)).await;
        let board = Arc::new(watch::Sender::new(Vec::new()));
        let mut tasks = JoinSet::new();
        for (contender, coordinator) in coordinators.iter().enumerate() {
            tasks.spawn(contend(contender, Arc::clone(coordinator), Arc::clone(&board)));
        }
        Self { coordinators, board, announced: Mutex::new(0), _tasks: tasks }
    }

    /// Waits until somebody leads, and says who.
    pub(crate) async fn leader(&self) -> usize {
        let mut board = self.board.subscribe();
        let leads = board.wait_for(|reigns| reigns.iter().any(|reign| reign.ended.is_none()));
        let reigns = timeout(BACK_WITHIN, leads).await.expect("somebody leads within the bound").unwrap().clone();
        reigns.iter().find(|reign| reign.ended.is_none()).unwrap().contender
    }

    /// Waits until somebody else leads, who began after that moment.
    pub(crate) async fn next_leader(&self, after: Instant) -> Reign {
        let mut board = self.board.subscribe();
        let is_next = |reign: &&Reign| reign.began >= after && reign.ended.is_none();
        let leads = board.wait_for(|reigns| reigns.iter().any(|reign| is_next(&reign)));
        let reigns = timeout(BACK_WITHIN, leads).await.expect("somebody else leads within the bound").unwrap().clone();
        reigns.iter().find(is_next).unwrap().clone()
    }

    /// Waits until nobody believes that it leads.
    pub(crate) async fn nobody_leads(&self) {
        let mut board = self.board.subscribe();
        let nobody = board.wait_for(|reigns| reigns.iter().all(|reign| reign.ended.is_some()));
        let limit = LEASE + MARGIN;
        timeout(limit, nobody).await.expect("after a lease, nobody believes").unwrap();
    }

    /// Waits until one of them does not believe that it leads, which should be so already.
    pub(crate) async fn does_not_lead(&self, contender: usize) {
        let mut board = self.board.subscribe();
        let leads = |reign: &Reign| reign.contender == contender && reign.ended.is_none();
        let stopped = board.wait_for(|reigns| !reigns.iter().any(leads));
        timeout(NOTICED_WITHIN, stopped).await.expect("it stopped before the next one began").unwrap();
    }

    pub(crate) fn reigns(&self) -> Vec<Reign> {
        self.board.borrow().clone()
    }

    /// Waits until everything is as it should be, within the bound: all are connected, somebody leads, and what anybody
    /// announces reaches everybody else.
    pub(crate) async fn are_back(&self) {
        let deadline = Instant::now() + BACK_WITHIN;
        for coordinator in &self.coordinators {
            let mut status = coordinator.status();
            let connected = timeout_at(deadline, status.wait_for(|status| status.is_connected())).await.is_ok();
            assert!(connected, "connected within {BACK_WITHIN:?}: {:?}", coordinator.status().borrow());
        }
        self.leader().await;
        for (n, announcer) in self.coordinators.iter().enumerate() {
            let lsn = {
                let mut announced = self.announced.lock().unwrap();
                *announced += 1;
                *announced
            };
            announcer.announce(lsn);
            for (_, other) in self.coordinators.iter().enumerate().filter(|(other, _)| *other != n) {
                let mut heard = other.announced();
                let heard = timeout_at(deadline, heard.wait_for(|heard| heard.lsn == lsn)).await;
                heard.unwrap_or_else(|_| panic!("{lsn} is heard of within {BACK_WITHIN:?}")).unwrap();
            }
        }
    }

    /// Checks that never did two believe at once for longer than so.
    #[track_caller]
    pub(crate) fn never_two_for_longer_than(&self, most: Duration) {
        let (reigns, now) = (self.reigns(), Instant::now());
        let end = |reign: &Reign| reign.ended.map_or(now, |(ended, _)| ended);
        for (n, one) in reigns.iter().enumerate() {
            for other in &reigns[n + 1..] {
                let both = end(one).min(end(other)).saturating_duration_since(one.began.max(other.began));
                assert!(both <= most, "two believed at once for {both:?}: {one:?} and {other:?}");
            }
        }
    }
}

async fn contend(contender: usize, coordinator: Arc<EtcdCoordinator>, board: Arc<watch::Sender<Vec<Reign>>>) {
    while let Ok(candidacy) = coordinator.campaign("scheduler").await {
        let mut place = 0;
        board.send_modify(|reigns| {
            place = reigns.len();
            reigns.push(Reign { contender, began: Instant::now(), ended: None });
        });
        let reason = candidacy.lost().await;
        board.send_modify(|reigns| reigns[place].ended = Some((Instant::now(), reason)));
    }
}
