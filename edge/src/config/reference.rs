//! Writes the reference of all properties, generated from their declarations.
//!
//! The reference is a valid configuration file in which every property is commented
//! out with its default, or with its example where it has no default.
//! Runs on: the main thread.

use std::fmt::Write;

use super::property::{Property, Section};
use super::{Config, NamespaceSettings};

/// Columns at which texts are wrapped.
const WIDTH: usize = 88;

/// The whole reference.
pub fn reference() -> String {
    let mut text = String::from(
        "# Interlink edge: every property with its default.\n\
         # Order: defaults, this file, environment (INTERLINK__SECTION__KEY), arguments.\n\n",
    );
    let config = Config::default();
    for section in config.sections() {
        write_section(&mut text, section.name(), section);
    }
    write_section(&mut text, "namespaces.chat", &NamespaceSettings::default());
    text
}

fn write_section(text: &mut String, header: &str, section: &dyn Section) {
    write_wrapped(text, &section.text());
    let _ = writeln!(text, "[{header}]");
    for property in section.properties() {
        write_property(text, &property);
    }
    text.push('\n');
}

fn write_property(text: &mut String, property: &Property) {
    text.push('\n');
    write_wrapped(text, &property.text);
    let mut facts = format!("Value: {}.", property.kind);
    if !property.unit.is_empty() {
        let _ = write!(facts, " Unit: {}.", property.unit);
    }
    if !property.bounds.is_empty() {
        let _ = write!(facts, " Bounds: {}.", property.bounds);
    }
    let _ = write!(facts, " Example: {}.", property.example);
    write_wrapped(text, &facts);
    if property.default.is_empty() {
        let _ = writeln!(
            text,
            "# {} = {}  # unset by default",
            property.key, property.example
        );
    } else {
        let _ = writeln!(text, "# {} = {}", property.key, property.default);
    }
}

/// Writes a comment, wrapped at word boundaries.
fn write_wrapped(text: &mut String, words: &str) {
    let mut line = String::from("#");
    for word in words.split_whitespace() {
        if line.len() + 1 + word.len() > WIDTH {
            let _ = writeln!(text, "{line}");
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    let _ = writeln!(text, "{line}");
}
