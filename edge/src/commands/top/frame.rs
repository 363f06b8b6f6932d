//! Draws the state as lines of text with a meaning for each part.
//!
//! Pure: model and size in, lines out, none longer than the width and not more than the height.
//! Colours are the terminal's business.

use std::collections::VecDeque;

use interlink_wire::events::NodeHealth;

use super::model::{health_word, phase_word, Class, Model, Node, Summary, HISTORY};

/// What a part of a line means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    /// Ordinary text.
    Plain,
    /// A heading.
    Head,
    /// Explanation.
    Faint,
    /// All is well.
    Good,
    /// Worth a look.
    Warning,
    /// Needs an answer.
    Bad,
}

/// A line as parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Line(pub(super) Vec<(Tone, String)>);

impl Line {
    fn new(tone: Tone, text: impl Into<String>) -> Self {
        Self(vec![(tone, text.into())])
    }

    fn and(mut self, tone: Tone, text: impl Into<String>) -> Self {
        self.0.push((tone, text.into()));
        self
    }

    /// The text without its meaning.
    pub(super) fn text(&self) -> String {
        self.0.iter().map(|part| part.1.as_str()).collect()
    }

    /// Cuts the line to a width.
    fn cut(mut self, width: usize) -> Self {
        let mut left = width;
        for (_, text) in &mut self.0 {
            let length = text.chars().count();
            if length > left {
                *text = text.chars().take(left).collect();
            }
            left -= length.min(left);
        }
        self
    }
}

/// Draws the whole screen.
pub(super) fn draw(model: &Model, now_ms: u64, width: usize, height: usize) -> Vec<Line> {
    let mut lines = match model.shown() {
        None => vec![
            Line::new(Tone::Head, "interlink top"),
            Line::default(),
            Line::new(
                Tone::Plain,
                "Waiting for the first summary on sys.metrics ...",
            ),
        ],
        Some((name, node)) => {
            let mut lines = vec![title(model, name, node, now_ms), Line::default()];
            lines.extend(overview(&node.newest));
            lines.push(Line::default());
            lines.extend(classes(&node.newest));
            lines.push(Line::default());
            lines.extend(journal(&node.newest));
            lines.push(Line::default());
            lines.extend(history(node, width));
            lines
        }
    };
    lines.push(Line::default());
    let room = height.saturating_sub(lines.len() + 1);
    lines.extend(changes(model, room));
    lines.truncate(height.saturating_sub(1));
    while lines.len() + 1 < height {
        lines.push(Line::default());
    }
    let keys = if model.nodes.len() > 1 {
        "q quit   n next node"
    } else {
        "q quit"
    };
    lines.push(Line::new(Tone::Faint, keys));
    lines.truncate(height);
    lines.into_iter().map(|line| line.cut(width)).collect()
}

fn title(model: &Model, name: &str, node: &Node, now_ms: u64) -> Line {
    let summary = &node.newest;
    let mut line = Line::new(Tone::Head, format!("interlink top  {name}"));
    if model.nodes.len() > 1 {
        let place = format!(" ({} of {})", model.selected + 1, model.nodes.len());
        line = line.and(Tone::Faint, place);
    }
    let up_s = summary.measured_at_ms.saturating_sub(summary.started_at_ms) / 1_000;
    line = line
        .and(Tone::Plain, format!("  {}, ", phase_word(summary.phase)))
        .and(tone_of(summary.health), health_word(summary.health))
        .and(Tone::Plain, format!("  up {}", span(up_s)));
    if !node.version.is_empty() {
        line = line.and(Tone::Faint, format!("  {}", node.version));
    }
    if node.is_silent(now_ms) {
        let silent_s = now_ms.saturating_sub(node.heard_ms) / 1_000;
        line = line.and(Tone::Bad, format!("  silent for {}", span(silent_s)));
    }
    line
}

fn tone_of(health: NodeHealth) -> Tone {
    match health {
        NodeHealth::Healthy => Tone::Good,
        NodeHealth::Degraded => Tone::Warning,
        _ => Tone::Bad,
    }
}

fn overview(summary: &Summary) -> Vec<Line> {
    let (user, system) = summary.cpu;
    let mut shards = Line::new(Tone::Faint, "shards busy  ");
    for (shard, busy) in summary.busy.iter().enumerate() {
        let tone = match *busy {
            busy if busy >= 95.0 => Tone::Bad,
            busy if busy >= 80.0 => Tone::Warning,
            _ => Tone::Plain,
        };
        shards = shards
            .and(Tone::Faint, format!("{shard} "))
            .and(tone, format!("{busy:.0} %  "));
    }
    vec![
        Line::new(Tone::Faint, "connections  ").and(
            Tone::Plain,
            format!(
                "{}  (+{}/s -{}/s)   {} sessions   {} subscriptions",
                grouped(u64::from(summary.connections)),
                rate(summary.accepted),
                rate(summary.closed),
                grouped(u64::from(summary.sessions)),
                grouped(u64::from(summary.subscriptions)),
            ),
        ),
        Line::new(Tone::Faint, "network      ").and(
            Tone::Plain,
            format!(
                "in {}/s   out {}/s",
                bytes(summary.bytes_in),
                bytes(summary.bytes_out)
            ),
        ),
        Line::new(Tone::Faint, "cpu, memory  ").and(
            Tone::Plain,
            format!(
                "{:.0} % (user {user:.0}, system {system:.0})   {} of {} planned",
                user + system,
                bytes(summary.resident as f64),
                bytes(summary.plan as f64)
            ),
        ),
        shards,
    ]
}

fn classes(summary: &Summary) -> Vec<Line> {
    let mut lines = vec![Line::new(
        Tone::Faint,
        format!(
            "{:<5}{:>10}{:>9}{:>9}{:>10}{:>9} {:>13} {:>13}",
            "class",
            "publish/s",
            "ack/s",
            "refuse/s",
            "deliver/s",
            "skip/s",
            "ack p50/p99",
            "dlv p50/p99"
        ),
    )];
    for (index, class) in summary.classes.iter().enumerate() {
        lines.push(class_line(index, class));
    }
    lines
}

fn class_line(index: usize, class: &Class) -> Line {
    let tone = |number: f64, tone| if number > 0.0 { tone } else { Tone::Plain };
    let pair = |(half, most): (u32, u32)| match most {
        0 => "-".to_owned(),
        _ => format!("{}/{}", micros(half), micros(most)),
    };
    Line::new(Tone::Head, format!("{:<5}", format!("p{index}")))
        .and(
            Tone::Plain,
            format!(
                "{:>10}{:>9}",
                rate(class.publishes),
                rate(class.acknowledged)
            ),
        )
        .and(
            tone(class.refused, Tone::Bad),
            format!("{:>9}", rate(class.refused)),
        )
        .and(Tone::Plain, format!("{:>10}", rate(class.delivered)))
        .and(
            tone(class.skipped, Tone::Warning),
            format!("{:>9}", rate(class.skipped)),
        )
        .and(
            Tone::Plain,
            format!(
                " {:>13} {:>13}",
                pair(class.ack_us),
                pair(class.delivery_us)
            ),
        )
}

fn journal(summary: &Summary) -> Vec<Line> {
    let used = summary.journal_used as f64 * 100.0 / summary.journal_quota.max(1) as f64;
    let tone = match used {
        used if used >= 90.0 => Tone::Bad,
        used if used >= 70.0 => Tone::Warning,
        _ => Tone::Plain,
    };
    let journal = Line::new(Tone::Faint, "journal      ")
        .and(
            Tone::Plain,
            format!(
                "{}/s   {} syncs/s, p99 {}   {} waiting   ",
                bytes(summary.journal_bytes),
                rate(summary.journal_syncs),
                micros(summary.sync_p99_us),
                bytes(summary.journal_waiting as f64)
            ),
        )
        .and(tone, format!("quota {used:.0} %"));
    let depth: u32 = summary.classes.iter().map(|class| class.lane_depth).sum();
    let lanes =
        Line::new(Tone::Faint, "lanes        ").and(Tone::Plain, format!("{depth} entries wait"));
    let refusals = summary.refusals.iter();
    let refusals: Vec<String> = refusals
        .map(|(code, count)| format!("{code} {}/s", rate(*count)))
        .collect();
    let refused = Line::new(Tone::Faint, "refusals     ").and(
        if refusals.is_empty() {
            Tone::Plain
        } else {
            Tone::Bad
        },
        if refusals.is_empty() {
            "none".to_owned()
        } else {
            refusals.join("  ")
        },
    );
    vec![journal, lanes, refused]
}

fn history(node: &Node, width: usize) -> Vec<Line> {
    let row = |label: &str, values: &VecDeque<f64>, shown: fn(f64) -> String| {
        let room = HISTORY.min(width.saturating_sub(25));
        let most = values.iter().copied().fold(0.0, f64::max);
        Line::new(Tone::Faint, format!("{label:<13}"))
            .and(Tone::Good, sparkline(values, most, room))
            .and(Tone::Faint, format!(" max {}", shown(most)))
    };
    vec![
        row("publishes/s", &node.published, rate),
        row("deliveries/s", &node.delivered, rate),
        row("dlv p99", &node.delivery_p99, |us| micros(us as u32)),
    ]
}

/// Values of the last `room` seconds as bars of eight heights.
fn sparkline(values: &VecDeque<f64>, most: f64, room: usize) -> String {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let skipped = values.len().saturating_sub(room);
    let bar = |value: &f64| {
        let height = if most > 0.0 { value / most * 7.0 } else { 0.0 };
        BARS[(height.round() as usize).min(7)]
    };
    let drawn: String = values.iter().skip(skipped).map(bar).collect();
    format!("{drawn:>room$}")
}

fn changes(model: &Model, room: usize) -> Vec<Line> {
    let drawn = |change: &super::model::Change| {
        let seconds = change.at_ms / 1_000;
        let time = format!(
            "{:02}:{:02}:{:02} ",
            seconds / 3_600 % 24,
            seconds / 60 % 60,
            seconds % 60
        );
        Line::new(Tone::Faint, time).and(tone_of(change.health), change.text.clone())
    };
    model.changes.iter().take(room).map(drawn).collect()
}

/// A rate in at most seven characters.
fn rate(value: f64) -> String {
    match value {
        value if value >= 999_950.0 => format!("{:.1}M", value / 1e6),
        value if value >= 99_999.5 => format!("{:.0}k", value / 1e3),
        value if value >= 10.0 || value.fract() == 0.0 => grouped(value.round() as u64),
        value => format!("{value:.1}"),
    }
}

/// Digits in groups of three.
fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes with a unit.
fn bytes(value: f64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (value, 0);
    while value >= 1_023.5 && unit + 1 < UNITS.len() {
        (value, unit) = (value / 1_024.0, unit + 1);
    }
    let digits = usize::from(unit > 0 && value < 99.95);
    format!("{value:.digits$} {}", UNITS[unit])
}

/// Microseconds in at most six characters.
fn micros(value: u32) -> String {
    let value = f64::from(value);
    match value {
        value if value >= 9_999_500.0 => format!("{:.0}s", value / 1e6),
        value if value >= 999_500.0 => format!("{:.1}s", value / 1e6),
        value if value >= 99_950.0 => format!("{:.0}ms", value / 1e3),
        value if value >= 1_000.0 => format!("{:.1}ms", value / 1e3),
        value => format!("{value:.0}us"),
    }
}

/// Seconds as the two largest units.
fn span(seconds: u64) -> String {
    match seconds {
        0..=59 => format!("{seconds}s"),
        60..=3_599 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3_600..=86_399 => format!("{}h{:02}m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds / 3_600 % 24),
    }
}
