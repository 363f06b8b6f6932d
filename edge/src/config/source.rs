//! Puts the sources of a configuration together, later ones over earlier ones.
//!
//! Order: defaults, file, environment, arguments. All errors are gathered, so that
//! one run shows all of them.
//!
//! Runs on: the main thread.

use std::path::{Path, PathBuf};

use super::error::{ConfigError, ConfigErrors, Place};
use super::nearest::nearest;
use super::property::{Property, Section, SetError};
use super::setting::Raw;
use super::{check, file, overlay, Config, NamespaceSettings, Origin};

/// Where a configuration comes from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// File given with `--config`.
    pub file: Option<PathBuf>,
    /// Environment variables; those that do not begin with `INTERLINK__` are ignored.
    pub environment: Vec<(String, String)>,
    /// Arguments: name of the argument, section, key, value.
    pub arguments: Vec<Argument>,
}

/// A value from the command line.
#[derive(Clone, Debug)]
pub struct Argument {
    /// Name as typed, such as `--listen`.
    pub name: &'static str,
    /// Section of the property.
    pub section: &'static str,
    /// Key of the property.
    pub key: &'static str,
    /// Value as typed.
    pub value: String,
}

impl Sources {
    /// Sources of a process: the given file, its environment and arguments.
    pub fn of_process(file: Option<&Path>, arguments: Vec<Argument>) -> Self {
        Self {
            file: file.map(Path::to_path_buf),
            environment: std::env::vars_os()
                .filter_map(|(name, value)| {
                    Some((name.into_string().ok()?, value.into_string().ok()?))
                })
                .collect(),
            arguments,
        }
    }

    /// Reads all sources and checks the result.
    ///
    /// # Errors
    /// All that is wrong, in the order of the sources; the cross checks run only when
    /// every single value is right.
    pub fn load(&self) -> Result<Config, ConfigErrors> {
        let mut loader = Loader::default();
        if let Some(path) = &self.file {
            file::apply(path, &mut loader);
        }
        overlay::apply(&self.environment, &mut loader);
        for argument in &self.arguments {
            loader.set(
                argument.section,
                argument.key,
                Raw::Text(&argument.value),
                Place::Argument(argument.name.to_owned()),
            );
        }
        if loader.errors.is_empty() {
            check::all(&loader.config, &mut loader.errors);
        }
        if loader.errors.is_empty() {
            Ok(loader.config)
        } else {
            Err(ConfigErrors(loader.errors))
        }
    }
}

/// A configuration while it is put together.
#[derive(Default)]
pub(super) struct Loader {
    pub(super) config: Config,
    pub(super) errors: Vec<ConfigError>,
}

impl Loader {
    /// Sets one property of a fixed section.
    pub(super) fn set(&mut self, section: &str, key: &str, raw: Raw<'_>, place: Place) {
        let Some(target) = self.config.section_mut(section) else {
            self.unknown_section(section, place);
            return;
        };
        let result = target.set(key, raw);
        let properties = target.properties();
        self.finish(section, key, raw, place, result, &properties);
    }

    /// Sets one property of a namespace's overrides.
    pub(super) fn set_namespace(&mut self, name: &str, key: &str, raw: Raw<'_>, place: Place) {
        let section = format!("namespaces.{name}");
        if key == "priority" {
            let path = format!("{section}.{key}");
            self.errors.push(ConfigError::FixedPriority { place, path });
            return;
        }
        let target = self.config.namespaces.entry(name.to_owned()).or_default();
        let result = target.set(key, raw);
        let properties = NamespaceSettings::default().properties();
        self.finish(&section, key, raw, place, result, &properties);
    }

    /// Records that there is no such section.
    pub(super) fn unknown_section(&mut self, name: &str, place: Place) {
        let mut names: Vec<&str> = self.config.sections().map(Section::name).to_vec();
        names.push("namespaces");
        self.errors.push(ConfigError::UnknownSection {
            suggestion: nearest(name, names),
            name: name.to_owned(),
            place,
        });
    }

    /// Records the origin of a value that was set, or what was wrong with it.
    fn finish(
        &mut self,
        section: &str,
        key: &str,
        raw: Raw<'_>,
        place: Place,
        result: Result<(), SetError>,
        properties: &[Property],
    ) {
        let path = format!("{section}.{key}");
        let example = || {
            let property = properties.iter().find(|property| property.key == key);
            property.map_or("", |property| property.example).to_owned()
        };
        let found = found_text(raw);
        let error = match result {
            Ok(()) => {
                self.config.set_origin(path, origin_of(place));
                return;
            }
            Err(SetError::UnknownKey) => ConfigError::UnknownKey {
                suggestion: nearest(key, properties.iter().map(|property| property.key)),
                place,
                path,
            },
            Err(SetError::WrongKind { wanted }) => ConfigError::WrongKind {
                example: example(),
                place,
                path,
                found,
                wanted,
            },
            Err(SetError::OutOfBounds { bounds }) => ConfigError::OutOfBounds {
                place,
                path,
                found,
                bounds,
            },
        };
        self.errors.push(error);
    }
}

/// The provenance of a value that was given at a place.
fn origin_of(place: Place) -> Origin {
    match place {
        Place::File { path, line, .. } => Origin::File { path, line },
        Place::Environment(name) => Origin::Environment(name),
        Place::Argument(name) => Origin::Argument(name),
    }
}

/// The value as a person would recognise it.
fn found_text(raw: Raw<'_>) -> String {
    use toml::de::DeValue;
    match raw {
        Raw::Text(text) => format!("\"{text}\""),
        Raw::Toml(DeValue::String(text)) => format!("\"{text}\""),
        Raw::Toml(DeValue::Integer(number)) => number.to_string(),
        Raw::Toml(DeValue::Float(number)) => number.to_string(),
        Raw::Toml(DeValue::Boolean(value)) => value.to_string(),
        Raw::Toml(other) => format!("this {}", other.type_str()),
    }
}
