//! Tells a Redis that was new or emptied what the archive knows of its channels.
//!
//! Purpose: a partition that begins from nothing asks for each of its channels before it begins
//! it, and needs the archive for that. This node reads the newest positions of all channels once
//! and gives them to the partitions. With the last of them a partition lacks nothing and asks no
//! more, so that the archive may be away later.
//!
//! Order: a look at every partition says which lack channels. If any does, the table of the
//! archive is read in pages, by names, and each page is given before the next is read. When the
//! server of a partition may have lost something it begins anew.
//!
//! Invariant: a partition is told that it lacks nothing only after every page has been given to
//! it, without a change of its server meanwhile.
//!
//! Limits: one page of [`SEED_PAGE`] channels, and [`SEED_CALLS_MAX`] calls to Redis at once.
//!
//! Thread: relay; pages are read by a task of its runtime.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::mpsc::{channel, Receiver};
use std::sync::Arc;

use interlink_protocol::ids::Position;
use interlink_relay::backplane::{
    partition_of, Backplane, BackplaneAnswer, BackplaneError, BackplaneRequest, Standing,
};
use interlink_relay::limits::PORT_BATCH_MAX;
use interlink_relay::ports::{Busy, Ticket};

use super::limits::{SEED_AGAIN_US, SEED_CALLS_MAX, SEED_PAGE};
use super::task::Relay;

/// Channels with the positions of their newest events.
type Tops = Vec<(Box<str>, Position)>;

/// What one call gives to a partition.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Seed {
    partition: u16,
    tops: Tops,
    is_all: bool,
}

/// How far it is.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Stage {
    /// Nothing is to be done.
    Done,
    /// Partitions are asked whether they lack channels.
    Looking,
    /// The page behind this channel is read, or the one before is given.
    Giving(Box<str>),
    /// Partitions are told that this was all.
    Closing,
}

/// The work of a node.
#[derive(Debug)]
pub(super) struct Seeding {
    stage: Stage,
    partitions: u16,
    /// Partitions that lack channels.
    lacking: BTreeSet<u16>,
    waiting: VecDeque<Seed>,
    under_way: HashMap<Ticket, Seed>,
    /// Where the page that is being read comes.
    page: Option<Receiver<Option<Tops>>>,
    again_at_us: u64,
}

impl Seeding {
    /// Nothing is known yet of so many partitions.
    pub fn new(partitions: u16) -> Self {
        Self {
            stage: Stage::Done,
            partitions,
            lacking: BTreeSet::new(),
            waiting: VecDeque::new(),
            under_way: HashMap::new(),
            page: None,
            again_at_us: 0,
        }
    }

    /// Begins, or begins anew; what is under way counts for nothing.
    pub fn begin(&mut self) {
        *self = Self::new(self.partitions);
        self.stage = Stage::Looking;
        let look = |partition| Seed {
            partition,
            tops: Vec::new(),
            is_all: false,
        };
        self.waiting = (0..self.partitions).map(look).collect();
    }

    /// Begins unless it has begun.
    pub fn begin_if_done(&mut self) {
        if self.stage == Stage::Done {
            self.begin();
        }
    }

    /// Whether a ticket is of it.
    pub fn is_asked(&self, ticket: Ticket) -> bool {
        self.under_way.contains_key(&ticket)
    }

    fn next(&mut self, now_us: u64) -> Option<Seed> {
        let has_room = self.under_way.len() < SEED_CALLS_MAX && now_us >= self.again_at_us;
        has_room.then(|| self.waiting.pop_front()).flatten()
    }

    /// A call was answered: whether its partition lacks channels, `None` when it failed.
    fn answered(&mut self, ticket: Ticket, lacks: Option<bool>, now_us: u64) {
        let Some(seed) = self.under_way.remove(&ticket) else {
            return;
        };
        match lacks {
            Some(true) if self.stage == Stage::Looking => {
                self.lacking.insert(seed.partition);
            }
            Some(true) => {}
            Some(false) => {
                // Others may have given it everything meanwhile.
                self.lacking.remove(&seed.partition);
            }
            None => {
                self.again_at_us = now_us.saturating_add(SEED_AGAIN_US);
                self.waiting.push_back(seed);
            }
        }
        self.go_on();
    }

    fn go_on(&mut self) {
        if !self.waiting.is_empty() || !self.under_way.is_empty() {
            return;
        }
        match self.stage {
            Stage::Looking if !self.lacking.is_empty() => {
                tracing::info!(
                    partitions = self.lacking.len(),
                    "Redis is new or was emptied: it is told what the archive knows"
                );
                self.stage = Stage::Giving("".into());
            }
            Stage::Giving(_) if !self.lacking.is_empty() => {}
            Stage::Looking | Stage::Done => self.stage = Stage::Done,
            Stage::Giving(_) | Stage::Closing => {
                tracing::info!("Redis knows all channels that the archive knows");
                self.stage = Stage::Done;
            }
        }
    }

    /// The channel behind which the next page begins, when one is wanted.
    fn wants(&self, now_us: u64) -> Option<&str> {
        let is_free = self.page.is_none() && now_us >= self.again_at_us;
        let is_given = self.waiting.is_empty() && self.under_way.is_empty();
        match &self.stage {
            Stage::Giving(after) if is_free && is_given => Some(after),
            _ => None,
        }
    }

    /// A page came; `None` when it could not be read.
    fn read(&mut self, page: Option<Tops>, now_us: u64) {
        self.page = None;
        let Some(page) = page else {
            self.again_at_us = now_us.saturating_add(SEED_AGAIN_US);
            return;
        };
        let Some((last, _)) = page.last() else {
            self.stage = Stage::Closing;
            let all = |partition: &u16| Seed {
                partition: *partition,
                tops: Vec::new(),
                is_all: true,
            };
            self.waiting = self.lacking.iter().map(all).collect();
            return;
        };
        self.stage = Stage::Giving(last.clone());
        let mut tops: BTreeMap<u16, Tops> = BTreeMap::new();
        for (channel, top) in page {
            let partition = partition_of(&channel, self.partitions);
            if self.lacking.contains(&partition) {
                tops.entry(partition).or_default().push((channel, top));
            }
        }
        for (partition, tops) in tops {
            let calls = tops.chunks(PORT_BATCH_MAX).map(|tops| Seed {
                partition,
                tops: tops.to_vec(),
                is_all: false,
            });
            self.waiting.extend(calls);
        }
    }
}

impl Relay {
    /// Gives partitions what waits for them.
    pub(super) fn seed(&mut self, now_us: u64) -> Result<(), Busy> {
        if !self.archive.is_there() || self.standing != Standing::Connected {
            return Ok(());
        }
        self.read_seeds(now_us);
        while let Some(seed) = self.seeding.next(now_us) {
            let request = BackplaneRequest::Seed {
                partition: seed.partition,
                tops: &seed.tops,
                is_all: seed.is_all,
            };
            match self.backplane.submit(request, now_us) {
                Ok(ticket) => {
                    self.seeding.under_way.insert(ticket, seed);
                }
                Err(busy) => {
                    self.seeding.waiting.push_front(seed);
                    return Err(busy);
                }
            }
        }
        Ok(())
    }

    pub(super) fn on_seed_answer(
        &mut self,
        ticket: Ticket,
        answer: Result<BackplaneAnswer, BackplaneError>,
        now_us: u64,
    ) {
        let lacks = match answer {
            Ok(BackplaneAnswer::Seeded { lacks }) => Some(lacks),
            _ => None,
        };
        self.seeding.answered(ticket, lacks, now_us);
    }

    /// Takes a page, or has the next one read when the archive is there.
    fn read_seeds(&mut self, now_us: u64) {
        let page = self.seeding.page.as_ref();
        match page.map(Receiver::try_recv) {
            Some(Ok(page)) => self.seeding.read(page, now_us),
            Some(Err(std::sync::mpsc::TryRecvError::Disconnected)) => {
                self.seeding.read(None, now_us);
            }
            _ => {}
        }
        let Some(after) = self.seeding.wants(now_us).map(str::to_owned) else {
            return;
        };
        let Some(store) = self.archive.store(now_us) else {
            return;
        };
        let (sender, receiver) = channel();
        self.seeding.page = Some(receiver);
        let woken = Arc::clone(&self.woken);
        tokio::spawn(async move {
            let page = store.tops_after(&after, SEED_PAGE).await;
            if let Err(error) = &page {
                tracing::debug!(%error, "channels of the archive");
            }
            // Nobody wants it any more when it has begun anew.
            let _ = sender.send(page.ok());
            woken.notify_one();
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTITIONS: u16 = 4;

    fn top(name: &str) -> (Box<str>, Position) {
        let position = Position {
            epoch: 1,
            offset: 5,
            chain: 7,
        };
        (name.into(), position)
    }

    /// Channels of a partition.
    fn channels(partition: u16, count: usize) -> Tops {
        let names = (0..).map(|number| format!("class.{number:05}"));
        let own = names.filter(|name| partition_of(name, PARTITIONS) == partition);
        own.take(count).map(|name| top(&name)).collect()
    }

    /// Makes every call that is to be made; `lacks` answers it.
    fn give(seeding: &mut Seeding, mut lacks: impl FnMut(&Seed) -> Option<bool>) -> Vec<Seed> {
        let mut given = Vec::new();
        while let Some(seed) = seeding.next(u64::MAX) {
            let answer = lacks(&seed);
            let ticket = Ticket(given.len() as u64);
            seeding.under_way.insert(ticket, seed.clone());
            seeding.answered(ticket, answer, 0);
            given.push(seed);
        }
        given
    }

    /// Two of the partitions lack channels.
    fn lacking() -> Seeding {
        let mut seeding = Seeding::new(PARTITIONS);
        seeding.begin();
        let looks = give(&mut seeding, |seed| Some(seed.partition < 2));
        assert_eq!(looks.len(), usize::from(PARTITIONS));
        assert!(looks
            .iter()
            .all(|look| look.tops.is_empty() && !look.is_all));
        seeding
    }

    #[test]
    fn nothing_is_read_while_no_partition_lacks_anything() {
        let mut seeding = Seeding::new(PARTITIONS);
        assert_eq!(seeding.wants(0), None);
        seeding.begin();
        give(&mut seeding, |_| Some(false));
        assert_eq!((seeding.wants(0), &seeding.stage), (None, &Stage::Done));
    }

    #[test]
    fn every_page_is_given_before_a_partition_hears_that_it_was_all() {
        let mut seeding = lacking();
        assert_eq!(seeding.wants(0), Some(""));
        let many = channels(0, PORT_BATCH_MAX + 1);
        let mut page = many.clone();
        page.extend(channels(3, 2));
        page.extend(channels(1, 1));
        let last = page.last().expect("a page").0.clone();
        seeding.read(Some(page), 0);
        assert_eq!(seeding.wants(0), None, "it is not given yet");
        let given = give(&mut seeding, |_| Some(true));
        let sizes: Vec<_> = given
            .iter()
            .map(|it| (it.partition, it.tops.len()))
            .collect();
        assert_eq!(sizes, [(0, PORT_BATCH_MAX), (0, 1), (1, 1)]);
        assert_eq!(seeding.wants(0), Some(&*last));
        seeding.read(None, 0);
        assert_eq!(seeding.wants(0), None, "it pauses");
        assert_eq!(seeding.wants(SEED_AGAIN_US), Some(&*last), "and asks again");
        seeding.read(Some(Vec::new()), 0);
        let ends = give(&mut seeding, |_| Some(false));
        let ends: Vec<_> = ends.iter().map(|it| (it.partition, it.is_all)).collect();
        assert_eq!(ends, [(0, true), (1, true)]);
        assert_eq!(seeding.stage, Stage::Done);
    }

    #[test]
    fn a_call_that_failed_is_made_again_before_the_end_is_told() {
        let mut seeding = lacking();
        seeding.read(Some(channels(0, 1)), 0);
        let mut attempts = 0;
        let given = give(&mut seeding, |_| {
            attempts += 1;
            (attempts > 2).then_some(true)
        });
        assert_eq!(given.len(), 3);
        assert!(given.iter().all(|seed| *seed == given[0] && !seed.is_all));
    }

    #[test]
    fn what_others_have_done_meanwhile_is_not_done_again() {
        let mut seeding = lacking();
        let mut page = channels(0, 1);
        page.extend(channels(1, 1));
        seeding.read(Some(page), 0);
        give(&mut seeding, |_| Some(false));
        assert_eq!(seeding.stage, Stage::Done);
    }

    #[test]
    fn it_begins_anew_and_takes_no_answer_of_before() {
        let mut seeding = lacking();
        seeding.read(Some(Vec::new()), 0);
        let seed = seeding.next(0).expect("an end to be told");
        seeding.under_way.insert(Ticket(99), seed);
        seeding.begin();
        assert!(!seeding.is_asked(Ticket(99)));
        seeding.answered(Ticket(99), Some(true), 0);
        assert_eq!(seeding.stage, Stage::Looking);
        let looks = give(&mut seeding, |_| Some(true));
        assert_eq!(looks.len(), usize::from(PARTITIONS));
        assert_eq!(seeding.wants(0), Some(""));
    }
}
