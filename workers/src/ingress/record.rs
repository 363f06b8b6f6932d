//! From a record of the ingress topic to a request of the server API. Pure.

use interlink_relay::kafka::consumer::{Consumed, Lane};
use serde_json::{Map, Value};

use super::limits::RECORD_BYTES_MAX;

/// Why a record is none that can be published.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RecordError {
    /// It is too large.
    #[error("the record has {0} bytes, at most {most} are taken", most = RECORD_BYTES_MAX)]
    Bytes(usize),
    /// It is no JSON object.
    #[error("the record's value is no JSON object; write what POST /v1/publish takes")]
    Form,
    /// It names no channel.
    #[error("the record names no channel")]
    Channel,
}

/// What is to be published.
#[derive(Clone, PartialEq, Debug)]
pub struct Wish {
    /// What orders it.
    pub order: Box<[u8]>,
    body: Map<String, Value>,
    timestamp_ms: i64,
}

impl Wish {
    /// Reads a record; with `is_known` an earlier worker may have attempted it, and its age counts
    /// from its timestamp.
    ///
    /// # Errors
    /// When it can never be published.
    pub fn of(record: &Consumed, lane: &Lane, is_known: bool) -> Result<Self, RecordError> {
        let since_ms = if is_known { record.timestamp_ms } else { 0 };
        let Lane { topic, partition } = lane;
        let identity = || format!("{topic}/{partition}/{}", record.offset);
        Self::parse(&record.value, &record.key, since_ms, identity)
    }

    /// Reads what a back end wrote: a value, what orders it, and since when it counts;
    /// `identity` names it where the value has no key of its own.
    ///
    /// # Errors
    /// When it can never be published.
    pub fn parse(
        value: &[u8],
        key: &[u8],
        timestamp_ms: i64,
        identity: impl FnOnce() -> String,
    ) -> Result<Self, RecordError> {
        if value.len() > RECORD_BYTES_MAX {
            return Err(RecordError::Bytes(value.len()));
        }
        let parsed = serde_json::from_slice(value);
        let Ok(Value::Object(mut body)) = parsed else {
            return Err(RecordError::Form);
        };
        let Some(Value::String(channel)) = body.get("channel") else {
            return Err(RecordError::Channel);
        };
        let order = match key.is_empty() {
            true => channel.as_bytes().into(),
            false => key.into(),
        };
        if !matches!(body.get("idempotency_key"), Some(Value::String(_))) {
            body.insert("idempotency_key".into(), identity().into());
        }
        Ok(Self {
            order,
            body,
            timestamp_ms,
        })
    }

    /// An attempt at this time has no outcome: the age counts from there, or from where it counts
    /// already.
    pub fn note_attempt(&mut self, at_ms: i64) {
        if self.timestamp_ms == 0 {
            self.timestamp_ms = at_ms;
        }
    }

    /// The body of a request, with the age of the record at this time.
    pub fn request(&mut self, now_ms: i64) -> Vec<u8> {
        let age = match self.timestamp_ms {
            0 => 0,
            timestamp => now_ms
                .saturating_sub(timestamp)
                .clamp(0, i64::from(u32::MAX)),
        };
        self.body.insert("age_ms".into(), age.into());
        // A map of JSON values always serialises.
        serde_json::to_vec(&self.body).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane() -> Lane {
        Lane {
            topic: "interlink.ingress".into(),
            partition: 3,
        }
    }

    fn record(key: &str, value: &str) -> Consumed {
        Consumed {
            offset: 17,
            timestamp_ms: 1_000,
            key: key.as_bytes().into(),
            value: value.as_bytes().into(),
            headers: Box::default(),
        }
    }

    fn request(wish: &mut Wish, now_ms: i64) -> Value {
        serde_json::from_slice(&wish.request(now_ms)).expect("JSON")
    }

    #[test]
    fn a_record_keeps_its_identity_and_ages() {
        let record = record("ada", r#"{"channel":"user.ada","json":{"a":1},"age_ms":9}"#);
        let mut wish = Wish::of(&record, &lane(), true).expect("a wish");
        assert_eq!(&*wish.order, b"ada");
        for (now_ms, age_ms) in [(1_250, 250), (500, 0), (61_000, 60_000)] {
            let body = request(&mut wish, now_ms);
            assert_eq!(body["idempotency_key"], "interlink.ingress/3/17");
            assert_eq!(body["age_ms"], age_ms);
            assert_eq!(body["json"]["a"], 1);
        }
    }

    #[test]
    fn what_nobody_attempted_is_new_however_long_it_waited() {
        let record = record("ada", r#"{"channel":"user.ada"}"#);
        let mut wish = Wish::of(&record, &lane(), false).expect("a wish");
        assert_eq!(request(&mut wish, 900_000)["age_ms"], 0);
        wish.note_attempt(900_000);
        wish.note_attempt(950_000);
        assert_eq!(request(&mut wish, 960_000)["age_ms"], 60_000);
    }

    #[test]
    fn an_own_idempotency_key_stays_and_the_channel_orders_what_has_no_key() {
        let record = record("", r#"{"channel":"user.ada","idempotency_key":"grade-7"}"#);
        let mut wish = Wish::of(&record, &lane(), true).expect("a wish");
        assert_eq!(&*wish.order, b"user.ada");
        assert_eq!(request(&mut wish, 1_000)["idempotency_key"], "grade-7");
    }

    #[test]
    fn what_can_never_be_published_is_told() {
        for (value, error) in [
            ("", RecordError::Form),
            ("[1]", RecordError::Form),
            ("{\"channel\":", RecordError::Form),
            ("{}", RecordError::Channel),
            ("{\"channel\":1}", RecordError::Channel),
        ] {
            assert_eq!(
                Wish::of(&record("k", value), &lane(), true),
                Err(error),
                "{value}"
            );
        }
        let long = format!("{{\"channel\":\"{}\"}}", "a".repeat(RECORD_BYTES_MAX));
        let wish = Wish::of(&record("k", &long), &lane(), true);
        assert!(matches!(wish, Err(RecordError::Bytes(_))));
    }
}
