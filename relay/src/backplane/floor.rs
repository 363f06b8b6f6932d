//! Where a channel goes on that a backplane may have lost.
//!
//! Runs on: any thread; plain values.

use interlink_protocol::ids::Position;

/// What the caller of a publish knows of a channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Floor {
    /// The newest position that it knows, [`Position::ZERO`] when it knows of none. A channel of
    /// which the backplane knows nothing goes on after it.
    At(Position),
    /// None, and it can ask an archive: where the backplane may have lost the channel the call is
    /// answered [`super::BackplaneAnswer::TopsWanted`] instead of beginning it at 1.
    Unasked,
}

impl Floor {
    /// Nothing is known, and nobody can be asked.
    pub const NONE: Self = Self::At(Position::ZERO);

    /// The position after which a channel goes on.
    pub fn position(self) -> Position {
        match self {
            Self::At(position) => position,
            Self::Unasked => Position::ZERO,
        }
    }

    /// What two callers know together: an answer of the archive counts for both.
    #[must_use]
    pub fn or_higher(self, other: Self) -> Self {
        match (self, other) {
            (Self::Unasked, _) => other,
            (_, Self::Unasked) => self,
            (Self::At(one), Self::At(two)) if two.offset > one.offset => Self::At(two),
            _ => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_higher_floor_counts_and_an_answer_more_than_none() {
        let at = |offset| {
            Floor::At(Position {
                epoch: 1,
                offset,
                chain: offset,
            })
        };
        assert_eq!(at(3).or_higher(at(5)), at(5));
        assert_eq!(at(5).or_higher(at(3)), at(5));
        assert_eq!(Floor::Unasked.or_higher(Floor::NONE), Floor::NONE);
        assert_eq!(Floor::NONE.or_higher(Floor::Unasked), Floor::NONE);
        let unasked = Floor::Unasked.or_higher(Floor::Unasked);
        assert_eq!(
            (unasked, unasked.position()),
            (Floor::Unasked, Position::ZERO)
        );
    }
}
