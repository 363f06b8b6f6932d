//! Results: what was measured, what was wanted, and whether the run counts.
//!
//! A result is one flat JSON object. A quantity of several runs stands there four times: its
//! median under its own name, `_min`, `_max`, and `_runs` with all values in a text. A latency
//! adds `_curve`, its percentile curve in a text. A goal adds `_goal` in words and `_met`.
//!
//! Runs on: the main thread, after the traffic.

pub mod goal;
pub mod html;
pub mod plot;
pub mod table;

pub use goal::Goal;

use crate::measure::latency::PERCENTILES;
use crate::measure::Latency;
use crate::stats::Series;
use anyhow::{Context, Result};
use serde_json::{json, Map, Value};
use std::path::Path;

/// A result in the making.
#[derive(Clone, Debug, Default)]
pub struct Report {
    fields: Map<String, Value>,
    /// Names in the order in which a person reads them.
    order: Vec<String>,
    voids: Vec<String>,
    notes: Vec<String>,
}

impl Report {
    /// Adds a text.
    pub fn text(&mut self, name: &str, text: impl Into<String>) {
        self.set(name, Value::String(text.into()));
    }

    /// Adds one number; a number that is not finite becomes null.
    pub fn number(&mut self, name: &str, value: f64) {
        self.set(name, rounded(value));
    }

    /// Adds a count.
    pub fn count(&mut self, name: &str, value: u64) {
        self.set(name, json!(value));
    }

    /// Adds a quantity of several runs.
    pub fn series(&mut self, name: &str, series: &Series) {
        self.number(name, series.median());
        self.fields
            .insert(format!("{name}_min"), rounded(series.min()));
        self.fields
            .insert(format!("{name}_max"), rounded(series.max()));
        let runs: Vec<String> = series
            .values()
            .iter()
            .map(|value| rounded(*value).to_string())
            .collect();
        self.fields
            .insert(format!("{name}_runs"), Value::String(runs.join(" ")));
    }

    /// Adds the percentiles and the curve of a latency. `name` has no unit: `_ms` is added.
    pub fn latency(&mut self, name: &str, latency: &Latency) {
        for percentile in PERCENTILES {
            let digits = percentile.to_string().replace('.', "");
            self.number(
                &format!("{name}_p{digits}_ms"),
                latency.percentile_ms(percentile),
            );
        }
        self.count(&format!("{name}_count"), latency.count());
        let points: Vec<String> = latency
            .curve()
            .iter()
            .map(|(percentile, ms)| format!("{percentile:.6}:{ms:.4}"))
            .collect();
        self.fields
            .insert(format!("{name}_curve"), Value::String(points.join(" ")));
    }

    /// Holds a number against its goal.
    pub fn goal(&mut self, name: &str, goal: Goal) {
        let value = self
            .fields
            .get(name)
            .and_then(Value::as_f64)
            .unwrap_or(f64::NAN);
        self.fields
            .insert(format!("{name}_goal"), Value::String(goal.to_string()));
        self.fields
            .insert(format!("{name}_met"), Value::Bool(goal.is_met(value)));
    }

    /// Makes the result void, with the reason.
    pub fn void(&mut self, reason: impl Into<String>) {
        let reason = reason.into();
        if !self.voids.contains(&reason) {
            self.voids.push(reason);
        }
    }

    /// Adds a remark.
    pub fn note(&mut self, words: impl Into<String>) {
        self.notes.push(words.into());
    }

    fn set(&mut self, name: &str, value: Value) {
        if self.fields.insert(name.to_owned(), value).is_none() {
            self.order.push(name.to_owned());
        }
    }

    /// The flat object.
    pub fn object(&self) -> Map<String, Value> {
        let mut object = self.fields.clone();
        object.insert("valid".to_owned(), Value::Bool(self.voids.is_empty()));
        object.insert(
            "void_reasons".to_owned(),
            Value::String(self.voids.join("; ")),
        );
        object.insert("notes".to_owned(), Value::String(self.notes.join("; ")));
        object
    }

    /// Names in the order in which they were added.
    pub fn order(&self) -> &[String] {
        &self.order
    }

    /// Reasons for which the result is void.
    pub fn voids(&self) -> &[String] {
        &self.voids
    }

    /// Remarks.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Writes the object to a file, or to standard output for `-`.
    pub fn write_json(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string(&self.object()).context("encoding the result")?;
        if path.as_os_str() == "-" {
            println!("{text}");
            return Ok(());
        }
        std::fs::write(path, text + "\n").with_context(|| format!("writing {}", path.display()))
    }
}

/// Six significant digits, enough for every measurement here; null when not finite.
fn rounded(value: f64) -> Value {
    if !value.is_finite() {
        return Value::Null;
    }
    let digits = 5 - value.abs().max(1e-9).log10().floor() as i32;
    let factor = 10_f64.powi(digits.clamp(0, 12));
    json!((value * factor).round() / factor)
}

/// Reads a result.
pub fn read(path: &Path) -> Result<Map<String, Value>> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_str(&text)
        .with_context(|| format!("{} is not a result written by --json", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_object_is_flat_and_one_line() {
        let mut report = Report::default();
        report.text("scenario", "echo");
        report.series("ratio", &Series::from_iter([1.0, 1.5, 1.2]));
        report.goal("ratio", Goal::AtMost(1.3));
        let mut latency = Latency::new();
        latency.record(1_000_000);
        report.latency("delivery", &latency);
        report.void("too slow");
        let object = report.object();
        assert!(object
            .values()
            .all(|value| !value.is_object() && !value.is_array()));
        assert_eq!(object["ratio"], json!(1.2));
        assert_eq!(object["ratio_min"], json!(1.0));
        assert_eq!(object["ratio_runs"], json!("1.0 1.5 1.2"));
        assert_eq!(object["ratio_met"], json!(true));
        assert_eq!(object["valid"], json!(false));
        assert!(object.contains_key("delivery_p999_ms") && object.contains_key("delivery_p50_ms"));
        assert!(!serde_json::to_string(&object).unwrap().contains('\n'));
    }

    #[test]
    fn a_goal_without_a_value_is_missed() {
        let mut report = Report::default();
        report.number("rate", f64::NAN);
        report.goal("rate", Goal::AtLeast(1.0));
        assert_eq!(report.object()["rate"], Value::Null);
        assert_eq!(report.object()["rate_met"], json!(false));
    }

    #[test]
    fn numbers_keep_six_digits() {
        assert_eq!(rounded(1_234_567.8), json!(1_234_568.0));
        assert_eq!(rounded(0.000_123_456_78), json!(0.000_123_457));
        assert_eq!(rounded(0.0), json!(0.0));
    }
}
