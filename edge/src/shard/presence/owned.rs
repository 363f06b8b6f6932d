//! The owner's part: scopes of channels that this shard numbers.
//!
//! Purpose: carries out what the table decides, and gives pages. While a lane is full nothing new
//! is told, so that changes gather in the table, which is bounded, and not before the lane.
//!
//! Limits: [`ASKS_MAX`] requests for pages wait; further ones are answered `overloaded`.
//!
//! Thread: the shard.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use interlink_protocol::frame::MemberFields;
use interlink_protocol::limits::PRESENCE_PAGE_MEMBERS;
use interlink_protocol::session::publish::Refusal;
use interlink_protocol::ErrorCode;
use interlink_relay::presence::{
    PresenceAction, PresencePage, PresenceTable, Present, Round, Source,
};

use super::limits::{ACTIONS_PER_TURN, ASKS_MAX, DUE_PER_TURN, PAGES_PER_TURN};
use super::messages::{Answer, Ask, Asker, PresenceMessage};
use crate::shard::service::questions::Told;
use crate::shard::Shard;

/// Scopes, and who waits for their pages.
#[derive(Debug)]
pub(super) struct Owned {
    pub(super) table: PresenceTable,
    /// Requests whose scope is ready.
    asks: VecDeque<(Round, Ask)>,
    /// Requests whose scope is not ready.
    waiting: HashMap<Round, Vec<Ask>>,
    /// How many are in either.
    open: usize,
}

impl Owned {
    pub(super) fn new(table: PresenceTable) -> Self {
        Self {
            table,
            asks: VecDeque::new(),
            waiting: HashMap::new(),
            open: 0,
        }
    }

    pub(super) fn has_work(&self) -> bool {
        !self.asks.is_empty()
            || self.table.has_actions()
            || self.table.has_freed()
            || self.table.has_sweeps()
    }

    pub(super) fn next_due_ms(&self) -> Option<u32> {
        let due_ms = self.table.next_due_ms()?;
        Some(due_ms.min(u64::from(u32::MAX)) as u32)
    }
}

/// The members of a list as they are encoded.
pub(super) fn fields(members: &[Present]) -> Vec<MemberFields<'_>> {
    let fields = members.iter().map(|member| MemberFields {
        user: &member.user,
        devices: member.devices,
    });
    fields.collect()
}

impl Shard {
    pub(super) fn presence_now_ms(&self) -> u64 {
        u64::from(self.clock.now_ms)
    }

    pub(super) fn on_watch(&mut self, shard: u16, scope: &str) {
        let now_ms = self.presence_now_ms();
        let table = &mut self.presence.owned.table;
        if table.watch(scope, shard, now_ms).is_err() {
            let scope = scope.into();
            self.send_presence(shard, PresenceMessage::Dropped { scope });
        }
    }

    pub(super) fn on_unwatch(&mut self, shard: u16, scope: &str) {
        let now_ms = self.presence_now_ms();
        self.presence.owned.table.unwatch(scope, shard, now_ms);
    }

    pub(super) fn on_told(
        &mut self,
        shard: Source,
        round: Round,
        users: &[(Arc<str>, u32)],
        is_complete: bool,
    ) {
        let now_ms = self.presence_now_ms();
        let table = &mut self.presence.owned.table;
        for (user, devices) in users {
            table.tell(round, shard, user, *devices, now_ms);
        }
        if is_complete {
            table.complete(round, shard);
        }
    }

    pub(super) fn on_ask(&mut self, ask: Ask) {
        let now_ms = self.presence_now_ms();
        let owned = &mut self.presence.owned;
        if owned.open >= ASKS_MAX {
            return self.answer_ask(&ask, Err(ErrorCode::Overloaded));
        }
        match owned.table.look(&ask.scope, now_ms) {
            Ok((round, is_ready)) => {
                owned.open += 1;
                match is_ready {
                    true => owned.asks.push_back((round, ask)),
                    false => owned.waiting.entry(round).or_default().push(ask),
                }
            }
            Err(_) => self.answer_ask(&ask, Err(ErrorCode::Overloaded)),
        }
    }

    /// Lets the table do what is due, and does what it asks for.
    pub(super) fn keep_scopes(&mut self) {
        if self.mesh.is_congested() {
            return;
        }
        let now_ms = self.presence_now_ms();
        let table = &mut self.presence.owned.table;
        table.free_some(DUE_PER_TURN);
        table.sweep_some(now_ms, DUE_PER_TURN);
        table.advance(now_ms, DUE_PER_TURN);
        for _ in 0..ACTIONS_PER_TURN {
            let Some(action) = self.presence.owned.table.next_action() else {
                return;
            };
            match action {
                PresenceAction::Tell { round, scope } => self.for_all_shards(|| {
                    let scope = Arc::clone(&scope);
                    PresenceMessage::Tell { round, scope }
                }),
                PresenceAction::Rest { round, scope } => self.for_all_shards(|| {
                    let scope = Arc::clone(&scope);
                    PresenceMessage::Rest { round, scope }
                }),
                PresenceAction::Ready { round } => self.on_ready(round),
                PresenceAction::Change {
                    scope,
                    watchers,
                    joined,
                    left,
                    count,
                } => self.tell_change(&scope, watchers, (&joined, &left), count),
                PresenceAction::Dropped {
                    round,
                    scope,
                    watchers,
                } => self.on_scope_dropped(round, &scope, watchers),
            }
        }
    }

    fn for_all_shards(&mut self, message: impl Fn() -> PresenceMessage) {
        for shard in 0..self.shards {
            self.send_presence(shard, message());
        }
    }

    fn for_watchers(&mut self, watchers: u64, message: impl Fn() -> PresenceMessage) {
        for shard in (0..self.shards).filter(|shard| watchers & (1 << shard) != 0) {
            self.send_presence(shard, message());
        }
    }

    fn tell_change(
        &mut self,
        scope: &Arc<str>,
        watchers: u64,
        (joined, left): (&[Present], &[Present]),
        count: u32,
    ) {
        self.counters.presence_changes += 1;
        let mut encoder = self.take_encoder();
        let frame = encoder.presence_change(scope, &fields(joined), &fields(left), count);
        let frame: Arc<[u8]> = frame.into();
        self.encoder = Some(encoder);
        self.for_watchers(watchers, || PresenceMessage::Changed {
            scope: Arc::clone(scope),
            count,
            frame: Arc::clone(&frame),
        });
    }

    fn on_ready(&mut self, round: Round) {
        let owned = &mut self.presence.owned;
        let waiting = owned.waiting.remove(&round).into_iter().flatten();
        owned.asks.extend(waiting.map(|ask| (round, ask)));
    }

    fn on_scope_dropped(&mut self, round: Round, scope: &Arc<str>, watchers: u64) {
        self.counters.presence_dropped += 1;
        for ask in self
            .presence
            .owned
            .waiting
            .remove(&round)
            .into_iter()
            .flatten()
        {
            self.presence.owned.open -= 1;
            self.answer_ask(&ask, Err(ErrorCode::Overloaded));
        }
        self.for_watchers(watchers, || PresenceMessage::Dropped {
            scope: Arc::clone(scope),
        });
    }

    /// Answers requests whose scopes are ready.
    pub(super) fn give_pages(&mut self) {
        for _ in 0..PAGES_PER_TURN {
            let owned = &mut self.presence.owned;
            let Some((round, ask)) = owned.asks.pop_front() else {
                return;
            };
            owned.open -= 1;
            let after = ask.after.as_deref();
            let page = owned.table.page(round, after, PRESENCE_PAGE_MEMBERS);
            self.counters.presence_pages += 1;
            // A scope that was dropped meanwhile found no room.
            self.answer_ask(&ask, page.ok_or(ErrorCode::Overloaded));
        }
    }

    fn answer_ask(&mut self, ask: &Ask, page: Result<PresencePage, ErrorCode>) {
        if let Asker::Service(number) = ask.asker {
            let told = page.map(Told::Presence).map_err(Refusal::of);
            return self.reply_question(ask.from, number, told);
        }
        let answer = Answer {
            asker: ask.asker,
            scope: ask.scope.clone(),
            page,
        };
        self.send_presence(ask.from, PresenceMessage::Answer(answer));
    }
}
