//! Two results side by side: ratio and noise.
//!
//! A change counts only when the spans of the two results, lowest to highest run, do not touch.
//!
//! Runs on: the main thread.

use serde_json::{Map, Value};
use std::fmt::Write;

/// One compared number.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// Value before.
    pub before: f64,
    /// Value after.
    pub after: f64,
    /// `None` when a result holds a single run and nothing is known of the noise.
    pub is_beyond_noise: Option<bool>,
}

impl Row {
    /// After over before; not a number when before is zero.
    pub fn ratio(&self) -> f64 {
        if self.before == 0.0 {
            return f64::NAN;
        }
        self.after / self.before
    }
}

/// Every number that both results hold.
pub fn rows(before: &Map<String, Value>, after: &Map<String, Value>) -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, value) in before {
        let is_bound = name.ends_with("_min") || name.ends_with("_max");
        let (Some(first), Some(second)) = (value.as_f64(), number(after, name, "")) else {
            continue;
        };
        if is_bound {
            continue;
        }
        rows.push(Row {
            name: name.clone(),
            before: first,
            after: second,
            is_beyond_noise: is_beyond_noise(before, after, name),
        });
    }
    rows
}

fn number(result: &Map<String, Value>, name: &str, suffix: &str) -> Option<f64> {
    result.get(&format!("{name}{suffix}"))?.as_f64()
}

fn is_beyond_noise(
    before: &Map<String, Value>,
    after: &Map<String, Value>,
    name: &str,
) -> Option<bool> {
    let span = |result| Some((number(result, name, "_min")?, number(result, name, "_max")?));
    let ((low_before, high_before), (low_after, high_after)) = (span(before)?, span(after)?);
    Some(low_after > high_before || high_after < low_before)
}

/// The comparison as a table.
pub fn render(before: &Map<String, Value>, after: &Map<String, Value>) -> String {
    let text = |result: &Map<String, Value>, name: &str| {
        result
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or("unknown")
            .to_owned()
    };
    let mut table = String::new();
    for name in ["scenario", "parameters", "kernel", "processor"] {
        let (first, second) = (text(before, name), text(after, name));
        if first != second {
            let _ = writeln!(table, "warning: {name} differs: {first} / {second}");
        }
    }
    let _ = writeln!(
        table,
        "{} -> {}",
        text(before, "commit"),
        text(after, "commit")
    );
    let rows = rows(before, after);
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
    for row in rows {
        let verdict = match row.is_beyond_noise {
            Some(true) => "changed",
            Some(false) => "within noise",
            None => "",
        };
        let _ = writeln!(
            table,
            "{:width$}  {:>14}  {:>14}  {:>8.3}  {verdict}",
            row.name,
            row.before,
            row.after,
            row.ratio()
        );
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Report;
    use crate::stats::Series;

    fn result(values: &[f64]) -> Map<String, Value> {
        let mut report = Report::default();
        report.text("scenario", "echo");
        report.series("rate", &values.iter().copied().collect::<Series>());
        report.number("single", values[0]);
        report.object()
    }

    #[test]
    fn a_change_counts_only_beyond_the_noise() {
        let rows = rows(&result(&[10.0, 12.0]), &result(&[13.0, 15.0]));
        let rate = rows.iter().find(|row| row.name == "rate").unwrap();
        assert_eq!(rate.is_beyond_noise, Some(true));
        assert!((rate.ratio() - 14.0 / 11.0).abs() < 1e-9);
        let single = rows.iter().find(|row| row.name == "single").unwrap();
        assert_eq!(single.is_beyond_noise, None);
    }

    #[test]
    fn touching_spans_are_noise() {
        let rows = rows(&result(&[10.0, 13.0]), &result(&[12.0, 15.0]));
        assert_eq!(rows[0].is_beyond_noise, Some(false));
        assert!(!rows.iter().any(|row| row.name.ends_with("_min")));
    }

    #[test]
    fn other_parameters_are_warned_of() {
        let mut other = result(&[1.0]);
        other.insert("kernel".to_owned(), Value::String("another".to_owned()));
        assert!(render(&result(&[1.0]), &other).contains("warning: kernel differs"));
    }
}
