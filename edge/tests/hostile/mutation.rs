//! Deterministic mutations of valid client frames.
//!
//! The seed is fixed, so every run makes the same changes; a case that failed can be made again by
//! its number.

/// Numbers from a seed: SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
/// generators", 2014).
#[derive(Debug)]
pub struct Numbers(u64);

impl Numbers {
    /// The numbers of case `case`.
    pub fn of(case: u64) -> Self {
        Self(case.wrapping_mul(0xd134_2543_de82_ef95) ^ 0x1b2c_3d4e)
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

/// Numbers at the edges of what lengths and offsets can be.
const EDGES: [u32; 10] = [
    0,
    1,
    4,
    0x7f,
    0x80,
    0xffff,
    0x0001_0000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
];

/// Changes `bytes` in one to three ways.
pub fn mutate(bytes: &mut Vec<u8>, numbers: &mut Numbers) {
    for _ in 0..=numbers.below(3) {
        if bytes.is_empty() {
            bytes.push(numbers.next() as u8);
        }
        let at = numbers.below(bytes.len());
        match numbers.below(8) {
            0 | 1 => bytes[at] ^= 1 << numbers.below(8),
            2 => bytes[at] = numbers.next() as u8,
            3 | 4 => {
                let edge = EDGES[numbers.below(EDGES.len())].to_le_bytes();
                let len = edge.len().min(bytes.len() - at);
                bytes[at..at + len].copy_from_slice(&edge[..len]);
            }
            5 => bytes.truncate(at),
            6 => {
                let len = numbers.below(bytes.len() - at + 1);
                let copy = bytes[at..at + len].to_vec();
                let to = numbers.below(bytes.len());
                bytes.splice(to..to, copy);
            }
            _ => {
                let len = numbers.below(16) + 1;
                bytes.extend((0..len).map(|_| numbers.next() as u8));
            }
        }
    }
}
