//! Results as one HTML page that needs nothing else: tables, percentile curves, runs.
//!
//! Runs on: the main thread.

use super::plot::{self, escape};
use serde_json::{Map, Value};
use std::fmt::Write;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;\
padding:0 1rem;color:#1b1f24;background:#fff}h1{font-size:1.6rem}h2{margin-top:2.5rem;\
border-bottom:1px solid #d0d7de}table{border-collapse:collapse;width:100%;font-size:.9rem}\
td,th{padding:.25rem .6rem;border-bottom:1px solid #eaeef2;text-align:left;\
font-variant-numeric:tabular-nums}td.n{text-align:right}.met{color:#1a7f37}.missed{color:#cf222e;\
font-weight:600}.void{background:#fff1f0;border-left:4px solid #cf222e;padding:.5rem 1rem}\
figure{margin:1.2rem 0}figcaption{font-size:.9rem;color:#57606a}svg{width:100%;height:auto}\
svg text{font-size:11px;fill:#57606a}.grid{stroke:#eaeef2}.line{fill:none;stroke:#0969da;\
stroke-width:2}.bar{fill:#54aeff}.median{stroke:#cf222e;stroke-dasharray:4 3}\
pre{background:#f6f8fa;padding:.8rem;overflow:auto;font-size:.85rem}";

/// Endings of names that belong to another name.
const SUFFIXES: [&str; 6] = ["_min", "_max", "_runs", "_goal", "_met", "_curve"];

/// The page of these results.
pub fn page(results: &[Map<String, Value>]) -> String {
    let mut html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>Interlink bench</title>\
         <style>{STYLE}</style></head><body><h1>Interlink bench</h1>"
    );
    for result in results {
        section(&mut html, result);
    }
    html + "</body></html>\n"
}

fn section(html: &mut String, result: &Map<String, Value>) {
    let text = |name: &str| result.get(name).and_then(Value::as_str).unwrap_or("");
    let _ = write!(html, "<h2>{}</h2>", escape(text("scenario")));
    let about = ["commit", "kernel", "processor", "parameters", "limited_by"];
    let facts: Vec<String> = about.iter().map(|&name| escape(text(name))).collect();
    let _ = write!(html, "<p>{}</p>", facts.join("<br>"));
    if !text("void_reasons").is_empty() {
        let _ = write!(
            html,
            "<p class=\"void\">Void: {}</p>",
            escape(text("void_reasons"))
        );
    }
    if !text("notes").is_empty() {
        let _ = write!(html, "<p>{}</p>", escape(text("notes")));
    }
    table(html, result);
    for (name, value) in result {
        if let (Some(base), Some(points)) = (name.strip_suffix("_curve"), value.as_str()) {
            figure(html, base, &plot::curve(base, &parse_curve(points)));
        }
    }
    for (name, value) in result {
        if let (Some(base), Some(list)) = (name.strip_suffix("_runs"), value.as_str()) {
            let values: Vec<f64> = list
                .split(' ')
                .filter_map(|text| text.parse().ok())
                .collect();
            let median = result.get(base).and_then(Value::as_f64).unwrap_or(0.0);
            if values.len() > 1 {
                figure(html, base, &plot::runs(base, &values, median));
            }
        }
    }
    if !text("edge_config").is_empty() {
        let _ = write!(html, "<pre>{}</pre>", escape(text("edge_config")));
    }
}

fn table(html: &mut String, result: &Map<String, Value>) {
    html.push_str(
        "<table><tr><th>what</th><th>median</th><th>lowest</th><th>highest</th><th>goal</th></tr>",
    );
    for (name, value) in result {
        let is_part = SUFFIXES.iter().any(|suffix| {
            name.strip_suffix(suffix)
                .is_some_and(|base| result.contains_key(base))
        });
        if !value.is_number() || is_part {
            continue;
        }
        let cell = |suffix: &str| {
            result
                .get(&format!("{name}{suffix}"))
                .map_or(String::new(), |value| match value {
                    Value::String(text) => escape(text),
                    other => other.to_string(),
                })
        };
        let verdict = match result.get(&format!("{name}_met")) {
            Some(Value::Bool(true)) => "met",
            Some(_) => "missed",
            None => "",
        };
        let _ = write!(
            html,
            "<tr><td>{}</td><td class=\"n\">{value}</td><td class=\"n\">{}</td>\
             <td class=\"n\">{}</td><td class=\"{verdict}\">{} {verdict}</td></tr>",
            escape(name),
            cell("_min"),
            cell("_max"),
            cell("_goal")
        );
    }
    html.push_str("</table>");
}

fn figure(html: &mut String, name: &str, svg: &str) {
    if !svg.is_empty() {
        let _ = write!(
            html,
            "<figure>{svg}<figcaption>{}</figcaption></figure>",
            escape(name)
        );
    }
}

fn parse_curve(text: &str) -> Vec<(f64, f64)> {
    text.split(' ')
        .filter_map(|point| point.split_once(':'))
        .filter_map(|(at, ms)| Some((at.parse().ok()?, ms.parse().ok()?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::Latency;
    use crate::report::{Goal, Report};
    use crate::stats::Series;

    #[test]
    fn a_page_shows_goals_curves_and_runs_and_loads_nothing() {
        let mut report = Report::default();
        report.text("scenario", "chat <b>");
        report.series("rate", &Series::from_iter([10.0, 20.0]));
        report.goal("rate", Goal::AtLeast(100.0));
        let mut latency = Latency::new();
        (1..1000_u64).for_each(|us| latency.record(us * 1000));
        report.latency("delivery", &latency);
        let html = page(&[report.object()]);
        assert!(html.contains("chat &lt;b&gt;") && html.contains("<polyline"));
        assert!(html.contains("class=\"bar\"") && html.contains("&gt;= 100 missed"));
        assert!(!html.contains("http://") && !html.contains("https://") && !html.contains("src="));
        assert_eq!(html.matches("<tr><td>rate").count(), 1);
    }
}
