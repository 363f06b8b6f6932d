//! The loop of the relay thread.
//!
//! A round takes what shards and journal brought, hears the brokers, asks them for what is next,
//! and tells the shards. Then the thread sleeps until a doorbell, a broker or a deadline wakes
//! it; before it sleeps it has looked at everything with its bell armed.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::Receiver;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use interlink_protocol::namespace::Namespaces;
use interlink_protocol::priority::Priority;
use interlink_relay::backplane::Standing;
use interlink_relay::event_log::LogPosition;
use interlink_relay::kafka::KafkaLog;
use interlink_relay::lines::{FeedBatch, Feeder, LaneId, LineId, Lines};
use interlink_relay::ports::Ticket;
use interlink_relay::postgres::{self, PostgresArchive};
use interlink_relay::redis::RedisBackplane;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::archive::Archived;
use super::counts::{set, BackboneCounts};
use super::floors::Floors;
use super::guard::Guard;
use super::intake::Reading;
use super::limits::{KAFKA_FLOOR_US, READS_FLOOR_US, REDIS_FLOOR_US, SLEEP_MAX};
use super::nodes::Nodes;
use super::questions::Questions;
use super::seeding::Seeding;
use super::settings::Servers;
use super::watches::Watches;
use super::RelayPlan;
use crate::files_thread::Peer;
use crate::lanes::{Overflow, Port, Taken};
use crate::shard::backbone::Progress;
use crate::shard::files::{FilesLink, FilesRequest};
use crate::shard::Message;

/// A batch that is on its way to Kafka.
pub(super) struct Sent {
    pub(super) class: Priority,
    /// As the feeder counts batches.
    pub(super) number: u64,
    pub(super) records: u64,
}

/// What the relay thread has.
pub struct Relay {
    pub(super) port: Port<Message>,
    pub(super) outgoing: Overflow<Message>,
    /// Where the bell is heard; its other end is what others write to.
    heard: UnixStream,
    _bell: UnixStream,
    /// Told by the brokers' clients when they have something.
    pub(super) woken: Arc<Notify>,
    pub(super) requests: Receiver<FilesRequest>,
    pub(super) shards_ended: bool,
    last_words: Option<Duration>,
    pub(super) peers: Vec<Peer>,
    pub(super) files: FilesLink,
    /// What the journal is being read for; one thing at a time.
    pub(super) reading: Option<Reading>,
    pub(super) namespaces: Namespaces,
    pub(super) boot: u32,
    pub(super) backplane: RedisBackplane,
    pub(super) standing: Standing,
    pub(super) log: KafkaLog,
    pub(super) log_away: bool,
    /// Classes that shards were told to be replicated.
    pub(super) replicated: [bool; Priority::COUNT],
    /// The breaker of Redis for the lines.
    pub(super) redis: Guard,
    /// The breaker of Redis for subscriptions and history.
    pub(super) reads: Guard,
    /// The breaker of Kafka.
    pub(super) kafka: Guard,
    /// Since when a batch of P0 waits for Kafka.
    pub(super) critical_since_us: Option<u64>,
    pub(super) lines: Lines,
    pub(super) calls: HashMap<Ticket, LineId>,
    /// Questions to servers that have taken over, with their numbers.
    pub(super) proofs: HashMap<Ticket, (LineId, u64)>,
    pub(super) feeder: Feeder,
    /// What is on its way to Kafka.
    pub(super) batches: HashMap<Ticket, Sent>,
    /// Batches for which the log had no room.
    pub(super) held: [Option<FeedBatch>; Priority::COUNT],
    pub(super) watches: Watches,
    pub(super) questions: Questions,
    pub(super) nodes: Nodes,
    pub(super) archive: Archived,
    pub(super) floors: Floors,
    pub(super) seeding: Seeding,
    pub(super) tells: VecDeque<Box<[u8]>>,
    pub(super) again_at_us: u64,
    /// What shards were told last.
    told: HashMap<(u16, Priority), Progress>,
    pub(super) counts: Arc<BackboneCounts>,
    settled_at_us: u64,
    settled: HashMap<LaneId, LogPosition>,
    /// The servers that were noted with it.
    servers: Arc<[u8]>,
    pub(super) taken: Vec<Taken<Message>>,
}

impl Relay {
    /// Connects nothing yet: brokers are sought while the node serves.
    pub fn open(plan: RelayPlan, servers: Servers) -> anyhow::Result<Self> {
        let (heard, bell) = UnixStream::pair()?;
        heard.set_nonblocking(true)?;
        // A bell that was rung too often while nobody listened is loud enough.
        bell.set_nonblocking(true)?;
        plan.port.receiver.attach(bell.as_raw_fd())?;
        let woken = Arc::new(Notify::new());
        let waker = Arc::clone(&woken);
        let wake: Arc<dyn Fn() + Send + Sync> = Arc::new(move || waker.notify_one());
        let namespaces = (*servers.kafka.namespaces).clone();
        let archive = archive(servers.archive, &wake)?;
        let nodes = Nodes::new(&servers.kafka.node);
        let (known, runtime) = (&plan.logs.servers, Handle::current());
        let backplane = RedisBackplane::resume(servers.redis, known, &runtime, Arc::clone(&wake))?;
        let mut log = KafkaLog::new(servers.kafka, Handle::current(), wake)?;
        log.watch_replicas()?;
        let logs = &plan.logs.after;
        let lines = Lines::new(plan.config.cluster.partitions as u16, logs);
        let now_us = unix_us();
        let mut redis = Guard::new(REDIS_FLOOR_US, now_us);
        let mut reads = Guard::new(READS_FLOOR_US, now_us);
        redis.connected(false, now_us);
        reads.connected(false, now_us);
        Ok(Self {
            outgoing: Overflow::new(plan.port.sender.threads()),
            port: plan.port,
            heard,
            _bell: bell,
            woken,
            requests: plan.requests,
            shards_ended: false,
            last_words: plan.last_words,
            peers: plan.peers,
            files: plan.files,
            reading: None,
            namespaces,
            boot: plan.boot,
            backplane,
            standing: Standing::Reconnecting,
            log,
            log_away: false,
            replicated: Default::default(),
            redis,
            reads,
            kafka: Guard::new(KAFKA_FLOOR_US, now_us),
            critical_since_us: None,
            lines: lines.with_boot(plan.boot).with_settled(&plan.logs.settled),
            calls: HashMap::new(),
            proofs: HashMap::new(),
            feeder: Feeder::new(logs),
            batches: HashMap::new(),
            held: Default::default(),
            watches: Watches::default(),
            questions: Questions::default(),
            nodes,
            archive,
            floors: Floors::default(),
            seeding: Seeding::new(plan.config.cluster.partitions as u16),
            tells: VecDeque::new(),
            again_at_us: 0,
            told: HashMap::new(),
            counts: plan.counts,
            settled_at_us: 0,
            settled: logs.iter().map(|at| ((at.shard, at.kind), *at)).collect(),
            servers: plan.logs.servers.into(),
            taken: Vec::new(),
        })
    }

    /// Runs until every shard has ended, and then on for what is under way.
    ///
    /// # Errors
    /// When the bell cannot be listened to.
    pub async fn run(mut self) -> io::Result<()> {
        let heard = tokio::net::UnixStream::from_std(self.heard.try_clone()?)?;
        let mut over_at = None;
        loop {
            let busy = self.round();
            if self.shards_ended {
                let over_at = *over_at
                    .get_or_insert_with(|| self.last_words.map(|time| Instant::now() + time));
                if self.is_settled() || over_at.is_some_and(|at| Instant::now() >= at) {
                    self.keep_settled(u64::MAX);
                    return Ok(());
                }
            }
            if busy || !self.port.receiver.park() || self.take_answers() {
                self.port.receiver.unpark();
                // The tasks of the brokers' clients are let in between.
                tokio::task::yield_now().await;
                continue;
            }
            let sleep = self.sleep();
            tokio::select! {
                ready = heard.readable() => {
                    ready?;
                    silence(&heard);
                }
                () = self.woken.notified() => {}
                () = tokio::time::sleep(sleep) => {}
            }
            self.port.receiver.unpark();
        }
    }

    /// Does once what there is to do; says whether more waits.
    fn round(&mut self) -> bool {
        let now_us = unix_us();
        let mut busy = self.take_lanes(now_us);
        busy |= self.take_answers();
        busy |= self.hear_backplane(now_us);
        self.hear_log(now_us);
        busy |= self.hear_archive(now_us);
        self.ask_backplane(now_us);
        self.ask_archive(now_us);
        self.feed(now_us);
        self.read_journal();
        self.tell_progress();
        self.tell_nodes();
        self.keep_settled(now_us);
        self.show();
        self.outgoing.flush(&mut self.port.sender);
        self.port.sender.flush();
        busy
    }

    /// Tells shards how far their records have come.
    fn tell_progress(&mut self) {
        let logs: Vec<LaneId> = self.lines.logs().collect();
        for id in logs {
            if usize::from(id.0) >= self.peers.len() {
                continue;
            }
            for class in Priority::ALL {
                if interlink_relay::record::Kind::of(class) != id.1 {
                    continue;
                }
                let Some(progress) = self.progress(id, class) else {
                    continue;
                };
                if self.told.get(&(id.0, class)) == Some(&progress) {
                    continue;
                }
                // Replies have room of their own; what finds none is told in the next round.
                let message = Message::Progress(progress);
                if self
                    .port
                    .sender
                    .push(usize::from(id.0), class, message)
                    .is_ok()
                {
                    self.told.insert((id.0, class), progress);
                }
            }
        }
    }

    fn progress(&self, id: LaneId, class: Priority) -> Option<Progress> {
        let fed = self.feeder.done_of(id, class)?;
        let told = self.feeder.told_of(id, class)?;
        let placed = self.lines.done_of(id, class)?.min(told);
        let of_boot = |at: LogPosition| (at.boot == self.boot).then_some(at.sequence);
        let fed = of_boot(fed)?;
        let settled = of_boot(placed).map_or(Default::default(), |placed| placed.min(fed));
        Some(Progress {
            class,
            fed,
            settled,
        })
    }

    /// Notes on the disk up to where everything is settled. It goes back with a rewind, so that a
    /// process that starts in the middle of one goes through it again.
    fn keep_settled(&mut self, now_us: u64) {
        if now_us
            < self
                .settled_at_us
                .saturating_add(super::limits::SETTLED_EVERY_US)
        {
            return;
        }
        self.settled_at_us = now_us;
        let mut moved = Vec::new();
        for (id, kept) in &mut self.settled {
            let ends = (self.lines.cursor(*id), self.feeder.told(*id));
            let (Some(placed), Some(fed)) = ends else {
                continue;
            };
            let at = placed.min(fed);
            let went_back = self.lines.went_back(*id).map(|lowest| lowest.min(*kept));
            moved.extend(went_back);
            if at != *kept || went_back.is_some() {
                *kept = at;
                moved.push(at);
            }
        }
        if !moved.is_empty() {
            self.files.request(FilesRequest::Settled(moved));
        }
        // Behind the cursors, which may have gone back because of a change.
        let servers = self.backplane.memory();
        if let Some(servers) = servers.filter(|servers| *servers != self.servers) {
            self.servers = Arc::clone(&servers);
            self.files.request(FilesRequest::Servers(servers));
        }
    }

    /// Shows levels to the scraper.
    fn show(&self) {
        let counts = &self.counts;
        let away = match self.standing {
            Standing::Connected => 0,
            Standing::Reconnecting => 1,
            Standing::Away => 2,
        };
        let (unplaced, unplaced_behind) = self.lines.backlog();
        let (unfed, unfed_behind) = self.feeder.backlog();
        self.redis.show(&counts.breakers[0]);
        self.kafka.show(&counts.breakers[1]);
        self.archive.show(counts);
        self.reads.show(&counts.breakers[3]);
        set(&counts.backplane_away, away);
        set(&counts.log_away, u64::from(self.log_away));
        let unreplicated = self.replicated.iter().filter(|replicated| !**replicated);
        set(&counts.log_unreplicated, unreplicated.count() as u64);
        set(&counts.unplaced, unplaced as u64);
        set(&counts.unplaced_behind, u64::from(unplaced_behind));
        set(&counts.unfed, unfed as u64);
        set(&counts.unfed_behind, u64::from(unfed_behind));
        set(&counts.watched, self.watches.len() as u64);
    }

    fn is_settled(&self) -> bool {
        let nothing_waits = self.lines.is_idle() && self.feeder.is_idle();
        let nothing_is_held = self.batches.is_empty() && self.held.iter().all(Option::is_none);
        nothing_waits && nothing_is_held && self.nodes.is_idle() && self.archive.is_idle()
    }

    fn sleep(&self) -> Duration {
        let now_us = unix_us();
        let deadlines = [
            self.lines.next_at_us(),
            self.feeder.next_at_us(),
            self.archive.next_at_us(),
        ];
        let next = deadlines.into_iter().flatten().min();
        let until = next.map(|at| Duration::from_micros(at.saturating_sub(now_us)));
        // A deadline that has passed waits for something else.
        let until = until.map(|until| until.max(Duration::from_millis(1)));
        until.map_or(SLEEP_MAX, |until| until.min(SLEEP_MAX))
    }
}

/// The archive, if there is one; nothing is connected yet.
fn archive(
    config: Option<postgres::Config>,
    wake: &Arc<dyn Fn() + Send + Sync>,
) -> anyhow::Result<Archived> {
    match &config {
        Some(config) => tracing::info!(address = config.address, "archive"),
        None => tracing::info!(
            "no archive: history ends where Redis ends, old attempts cannot be judged, other nodes \
             do not know where devices stand, and an emptied Redis begins channels at 1; name one \
             in postgres.address"
        ),
    }
    let port =
        config.map(|config| PostgresArchive::new(&config, Handle::current(), Arc::clone(wake)));
    Ok(Archived::new(port.transpose()?, unix_us()))
}

/// Takes what the bell wrote.
fn silence(heard: &tokio::net::UnixStream) {
    let mut bytes = [0; 64];
    while heard.try_read(&mut bytes).is_ok_and(|count| count > 0) {}
}

/// Microseconds since the Unix epoch.
pub(super) fn unix_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_micros() as u64
}
