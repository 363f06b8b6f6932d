//! Which functions of a binary are cryptography.
//!
//! aws-lc gives its public functions a prefix with its version, and its private ones none. The
//! linker lays the objects of one archive next to each other, so whatever has a name between the
//! first and the last function with the prefix is aws-lc's too. That nothing of Rust lies there is
//! checked.
//! Source: System V ABI, chapters 4 and 5 (ELF-64, little-endian).
//!
//! Runs on: the bench's main thread, after the traffic.

use std::collections::HashSet;
use std::path::Path;

/// Prefix of the public functions; a version follows.
const PREFIX: &str = "aws_lc_";
/// Section type of the symbol table.
const SYMBOL_TABLE: u32 = 2;
const SYMBOL_BYTES: usize = 24;
/// Symbol types: none (labels of assembly), and function.
const OF_CODE: [u8; 2] = [0, 2];

struct Symbol<'a> {
    name: &'a str,
    address: u64,
}

/// Names of the functions of aws-lc in a binary.
///
/// # Errors
/// Why they are not known.
pub fn of_aws_lc(binary: &Path) -> Result<HashSet<String>, String> {
    let bytes =
        std::fs::read(binary).map_err(|error| format!("reading {}: {error}", binary.display()))?;
    let wanted = || format!("{} has no symbol table", binary.display());
    let symbols = symbols(&bytes).ok_or_else(wanted)?;
    names(&symbols).map_err(|what| format!("{}: {what}", binary.display()))
}

fn names(symbols: &[Symbol<'_>]) -> Result<HashSet<String>, &'static str> {
    let public = || symbols.iter().filter(|symbol| is_public(symbol.name));
    let first = public().map(|symbol| symbol.address).min();
    let last = public().map(|symbol| symbol.address).max();
    let (Some(first), Some(last)) = (first, last) else {
        return Err("it has no function of aws-lc");
    };
    let inside = symbols
        .iter()
        .filter(|symbol| (first..=last).contains(&symbol.address));
    let names: HashSet<String> = inside.map(|symbol| symbol.name.to_owned()).collect();
    if names.iter().any(|name| is_rust(name)) {
        return Err("functions of Rust lie between those of aws-lc");
    }
    Ok(names)
}

/// The prefix and a digit: Rust's `aws_lc_rs` begins alike.
fn is_public(name: &str) -> bool {
    let rest = name.strip_prefix(PREFIX);
    rest.is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
}

fn is_rust(name: &str) -> bool {
    name.starts_with("_ZN") || name.starts_with("_R")
}

/// Symbols with an address in executable sections; `None` when the bytes are no such file.
fn symbols(bytes: &[u8]) -> Option<Vec<Symbol<'_>>> {
    if bytes.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let sections_at = number(bytes, 0x28, 8)? as usize;
    let section_bytes = number(bytes, 0x3a, 2)? as usize;
    let count = number(bytes, 0x3c, 2)? as usize;
    let section = |index: usize| {
        let at = sections_at.checked_add(index.checked_mul(section_bytes)?)?;
        bytes.get(at..at.checked_add(section_bytes)?)
    };
    let content = |header: &[u8]| {
        let at = number(header, 0x18, 8)? as usize;
        let length = number(header, 0x20, 8)? as usize;
        bytes.get(at..at.checked_add(length)?)
    };
    /// A section whose content is code (SHF_EXECINSTR).
    fn holds_code(header: &[u8]) -> bool {
        number(header, 8, 8).is_some_and(|flags| flags & 4 != 0)
    }
    let table = (0..count)
        .filter_map(section)
        .find(|header| number(header, 4, 4) == Some(u64::from(SYMBOL_TABLE)))?;
    let texts = content(section(number(table, 0x28, 4)? as usize)?)?;
    let entries = content(table)?.chunks_exact(SYMBOL_BYTES);
    let symbols = entries.filter_map(|entry| {
        let kind = entry[4] & 0xf;
        let place = section(number(entry, 6, 2)? as usize)?;
        if !OF_CODE.contains(&kind) || !holds_code(place) {
            return None;
        }
        let text = texts.get(number(entry, 0, 4)? as usize..)?;
        let end = text.iter().position(|&byte| byte == 0)?;
        Some(Symbol {
            name: std::str::from_utf8(&text[..end]).ok()?,
            address: number(entry, 8, 8)?,
        })
    });
    Some(symbols.collect())
}

/// A number of up to eight bytes, little-endian.
fn number(bytes: &[u8], at: usize, length: usize) -> Option<u64> {
    let mut value = [0; 8];
    value[..length].copy_from_slice(bytes.get(at..at.checked_add(length)?)?);
    Some(u64::from_le_bytes(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_between_public_functions_is_cryptography() {
        let symbol = |name, address| Symbol { name, address };
        let mut symbols = vec![
            symbol("_rjem_je_arena_dalloc", 90),
            symbol("aws_lc_0_47_0_AES_encrypt", 100),
            symbol("aead_aes_gcm_seal_scatter", 110),
            symbol("Lcurve25519_x25519_scalarloop", 120),
            symbol("aws_lc_0_47_0_x25519", 130),
            symbol("_ZN9aws_lc_rs4hmac4sign17h6ee6575677bd25eaE", 150),
            symbol("memcpy", 160),
        ];
        let found = names(&symbols).unwrap();
        assert_eq!(found.len(), 4);
        assert!(found.contains("aead_aes_gcm_seal_scatter"));
        symbols.push(symbol("_ZN4core3fmt5write17h0123456789abcdefE", 115));
        assert!(names(&symbols).is_err());
        assert!(names(&symbols[..1]).is_err());
    }

    #[test]
    fn this_binary_has_functions_of_aws_lc() {
        let own = std::env::current_exe().unwrap();
        let names = of_aws_lc(&own).unwrap();
        assert!(names.iter().filter(|name| is_public(name)).count() > 100);
        assert!(names.iter().any(|name| !is_public(name)));
    }

    #[test]
    fn other_files_give_a_reason() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(
            file.path(),
            [b"\x7fELF\x02\x01".as_slice(), &[0xff; 200]].concat(),
        )
        .unwrap();
        assert!(of_aws_lc(file.path()).is_err());
        assert!(of_aws_lc(Path::new("/nowhere/edge")).is_err());
    }
}
