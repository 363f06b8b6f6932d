//! The result as a table for the terminal, on standard error.
//!
//! Runs on: the main thread.

use super::Report;
use serde_json::Value;
use std::fmt::Write;

/// Longest value that is shown; longer texts (configurations, curves) are in the JSON only.
const VALUE_CHARS_MAX: usize = 60;

/// One line for each number: value, noise, goal.
pub fn render(report: &Report) -> String {
    let object = report.object();
    let names: Vec<&String> = report
        .order()
        .iter()
        .filter(|name| shown(&object[*name]))
        .collect();
    let width = names.iter().map(|name| name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for name in names {
        let _ = write!(text, "  {name:width$}  {:>14}", words(&object[name]));
        let bound = |suffix: &str| object.get(&format!("{name}{suffix}"));
        if let (Some(low), Some(high)) = (bound("_min"), bound("_max")) {
            let _ = write!(text, "  ({} to {})", words(low), words(high));
        }
        if let (Some(goal), Some(met)) = (bound("_goal"), bound("_met")) {
            let verdict = if met == &Value::Bool(true) {
                "met"
            } else {
                "MISSED"
            };
            let _ = write!(text, "  goal {}: {verdict}", words(goal));
        }
        text.push('\n');
    }
    for note in report.notes() {
        let _ = writeln!(text, "  note: {note}");
    }
    for reason in report.voids() {
        let _ = writeln!(text, "  VOID: {reason}");
    }
    text
}

fn shown(value: &Value) -> bool {
    value
        .as_str()
        .is_none_or(|text| text.len() <= VALUE_CHARS_MAX && !text.contains('\n'))
}

fn words(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        Value::Number(number) => match number.as_f64() {
            Some(float) if float.fract() == 0.0 && float.abs() < 1e15 => format!("{float:.0}"),
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Goal;
    use crate::stats::Series;

    #[test]
    fn a_missed_goal_is_plain_to_see() {
        let mut report = Report::default();
        report.series("ratio", &Series::from_iter([1.2, 1.4]));
        report.goal("ratio", Goal::AtMost(1.15));
        report.text("edge_config", "a\nb");
        report.void("the generator was busy");
        let text = render(&report);
        assert!(
            text.contains("1.3") && text.contains("(1.2 to 1.4)"),
            "{text}"
        );
        assert!(text.contains("goal <= 1.15: MISSED") && text.contains("VOID: the generator"));
        assert!(!text.contains("edge_config"));
    }
}
