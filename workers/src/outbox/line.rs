//! What is done with the rows of one key, one after the other. Pure: answers and times go in, steps
//! come out.
//!
//! Invariants: a row is attempted only when the one before it is published or a dead letter; what
//! no node can know is told apart from what one may have accepted, so that its age is counted from
//! the attempt that matters.

use std::collections::VecDeque;
use std::time::Duration;

use super::limits::{PAUSE_FIRST, PAUSE_MAX};
use crate::edge_api::Verdict;
use crate::ingress::{Reason, Wish};

/// A row of the table.
#[derive(Clone, PartialEq, Debug)]
pub struct Row {
    /// Its id, which orders the rows of a key.
    pub id: i64,
    /// Its lane.
    pub lane: i16,
    /// Whether an earlier claim made an attempt that a node may know of.
    pub is_known: bool,
    /// The column `order_key`.
    pub key: String,
    /// The column `publish`.
    pub publish: String,
    /// What is to be published, or why that cannot be read.
    pub wish: Result<Wish, Reason>,
}

/// What to do next.
#[derive(PartialEq, Debug)]
pub enum Step<'a> {
    /// Call the server API.
    Call(&'a mut Wish),
    /// Keep this row as a dead letter.
    Bury(&'a Row, Reason),
    /// Wait, then ask again.
    Wait(Duration),
    /// Nothing is left.
    End,
}

/// What became of the rows.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Outcome {
    /// Published or a dead letter.
    pub gone: Vec<i64>,
    /// Left, and no node can know of them.
    pub untouched: Vec<i64>,
}

/// The rows of one key.
#[derive(Debug)]
pub struct Line {
    rows: VecDeque<Row>,
    gone: Vec<i64>,
    pause: Duration,
    is_pausing: bool,
    refused: Option<Reason>,
}

impl Line {
    /// Rows of one key, in their order.
    pub fn new(rows: Vec<Row>) -> Self {
        Self {
            rows: rows.into(),
            gone: Vec::new(),
            pause: PAUSE_FIRST,
            is_pausing: false,
            refused: None,
        }
    }

    /// What to do next. A wait is told once.
    pub fn next(&mut self, after: Duration) -> Step<'_> {
        if std::mem::take(&mut self.is_pausing) {
            let pause = self.pause;
            self.pause = (2 * pause).min(PAUSE_MAX);
            return Step::Wait(after.max(pause));
        }
        let refused = self.refused.take();
        let Some(row) = self.rows.front_mut() else {
            return Step::End;
        };
        if let Some(reason) = refused {
            return Step::Bury(row, reason);
        }
        if let Err(reason) = &row.wish {
            let reason = reason.clone();
            return Step::Bury(row, reason);
        }
        match &mut row.wish {
            Ok(wish) => Step::Call(wish),
            Err(_) => Step::End,
        }
    }

    /// The answer to a call; `may_have_effect` says that there was none and a node may have
    /// accepted the event all the same. Gives the time that the refusal asks to wait for.
    pub fn on_answer(&mut self, verdict: Verdict, may_have_effect: bool) -> Duration {
        match verdict {
            Verdict::Published => self.pass(),
            Verdict::Refused { code, cause } => self.refused = Some(Reason { code, cause }),
            Verdict::Again { after, .. } => {
                self.is_pausing = true;
                if let Some(row) = self.rows.front_mut() {
                    row.is_known |= may_have_effect;
                }
                return after;
            }
        }
        Duration::ZERO
    }

    /// The row is kept as a dead letter.
    pub fn on_buried(&mut self) {
        self.pass();
    }

    fn pass(&mut self) {
        self.gone.extend(self.rows.pop_front().map(|row| row.id));
        self.pause = PAUSE_FIRST;
    }

    /// What became of the rows.
    pub fn end(self) -> Outcome {
        let left = self.rows.into_iter();
        Outcome {
            gone: self.gone,
            untouched: left.filter(|row| !row.is_known).map(|row| row.id).collect(),
        }
    }
}

/// The rows of a claim by key, each key in the order of its ids.
pub fn lines(mut rows: Vec<Row>) -> Vec<Line> {
    rows.sort_by_key(|row| row.id);
    let mut keys: std::collections::BTreeMap<Box<[u8]>, Vec<Row>> = Default::default();
    for row in rows {
        let key = match &row.wish {
            Ok(wish) => wish.order.clone(),
            Err(_) => row.key.as_bytes().into(),
        };
        keys.entry(key).or_default().push(row);
    }
    keys.into_values().map(Line::new).collect()
}
