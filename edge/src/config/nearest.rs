//! Finds the name that somebody who mistyped one probably meant.
//!
//! Runs on: the main thread.

use std::fmt;

/// What to write instead of an unknown name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Suggestion {
    /// One name is close.
    DidYouMean(String),
    /// None is; these exist.
    OneOf(Vec<String>),
}

impl fmt::Display for Suggestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DidYouMean(name) => write!(f, "did you mean {name}?"),
            Self::OneOf(names) => write!(f, "there are {}", names.join(", ")),
        }
    }
}

/// The name of `names` nearest to `wanted`, or all of them when none is near.
pub fn nearest<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Suggestion {
    let names: Vec<&str> = names.into_iter().collect();
    let wanted_lower = wanted.to_lowercase();
    let best = names
        .iter()
        .map(|name| (distance(&wanted_lower, &name.to_lowercase()), *name))
        .min();
    match best {
        // Up to a third of the letters wrong still reads as a typing error.
        Some((distance, name)) if distance <= wanted.chars().count().div_ceil(3) => {
            Suggestion::DidYouMean(name.to_owned())
        }
        _ => match names.iter().find(|name| shares_word(&wanted_lower, name)) {
            Some(name) => Suggestion::DidYouMean((*name).to_owned()),
            None => Suggestion::OneOf(names.into_iter().map(str::to_owned).collect()),
        },
    }
}

/// True when both names share a word, such as `sessions` in `sessions_max`
/// and `max_sessions`.
fn shares_word(wanted: &str, name: &str) -> bool {
    let separators = ['_', '-', '.', ' '];
    wanted
        .split(separators)
        .filter(|word| word.len() > 3)
        .any(|word| name.split(separators).any(|other| other == word))
}

/// Levenshtein distance with one row, over characters.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let substituted = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_error_finds_the_meant_name() {
        let names = ["max_sessions", "frame_bytes", "write_timeout"];
        assert_eq!(
            nearest("max_sesions", names),
            Suggestion::DidYouMean("max_sessions".into())
        );
        assert_eq!(
            nearest("sessions_max", names),
            Suggestion::DidYouMean("max_sessions".into())
        );
        assert!(matches!(nearest("zzz", names), Suggestion::OneOf(all) if all.len() == 3));
    }

    #[test]
    fn distance_counts_single_changes() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", "abc"), 0);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
