//! Where channels go on that Redis may have lost: what the archive has said of them.
//!
//! Purpose: a call of a line that Redis did not carry out, since it may have lost channels of it,
//! is made again with the newest positions that the archive knows of them. What a shard of this
//! node watches needs no archive: the node has heard every event of it.
//!
//! Invariant: a line that has no answer yet gives no floor, so that Redis begins nothing at 1
//! which the archive may know.
//!
//! Limits: the channels of one call for each line ([`CALL_RECORDS_MAX`]), until it is carried out.
//!
//! Thread: relay.

use std::collections::HashMap;

use interlink_protocol::ids::Position;
use interlink_relay::backplane::Floor;
use interlink_relay::lines::{LineId, CALL_RECORDS_MAX};

/// What the archive has said, for each line.
#[derive(Debug, Default)]
pub struct Floors {
    lines: HashMap<LineId, HashMap<Box<str>, Position>>,
}

impl Floors {
    /// The archive knows these newest positions of channels, in their order. Of one that it leaves
    /// out nothing is learnt.
    pub fn learn(&mut self, line: LineId, channels: Vec<Box<str>>, tops: &[Option<Position>]) {
        let known = self.lines.entry(line).or_default();
        if known.len() + channels.len() > CALL_RECORDS_MAX {
            // Of an earlier call, which a rewind has put back.
            known.clear();
        }
        let tops = tops.iter().map(|top| top.unwrap_or(Position::ZERO));
        known.extend(channels.into_iter().zip(tops));
    }

    /// What a call says of a channel whose newest event on this node is `heard`.
    pub fn of(&self, line: LineId, channel: &str, heard: Position, can_ask: bool) -> Floor {
        let known = self.lines.get(&line).and_then(|known| known.get(channel));
        match known {
            _ if heard.offset > 0 => Floor::At(heard),
            Some(position) => Floor::At(*position),
            None if can_ask => Floor::Unasked,
            None => Floor::NONE,
        }
    }

    /// The call was carried out, or failed: then the archive is asked anew, since others may have
    /// gone on meanwhile with a Redis that has lost it again.
    pub fn forget(&mut self, line: LineId) {
        self.lines.remove(&line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use interlink_protocol::priority::Priority;

    const LINE: LineId = LineId {
        class: Priority::P1,
        partition: 3,
    };

    fn at(offset: u64) -> Position {
        Position {
            epoch: 1,
            offset,
            chain: offset,
        }
    }

    #[test]
    fn a_floor_is_what_was_heard_else_what_the_archive_said_else_to_be_asked() {
        let mut floors = Floors::default();
        let none = Position::ZERO;
        assert_eq!(floors.of(LINE, "class.a", none, false), Floor::NONE);
        assert_eq!(floors.of(LINE, "class.a", none, true), Floor::Unasked);
        let channels = vec!["class.a".into(), "class.b".into()];
        floors.learn(LINE, channels, &[Some(at(7)), None]);
        assert_eq!(floors.of(LINE, "class.a", none, true), Floor::At(at(7)));
        assert_eq!(floors.of(LINE, "class.a", at(5), true), Floor::At(at(5)));
        assert_eq!(floors.of(LINE, "class.b", none, true), Floor::NONE);
        assert_eq!(floors.of(LINE, "class.c", none, true), Floor::Unasked);
        let other = LineId {
            partition: 4,
            ..LINE
        };
        assert_eq!(floors.of(other, "class.a", none, true), Floor::Unasked);
        floors.forget(LINE);
        assert_eq!(floors.of(LINE, "class.a", none, true), Floor::Unasked);
    }

    #[test]
    fn answers_add_up_for_one_call_and_are_bounded() {
        let mut floors = Floors::default();
        let none = Position::ZERO;
        floors.learn(LINE, vec!["class.a".into()], &[Some(at(7))]);
        floors.learn(LINE, vec!["class.b".into()], &[Some(at(8))]);
        assert_eq!(floors.of(LINE, "class.a", none, true), Floor::At(at(7)));
        let many: Vec<Box<str>> = (0..CALL_RECORDS_MAX)
            .map(|number| format!("class.c{number}").into())
            .collect();
        floors.learn(LINE, many, &[None; CALL_RECORDS_MAX]);
        assert_eq!(floors.lines[&LINE].len(), CALL_RECORDS_MAX);
        assert_eq!(floors.of(LINE, "class.c0", none, true), Floor::NONE);
    }
}
