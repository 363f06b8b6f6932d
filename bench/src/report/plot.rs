//! Plots as SVG text: a percentile curve and the values of runs.
//!
//! Limits: a plot has at most a few hundred points; coordinates have one decimal.
//! Runs on: the main thread.

use std::fmt::Write;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 260.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 16.0;
const BOTTOM: f64 = 40.0;
/// Percentiles beyond this are drawn at the right edge.
const PERCENTILE_MAX: f64 = 99.999;

/// Escapes text for HTML and SVG.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// A percentile curve: percentiles to the right in nines, milliseconds upwards in decades.
pub fn curve(title: &str, points: &[(f64, f64)]) -> String {
    let values: Vec<f64> = points.iter().map(|point| point.1.max(1e-4)).collect();
    let (Some(low), Some(high)) = (fold(&values, f64::min), fold(&values, f64::max)) else {
        return String::new();
    };
    let (low, high) = (
        low.log10().floor(),
        high.log10().ceil().max(low.log10().floor() + 1.0),
    );
    let x = |percentile: f64| {
        let nines = -(1.0 - percentile.min(PERCENTILE_MAX) / 100.0).log10();
        LEFT + (WIDTH - LEFT - RIGHT) * nines / 5.0
    };
    let y = |ms: f64| {
        let share = (ms.max(1e-4).log10() - low) / (high - low);
        HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share
    };
    let mut svg = start(title);
    for percentile in [0.0, 90.0, 99.0, 99.9, 99.99, 99.999] {
        let label = if percentile == 0.0 {
            "0".to_owned()
        } else {
            percentile.to_string()
        };
        vertical(&mut svg, x(percentile), &format!("{label} %"));
    }
    for decade in low as i32..=high as i32 {
        let ms = 10_f64.powi(decade);
        horizontal(&mut svg, y(ms), &format!("{ms} ms"));
    }
    let path: Vec<String> = points
        .iter()
        .map(|&(at, ms)| format!("{:.1},{:.1}", x(at), y(ms)))
        .collect();
    let _ = write!(
        svg,
        "<polyline class=\"line\" points=\"{}\"/>",
        path.join(" ")
    );
    svg + "</svg>"
}

/// The value of each run, with the median as a line.
pub fn runs(title: &str, values: &[f64], median: f64) -> String {
    let Some(high) = fold(values, f64::max) else {
        return String::new();
    };
    let high = if high > 0.0 { high * 1.1 } else { 1.0 };
    let step = (WIDTH - LEFT - RIGHT) / values.len() as f64;
    let y = |value: f64| HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value / high).max(0.0);
    let mut svg = start(title);
    for part in 0..=4 {
        let value = high * f64::from(part) / 4.0;
        horizontal(&mut svg, y(value), &short(value));
    }
    for (number, &value) in values.iter().enumerate() {
        let left = LEFT + step * number as f64 + step * 0.2;
        let _ = write!(
            svg,
            "<rect class=\"bar\" x=\"{left:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\">\
             <title>run {}: {value}</title></rect>",
            y(value),
            step * 0.6,
            (HEIGHT - BOTTOM - y(value)).max(0.0),
            number + 1
        );
    }
    let _ = write!(
        svg,
        "<line class=\"median\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{:.1}\" y2=\"{:.1}\"/>",
        WIDTH - RIGHT,
        y(median),
        y(median)
    );
    svg + "</svg>"
}

fn fold(values: &[f64], choose: fn(f64, f64) -> f64) -> Option<f64> {
    values
        .iter()
        .copied()
        .filter(|value| value.is_finite())
        .reduce(choose)
}

fn start(title: &str) -> String {
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\"><title>{}</title>",
        escape(title)
    )
}

fn vertical(svg: &mut String, x: f64, label: &str) {
    let (top, bottom) = (TOP, HEIGHT - BOTTOM);
    let _ = write!(
        svg,
        "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top}\" y2=\"{bottom}\"/>\
         <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>",
        bottom + 18.0
    );
}

fn horizontal(svg: &mut String, y: f64, label: &str) {
    let _ = write!(
        svg,
        "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
         <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
        WIDTH - RIGHT,
        LEFT - 6.0,
        y + 4.0
    );
}

/// Three significant digits with a unit of thousand or million.
fn short(value: f64) -> String {
    match value {
        big if big >= 1e6 => format!("{:.2} M", big / 1e6),
        big if big >= 1e4 => format!("{:.1} k", big / 1e3),
        number if number >= 100.0 || number == 0.0 => format!("{number:.0}"),
        number => format!("{number:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_rises_to_the_upper_right() {
        let svg = curve("chat", &[(50.0, 0.2), (99.0, 1.0), (100.0, 4.0)]);
        let points = svg
            .split("points=\"")
            .nth(1)
            .unwrap()
            .split('"')
            .next()
            .unwrap();
        let places: Vec<(f64, f64)> = points
            .split(' ')
            .filter_map(|pair| pair.split_once(','))
            .map(|(x, y)| (x.parse().unwrap(), y.parse().unwrap()))
            .collect();
        assert_eq!(places.len(), 3);
        assert!(places
            .windows(2)
            .all(|pair| pair[0].0 < pair[1].0 && pair[0].1 > pair[1].1));
        assert!(places
            .iter()
            .all(|&(x, y)| x <= WIDTH && (0.0..=HEIGHT).contains(&y)));
    }

    #[test]
    fn nothing_to_plot_gives_nothing() {
        assert_eq!(curve("x", &[]), "");
        assert_eq!(runs("x", &[], 0.0), "");
    }

    #[test]
    fn titles_cannot_break_out() {
        assert!(runs("<script>", &[1.0], 1.0).contains("&lt;script&gt;"));
    }
}
