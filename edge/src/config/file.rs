//! Reads a TOML file into a configuration, with the place of every value.
//!
//! Limits: a file has at most `FILE_BYTES_MAX` bytes.
//! Runs on: the main thread.

use std::io::Read;
use std::ops::Range;
use std::path::Path;

use toml::de::{DeTable, DeValue};
use toml::Spanned;

use super::error::{ConfigError, Place};
use super::limits::FILE_BYTES_MAX;
use super::namespaces::{find, nearest_namespace};
use super::setting::Raw;
use super::source::Loader;

/// Applies the file at `path`.
pub(super) fn apply(path: &Path, loader: &mut Loader) {
    match read(path) {
        Ok(text) => apply_text(&path.display().to_string(), &text, loader),
        Err(reason) => loader.errors.push(ConfigError::Unreadable {
            path: path.display().to_string(),
            reason,
        }),
    }
}

/// Reads a whole file within the limit.
fn read(path: &Path) -> Result<String, String> {
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let mut text = String::new();
    file.take(FILE_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(|error| error.to_string())?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("it is longer than {FILE_BYTES_MAX} bytes"));
    }
    Ok(text)
}

/// Applies the text of a file that is called `name` in messages.
pub(super) fn apply_text(name: &str, text: &str, loader: &mut Loader) {
    let source = SourceText { name, text };
    let document = match DeTable::parse(text) {
        Ok(document) => document,
        Err(error) => {
            loader.errors.push(ConfigError::Syntax {
                place: source.place(error.span().unwrap_or(0..0)),
                reason: error.message().trim().replace('\n', ", "),
            });
            return;
        }
    };
    for (key, value) in document.get_ref() {
        match value.get_ref() {
            DeValue::Table(table) if key.get_ref() == "namespaces" => {
                apply_namespaces(&source, table, loader);
            }
            DeValue::Table(table) => apply_section(&source, key, table, loader),
            _ => loader.unknown_section(key.get_ref(), source.place(key.span())),
        }
    }
}

/// Applies one section.
fn apply_section(
    source: &SourceText<'_>,
    section: &Spanned<std::borrow::Cow<'_, str>>,
    table: &DeTable<'_>,
    loader: &mut Loader,
) {
    if loader.config.section_mut(section.get_ref()).is_none() {
        loader.unknown_section(section.get_ref(), source.place(section.span()));
        return;
    }
    for (key, value) in table {
        let raw = Raw::Toml(value.get_ref());
        loader.set(
            section.get_ref(),
            key.get_ref(),
            raw,
            source.place(key.span()),
        );
    }
}

/// Applies `[namespaces.<name>]` tables.
fn apply_namespaces(source: &SourceText<'_>, namespaces: &DeTable<'_>, loader: &mut Loader) {
    for (name, value) in namespaces {
        let place = source.place(name.span());
        let known = find(|known| known == name.get_ref()).is_some();
        let (true, DeValue::Table(table)) = (known, value.get_ref()) else {
            loader.errors.push(ConfigError::UnknownSection {
                place,
                suggestion: nearest_namespace(name.get_ref()),
                name: format!("namespaces.{}", name.get_ref()),
            });
            continue;
        };
        for (key, value) in table {
            let raw = Raw::Toml(value.get_ref());
            loader.set_namespace(name.get_ref(), key.get_ref(), raw, source.place(key.span()));
        }
    }
}

/// A file's name and text, to turn byte offsets into lines and columns.
struct SourceText<'a> {
    name: &'a str,
    text: &'a str,
}

impl SourceText<'_> {
    fn place(&self, span: Range<usize>) -> Place {
        let before = &self.text[..self.text.floor_char_boundary(span.start)];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Place::File {
            path: self.name.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}
