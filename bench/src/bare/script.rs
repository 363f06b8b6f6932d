//! What a bare server answers: steps of bytes in and bytes out.
//!
//! Runs on: any thread.

use std::fmt;
use std::str::FromStr;

/// For `bytes_in` received, `bytes_out` are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Bytes to receive, at least 1.
    pub bytes_in: u32,
    /// Bytes to send; 0 sends nothing.
    pub bytes_out: u32,
}

/// Steps of a connection; the last one repeats when asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// The steps in order, at least one.
    pub steps: Vec<Step>,
    /// The last step is taken again and again.
    pub repeats: bool,
}

impl Script {
    /// One step again and again.
    pub fn repeated(bytes_in: u32, bytes_out: u32) -> Self {
        Self {
            steps: vec![Step {
                bytes_in,
                bytes_out,
            }],
            repeats: true,
        }
    }

    /// The bytes owed after `received` more bytes at `progress`.
    pub fn advance(&self, progress: &mut Progress, received: u32) -> u32 {
        progress.received += received;
        let mut owed = 0;
        while let Some(step) = self.steps.get(usize::from(progress.step)) {
            if progress.received < step.bytes_in {
                break;
            }
            progress.received -= step.bytes_in;
            owed += step.bytes_out;
            let is_last = usize::from(progress.step) + 1 == self.steps.len();
            if !(is_last && self.repeats) {
                progress.step += 1;
            }
        }
        owed
    }

    /// Most bytes that one answer can have when `received` bytes come at once.
    pub fn largest_answer(&self, received: u32) -> u32 {
        let smallest = self
            .steps
            .iter()
            .map(|step| step.bytes_in)
            .min()
            .unwrap_or(1);
        let largest = self
            .steps
            .iter()
            .map(|step| step.bytes_out)
            .max()
            .unwrap_or(0);
        largest * (received / smallest + 2)
    }
}

/// How far a connection is in its script.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    received: u32,
    step: u16,
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, step) in self.steps.iter().enumerate() {
            let comma = if number == 0 { "" } else { "," };
            write!(f, "{comma}{}:{}", step.bytes_in, step.bytes_out)?;
        }
        f.write_str(if self.repeats { "+" } else { "" })
    }
}

impl FromStr for Script {
    type Err = String;

    /// `IN:OUT[,IN:OUT]...[+]`, where `+` repeats the last step.
    fn from_str(text: &str) -> Result<Self, String> {
        let (list, repeats) = match text.strip_suffix('+') {
            Some(list) => (list, true),
            None => (text, false),
        };
        let steps = list
            .split(',')
            .map(|step| {
                let (bytes_in, bytes_out) = step.split_once(':')?;
                let step = Step {
                    bytes_in: bytes_in.parse().ok().filter(|&bytes| bytes > 0)?,
                    bytes_out: bytes_out.parse().ok()?,
                };
                Some(step)
            })
            .collect::<Option<Vec<Step>>>()
            .ok_or_else(|| format!("{text} is not a script; example: 136:132+"))?;
        Ok(Self { steps, repeats })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_repeated_step_answers_each_message() {
        let script = Script::repeated(10, 7);
        let mut progress = Progress::default();
        assert_eq!(script.advance(&mut progress, 9), 0);
        assert_eq!(script.advance(&mut progress, 1), 7);
        assert_eq!(script.advance(&mut progress, 35), 21);
        assert_eq!(script.advance(&mut progress, 5), 7);
    }

    #[test]
    fn steps_end_after_the_last() {
        let script: Script = "3:1,4:2".parse().unwrap();
        let mut progress = Progress::default();
        assert_eq!(script.advance(&mut progress, 7), 3);
        assert_eq!(script.advance(&mut progress, 1000), 0);
    }

    #[test]
    fn wrong_scripts_are_refused() {
        for text in ["", "1", "0:4", "a:1", "1:b", "1:1,,2:2"] {
            assert!(text.parse::<Script>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn text_and_back(
            steps in prop::collection::vec((1_u32..9999, 0_u32..9999), 1..5),
            repeats: bool,
        ) {
            let steps = steps.into_iter().map(|(bytes_in, bytes_out)| Step { bytes_in, bytes_out });
            let script = Script { steps: steps.collect(), repeats };
            prop_assert_eq!(script.to_string().parse::<Script>().unwrap(), script);
        }

        #[test]
        fn cutting_changes_nothing(cuts in prop::collection::vec(1_u32..60, 1..40)) {
            let script: Script = "5:2,7:3,11:1+".parse().unwrap();
            let (mut whole, mut parts) = (Progress::default(), Progress::default());
            let total: u32 = cuts.iter().sum();
            let owed: u32 = cuts.iter().map(|&cut| script.advance(&mut parts, cut)).sum();
            prop_assert_eq!(script.advance(&mut whole, total), owed);
            prop_assert_eq!(whole, parts);
        }
    }
}
