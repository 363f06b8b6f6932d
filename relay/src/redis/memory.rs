//! Which server each partition had last: what a node keeps while it is down.
//!
//! A server that takes over meanwhile is another lineage than the one that is remembered, and is
//! told as one that takes over before the eyes of the node.
//!
//! ```text
//! memory = version u8 (1) | partitions u16 | lineages u16 | lineage 32 ... | number u16 ...
//! ```
//! with a number for each partition: that of its lineage from 1, or 0 when none is known.
//!
//! Runs on: any thread; plain values.

use super::lineage::Lineage;
use crate::bytes::{Fields, PutFields};

const VERSION: u8 = 1;

/// Encodes lineages, one for each partition.
pub fn encode(lineages: &[Option<Lineage>]) -> Vec<u8> {
    let mut distinct: Vec<Lineage> = Vec::new();
    let mut numbers = Vec::with_capacity(lineages.len());
    for lineage in lineages {
        let number = lineage.map_or(0, |lineage| {
            let known = distinct.iter().position(|known| *known == lineage);
            known.unwrap_or_else(|| {
                distinct.push(lineage);
                distinct.len() - 1
            }) + 1
        });
        numbers.push(number as u16);
    }
    let mut out = vec![VERSION];
    out.put_u16(lineages.len() as u16);
    out.put_u16(distinct.len() as u16);
    distinct
        .iter()
        .for_each(|lineage| out.put_bytes(lineage.as_bytes()));
    numbers.iter().for_each(|number| out.put_u16(*number));
    out
}

/// Decodes lineages of so many partitions; nothing is known where the bytes are not of them.
pub fn decode(bytes: &[u8], partitions: u16) -> Vec<Option<Lineage>> {
    let known = try_decode(bytes).filter(|known| known.len() == usize::from(partitions));
    known.unwrap_or_else(|| vec![None; usize::from(partitions)])
}

fn try_decode(bytes: &[u8]) -> Option<Vec<Option<Lineage>>> {
    let mut fields = Fields::new(bytes);
    if fields.u8()? != VERSION {
        return None;
    }
    let (partitions, count) = (fields.u16()?, fields.u16()?);
    let mut distinct = Vec::new();
    for _ in 0..count {
        distinct.push(Lineage::of(fields.take(Lineage::BYTES)?)?);
    }
    let mut lineages = Vec::new();
    for _ in 0..partitions {
        let number = usize::from(fields.u16()?);
        lineages.push(match number.checked_sub(1) {
            Some(index) => Some(*distinct.get(index)?),
            None => None,
        });
    }
    Some(lineages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_known_again_and_everything_else_is_nothing() {
        let lineage = |byte: u8| Lineage::of(&[byte; Lineage::BYTES]);
        let lineages = vec![lineage(1), None, lineage(2), lineage(1)];
        let bytes = encode(&lineages);
        assert_eq!(decode(&bytes, 4), lineages);
        assert_eq!(bytes.len(), 5 + 2 * Lineage::BYTES + 4 * 2);
        assert_eq!(decode(&bytes, 3), [None; 3], "of other settings");
        for cut in 0..bytes.len() {
            assert_eq!(decode(&bytes[..cut], 4), [None; 4]);
        }
        let mut wrong = bytes;
        let last = wrong.len() - 1;
        wrong[last] ^= 0x40;
        assert_eq!(decode(&wrong, 4), [None; 4]);
    }
}
