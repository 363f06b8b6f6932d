//! What an error of a call means for its connection and for its caller.
//!
//! Runs on: any thread; plain values.

use redis::RedisError;

/// What an error means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// The connection, the server behind it or its lineage is not what it was: all are found
    /// again from the start.
    Lost,
    /// The server takes no writes: too few replicas, no memory, a disk that fails.
    NoWrites,
    /// The proposed epoch is not above the partition's, which is this one.
    EpochBehind(u64),
    /// The partition has another epoch than the one in which the caller placed last, or none.
    EpochChanged,
    /// The server refuses this call, and would refuse it again.
    Refused,
}

impl Fault {
    /// Reads an error. What the library reports without a code, such as a closed connection or
    /// an answer that is too late, is a lost connection.
    pub fn of(error: &RedisError) -> Self {
        let detail = error.detail().unwrap_or_default();
        match error.code() {
            None => Self::Lost,
            Some("NOREPLICAS" | "OOM" | "MISCONF") => Self::NoWrites,
            Some("EPOCH_CHANGED") => Self::EpochChanged,
            Some("EPOCH_BEHIND") => {
                u64::from_str_radix(detail.trim(), 16).map_or(Self::Refused, Self::EpochBehind)
            }
            Some(
                "STALE_LINEAGE" | "READONLY" | "MOVED" | "ASK" | "TRYAGAIN" | "LOADING"
                | "CLUSTERDOWN" | "MASTERDOWN" | "BUSY" | "NOAUTH" | "WRONGPASS",
            ) => Self::Lost,
            // Functions are loaded when a connection is made; somebody has removed them since.
            Some("ERR") if detail.contains("Function not found") => Self::Lost,
            Some(_) => Self::Refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(reply: &str) -> Fault {
        let value = redis::parse_redis_value(format!("-{reply}\r\n").as_bytes());
        let error = value.and_then(|value| value.extract_error());
        Fault::of(&error.expect_err("an error"))
    }

    #[test]
    fn answers_of_servers_are_told_apart() {
        for lost in [
            "READONLY You can't write against a read only replica.",
            "MOVED 3999 127.0.0.1:6381",
            "LOADING Redis is loading the dataset in memory",
            "STALE_LINEAGE read the lineage of the server again",
            "CLUSTERDOWN Hash slot not served",
            "ERR Function not found",
        ] {
            assert_eq!(fault(lost), Fault::Lost, "{lost}");
        }
        let few = "NOREPLICAS Not enough good replicas to write.";
        assert_eq!(fault(few), Fault::NoWrites);
        assert_eq!(fault("OOM command not allowed"), Fault::NoWrites);
        let behind = fault("EPOCH_BEHIND 00000000000000ff");
        assert_eq!(behind, Fault::EpochBehind(255));
        assert_eq!(fault("EPOCH_BEHIND maybe"), Fault::Refused);
        let changed = fault("EPOCH_CHANGED submit again what was placed last");
        assert_eq!(changed, Fault::EpochChanged);
        assert_eq!(fault("WRONGTYPE Operation against a key"), Fault::Refused);
        assert_eq!(fault("NOPERM this user has no permissions"), Fault::Refused);
    }
}
