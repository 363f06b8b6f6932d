//! One declaration for each configuration property.
//!
//! The `section!` macro turns a declaration (text, type, default, unit, bounds,
//! example) into a field of the section's structure, its default, its parser and
//! its entry in the reference. So the four cannot disagree.
//!
//! Invariant: a value outside its bounds never reaches a [`Config`](super::Config).
//! Runs on: the main thread, before any shard starts.

use super::setting::Raw;

/// What the reference prints about one property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// Name inside its section.
    pub key: &'static str,
    /// What it decides, in sentences.
    pub text: String,
    /// How its values are written.
    pub kind: String,
    /// Unit of the value; empty when the value has none.
    pub unit: &'static str,
    /// Default, as written in TOML; empty when the property is unset by default.
    pub default: String,
    /// Allowed range as text; empty when every value of the kind is allowed.
    pub bounds: String,
    /// Example value, as written in TOML.
    pub example: &'static str,
}

/// Why a section did not take a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetError {
    /// The section has no such key.
    UnknownKey,
    /// The value is not of the wanted kind; the text names that kind.
    WrongKind {
        /// How values of this property are written.
        wanted: String,
    },
    /// The value is outside of the bounds, which the text gives.
    OutOfBounds {
        /// The allowed range.
        bounds: String,
    },
}

/// One section of the configuration, as the loader and the printers see it.
pub trait Section {
    /// Name of the table in the file.
    fn name(&self) -> &'static str;
    /// What the section is about.
    fn text(&self) -> String;
    /// The declarations, in order.
    fn properties(&self) -> Vec<Property>;
    /// Sets one property from a file or from text.
    ///
    /// # Errors
    /// [`SetError`] when there is no such key or it does not take the value.
    fn set(&mut self, key: &str, raw: Raw<'_>) -> Result<(), SetError>;
    /// Present value of each property in the order of [`Section::properties`], as
    /// written in TOML; empty for an unset one.
    fn show(&self) -> Vec<(&'static str, String)>;
}

/// Joins the doc comment lines of a declaration into running text.
pub(super) fn joined(lines: &[&str]) -> String {
    let trimmed: Vec<&str> = lines.iter().map(|line| line.trim()).collect();
    trimmed.join(" ")
}

/// Declares a section: structure, defaults, parser and reference in one place.
macro_rules! section {
    (
        $(#[doc = $section_text:literal])+
        pub struct $name:ident = $table:literal {
            $(
                $(#[doc = $text:literal])+
                $field:ident: $type:ty = $default:expr,
                unit $unit:literal,
                $(bounds $bounds:expr,)?
                example $example:literal;
            )+
        }
    ) => {
        $(#[doc = $section_text])+
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            $( $(#[doc = $text])+ pub $field: $type, )+
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: $default, )+ }
            }
        }

        impl $crate::config::property::Section for $name {
            fn name(&self) -> &'static str {
                $table
            }

            fn text(&self) -> String {
                $crate::config::property::joined(&[$($section_text),+])
            }

            fn properties(&self) -> Vec<$crate::config::property::Property> {
                use $crate::config::setting::Setting;
                let defaults = Self::default();
                vec![$(
                    $crate::config::property::Property {
                        key: stringify!($field),
                        text: $crate::config::property::joined(&[$($text),+]),
                        kind: <$type as Setting>::kind(),
                        unit: $unit,
                        default: defaults.$field.show(),
                        bounds: section!(@bounds_text $type $(, $bounds)?),
                        example: $example,
                    },
                )+]
            }

            fn set(
                &mut self,
                key: &str,
                raw: $crate::config::setting::Raw<'_>,
            ) -> Result<(), $crate::config::property::SetError> {
                use $crate::config::property::SetError;
                use $crate::config::setting::Setting;
                match key {
                    $(
                        stringify!($field) => {
                            let value = <$type as Setting>::read(raw).ok_or_else(|| {
                                SetError::WrongKind { wanted: <$type as Setting>::kind() }
                            })?;
                            $(
                                if !<$type as Setting>::is_within(&value, &$bounds) {
                                    return Err(SetError::OutOfBounds {
                                        bounds: section!(@bounds_text $type, $bounds),
                                    });
                                }
                            )?
                            self.$field = value;
                            Ok(())
                        }
                    )+
                    _ => Err(SetError::UnknownKey),
                }
            }

            fn show(&self) -> Vec<(&'static str, String)> {
                use $crate::config::setting::Setting;
                vec![$( (stringify!($field), self.$field.show()), )+]
            }
        }
    };
    (@bounds_text $type:ty) => { String::new() };
    (@bounds_text $type:ty, $bounds:expr) => {
        $crate::config::setting::bounds_text::<$type>(&$bounds)
    };
}

pub(super) use section;
