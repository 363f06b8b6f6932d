//! Which server has which partition.
//!
//! A single server has all; sentinels name the master, which has all; a cluster gives ranges of
//! slots to servers, and all keys of a partition are in the slot of its hash tag. Everybody who
//! can be asked is asked at once; what most of them say is taken, so that one that was cut off
//! is outvoted.
//!
//! Reading replies is pure; [`locate`] asks, on the backplane's runtime.

use std::sync::Arc;
use std::time::Duration;

use redis::{AsyncConnectionConfig, Value};
use tokio::task::JoinSet;

use super::config::{Address, Config, Mode};
use super::functions::{bytes, list};

/// Whoever answers later is not waited for when somebody else has answered.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);

/// Slots of a Redis Cluster (Redis Cluster specification, "Key distribution model").
const SLOTS: u16 = 16_384;

/// Servers and what they have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Directory {
    /// Servers that have partitions.
    pub servers: Vec<Address>,
    /// By partition, an index of `servers`; `None` for a partition that nobody has now.
    pub owners: Vec<Option<usize>>,
}

impl Directory {
    /// One server has everything.
    pub fn single(address: Address, partitions: u16) -> Self {
        Self {
            servers: vec![address],
            owners: vec![Some(0); usize::from(partitions)],
        }
    }

    /// Reads the reply to `CLUSTER SLOTS` of the server at `asked`.
    pub fn of_slots(reply: &Value, partitions: u16, asked: &Address) -> Option<Self> {
        let mut ranges = Vec::new();
        for range in list(reply)? {
            let [Value::Int(first), Value::Int(last), master, ..] = list(range)? else {
                return None;
            };
            let [host, Value::Int(port), ..] = list(master)? else {
                return None;
            };
            // A server that does not know its own name leaves it out.
            let host = bytes(host).and_then(|host| std::str::from_utf8(host).ok());
            let host = host.filter(|host| !host.is_empty() && *host != "?");
            let address = Address {
                host: host.unwrap_or(&asked.host).to_owned(),
                port: u16::try_from(*port).ok()?,
            };
            ranges.push((*first..=*last, address));
        }
        let mut directory = Self {
            servers: Vec::new(),
            owners: Vec::with_capacity(usize::from(partitions)),
        };
        for partition in 0..partitions {
            let slot = i64::from(slot_of(partition));
            let range = ranges.iter().find(|(range, _)| range.contains(&slot));
            let owner = range.map(|(_, address)| {
                let known = directory.servers.iter().position(|known| known == address);
                known.unwrap_or_else(|| {
                    directory.servers.push(address.clone());
                    directory.servers.len() - 1
                })
            });
            directory.owners.push(owner);
        }
        Some(directory)
    }
}

/// The slot of a partition's hash tag.
pub fn slot_of(partition: u16) -> u16 {
    crc16(format!("p{partition}").as_bytes()) % SLOTS
}

/// CRC-16 of Redis Cluster: XMODEM, polynomial 0x1021.
fn crc16(bytes: &[u8]) -> u16 {
    let mut crc = 0_u16;
    for byte in bytes {
        crc ^= u16::from(*byte) << 8;
        for _ in 0..8 {
            let carry = crc & 0x8000 != 0;
            crc <<= 1;
            if carry {
                crc ^= 0x1021;
            }
        }
    }
    crc
}

/// Asks for the directory. `known` are further servers that may be asked.
pub async fn locate(config: Arc<Config>, asked: Vec<Address>) -> Option<Directory> {
    if config.mode == Mode::Single {
        let address = asked.into_iter().next()?;
        return Some(Directory::single(address, config.partitions));
    }
    let majority = asked.len() / 2 + 1;
    let mut questions = JoinSet::new();
    for address in asked {
        let config = Arc::clone(&config);
        questions.spawn(async move {
            let answer = tokio::time::timeout(ANSWER_TIMEOUT, ask(&config, &address)).await;
            answer.ok().flatten()
        });
    }
    let mut votes: Vec<(Directory, usize)> = Vec::new();
    while let Some(answer) = questions.join_next().await {
        let Ok(Some(directory)) = answer else {
            continue;
        };
        match votes.iter_mut().find(|vote| vote.0 == directory) {
            Some(vote) => vote.1 += 1,
            None => votes.push((directory, 1)),
        }
        if let Some(at) = votes.iter().position(|vote| vote.1 >= majority) {
            return Some(votes.swap_remove(at).0);
        }
    }
    let most = votes.into_iter().max_by_key(|vote| vote.1);
    most.map(|vote| vote.0)
}

/// Asks one server, first as nobody where sentinels may want no log-in.
async fn ask(config: &Config, address: &Address) -> Option<Directory> {
    let is_sentinel = config.mode == Mode::Sentinel;
    for log_in in [!is_sentinel, true] {
        match ask_as(config, address, log_in).await {
            Ok(answer) => return answer,
            Err(error) => tracing::debug!(%address, %error, "no directory"),
        }
        if !is_sentinel {
            break;
        }
    }
    None
}

async fn ask_as(
    config: &Config,
    address: &Address,
    log_in: bool,
) -> Result<Option<Directory>, Box<dyn std::error::Error + Send + Sync>> {
    let client = config.client(address, log_in)?;
    let settings = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(ANSWER_TIMEOUT))
        .set_response_timeout(Some(ANSWER_TIMEOUT));
    let mut connection = client
        .get_multiplexed_async_connection_with_config(&settings)
        .await?;
    if config.mode == Mode::Cluster {
        let mut question = redis::cmd("CLUSTER");
        let reply: Value = question.arg("SLOTS").query_async(&mut connection).await?;
        return Ok(Directory::of_slots(&reply, config.partitions, address));
    }
    let mut question = redis::cmd("SENTINEL");
    question.arg("GET-MASTER-ADDR-BY-NAME").arg(&config.master);
    let master: Option<(String, u16)> = question.query_async(&mut connection).await?;
    Ok(master.map(|(host, port)| Directory::single(Address { host, port }, config.partitions)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(slot_of(5), crc16(b"p5") % 16_384);
    }

    fn range(first: i64, last: i64, host: &str, port: i64) -> Value {
        let server = vec![
            Value::BulkString(host.as_bytes().to_vec()),
            Value::Int(port),
        ];
        let replica = server.clone();
        Value::Array(vec![
            Value::Int(first),
            Value::Int(last),
            Value::Array(server),
            Value::Array(replica),
        ])
    }

    #[test]
    fn each_partition_belongs_to_the_server_of_its_slot() {
        let asked: Address = "10.0.0.9:7000".parse().expect("an address");
        let reply = Value::Array(vec![
            range(0, 8191, "10.0.0.1", 7001),
            range(8192, 12_000, "", 7002),
        ]);
        let directory = Directory::of_slots(&reply, 64, &asked).expect("a directory");
        for partition in 0..64 {
            let owner = directory.owners[usize::from(partition)];
            let port = owner.map(|at| directory.servers[at].port);
            let expected = match slot_of(partition) {
                0..=8191 => Some(7001),
                8192..=12_000 => Some(7002),
                _ => None,
            };
            assert_eq!(port, expected, "partition {partition}");
        }
        assert!(directory.servers.iter().any(|one| one.host == "10.0.0.9"));
        assert_eq!(Directory::of_slots(&Value::Nil, 64, &asked), None);
    }
}
