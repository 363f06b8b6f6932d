//! Which server, in which of its lives, a connection talks to.
//!
//! Replication is asynchronous: a promoted replica may lack what its master has placed, and
//! would give the same offsets again. A lineage tells such servers apart. It is made of the id
//! of the replication history and of the id of the process, and is read on the connection that
//! it stands for, in one transaction with the role.
//!
//! Runs on: any thread; plain values.

use redis::Value;

use super::functions::{bytes, list};

/// Bytes of a lineage.
const LINEAGE_BYTES: usize = 32;

/// A server's identity: the first 64 bits of `master_replid` and of `run_id`, as text.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Lineage([u8; LINEAGE_BYTES]);

impl Lineage {
    /// Bytes of a lineage.
    pub const BYTES: usize = LINEAGE_BYTES;

    /// The lineage of so many bytes.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// As an argument of the functions.
    pub fn as_bytes(&self) -> &[u8; LINEAGE_BYTES] {
        &self.0
    }

    /// Reads the replies to `ROLE`, `INFO server` and `INFO replication` of one transaction.
    pub fn read(replies: &[Value]) -> Result<Self, NotMaster> {
        let [role, server, replication] = replies else {
            return Err(NotMaster::Unclear);
        };
        let role = list(role).and_then(|role| bytes(role.first()?));
        if role != Some(b"master") {
            return Err(NotMaster::Replica);
        }
        let mut lineage = [0; LINEAGE_BYTES];
        let parts = [field(replication, "master_replid"), field(server, "run_id")];
        for (at, part) in parts.into_iter().enumerate() {
            let part = part.and_then(|part| part.as_bytes().get(..LINEAGE_BYTES / 2));
            let part = part.ok_or(NotMaster::Unclear)?;
            lineage[at * LINEAGE_BYTES / 2..][..part.len()].copy_from_slice(part);
        }
        Ok(Self(lineage))
    }

    /// A number for the low bits of an epoch.
    pub fn number(self) -> u64 {
        interlink_protocol::ids::placement_hash(&self.0)
    }
}

impl std::fmt::Debug for Lineage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

/// Nothing may be placed through a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotMaster {
    /// The server follows another one.
    #[error("the server is not the master: it is looked up again")]
    Replica,
    /// The replies do not say it.
    #[error("the server does not tell role, run_id and master_replid: Redis 7.0 or later does")]
    Unclear,
}

/// The value of a line `name:value` of `INFO`.
pub fn field<'a>(info: &'a Value, name: &str) -> Option<&'a str> {
    let text = std::str::from_utf8(bytes(info)?).ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPLID: &str = "8c5aa7a1d9b0bb1d3e0b8e0f0a1b2c3d4e5f6071";
    const RUN: &str = "0123456789abcdef0123456789abcdef01234567";

    fn replies(role: &str, server: &str, replication: &str) -> [Value; 3] {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        [
            Value::Array(vec![text(role), Value::Int(7), Value::Array(Vec::new())]),
            text(server),
            text(replication),
        ]
    }

    fn lineage(replid: &str, run: &str) -> Lineage {
        let server = format!("# Server\r\nredis_version:7.0.15\r\nrun_id:{run}\r\n");
        let replication = format!("role:master\r\nmaster_replid:{replid}\r\nmaster_replid2:0\r\n");
        Lineage::read(&replies("master", &server, &replication)).expect("a master")
    }

    #[test]
    fn another_process_or_history_is_another_lineage() {
        let one = lineage(REPLID, RUN);
        assert_eq!(one, lineage(REPLID, RUN));
        assert_ne!(one, lineage(RUN, RUN));
        assert_ne!(one, lineage(REPLID, REPLID));
    }

    #[test]
    fn only_a_master_has_a_lineage() {
        let replica = Lineage::read(&replies("slave", "run_id:1", "master_replid:2"));
        assert_eq!(replica, Err(NotMaster::Replica));
        let old = Lineage::read(&replies("master", "run_id:short\r\n", "nothing"));
        assert_eq!(old, Err(NotMaster::Unclear));
        assert_eq!(Lineage::read(&[]), Err(NotMaster::Unclear));
    }
}
