//! The counters of a shard: declared once with name, kind and text.
//!
//! Invariant: a [`ShardCounters`] has one writer, its shard. Readers see each number
//! as it was after some turn; numbers of one scrape may be of adjacent turns.
//! Runs on: the shard writes, the control thread reads.

use std::sync::atomic::{AtomicU64, Ordering};

use interlink_uring::RingCounters;

use super::fields::{ByAnomaly, ByClass, ByCloseCode, ByErrorCode, ByOverrun, Field, Label};
use super::latency::ShardLatencies;
use super::metric::Metric;
use super::names;

/// How a number behaves, in the words of the exposition format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Buckets, sum and count of latencies.
    Histogram,
}

/// One counter of a shard.
#[derive(Clone, Copy, Debug)]
pub struct Descriptor {
    /// Name, text, kind and labels.
    pub metric: Metric,
    /// How many numbers it has.
    pub slots: usize,
    /// Label of each number beside the shard's.
    pub label: fn(usize) -> Label,
    /// Its second one.
    pub second_label: fn(usize) -> Label,
}

macro_rules! counters {
    ($(
        $kind:ident $field:ident: $type:ty = $name:ident, $text:literal $(, $worry:literal)?;
    )+) => {
        /// The numbers of one shard, owned by it.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Counters {
            $( #[doc = $text] pub $field: $type, )+
        }

        impl Counters {
            /// How many numbers there are in all.
            pub const SLOTS: usize = 0 $( + <$type as Field>::SLOTS )+;

            /// All counters in the order in which their numbers are copied.
            pub const DESCRIPTORS: &'static [Descriptor] = &[$(
                Descriptor {
                    metric: Metric {
                        name: names::$name,
                        text: $text,
                        kind: Kind::$kind,
                        labels: <$type as Field>::LABELS,
                        worry: concat!($($worry)?),
                    },
                    slots: <$type as Field>::SLOTS,
                    label: <$type as Field>::label,
                    second_label: <$type as Field>::second_label,
                },
            )+];

            /// Hands out all numbers in order.
            #[inline]
            fn copy(&self, sink: &mut impl FnMut(u64)) {
                $( self.$field.copy(sink); )+
            }
        }
    };
}

counters! {
    Gauge connections_open: u64 = CONNECTIONS_OPEN,
        "Connections that are open now.",
        "near limits.max_sessions";
    Counter connections_accepted: u64 = CONNECTIONS_ACCEPTED,
        "Connections that the kernel handed over.";
    Counter connections_over_rate: u64 = CONNECTIONS_OVER_RATE,
        "Connections dropped at their accept, since their address opens too many.";
    Counter proxy_headers_refused: u64 = PROXY_HEADERS_REFUSED,
        "Connections of proxies dropped for their header.";
    Counter connections_closed: u64 = CONNECTIONS_CLOSED,
        "Connections that have ended.";
    Counter closed_by_server: u64 = CLOSED_BY_SERVER,
        "Connections that this node ended.";
    Counter closes: ByCloseCode = CLOSES,
        "Connections that this node ended with a close code, by code.",
        "slow_client or overloaded grow";
    Counter closes_untold: u64 = CLOSES_UNTOLD,
        "Of these, those that ended before their close frame had left.",
        "as many as slow_client: clients do not read at all";
    Gauge connections_blocked: u64 = CONNECTIONS_BLOCKED,
        "Connections whose socket was full when it was looked at last.",
        "a share of connections far above the usual: clients or their network are slow";
    Counter reconnects_sent: u64 = RECONNECTS_SENT,
        "Clients that a drain has sent away.";
    Counter accept_failures: u64 = ACCEPT_FAILURES,
        "Accepts that the kernel refused.",
        "it grows: descriptors or memory of the host are used up";
    Gauge handshakes_open: u64 = HANDSHAKES_OPEN,
        "Connections that have not finished `Hello`.",
        "near limits.unfinished_handshakes: a flood, or clients that hang";
    Counter handshakes_done: u64 = HANDSHAKES_DONE,
        "Handshakes that ended with `Welcome`.";
    Counter handshakes_refused: u64 = HANDSHAKES_REFUSED,
        "Upgrade requests answered with an HTTP error.",
        "a rate far above the usual: a scan, or a broken client";
    Counter handshakes_evicted: u64 = HANDSHAKES_EVICTED,
        "Unfinished handshakes that were ended for room or time.",
        "it grows while clients are slow to connect: a flood";
    Counter tls_full: u64 = TLS_FULL,
        "Full TLS handshakes.";
    Counter tls_resumed: u64 = TLS_RESUMED,
        "TLS handshakes that continued an earlier session.";
    Counter tls_failures: u64 = TLS_FAILURES,
        "TLS handshakes and sessions that ended by an error.",
        "a rate far above the usual";
    Counter tokens_refused: u64 = TOKENS_REFUSED,
        "User tokens that were refused.",
        "bursts: guessed tokens, or a key that was rotated away";
    Counter tokens_refreshed: u64 = TOKENS_REFRESHED,
        "Tokens of open connections that were replaced.";
    Counter anomalies: ByAnomaly = ANOMALIES,
        "Anomalies that were found, by kind.",
        "ever: sys.security tells whom it is about";
    Counter anomalies_untold: u64 = ANOMALIES_UNTOLD,
        "Anomalies that were counted and not told as events.",
        "it grows: an attack from many addresses";
    Counter grants_ended: u64 = GRANTS_ENDED,
        "Subscriptions that ended with their token.";
    Counter connections_handed_over: u64 = CONNECTIONS_HANDED_OVER,
        "Connections moved to the shard of their user.";
    Gauge sessions_open: u64 = SESSIONS_OPEN,
        "Sessions, with or without a connection.",
        "near limits.max_sessions";
    Counter sessions_created: u64 = SESSIONS_CREATED,
        "Sessions begun.";
    Counter sessions_resumed: u64 = SESSIONS_RESUMED,
        "Sessions continued after a loss.";
    Counter sessions_taken_over: u64 = SESSIONS_TAKEN_OVER,
        "Connections replaced by a newer one of the same session.";
    Counter sessions_expired: u64 = SESSIONS_EXPIRED,
        "Sessions whose resume window ended.";
    Gauge subscriptions: u64 = SUBSCRIPTIONS,
        "Subscriptions now.";
    Gauge channels_active: u64 = CHANNELS_ACTIVE,
        "Channels with subscribers on this shard.";
    Counter channels_recovered: u64 = CHANNELS_RECOVERED,
        "Subscriptions continued without a gap.";
    Counter channels_not_recovered: u64 = CHANNELS_NOT_RECOVERED,
        "Subscriptions that could not be continued.",
        "it grows after reconnects: history is too short for absences";
    Gauge cursors: u64 = CURSORS,
        "Places that devices have acknowledged.";
    Counter cursors_moved: u64 = CURSORS_MOVED,
        "Acknowledgements that moved a cursor.";
    Counter cursors_kept: u64 = CURSORS_KEPT,
        "Cursors written to the disk.";
    Gauge presence_scopes: u64 = PRESENCE_SCOPES,
        "Channels whose presence this shard keeps, since somebody asks for it.";
    Gauge presence_members: u64 = PRESENCE_MEMBERS,
        "Users in these channels.";
    Gauge presence_bytes: u64 = PRESENCE_BYTES,
        "Bytes of the tables of presence in use.",
        "near half of presence.bytes_per_shard, above which channels are dropped";
    Counter presence_dropped: u64 = PRESENCE_DROPPED,
        "Channels whose presence was given up for want of room.",
        "ever: raise presence.bytes_per_shard";
    Counter presence_pages: u64 = PRESENCE_PAGES,
        "Pages of presence given to clients and the server API.";
    Counter presence_changes: u64 = PRESENCE_CHANGES,
        "Changes of presence told by the owners of channels.";
    Counter presence_told: u64 = PRESENCE_TOLD,
        "Changes and counts of presence handed to connections.";
    Counter presence_delayed: u64 = PRESENCE_DELAYED,
        "Changes of presence that a connection did not take and is told as a count later.";
    Counter presence_sent: u64 = PRESENCE_SENT,
        "Messages about presence for other nodes of a cluster.";
    Counter presence_heard: u64 = PRESENCE_HEARD,
        "Messages about presence of other nodes that were read.";
    Counter presence_invalid: u64 = PRESENCE_INVALID,
        "Messages about presence of other nodes that had no known form.",
        "ever: nodes of versions that do not understand each other";
    Counter presence_gaps: u64 = PRESENCE_GAPS,
        "Times that something another node had told of presence was missing and asked again.",
        "a steady rate: messages between nodes are lost";
    Counter presence_silences: u64 = PRESENCE_SILENCES,
        "Times that another node did not tell its users of a channel for a lease.",
        "ever: the node has a lease and does not answer";
    Counter presence_postponed: u64 = PRESENCE_POSTPONED,
        "Times that leaves of a channel waited for the word of another node.";
    Counter presence_frames_lost: u64 = PRESENCE_FRAMES_LOST,
        "Frames about presence that found no room between shard and relay thread.",
        "a steady rate: what they said is asked again";
    Counter heartbeats_sent: u64 = HEARTBEATS_SENT,
        "Heartbeats sent.";
    Counter heartbeats_missed: u64 = HEARTBEATS_MISSED,
        "Heartbeats that were not answered in time.",
        "more than usual: networks of clients fail, or shards are late";
    Counter frames_in: u64 = FRAMES_IN,
        "Messages received from clients.";
    Counter frames_out: u64 = FRAMES_OUT,
        "Replies and events handed to connections, each a message.";
    Counter bytes_in: u64 = BYTES_IN,
        "Bytes received from clients.";
    Counter bytes_out: u64 = BYTES_OUT,
        "Bytes sent to clients.";
    Counter receives: u64 = RECEIVES,
        "Receive completions with bytes.";
    Counter sends: u64 = SENDS,
        "Send operations.";
    Counter sends_short: u64 = SENDS_SHORT,
        "Sends of which the socket took a part.";
    Counter sends_blocked: u64 = SENDS_BLOCKED,
        "Sends that found the socket full.",
        "a share of sends far above the usual: clients read slowly";
    Counter reads_paused: u64 = READS_PAUSED,
        "Connections that were not read for a while because of their rate.";
    Counter publishes: ByClass = PUBLISHES,
        "Publishes received, by class.";
    Counter publishes_acked: ByClass = PUBLISHES_ACKED,
        "Publishes acknowledged, by class; its rate is the node's throughput.";
    Counter publishes_repeated: ByClass = PUBLISHES_REPEATED,
        "Publishes that had been accepted before, by class.";
    Counter publishes_refused: ByClass = PUBLISHES_REFUSED,
        "Publishes refused, by class.",
        "above 0.1 % of publishes for 15 min; above 1 % for 5 min at once; ever for p0";
    Counter keys_forgotten_early: u64 = KEYS_FORGOTTEN_EARLY,
        "Idempotency keys of services that were forgotten before they were five minutes old.",
        "it grows: repeats of older requests may be published twice";
    Counter refusals: ByErrorCode = REFUSALS,
        "Requests and publishes refused, by error code.",
        "overloaded or quota_exceeded grow";
    Counter events_out: ByClass = EVENTS_OUT,
        "Events handed to sockets, by class; one for each subscriber.";
    Counter events_skipped: ByClass = EVENTS_SKIPPED,
        "Events that a slow client did not get and was told of, by class.",
        "it grows: slow clients lose events of p2 and p3";
    Counter events_conflated: ByClass = EVENTS_CONFLATED,
        "Events that a slow or returning client got a newer one of their key for, by class.";
    Counter overruns: ByOverrun = OVERRUNS,
        "Times that a log overtook a subscription, by class and what became of it.",
        "it grows: clients are slower than what they subscribe to";
    Gauge subscriptions_lagging: u64 = SUBSCRIPTIONS_LAGGING,
        "Subscriptions that have not been sent all that is in the log.",
        "it grows steadily: clients or the shard are too slow";
    Gauge subscriptions_behind: u64 = SUBSCRIPTIONS_BEHIND,
        "Subscriptions that read history or last values.",
        "it stays high after a restart: history is read too slowly";
    Counter journal_records: ByClass = JOURNAL_RECORDS,
        "Records appended, by class, without marks.";
    Counter journal_bytes: u64 = JOURNAL_BYTES,
        "Bytes written.";
    Counter journal_blocks: u64 = JOURNAL_BLOCKS,
        "Blocks written.";
    Counter journal_syncs: u64 = JOURNAL_SYNCS,
        "Data syncs that ended.";
    Counter journal_failures: u64 = JOURNAL_FAILURES,
        "Writes and syncs that failed.",
        "ever: the disk fails";
    Counter journal_refusals: ByClass = JOURNAL_REFUSALS,
        "Records refused by the quota, by class.",
        "ever: the quota is used up, or the disk is full or too slow";
    Gauge journal_used_bytes: u64 = JOURNAL_USED_BYTES,
        "Bytes of the quota that are used.",
        "above 70 % of the quota, where p3 is refused";
    Gauge journal_quota_bytes: u64 = JOURNAL_QUOTA_BYTES,
        "The shard's share of journal.quota.";
    Gauge journal_waiting_bytes: u64 = JOURNAL_WAITING_BYTES,
        "Bytes appended and not yet synced.",
        "it grows steadily: the disk is slower than the load";
    Counter lane_entries: ByClass = LANE_ENTRIES,
        "Entries pushed to other shards, by class.";
    Counter lane_full: ByClass = LANE_FULL,
        "Entries that found their lane full, by class.",
        "it grows: the other shard is saturated";
    Gauge lane_depth: ByClass = LANE_DEPTH,
        "Entries that wait for this shard, by class, when its counters were copied.",
        "above 5,000, and above 10,000 at once";
    Gauge lane_kept: u64 = LANE_KEPT,
        "Entries that this shard keeps until the lanes of others have room.",
        "above 0 for seconds: another shard is saturated";
    Counter records_left_out: u64 = RECORDS_LEFT_OUT,
        "Records of a cluster that found no room and are read from the journal again.",
        "it grows: the relay thread is saturated";
    Counter doorbells: u64 = DOORBELLS,
        "Times that something was sent to another shard, which woke it if it slept.";
    Gauge log_bytes: u64 = LOG_BYTES,
        "Bytes of channel logs in use.",
        "near limits.channel_log_bytes_per_shard";
    Gauge partial_bytes: u64 = PARTIAL_BYTES,
        "Bytes of incomplete messages in use.",
        "near limits.partial_bytes_per_shard: clients send in pieces";
    Gauge last_values_bytes: u64 = LAST_VALUES_BYTES,
        "Bytes of last values in use.",
        "near limits.last_values_bytes_per_shard";
    Counter last_values_evicted: u64 = LAST_VALUES_EVICTED,
        "Last values that went to make room for others.",
        "it grows: clients that come back miss them";
    Counter pool_empty: u64 = POOL_EMPTY,
        "Times that a pool had no free block.",
        "it grows: channel logs need more memory";
    Counter turns: u64 = TURNS,
        "Turns of the shard; one that stands still is stuck.",
        "it stands still for 2 s: the shard is stuck";
    Counter turns_over_budget: u64 = TURNS_OVER_BUDGET,
        "Turns that took longer than 250 microseconds.",
        "more than 1 % of turns";
    Counter sleeps: u64 = SLEEPS,
        "Times that the shard slept.";
    Gauge rings_open: u64 = RINGS_OPEN,
        "Rings open now.";
    Counter ring_enters: u64 = RING_ENTERS,
        "Calls of io_uring_enter.";
    Counter ring_submitted: u64 = RING_SUBMITTED,
        "Operations handed to the kernel.";
    Counter ring_completions: u64 = RING_COMPLETIONS,
        "Completions read.";
    Counter ring_starved: u64 = RING_STARVED,
        "Receives that ended because no buffer was free.",
        "it grows: raise rings.buffers";
    Counter ring_overflows: u64 = RING_OVERFLOWS,
        "Times that the completion queue was full.",
        "it grows: completions come faster than turns take them";
    Counter ring_open_failures: u64 = RING_OPEN_FAILURES,
        "Rings that could not be opened.",
        "ever: the kernel refuses rings, see the limits of memory";
}

impl Counters {
    /// Takes over what the kernel counted.
    pub fn take_ring(&mut self, ring: &RingCounters) {
        self.accept_failures = ring.accept_failures;
        self.receives = ring.receives;
        self.rings_open = ring.rings_open;
        self.ring_enters = ring.enters;
        self.ring_submitted = ring.submitted;
        self.ring_completions = ring.completions;
        self.ring_starved = ring.starved;
        self.ring_overflows = ring.overflow_flushes;
        self.ring_open_failures = ring.ring_open_failures;
        self.sleeps = ring.sleeps;
    }
}

/// The shared copy of a shard's counters.
///
/// It begins on its own cache lines, so that shards do not disturb each other; two of
/// 64 bytes, since the processor fetches them in pairs.
#[derive(Debug)]
#[repr(align(128))]
pub struct ShardCounters {
    slots: [AtomicU64; Counters::SLOTS],
    latencies: ShardLatencies,
}

impl Default for ShardCounters {
    fn default() -> Self {
        Self {
            slots: [const { AtomicU64::new(0) }; Counters::SLOTS],
            latencies: ShardLatencies::default(),
        }
    }
}

impl ShardCounters {
    /// Publishes the numbers of the shard. To be called by its thread alone; each is a
    /// plain store.
    #[inline]
    pub fn publish(&self, counters: &Counters) {
        let mut slots = self.slots.iter();
        counters.copy(&mut |value| {
            if let Some(slot) = slots.next() {
                slot.store(value, Ordering::Relaxed);
            }
        });
    }

    /// The number of a slot, as of some recent turn.
    pub fn read(&self, slot: usize) -> u64 {
        self.slots[slot].load(Ordering::Relaxed)
    }

    /// The latencies, which the shard counts where they are read.
    pub fn latencies(&self) -> &ShardLatencies {
        &self.latencies
    }

    /// Turns of the shard: its sign of life.
    pub fn turns(&self) -> u64 {
        self.value(names::TURNS)
    }

    /// Sum of the numbers of a metric; 0 when there is no such metric.
    pub fn value(&self, name: &str) -> u64 {
        slots_of(name).map(|slot| self.read(slot)).sum()
    }

    /// One number of a metric, by its place among them; 0 when there is none.
    pub fn value_at(&self, name: &str, place: usize) -> u64 {
        let slot = slots_of(name).nth(place);
        slot.map_or(0, |slot| self.read(slot))
    }
}

/// Where the numbers of a metric are; nowhere when there is no such metric.
fn slots_of(name: &str) -> std::ops::Range<usize> {
    let mut first = 0;
    for descriptor in Counters::DESCRIPTORS {
        if descriptor.metric.name == name {
            return first..first + descriptor.slots;
        }
        first += descriptor.slots;
    }
    0..0
}
