//! The kinds of values that a property can have, and how each is written.
//!
//! A kind reads from a TOML value (file) and from plain text (environment and
//! command line), and shows itself as TOML that reads back to the same value.
//!
//! Runs on: the main thread, before any shard starts.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeValue;

/// A value before it is read.
#[derive(Clone, Copy, Debug)]
pub enum Raw<'a> {
    /// From a configuration file.
    Toml(&'a DeValue<'a>),
    /// From the environment or the command line.
    Text(&'a str),
}

/// A kind of value.
pub trait Setting: Sized {
    /// What the bounds of this kind are made of: the kind itself, or the inner kind
    /// of an optional one.
    type Bound: PartialOrd + Setting;
    /// How values are written, as a phrase that follows "wanted".
    fn kind() -> String;
    /// Reads a value; nothing when it is not of this kind.
    fn read(raw: Raw<'_>) -> Option<Self>;
    /// The value as TOML; empty when it is unset.
    fn show(&self) -> String;
    /// True when the value lies in the bounds or is unset.
    fn is_within(value: &Self, bounds: &RangeInclusive<Self::Bound>) -> bool;
}

/// The bounds as text, for the reference and for errors.
pub fn bounds_text<T: Setting>(bounds: &RangeInclusive<T::Bound>) -> String {
    format!("{} to {}", bounds.start().show(), bounds.end().show())
}

/// Sizes in bytes: an integer, or text with a binary unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// So many KiB.
    pub const fn kib(count: u64) -> Self {
        Self(count << 10)
    }

    /// So many MiB.
    pub const fn mib(count: u64) -> Self {
        Self(count << 20)
    }

    /// So many GiB.
    pub const fn gib(count: u64) -> Self {
        Self(count << 30)
    }

    /// The size for people: the largest unit that gives a whole number.
    pub fn text(self) -> String {
        for (unit, shift) in [("GiB", 30), ("MiB", 20), ("KiB", 10)] {
            if self.0 != 0 && self.0.trailing_zeros() >= shift {
                return format!("{} {unit}", self.0 >> shift);
            }
        }
        format!("{} B", self.0)
    }

    /// Reads `65536`, `64KiB` or `64 KiB`.
    pub fn from_text(text: &str) -> Option<Self> {
        let text = text.trim();
        let end = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        let number: u64 = text[..end].parse().ok()?;
        let shift = match text[end..].trim() {
            "" | "B" => 0,
            "KiB" => 10,
            "MiB" => 20,
            "GiB" => 30,
            "TiB" => 40,
            _ => return None,
        };
        number.checked_mul(1 << shift).map(Self)
    }
}

/// Reads a duration such as `250ms`, `5s`, `10m`, `24h` or `7d`.
pub fn duration_from_text(text: &str) -> Option<Duration> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let number: u64 = text[..end].parse().ok()?;
    let seconds = |each: u64| number.checked_mul(each).map(Duration::from_secs);
    match text[end..].trim() {
        "us" => Some(Duration::from_micros(number)),
        "ms" => Some(Duration::from_millis(number)),
        "s" => seconds(1),
        "m" => seconds(60),
        "h" => seconds(3_600),
        "d" => seconds(86_400),
        _ => None,
    }
}

/// The duration for people and for TOML: the largest unit that gives a whole number.
pub fn duration_text(duration: Duration) -> String {
    let micros = duration.as_micros();
    let units = [
        ("d", 86_400_000_000),
        ("h", 3_600_000_000),
        ("m", 60_000_000),
        ("s", 1_000_000),
        ("ms", 1_000),
    ];
    for (unit, each) in units {
        if micros != 0 && micros.is_multiple_of(each) {
            return format!("{}{unit}", micros / each);
        }
    }
    if micros == 0 {
        return "0s".to_owned();
    }
    format!("{micros}us")
}

/// Text in TOML quotes.
pub fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

macro_rules! bounded_by_itself {
    () => {
        type Bound = Self;

        fn is_within(value: &Self, bounds: &RangeInclusive<Self>) -> bool {
            bounds.contains(value)
        }
    };
}

macro_rules! integer_setting {
    ($($type:ty),+) => {
        $(
            impl Setting for $type {
                bounded_by_itself!();

                fn kind() -> String {
                    "an integer".to_owned()
                }

                fn read(raw: Raw<'_>) -> Option<Self> {
                    match raw {
                        Raw::Toml(DeValue::Integer(integer)) => {
                            <$type>::from_str_radix(integer.as_str(), integer.radix()).ok()
                        }
                        Raw::Toml(_) => None,
                        Raw::Text(text) => text.trim().replace('_', "").parse().ok(),
                    }
                }

                fn show(&self) -> String {
                    self.to_string()
                }
            }
        )+
    };
}

integer_setting!(u16, u32, u64);

impl Setting for bool {
    bounded_by_itself!();

    fn kind() -> String {
        "true or false".to_owned()
    }

    fn read(raw: Raw<'_>) -> Option<Self> {
        match raw {
            Raw::Toml(value) => value.as_bool(),
            Raw::Text(text) => text.trim().parse().ok(),
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

/// Implements [`Setting`] for a kind that is written as text.
macro_rules! text_setting {
    ($type:ty, $kind:expr, $read:expr, $show:expr) => {
        impl Setting for $type {
            bounded_by_itself!();

            fn kind() -> String {
                $kind.to_owned()
            }

            fn read(raw: Raw<'_>) -> Option<Self> {
                let read: fn(&str) -> Option<$type> = $read;
                match raw {
                    Raw::Toml(value) => read(value.as_str()?),
                    Raw::Text(text) => read(text),
                }
            }

            fn show(&self) -> String {
                let show: fn(&$type) -> String = $show;
                quoted(&show(self))
            }
        }
    };
}

text_setting!(
    String,
    "text in quotes",
    |text| Some(text.to_owned()),
    String::clone
);
text_setting!(
    PathBuf,
    "a path in quotes",
    |text| (!text.is_empty()).then(|| PathBuf::from(text)),
    |path| path.display().to_string()
);
text_setting!(
    SocketAddr,
    "an address with port in quotes, such as \"127.0.0.1:8080\" or \"[::1]:8080\"",
    |text| text.trim().parse().ok(),
    ToString::to_string
);
text_setting!(
    Duration,
    "a duration in quotes: digits and one of us, ms, s, m, h, d",
    duration_from_text,
    |duration| duration_text(*duration)
);

impl Setting for ByteSize {
    bounded_by_itself!();

    fn kind() -> String {
        "a size: bytes as an integer, or text such as \"64KiB\", \"8MiB\", \"16GiB\"".to_owned()
    }

    fn read(raw: Raw<'_>) -> Option<Self> {
        match raw {
            Raw::Toml(DeValue::String(text)) => Self::from_text(text),
            other => u64::read(other).map(Self).or(match other {
                Raw::Text(text) => Self::from_text(text),
                Raw::Toml(_) => None,
            }),
        }
    }

    fn show(&self) -> String {
        quoted(&self.text().replace(' ', ""))
    }
}

impl<T: Setting> Setting for Vec<T>
where
    Vec<T>: PartialOrd,
{
    type Bound = Self;

    fn kind() -> String {
        format!("a list, each item {}", T::kind())
    }

    fn read(raw: Raw<'_>) -> Option<Self> {
        match raw {
            Raw::Toml(value) => value
                .as_array()?
                .iter()
                .map(|item| T::read(Raw::Toml(item.get_ref())))
                .collect(),
            Raw::Text(text) => text
                .split(',')
                .filter(|item| !item.trim().is_empty())
                .map(|item| T::read(Raw::Text(item.trim())))
                .collect(),
        }
    }

    fn show(&self) -> String {
        let items: Vec<String> = self.iter().map(Setting::show).collect();
        format!("[{}]", items.join(", "))
    }

    fn is_within(value: &Self, bounds: &RangeInclusive<Self>) -> bool {
        bounds.contains(value)
    }
}

impl<T: Setting + PartialOrd> Setting for Option<T> {
    type Bound = T;

    fn kind() -> String {
        T::kind()
    }

    fn read(raw: Raw<'_>) -> Option<Self> {
        T::read(raw).map(Some)
    }

    fn show(&self) -> String {
        self.as_ref().map(Setting::show).unwrap_or_default()
    }

    fn is_within(value: &Self, bounds: &RangeInclusive<T>) -> bool {
        value.as_ref().is_none_or(|value| bounds.contains(value))
    }
}

/// Declares an enumeration whose values are fixed words.
macro_rules! words {
    (
        $(#[$doc:meta])*
        pub enum $name:ident { $( $(#[$word_doc:meta])* $variant:ident = $word:literal, )+ }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name { $( $(#[$word_doc])* $variant, )+ }

        impl $name {
            /// The word that stands for this value.
            pub const fn word(self) -> &'static str {
                match self { $( Self::$variant => $word, )+ }
            }

            /// The value that a word stands for.
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $( $word => Some(Self::$variant), )+ _ => None }
            }
        }

        impl $crate::config::setting::Setting for $name {
            type Bound = Self;

            fn kind() -> String {
                let words: &[&str] = &[$($word),+];
                let quoted: Vec<String> =
                    words.iter().map(|word| format!("\"{word}\"")).collect();
                format!("one of {}", quoted.join(", "))
            }

            fn read(raw: $crate::config::setting::Raw<'_>) -> Option<Self> {
                match raw {
                    $crate::config::setting::Raw::Toml(value) => Self::from_word(value.as_str()?),
                    $crate::config::setting::Raw::Text(text) => Self::from_word(text.trim()),
                }
            }

            fn show(&self) -> String {
                $crate::config::setting::quoted(self.word())
            }

            fn is_within(value: &Self, bounds: &std::ops::RangeInclusive<Self>) -> bool {
                bounds.contains(value)
            }
        }
    };
}

pub(super) use words;
