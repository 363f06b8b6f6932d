//! The settings of an `EdgeRing` and what can be wrong with them or with the machine.

use std::io;

use crate::limits;
use crate::ring::mapping::page_bytes;

/// Settings of an `EdgeRing`. [`RingConfig::default`] suits a shard; a load generator raises
/// `rings_at_start`.
#[derive(Clone, Debug)]
pub struct RingConfig {
    /// Rings opened at once, 1 to `rings_max`. Further ones are opened when connections need them.
    pub rings_at_start: usize,
    /// Most rings, 1 to 64.
    pub rings_max: usize,
    /// Connections a ring. The kernel refuses more than the process's limit of open files.
    pub slots_per_ring: u32,
    /// Submission entries a ring, a power of two, 128 to 32,768.
    pub submission_entries: u32,
    /// Completion entries a ring, a power of two, at least twice the submission entries.
    pub completion_entries: u32,
    /// Receive buffers (2 KiB each) of every ring but the first, a power of two that
    /// fills whole pages (2 with pages of 4 KiB).
    pub buffers: u16,
    /// Receive buffers of the first ring, which also serves the handshakes.
    pub first_ring_buffers: u16,
    /// Let a receive fill several buffers where the kernel can. `false` behaves as on a kernel
    /// that cannot.
    pub bundled_receive: bool,
}

impl Default for RingConfig {
    fn default() -> Self {
        Self {
            rings_at_start: 1,
            rings_max: limits::RINGS_MAX,
            slots_per_ring: slots_allowed(),
            submission_entries: limits::SUBMISSION_ENTRIES,
            completion_entries: limits::COMPLETION_ENTRIES,
            buffers: limits::BUFFERS,
            first_ring_buffers: limits::BUFFERS,
            bundled_receive: true,
        }
    }
}

impl RingConfig {
    /// Checks the bounds that the fields name.
    ///
    /// # Errors
    /// [`SetupError::Config`] names the field and its bounds.
    pub fn check(&self) -> Result<(), SetupError> {
        let wrong = |what: &'static str| Err(SetupError::Config(what));
        if self.rings_max == 0 || self.rings_max > limits::RINGS_MAX {
            return wrong("rings_max must be 1 to 64");
        }
        if self.rings_at_start == 0 || self.rings_at_start > self.rings_max {
            return wrong("rings_at_start must be 1 to rings_max");
        }
        if self.slots_per_ring == 0 || self.slots_per_ring > crate::socket_id::FIELD_MASK {
            return wrong("slots_per_ring must be 1 to 2^24 - 1");
        }
        let submission = self.submission_entries;
        if !submission.is_power_of_two() || !(128..=32_768).contains(&submission) {
            return wrong("submission_entries must be a power of two, 128 to 32,768");
        }
        let completion = self.completion_entries;
        if !completion.is_power_of_two() || completion < 2 * submission || completion > 65_536 {
            return wrong("completion_entries must be a power of two, twice submission to 65,536");
        }
        for buffers in [self.buffers, self.first_ring_buffers] {
            let bytes = usize::from(buffers) * limits::BUFFER_BYTES as usize;
            if !buffers.is_power_of_two() || !bytes.is_multiple_of(page_bytes()) {
                return wrong("buffers must be a power of two that fills whole pages, to 32,768");
            }
        }
        Ok(())
    }
}

/// The smaller of the process's limit of open files and
/// [`SLOTS_PER_RING`](limits::SLOTS_PER_RING).
fn slots_allowed() -> u32 {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the call fills the struct that it is given and keeps nothing.
    let answer = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    if answer != 0 {
        return limits::SLOTS_PER_RING;
    }
    u32::try_from(limit.rlim_cur).map_or(limits::SLOTS_PER_RING, |n| n.min(limits::SLOTS_PER_RING))
}

/// Why an `EdgeRing` could not be created.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A setting is out of bounds.
    #[error("ring settings: {0}")]
    Config(&'static str),
    /// The kernel has no io_uring or forbids it.
    #[error(
        "io_uring is not available ({0}); use Linux 6.1 or newer, set `sysctl -w \
         kernel.io_uring_disabled=0`, and in a container allow the io_uring system calls in the \
         seccomp profile"
    )]
    Forbidden(io::Error),
    /// The kernel lacks something that cannot be replaced.
    #[error("this kernel lacks {feature} ({source}); {cure}")]
    Missing {
        /// What is missing.
        feature: &'static str,
        /// What to do.
        cure: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The memory lock limit is used up, also after a second of trying.
    #[error(
        "no memory for ring {ring} ({source}): rings count against the memory lock limit; raise it \
         (`LimitMEMLOCK=infinity` in the systemd unit, or `ulimit -l unlimited`) or give the \
         process CAP_IPC_LOCK"
    )]
    Memory {
        /// Number of the ring.
        ring: usize,
        /// The kernel's answer.
        source: io::Error,
    },
    /// More slots than the process may have open files.
    #[error(
        "ring {ring} may not hold {slots} connections ({source}); raise the limit of open files \
         (`LimitNOFILE=` in the systemd unit, or `ulimit -n`) or lower slots_per_ring"
    )]
    Slots {
        /// Number of the ring.
        ring: usize,
        /// Slots asked for.
        slots: u32,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A system call that should not fail did.
    #[error("{call} failed: {source}")]
    System {
        /// The call.
        call: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_accepted_and_each_bound_is_enforced() {
        let good = RingConfig::default();
        good.check().expect("defaults must be valid");
        assert!(good.slots_per_ring <= limits::SLOTS_PER_RING);
        let bad = [
            RingConfig {
                rings_max: 65,
                ..good.clone()
            },
            RingConfig {
                rings_at_start: 0,
                ..good.clone()
            },
            RingConfig {
                rings_at_start: 3,
                rings_max: 2,
                ..good.clone()
            },
            RingConfig {
                slots_per_ring: 0,
                ..good.clone()
            },
            RingConfig {
                submission_entries: 100,
                ..good.clone()
            },
            RingConfig {
                completion_entries: 256,
                ..good.clone()
            },
            RingConfig {
                buffers: 3,
                ..good.clone()
            },
            RingConfig {
                first_ring_buffers: 1,
                ..good.clone()
            },
        ];
        for config in bad {
            assert!(config.check().is_err(), "{config:?}");
        }
    }
}
