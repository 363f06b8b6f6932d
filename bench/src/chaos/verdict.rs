//! The independent checker: run over a history, its judgement taken into the result.
//!
//! Invariant: nothing here judges; a count that the checker does not name is an error.
//! Runs on: the bench's main thread, after the traffic.

use crate::report::{Goal, Report};
use anyhow::{bail, ensure, Context, Result};
use serde_json::{Map, Value};
use std::path::Path;
use std::process::{Command, Stdio};

/// The checker, seen from the repository's root.
const PROGRAM: &str = "bench/checker/check";
/// It could not judge: the history is damaged, or nothing happened in it.
const WORTHLESS: i32 = 2;
/// Rules of which each broken one is a promise that was not kept.
const RULES: [&str; 8] = [
    "acked_lost",
    "settled_lost",
    "missed",
    "order_violations",
    "duplicates_in_session",
    "unreported_gaps",
    "position_conflicts",
    "phantoms",
];
/// Counts that say what was judged.
const COUNTS: [&str; 10] = [
    "published",
    "delivered",
    "refused",
    "unanswered",
    "settled",
    "excused",
    "unwatched",
    "announced_skips",
    "unrecovered_resumes",
    "repeats_across_sessions",
];
/// Examples of broken rules that are shown.
const EXAMPLES_MAX: usize = 5;

/// What the checker found in one history.
#[derive(Clone, Debug)]
pub struct Verdict(Map<String, Value>);

impl Verdict {
    /// Judges a history. With `is_disk_lost` a node and its disk never came back.
    pub fn of(history: &Path, is_disk_lost: bool) -> Result<Self> {
        ensure!(
            Path::new(PROGRAM).is_file(),
            "{PROGRAM} does not exist here: run the bench from the root of the repository"
        );
        let mut command = Command::new("python3");
        command.arg(PROGRAM).arg(history);
        if is_disk_lost {
            command.arg("--journal-lost");
        }
        let output = command
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .context("running the checker: is python3 installed?")?;
        if output.status.code() == Some(WORTHLESS) {
            bail!(
                "the checker could not judge {}; see above",
                history.display()
            );
        }
        Self::parse(&output.stdout)
    }

    fn parse(text: &[u8]) -> Result<Self> {
        let object: Map<String, Value> =
            serde_json::from_slice(text).context("the checker printed no JSON object")?;
        for name in RULES.iter().chain(&COUNTS) {
            ensure!(
                object.get(*name).is_some_and(Value::is_u64),
                "the checker names no {name}: bench and checker are of different versions"
            );
        }
        Ok(Self(object))
    }

    /// A count.
    pub fn count(&self, name: &str) -> u64 {
        self.0.get(name).and_then(Value::as_u64).unwrap_or(0)
    }

    /// Adds everything to a result, over several histories together.
    pub fn report(verdicts: &[Self], report: &mut Report) {
        let sum = |name: &str| verdicts.iter().map(|each| each.count(name)).sum::<u64>();
        for name in RULES {
            report.count(name, sum(name));
            report.goal(name, Goal::Exactly(0.0));
        }
        // On durable channels every skip is a gap that was not repaired, announced or not.
        report.count(
            "unrepaired_gaps",
            sum("unreported_gaps") + sum("announced_skips"),
        );
        for name in COUNTS {
            report.count(name, sum(name));
        }
        for class in ["P0", "P1", "P2", "P3"] {
            for level in ["accepted", "local", "replicated"] {
                let of = |each: &Self| each.0["acked"][class][level].as_u64().unwrap_or(0);
                let count = verdicts.iter().map(of).sum::<u64>();
                if count > 0 {
                    report.count(&format!("acked_{}_{level}", class.to_lowercase()), count);
                }
            }
        }
        let examples = verdicts
            .iter()
            .filter_map(|each| each.0.get("examples")?.as_array());
        for example in examples.flatten().take(EXAMPLES_MAX) {
            report.note(format!("broken: {example}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(lost: u64) -> String {
        let mut words: Vec<String> = RULES
            .iter()
            .chain(&COUNTS)
            .map(|name| format!("\"{name}\": 0"))
            .collect();
        words[0] = format!("\"acked_lost\": {lost}");
        let tail = "\"acked\": {\"P0\": {}, \"P1\": {\"local\": 7}, \"P2\": {}, \"P3\": {}}, \
                    \"examples\": [{\"rule\": \"acked_lost\", \"id\": 3}]";
        format!("{{{}, {tail}}}", words.join(", "))
    }

    #[test]
    fn verdicts_are_added_up_and_held_against_nothing_lost() {
        let verdicts = [0, 2].map(|lost| Verdict::parse(printed(lost).as_bytes()).unwrap());
        let mut report = Report::default();
        Verdict::report(&verdicts, &mut report);
        let object = report.object();
        assert_eq!(object["acked_lost"], 2);
        assert_eq!(object["acked_lost_met"], false);
        assert_eq!(object["order_violations_met"], true);
        assert_eq!(object["acked_p1_local"], 14);
        assert!(report.notes()[0].contains("\"id\":3"));
    }

    #[test]
    fn a_verdict_that_lacks_a_rule_is_none() {
        let text = printed(0).replace("phantoms", "ghosts");
        let error = Verdict::parse(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("phantoms"), "{error}");
    }
}
