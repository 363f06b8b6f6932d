//! The functions of `functions.lua` as commands, and their replies as values.
//!
//! The library's name carries a hash of its text, so that nodes of two versions use their own
//! functions side by side, and a changed function is never taken for the old one.
//!
//! Runs on: any thread; no I/O.

use std::collections::HashMap;

use interlink_protocol::ids::{placement_hash, Position, RecordId};
use interlink_protocol::priority::Priority;
use redis::{Cmd, Value};

use super::limits::{STREAM_ENTRIES, STREAM_LIFE};
use super::lineage::Lineage;
use super::message::{event, floor, head, number, placement, position, top, HEAD_BYTES};
use super::range::Range;
use crate::backplane::{Floor, Lease, Leases, NodeId, Publish, Published};
use crate::limits::NODES_MAX;
use crate::record::Placement;

const TEXT: &str = include_str!("functions.lua");

/// The part of a library's name that a change of formats raises.
const FORMAT: &str = "interlink_1";

/// The partition at whose server leases are kept.
pub const LEASES: u16 = 0;

/// Records of one partition, ready for a call.
#[derive(Debug)]
pub struct Batch {
    /// The partition.
    pub partition: u16,
    /// The most urgent class among them.
    pub class: Priority,
    /// Channels and what is known of them.
    pub channels: Vec<(Box<str>, Floor)>,
    records: Vec<([u8; HEAD_BYTES], Box<[u8]>)>,
}

impl Batch {
    /// Copies records of one partition.
    pub fn new(partition: u16, records: &[Publish<'_>]) -> Self {
        let mut numbers: HashMap<&str, u16> = HashMap::new();
        let mut channels: Vec<(Box<str>, Floor)> = Vec::new();
        let mut heads = Vec::with_capacity(records.len());
        let mut class = Priority::P3;
        for record in records {
            let number = *numbers.entry(record.channel).or_insert_with(|| {
                channels.push((record.channel.into(), record.floor));
                (channels.len() - 1) as u16
            });
            let known = &mut channels[usize::from(number)].1;
            *known = known.or_higher(record.floor);
            class = class.min(record.class);
            heads.push((head(number, record), record.frame.into()));
        }
        Self {
            partition,
            class,
            channels,
            records: heads,
        }
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.records.len()
    }
}

/// What an archive knows of channels of a partition.
#[derive(Debug)]
pub struct Seeds {
    /// The partition.
    pub partition: u16,
    /// Channels and their newest positions.
    pub tops: Box<[(Box<str>, Position)]>,
    /// Whether it knows no others.
    pub is_all: bool,
}

impl Seeds {
    /// The highest epoch among them.
    pub fn highest_epoch(&self) -> u64 {
        let epochs = self.tops.iter().map(|(_, top)| top.epoch);
        epochs.max().unwrap_or(0)
    }
}

/// Names of keys, pub/sub channels and functions.
#[derive(Debug)]
pub struct Functions {
    name: String,
    prefix: String,
    publish: &'static str,
}

impl Functions {
    /// Names below `prefix`; `sharded` is pub/sub of a cluster.
    pub fn new(prefix: &str, sharded: bool) -> Self {
        Self {
            name: format!("{FORMAT}_{:016x}", placement_hash(TEXT.as_bytes())),
            prefix: prefix.to_owned(),
            publish: if sharded { "SPUBLISH" } else { "PUBLISH" },
        }
    }

    /// The command that sends to a pub/sub channel.
    pub fn publish_command(&self) -> &'static str {
        self.publish
    }

    /// Asks for the library.
    pub fn list(&self) -> Cmd {
        let mut command = redis::cmd("FUNCTION");
        command.arg("LIST").arg("LIBRARYNAME").arg(&self.name);
        command
    }

    /// Loads the library.
    pub fn load(&self) -> Cmd {
        let mut command = redis::cmd("FUNCTION");
        command.arg("LOAD").arg("REPLACE");
        command.arg(TEXT.replace("@LIBRARY@", &self.name));
        command
    }

    /// Name of a channel in pub/sub.
    pub fn message_channel(&self, partition: u16, channel: &str) -> String {
        format!("{}:{{p{partition}}}:c:{channel}", self.prefix)
    }

    /// The channel of a pub/sub name of [`Functions::message_channel`].
    pub fn channel_of<'a>(&self, name: &'a str) -> Option<&'a str> {
        let rest = name.strip_prefix(&self.prefix)?.strip_prefix(":{p")?;
        let (_, channel) = rest.split_once("}:c:")?;
        Some(channel)
    }

    /// Name of the pub/sub channel of a node's probes.
    pub fn probe_channel(&self, partition: u16, node: u64, link: u64) -> String {
        format!("{}:{{p{partition}}}:probe:{node:016x}:{link}", self.prefix)
    }

    fn key(&self, partition: u16, name: &str) -> String {
        format!("{}:{{p{partition}}}:{name}", self.prefix)
    }

    fn call(&self, name: &str, partition: u16, streams: &[&str], reads: bool) -> Cmd {
        let mut command = redis::cmd(if reads { "FCALL_RO" } else { "FCALL" });
        command
            .arg(format!("{}_{name}", self.name))
            .arg(6 + streams.len());
        for key in ["meta", "tops", "tops.old", "ids", "ids.old", "recent"] {
            command.arg(self.key(partition, key));
        }
        for channel in streams {
            command.arg(format!("{}:{{p{partition}}}:s:{channel}", self.prefix));
        }
        command
    }

    /// Places records, by a caller that has placed in the epoch `known` before (0: it does not
    /// know), with `epoch` as the next one.
    pub fn publish(&self, batch: &Batch, lineage: Lineage, known: u64, epoch: u64) -> Cmd {
        let channels: Vec<&str> = batch.channels.iter().map(|channel| &*channel.0).collect();
        let mut command = self.call("publish", batch.partition, &channels, false);
        command
            .arg(lineage.as_bytes().as_slice())
            .arg(known.to_be_bytes().as_slice())
            .arg(epoch.to_be_bytes().as_slice())
            .arg(self.publish)
            .arg(self.message_channel(batch.partition, ""))
            .arg(STREAM_ENTRIES)
            .arg(STREAM_LIFE.as_millis() as u64)
            .arg(batch.channels.len());
        for (channel, known) in &batch.channels {
            let floor = floor(*known);
            let floor = floor.as_ref().map_or(&[][..], <[u8; 16]>::as_slice);
            command.arg(&**channel).arg(floor);
        }
        for (head, frame) in &batch.records {
            command.arg(head.as_slice()).arg(&**frame);
        }
        command
    }

    /// Gives what an archive knows, by a caller that has placed in the epoch `known` before, with
    /// `epoch` as the next one.
    pub fn seed(&self, seeds: &Seeds, lineage: Lineage, known: u64, epoch: u64) -> Cmd {
        let channels: Vec<&str> = seeds.tops.iter().map(|(channel, _)| &**channel).collect();
        let mut command = self.call("seed", seeds.partition, &channels, false);
        command
            .arg(lineage.as_bytes().as_slice())
            .arg(known.to_be_bytes().as_slice())
            .arg(epoch.to_be_bytes().as_slice())
            .arg(seeds.highest_epoch().to_be_bytes().as_slice())
            .arg(u8::from(seeds.is_all));
        for (channel, top) in &seeds.tops {
            command.arg(&**channel).arg(position(*top).as_slice());
        }
        command
    }

    /// Reads a stream from an offset on.
    pub fn range(
        &self,
        partition: u16,
        channel: &str,
        from: u64,
        events: usize,
        bytes: usize,
    ) -> Cmd {
        let mut command = self.call("range", partition, &[channel], true);
        command.arg(channel).arg(from).arg(events).arg(bytes);
        command
    }

    /// Reads where records of a partition stand, of the server that is meant.
    pub fn known(&self, partition: u16, lineage: Lineage, records: &[RecordId]) -> Cmd {
        let mut command = self.call("known", partition, &[], true);
        command.arg(lineage.as_bytes().as_slice());
        for record in records {
            command.arg(record.0.to_be_bytes().as_slice());
        }
        command
    }

    /// Reads the tops of channels of one partition.
    pub fn tops(&self, partition: u16, channels: &[&str]) -> Cmd {
        let mut command = self.call("tops", partition, &[], true);
        command.arg(channels);
        command
    }

    /// Reads which channels changed since a time of the server.
    pub fn recent(&self, partition: u16, from: &str, channels: usize) -> Cmd {
        let mut command = self.call("recent", partition, &[], true);
        command.arg(from).arg(channels);
        command
    }

    /// Keeps the lease of a node for so many milliseconds and asks who has one.
    pub fn lease(&self, node: NodeId, life_ms: u64) -> Cmd {
        let mut command = redis::cmd("FCALL");
        command
            .arg(format!("{}_lease", self.name))
            .arg(1)
            .arg(self.key(LEASES, "nodes"))
            .arg(format!("{:016x}", node.0))
            .arg(life_ms)
            .arg(NODES_MAX);
        command
    }

    /// Asks who has a lease.
    pub fn leases(&self) -> Cmd {
        let mut command = redis::cmd("FCALL_RO");
        command
            .arg(format!("{}_leases", self.name))
            .arg(1)
            .arg(self.key(LEASES, "nodes"))
            .arg(NODES_MAX);
        command
    }

    /// Sends a probe through everything that a publish goes through.
    pub fn probe(&self, partition: u16, lineage: Lineage, name: &str, message: &[u8]) -> Cmd {
        let mut command = self.call("probe", partition, &[], false);
        command
            .arg(lineage.as_bytes().as_slice())
            .arg(self.publish)
            .arg(name)
            .arg(message);
        command
    }
}

/// Reads the reply to a publish of so many records: the partition's epoch, and their places.
pub fn published(reply: &Value, records: usize) -> Option<(u64, Vec<Published>)> {
    let (epoch, places) = bytes(reply)?.split_first_chunk()?;
    if places.len() != 33 * records {
        return None;
    }
    let places = places.chunks_exact(33).map(|answer| {
        Some(Published {
            placement: placement(&answer[1..])?,
            repeated: answer[0] == b'R',
        })
    });
    Some((u64::from_be_bytes(*epoch), places.collect::<Option<_>>()?))
}

/// Reads the reply to a publish that placed nothing: the channels for which the archive is to be
/// asked.
pub fn read_wanted(reply: &Value) -> Option<Vec<Box<str>>> {
    let names = list(reply)?.iter();
    let names = names.map(|name| std::str::from_utf8(bytes(name)?).ok().map(Box::from));
    names.collect()
}

/// Reads the reply to seeds: the partition's epoch, and whether channels may still be lost.
pub fn read_seeded(reply: &Value) -> Option<(u64, bool)> {
    let [epoch, lacks] = list(reply)? else {
        return None;
    };
    Some((number(bytes(epoch)?)?, *lacks == Value::Int(1)))
}

/// Reads the reply to a question for so many records.
pub fn read_known(reply: &Value, records: usize) -> Option<Vec<Option<Placement>>> {
    let places = list(reply)?.iter().map(|place| match bytes(place)? {
        [] => Some(None),
        bytes => placement(bytes).map(Some),
    });
    let places = places.collect::<Option<Vec<_>>>()?;
    (places.len() == records).then_some(places)
}

/// Reads the reply to a range.
pub fn read_range(reply: &Value) -> Option<Range> {
    let [epoch, newest, events] = list(reply)? else {
        return None;
    };
    let pairs = list(events)?.chunks_exact(2);
    let events = pairs.map(|pair| event(bytes(&pair[0])?, bytes(&pair[1])?));
    Some(Range {
        top: top(number(bytes(epoch)?)?, bytes(newest)?)?,
        events: events.collect::<Option<_>>()?,
    })
}

/// Reads the reply to tops: one for each channel, offset 0 where nothing is known.
pub fn read_tops(reply: &Value) -> Option<Vec<Position>> {
    let [epoch, found] = list(reply)? else {
        return None;
    };
    let epoch = number(bytes(epoch)?)?;
    let tops = list(found)?;
    tops.iter().map(|one| top_or_none(epoch, one)).collect()
}

/// Channels that changed recently.
#[derive(PartialEq, Eq, Debug)]
pub struct Recent {
    /// The epoch of the partition; 0 when the server knows nothing of it.
    pub epoch: u64,
    /// What to ask from next.
    pub next_from: String,
    /// Channels and their tops.
    pub tops: Vec<(Box<str>, Position)>,
}

/// Reads the reply to a lease. What is no node, which no node writes, is passed over.
pub fn read_leases(reply: &Value) -> Option<Leases> {
    let [was_held, nodes] = list(reply)? else {
        return None;
    };
    let mut nodes: Vec<NodeId> = list(nodes)?.iter().filter_map(node).collect();
    nodes.sort_unstable();
    nodes.truncate(NODES_MAX);
    Some(Leases {
        was_held: *was_held == Value::Int(1),
        nodes,
    })
}

/// Reads the reply to a question for leases. What is no node is passed over.
pub fn read_lease_list(reply: &Value) -> Option<Vec<Lease>> {
    let pairs = list(reply)?.chunks_exact(2).filter_map(|pair| {
        let left = std::str::from_utf8(bytes(&pair[1])?).ok()?;
        Some(Lease {
            node: node(&pair[0])?,
            left_ms: left.parse().ok()?,
        })
    });
    let mut leases: Vec<Lease> = pairs.collect();
    leases.sort_unstable_by_key(|lease| lease.node);
    leases.truncate(NODES_MAX);
    Some(leases)
}

fn node(reply: &Value) -> Option<NodeId> {
    let text = std::str::from_utf8(bytes(reply)?).ok()?;
    u64::from_str_radix(text, 16).ok().map(NodeId)
}

/// Reads the reply to recent.
pub fn read_recent(reply: &Value) -> Option<Recent> {
    let [epoch, from, found] = list(reply)? else {
        return None;
    };
    let epoch = number(bytes(epoch)?)?;
    let pairs = list(found)?.chunks_exact(2).map(|pair| {
        let channel = std::str::from_utf8(bytes(&pair[0])?).ok()?;
        Some((channel.into(), top_or_none(epoch, &pair[1])?))
    });
    Some(Recent {
        epoch,
        tops: pairs.collect::<Option<_>>()?,
        next_from: std::str::from_utf8(bytes(from)?).ok()?.to_owned(),
    })
}

fn top_or_none(epoch: u64, reply: &Value) -> Option<Position> {
    match bytes(reply)? {
        [] => Some(Position {
            epoch,
            ..Position::ZERO
        }),
        bytes => top(epoch, bytes),
    }
}

/// The bytes of a reply.
pub fn bytes(reply: &Value) -> Option<&[u8]> {
    match reply {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(text.as_bytes()),
        _ => None,
    }
}

/// The entries of a reply.
pub fn list(reply: &Value) -> Option<&[Value]> {
    match reply {
        Value::Array(entries) => Some(entries),
        _ => None,
    }
}
