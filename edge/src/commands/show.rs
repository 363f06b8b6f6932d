//! Shows what a subscription delivers, as lines for people or as JSON lines.
//!
//! Runs on: the main thread of a command.

use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use interlink_client::{Delivery, Event, Position, PresenceChange, PresenceMember};
use serde_json::{json, Value};

use super::payload::text_of;

/// A position as `tail --after` takes it: epoch, offset and chain.
pub(super) fn position_text(position: Position) -> String {
    format!("{}:{}:{}", position.epoch, position.offset, position.chain)
}

/// Reads a position.
pub(crate) fn position_from_text(text: &str) -> Result<Position, String> {
    let parts: Result<Vec<u64>, _> = text.split(':').map(str::parse).collect();
    match parts.as_deref() {
        Ok([epoch, offset, chain]) => Ok(Position {
            epoch: *epoch,
            offset: *offset,
            chain: *chain,
        }),
        _ => Err("write epoch:offset:chain, as `tail --json` shows it".to_owned()),
    }
}

/// A line for people; nothing for deliveries that say nothing.
pub(super) fn line(delivery: &Delivery) -> Option<String> {
    match delivery {
        Delivery::Event(event) => Some(event_line(event)),
        Delivery::Gap(gap) => Some(format!(
            "-- {} events are missing: {:?}",
            gap.skipped, gap.reason
        )),
        Delivery::Recovered(recovery) if recovery.recovered => Some(format!(
            "-- continued without a gap, {} missed events follow",
            recovery.following
        )),
        Delivery::Recovered(recovery) => {
            Some(format!("-- could not be continued: {:?}", recovery.reason))
        }
        Delivery::Presence(change) => Some(presence_line(change)),
        Delivery::Ended(_) => None,
    }
}

fn presence_line(change: &PresenceChange) -> String {
    let names = |members: &[PresenceMember]| {
        let names: Vec<&str> = members.iter().map(|member| &*member.user).collect();
        names.join(", ")
    };
    let mut line = String::from("-- ");
    if !change.joined.is_empty() {
        line += &format!("came: {}; ", names(&change.joined));
    }
    if !change.left.is_empty() {
        line += &format!("left: {}; ", names(&change.left));
    }
    line + &format!("{} present", change.count)
}

fn event_line(event: &Event) -> String {
    let words = text_of(event.event_type, &event.payload).unwrap_or_else(|| {
        let bytes = event.payload.len();
        format!("({bytes} bytes of event type {})", event.event_type)
    });
    // Control characters of a payload must not reach the terminal.
    let words: String = words
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let time = time_of_day(event.server_time_us);
    format!(
        "{time}  #{}  {}  {words}",
        event.position.offset, event.publisher
    )
}

/// Hours, minutes, seconds and milliseconds in UTC.
fn time_of_day(micros: u64) -> String {
    let millis = micros / 1_000;
    let (seconds, rest) = (millis / 1_000, millis % 1_000);
    let (hours, minutes) = (seconds / 3_600 % 24, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02}.{rest:03}", seconds % 60)
}

/// The delivery as a JSON object.
pub(super) fn json_of(delivery: &Delivery) -> Value {
    match delivery {
        Delivery::Event(event) => json!({
            "kind": "event",
            "channel": &*event.channel,
            "position": position_text(event.position),
            "offset": event.position.offset,
            "record": format!("{:032x}", event.record.0),
            "publisher": &*event.publisher,
            "event_type": event.event_type,
            "schema_version": event.schema_version,
            "server_time_us": event.server_time_us,
            "text": text_of(event.event_type, &event.payload),
            "payload": STANDARD.encode(&event.payload),
        }),
        Delivery::Gap(gap) => json!({
            "kind": "gap",
            "position": position_text(gap.position),
            "skipped": gap.skipped,
            "reason": format!("{:?}", gap.reason),
        }),
        Delivery::Recovered(recovery) => json!({
            "kind": "recovered",
            "recovered": recovery.recovered,
            "following": recovery.following,
            "reason": format!("{:?}", recovery.reason),
        }),
        Delivery::Presence(change) => json!({
            "kind": "presence",
            "count": change.count,
            "joined": change.joined.iter().map(|member| &*member.user).collect::<Vec<_>>(),
            "left": change.left.iter().map(|member| &*member.user).collect::<Vec<_>>(),
        }),
        Delivery::Ended(error) => json!({ "kind": "ended", "error": error.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_reads_back() {
        let position = Position {
            epoch: 7,
            offset: 8,
            chain: u64::MAX,
        };
        assert_eq!(position_from_text(&position_text(position)), Ok(position));
        for text in ["", "1:2", "1:2:3:4", "a:b:c", "1:2:-3"] {
            assert!(position_from_text(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_change_of_presence_says_who() {
        let member = |user: &str| PresenceMember {
            user: user.into(),
            devices: 1,
        };
        let mut change = PresenceChange {
            joined: Vec::new(),
            left: Vec::new(),
            count: 2,
        };
        assert_eq!(presence_line(&change), "-- 2 present");
        change.joined = vec![member("ada"), member("bob")];
        change.left = vec![member("eve")];
        assert_eq!(
            presence_line(&change),
            "-- came: ada, bob; left: eve; 2 present"
        );
    }

    #[test]
    fn a_time_of_day_is_readable() {
        assert_eq!(time_of_day(86_399_999_000), "23:59:59.999");
        assert_eq!(time_of_day(86_400_000_000), "00:00:00.000");
    }
}
