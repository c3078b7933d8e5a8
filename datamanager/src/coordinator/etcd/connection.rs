//! How is one member of etcd talked to? The only file that knows how its client is called.
//!
//! The client reconnects and resumes nothing by itself, waits for ever for a server that is frozen, and with several
//! endpoints picks a dead one as readily as a live one. Therefore each connection is to one member, every answer has a
//! time limit, and after any failure the connection is given up.

use std::{future::Future, time::Duration};

use etcd_client::{
    Client, Compare, CompareOp, ConnectOptions, EventType, GetOptions, LeaseKeepAliveStream, LeaseKeeper, PutOptions,
    ResponseHeader, Txn, TxnOp, TxnOpResponse, WatchOptions, WatchResponse, WatchStream,
};
use tokio::time::{Instant, timeout};

use super::{
    failure::{Failure, Kind},
    keys::{Announcement, Key, Keys},
    lease::Lease,
    mirror::{KeyChange, Mirror},
    settings::EtcdSettings,
};

/// A connection to one member.
#[derive(Clone)]
pub(super) struct Connection {
    client: Client,
    keys: Keys,
    request_timeout: Duration,
}

/// Everything below the prefix.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) mirror: Mirror,
    pub(super) announced: Option<Announcement>,
}

/// What is written at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Batch {
    /// The roles to become a candidate for.
    pub(super) enter: Vec<String>,
    /// The roles to be a candidate for no longer.
    pub(super) leave: Vec<String>,
    /// How far the log has grown.
    pub(super) announce: Option<u64>,
}

/// How many keys one batch has at most; etcd takes no more than 128.
pub(super) const BATCH_KEYS_MAX: usize = 100;

/// What a batch has done.
#[derive(Debug)]
pub(super) struct Written {
    /// The revision that the watch will tell of; none if nothing has changed.
    pub(super) revision: Option<i64>,
    /// The roles to be left whose keys were gone already.
    pub(super) were_gone: Vec<String>,
}

impl Connection {
    /// Connects to a member, and says who asks.
    pub(super) async fn open(endpoint: &str, settings: &EtcdSettings) -> Result<Self, Failure> {
        let mut options = ConnectOptions::new()
            .with_connect_timeout(settings.connect_timeout)
            .with_require_leader(true)
            .with_auto_token_refresh(true);
        let scheme = match &settings.tls {
            Some(tls) => {
                options = options.with_tls(tls.read()?);
                "https"
            }
            None => "http",
        };
        if let Some(user) = &settings.user {
            options = options.with_user(&user.name, &user.password);
        }
        let client = Client::connect([format!("{scheme}://{endpoint}")], Some(options));
        let limit = settings.connect_timeout + settings.request_timeout;
        Ok(Self {
            client: within(limit, "connecting", client).await?,
            keys: Keys::new(&settings.prefix),
            request_timeout: settings.request_timeout,
        })
    }

    /// Reads everything below the prefix, at one revision that is not older than this call.
    pub(super) async fn read(&mut self) -> Result<Reading, Failure> {
        const DOING: &str = "reading the keys";
        let options = GetOptions::new().with_prefix();
        let answer = within(self.request_timeout, DOING, self.client.get(self.keys.prefix(), Some(options))).await?;
        let revision = answer.header().map(ResponseHeader::revision);
        let revision = revision.ok_or_else(|| Failure::new(Kind::Other, DOING, "the answer has no revision"))?;
        let mut reading = Reading { mirror: Mirror::at(revision), announced: None };
        for kv in answer.kvs() {
            match self.keys.parse(kv.key()) {
                Some(Key::Announced) => reading.announced = Announcement::parse(kv.value()),
                Some(key) => {
                    let (revision, created) = (kv.mod_revision(), Some(kv.create_revision()));
                    reading.mirror.apply(&KeyChange { key, revision, created, value: Vec::new() });
                }
                None => {}
            }
        }
        Ok(reading)
    }

    /// Asks whether the keys may be written, and writes nothing.
    pub(super) async fn probe_writing(&mut self) -> Result<(), Failure> {
        // Permissions are asked for in all branches of a transaction, and no key has a version below 0.
        let never = Compare::version(self.keys.announced(), CompareOp::Less, 0);
        let keys = [self.keys.announced(), self.keys.leader("", 0)];
        let txn = Txn::new().when([never]).and_then(keys.map(|key| TxnOp::put(key, "", None)));
        within(self.request_timeout, "asking whether the keys may be written", self.client.txn(txn)).await.map(drop)
    }

    pub(super) async fn grant(&mut self, ttl: Duration) -> Result<Lease, Failure> {
        // etcd counts in seconds.
        let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
        let sent = Instant::now();
        let grant = self.client.lease_grant(seconds.cast_signed(), None);
        let answer = within(self.request_timeout, "asking for a lease", grant).await?;
        Ok(Lease::granted(answer.id(), ttl_of(answer.ttl()), sent))
    }

    /// Ends a lease, and with it all keys that were written with it.
    pub(super) async fn revoke(&mut self, lease: i64) -> Result<(), Failure> {
        within(self.request_timeout, "giving back the lease", self.client.lease_revoke(lease)).await.map(drop)
    }

    /// Begins to keep a lease alive, and does it once.
    pub(super) async fn keep(&mut self, lease: &mut Lease) -> Result<Keeper, Failure> {
        let limit = lease.keep_alive_interval().min(self.request_timeout);
        let sent = Instant::now();
        let (keeper, answers) = within(limit, KEEPING, self.client.lease_keep_alive(lease.id)).await?;
        // The first answer says no more than that there is the lease; how long it is, the grant has said.
        if !lease.prolonged(lease.ttl, sent, Instant::now()) {
            return Err(expired());
        }
        Ok(Keeper { keeper, answers, sent, answered: true })
    }

    /// Watches everything below the prefix from a revision on.
    pub(super) async fn watch(&mut self, from: i64) -> Result<Watch, Failure> {
        let options = WatchOptions::new().with_prefix().with_start_revision(from);
        let watch = self.client.watch(self.keys.prefix(), Some(options));
        let stream = within(self.request_timeout, WATCHING, watch).await?;
        let mut watch = Watch { stream, keys: self.keys.clone() };
        // The first message says whether there is a watch at all.
        timeout(self.request_timeout, watch.changes())
            .await
            .unwrap_or_else(|_| Err(Failure::silent(WATCHING, self.request_timeout)))?;
        Ok(watch)
    }

    /// Writes a batch, wholly or not at all.
    pub(super) fn write(
        &self,
        batch: Batch,
        lease: i64,
    ) -> impl Future<Output = Result<Written, Failure>> + Send + use<> {
        let (mut client, keys, limit) = (self.client.clone(), self.keys.clone(), self.request_timeout);
        async move {
            let value = format!("process {}", std::process::id());
            let with_lease = Some(PutOptions::new().with_lease(lease));
            let enter = |role: &String| TxnOp::put(keys.leader(role, lease), value.as_str(), with_lease.clone());
            let leave = |role: &String| TxnOp::delete(keys.leader(role, lease), None);
            let announce = |lsn| TxnOp::put(keys.announced(), Announcement { lsn, lease }.value(), None);
            let deletes = batch.leave.iter().map(leave);
            let puts = batch.enter.iter().map(enter).chain(batch.announce.map(announce));
            // The deletes go first, so that the answers to them do.
            let operations: Vec<_> = deletes.chain(puts).collect();
            let has_puts = operations.len() > batch.leave.len();
            let answer = within(limit, "writing", client.txn(Txn::new().and_then(operations))).await?;
            let revision = answer.header().map(ResponseHeader::revision);
            let deleted = answer.op_responses().into_iter().map(|answer| match answer {
                TxnOpResponse::Delete(answer) => answer.deleted() > 0,
                _ => true,
            });
            let (deleted, were_gone): (Vec<_>, Vec<_>) =
                batch.leave.into_iter().zip(deleted).partition(|(_, deleted)| *deleted);
            Ok(Written {
                revision: revision.filter(|_| has_puts || !deleted.is_empty()),
                were_gone: were_gone.into_iter().map(|(role, _)| role).collect(),
            })
        }
    }
}

const KEEPING: &str = "keeping the lease alive";
const WATCHING: &str = "watching the keys";

fn expired() -> Failure {
    Failure::new(Kind::LeaseGone, KEEPING, "the answer came after the end of the lease")
}

fn ttl_of(seconds: i64) -> Duration {
    Duration::from_secs(seconds.max(0).unsigned_abs())
}

/// What keeps a lease alive.
pub(super) struct Keeper {
    keeper: LeaseKeeper,
    answers: LeaseKeepAliveStream,
    /// When the last keep-alive was sent.
    sent: Instant,
    answered: bool,
}

impl Keeper {
    /// When there is something to do: to send the next keep-alive, or to give up on the last one.
    pub(super) fn due(&self, lease: &Lease) -> Instant {
        self.sent + lease.keep_alive_interval()
    }

    /// Does what is due: sends the next keep-alive, unless the last one was not answered.
    pub(super) async fn send(&mut self, lease: &Lease) -> Result<(), Failure> {
        if !self.answered {
            return Err(Failure::silent(KEEPING, lease.keep_alive_interval()));
        }
        (self.sent, self.answered) = (Instant::now(), false);
        // It is handed to a channel that has room for it, since there is one on its way at most.
        self.keeper.keep_alive().await.map_err(|error| Failure::of(KEEPING, &error))
    }

    /// Waits for the answer; how long the lease is from when the keep-alive was sent. Cancel safe.
    pub(super) async fn answer(&mut self) -> Result<Duration, Failure> {
        match self.answers.message().await.map_err(|error| Failure::of(KEEPING, &error))? {
            Some(answer) if answer.ttl() > 0 => {
                self.answered = true;
                Ok(ttl_of(answer.ttl()))
            }
            Some(_) => Err(Failure::new(Kind::LeaseGone, KEEPING, "etcd does not know the lease")),
            None => Err(Failure::new(Kind::Closed, KEEPING, "the connection was ended")),
        }
    }

    /// Takes the answer in.
    pub(super) fn answered(&self, lease: &mut Lease, ttl: Duration) -> Result<(), Failure> {
        if lease.prolonged(ttl, self.sent, Instant::now()) { Ok(()) } else { Err(expired()) }
    }
}

/// Tells of every change below the prefix.
pub(super) struct Watch {
    stream: WatchStream,
    keys: Keys,
}

impl Watch {
    /// Waits for the next changes, in order; it may be none. Cancel safe.
    pub(super) async fn changes(&mut self) -> Result<Vec<KeyChange>, Failure> {
        let message = self.stream.message().await.map_err(|error| Failure::of(WATCHING, &error))?;
        let message = message.ok_or_else(|| Failure::new(Kind::Closed, WATCHING, "the connection was ended"))?;
        check_watch(&message)?;
        let changes = message.events().iter().filter_map(|event| {
            let kv = event.kv()?;
            let created = match event.event_type() {
                EventType::Put => Some(kv.create_revision()),
                EventType::Delete => None,
            };
            let key = self.keys.parse(kv.key())?;
            Some(KeyChange { key, revision: kv.mod_revision(), created, value: kv.value().to_vec() })
        });
        Ok(changes.collect())
    }
}

fn check_watch(message: &WatchResponse) -> Result<(), Failure> {
    let compacted = message.compact_revision();
    if compacted > 0 {
        let detail = format!("etcd has compacted everything before revision {compacted}");
        return Err(Failure::new(Kind::Compacted, WATCHING, detail));
    }
    if message.canceled() {
        let reason = message.cancel_reason();
        let kind = if reason.contains("permission denied") { Kind::Permission } else { Kind::WatchEnded };
        return Err(Failure::new(kind, WATCHING, format!("etcd has ended the watch: {reason}")));
    }
    Ok(())
}

/// Lets a request take so long and no longer.
async fn within<T>(
    limit: Duration,
    doing: &'static str,
    request: impl Future<Output = Result<T, etcd_client::Error>>,
) -> Result<T, Failure> {
    match timeout(limit, request).await {
        Ok(answer) => answer.map_err(|error| Failure::of(doing, &error)),
        Err(_) => Err(Failure::silent(doing, limit)),
    }
}
