//! Which channels a segment may hold: a Bloom filter, so that a look into the past opens
//! only the segments that matter.
//!
//! Limits: about ten bits for each channel, 2 % false answers; 60 KiB for a segment in
//! which every record has its own channel.

/// Bits for each channel; with three probes about 2 % of other channels pass.
const BITS_PER_CHANNEL: usize = 10;
const PROBES: u32 = 3;

/// A set of channel hashes that may answer yes too often and never no.
#[derive(Clone, Debug, Default)]
pub(crate) struct ChannelFilter {
    words: Box<[u64]>,
}

impl ChannelFilter {
    /// A filter of these hashes.
    pub fn of(hashes: &[u64]) -> Self {
        let words = (hashes.len() * BITS_PER_CHANNEL).div_ceil(64);
        let mut filter = Self {
            words: vec![0; words].into(),
        };
        for hash in hashes {
            for probe in 0..PROBES {
                let bit = filter.bit(*hash, probe);
                filter.words[bit / 64] |= 1 << (bit % 64);
            }
        }
        filter
    }

    /// Whether the channel may be there.
    pub fn may_hold(&self, hash: u64) -> bool {
        !self.words.is_empty()
            && (0..PROBES).all(|probe| {
                let bit = self.bit(hash, probe);
                self.words[bit / 64] >> (bit % 64) & 1 == 1
            })
    }

    /// The hash is uniform; its rotations are independent enough.
    fn bit(&self, hash: u64, probe: u32) -> usize {
        let rotated = hash
            .rotate_left(probe * 21)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        ((u128::from(rotated) * (self.words.len() as u128 * 64)) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use interlink_protocol::ids::placement_hash;

    use super::*;

    #[test]
    fn members_always_pass_and_others_seldom() {
        let hash = |number: u32| placement_hash(format!("class.{number}").as_bytes());
        let members: Vec<u64> = (0..2_000).map(hash).collect();
        let filter = ChannelFilter::of(&members);
        assert!(members.iter().all(|member| filter.may_hold(*member)));
        let passed = (2_000..22_000)
            .filter(|other| filter.may_hold(hash(*other)))
            .count();
        assert!(passed < 1_000, "{passed} of 20,000 others pass");
        assert!(!ChannelFilter::of(&[]).may_hold(1));
    }
}
