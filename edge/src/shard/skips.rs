//! Channels that go on elsewhere than where their last event leads.
//!
//! Purpose: the backplane has lost a numbering, or events that nobody can get any more; the relay
//! thread tells the shard from where the channel goes on.
//!
//! Invariant: what is in a log is one chain. Where the chain goes on and only the epoch is another
//! one, the log stays, and whoever is behind gets the rest from it; otherwise it is given up, and
//! they read history from where they stand.
//!
//! Thread: the shard.

use interlink_protocol::ids::Position;
use interlink_relay::backplane::Sequencer;
use interlink_wire as wire;

use super::channel::SubscriptionState;
use super::Shard;

/// A channel goes on after a position that its last event does not lead to.
#[derive(Debug)]
pub struct Skip {
    /// The channel.
    pub channel: Box<str>,
    /// Where it goes on.
    pub position: Position,
    /// Events between that are not delivered.
    pub skipped: u64,
    /// Why.
    pub reason: wire::PositionReason,
}

impl Shard {
    /// A channel goes on elsewhere. Those who have been sent everything are told so and go on
    /// there; the others read history from where they stand. Where only the epoch is another
    /// one, the log goes on too, and the events themselves tell the others.
    pub(super) fn on_skip(&mut self, skip: &Skip) {
        let Some(channel) = self.find_channel(&skip.channel) else {
            return;
        };
        let entry = &mut self.channels[channel];
        let before = entry.sequencer.top();
        entry.sequencer = Sequencer::resume(skip.position);
        let end = self.logs.visible_end(&self.channels[channel]);
        let members = self.members.members(&self.channels[channel]).iter();
        let current: Vec<u32> = members
            .copied()
            .filter(|&member| {
                let sub = &self.subscriptions[member];
                let is_live = sub.state == SubscriptionState::Live && sub.cursor == end;
                is_live && !self.lagging.contains(member)
            })
            .collect();
        let to = skip.position;
        if (before.offset, before.chain) != (to.offset, to.chain) {
            self.give_up_log(channel, before, to);
        }
        let end = self.logs.visible_end(&self.channels[channel]);
        for member in current {
            self.lagging.remove(member);
            self.subscriptions[member].cursor = end;
            self.note_progress(member);
            self.announce_skipped(member, skip.position, skip.skipped, skip.reason);
        }
    }
}

#[cfg(test)]
mod tests {
    use interlink_protocol::frame::{EventFields, FrameEncoder};
    use interlink_protocol::ids::RecordId;
    use interlink_protocol::priority::Priority;
    use interlink_relay::record::Placement;

    use super::*;
    use crate::shard::connection::NONE;
    use crate::shard::service::tests::Pair;

    /// Three events in one numbering, in their order.
    fn numbering() -> (Sequencer, [Placement; 3]) {
        let mut sequencer = Sequencer::new(1);
        let places = [1, 2, 3].map(|id| sequencer.place(RecordId(id)));
        (sequencer, places)
    }

    fn hear(shard: &mut Shard, channel: u32, place: &Placement) {
        let name = shard.channels[channel].name.clone();
        let fields = EventFields {
            channel: &name,
            position: place.position,
            previous_chain: place.previous_chain,
            record: RecordId(u128::from(place.position.offset)),
            publisher: "ada",
            priority: Priority::P1,
            event_type: 0,
            schema_version: 1,
            server_time_us: 0,
            payload: b"{}",
            conflation_key: None,
            trace: None,
        };
        shard.on_event_of(FrameEncoder::new().event(&fields));
    }

    /// A channel that has heard three events, with one member who was sent all of them and one
    /// who was sent nothing.
    fn heard(shard: &mut Shard) -> (u32, [u32; 2]) {
        let members = ["ada", "bob"].map(|name| {
            let user = shard.add_user(name);
            shard.add_member(user, NONE)
        });
        let channel = shard.scope();
        for place in &numbering().1 {
            hear(shard, channel, place);
        }
        let end = shard.logs.visible_end(&shard.channels[channel]);
        shard.subscriptions[members[0]].cursor = end;
        (channel, members)
    }

    fn skip(shard: &mut Shard, channel: u32, position: Position) {
        shard.on_skip(&Skip {
            channel: shard.channels[channel].name.clone(),
            position,
            skipped: 0,
            reason: wire::PositionReason::Lineage,
        });
    }

    /// Events that the log still has for a member; nothing when they were given up.
    fn left_for(shard: &Shard, channel: u32, member: u32) -> Option<usize> {
        let (channel, cursor) = (&shard.channels[channel], shard.subscriptions[member].cursor);
        let is_there = !shard.logs.is_overrun(channel, cursor);
        is_there.then(|| shard.logs.visible_events(channel, cursor).count())
    }

    #[test]
    fn another_epoch_of_the_same_chain_leaves_the_log_to_those_who_are_behind() {
        let mut pair = Pair::start();
        let shard = &mut pair.shards[0].0;
        let (channel, [current, behind]) = heard(shard);
        let top = Position {
            epoch: 2,
            ..numbering().0.top()
        };
        skip(shard, channel, top);
        assert_eq!(left_for(shard, channel, behind), Some(3));
        assert_eq!(left_for(shard, channel, current), Some(0));
        assert!(!shard.lagging.contains(behind), "nobody reads history");
        assert_eq!(shard.channels[channel].sequencer.top(), top);
        let next = Sequencer::resume(top).next(RecordId(4));
        hear(shard, channel, &next);
        assert_eq!(left_for(shard, channel, behind), Some(4));
        assert_eq!(left_for(shard, channel, current), Some(1));
    }

    #[test]
    fn a_log_whose_chain_does_not_go_on_is_given_up_and_history_serves_those_who_are_behind() {
        let (sequencer, places) = numbering();
        let other_chain = Position {
            epoch: 2,
            chain: !sequencer.top().chain,
            ..sequencer.top()
        };
        let earlier = Position {
            epoch: 2,
            ..places[1].position
        };
        let later = Position {
            epoch: 2,
            offset: 9,
            ..sequencer.top()
        };
        for to in [other_chain, earlier, later] {
            let mut pair = Pair::start();
            let shard = &mut pair.shards[0].0;
            let (channel, [current, behind]) = heard(shard);
            skip(shard, channel, to);
            assert_eq!(left_for(shard, channel, behind), None, "{to:?}");
            let next = Sequencer::resume(to).next(RecordId(4));
            hear(shard, channel, &next);
            assert_eq!(left_for(shard, channel, current), Some(1), "{to:?}");
            assert!(!shard.lagging.contains(current), "{to:?}");
            let stands_at = shard.lagging.remove(behind);
            assert_eq!(stands_at.map(|it| it.offset), Some(0), "{to:?}");
        }
    }
}
