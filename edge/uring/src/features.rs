//! What this kernel can do, tried out rather than read from its version.
//!
//! **Invariants.** A feature without which nothing works is an error that names the cure; a
//! feature with a fallback is a field of [`Features`]. The probe leaves nothing open.
//!
//! **Thread.** Any; called once at start, it may sleep up to a second while memory comes back.

use std::io::{self, Write as _};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use io_uring::{cqueue, opcode, types, IoUring, Probe};

use crate::config::SetupError;
use crate::limits::{BUFFER_BYTES, RECEIVE_BYTES, RING_RETRY_MS};
use crate::ring::buffers::{Buffers, GROUP};
use crate::ring::mapping::page_bytes;
use crate::ring::receive_entry;

/// Features that have a fallback. The others are required: see [`probe`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Features {
    /// The submission queue needs no index array (Linux 6.6). Fallback: one more memory access
    /// for each entry.
    pub no_index_array: bool,
    /// A multishot receive may fill several buffers with one completion, up to a number of bytes
    /// (both since Linux 6.15 in this combination). Fallback: one completion a buffer, up to 32
    /// in a row from one client.
    pub bundled_receive: bool,
}

const OPERATIONS: [(u8, &str); 9] = [
    (opcode::Accept::CODE, "the operation ACCEPT"),
    (opcode::Recv::CODE, "the operation RECV"),
    (opcode::Send::CODE, "the operation SEND"),
    (opcode::Close::CODE, "the operation CLOSE"),
    (opcode::FilesUpdate::CODE, "the operation FILES_UPDATE"),
    (opcode::AsyncCancel::CODE, "the operation ASYNC_CANCEL"),
    (opcode::PollAdd::CODE, "the operation POLL_ADD"),
    (opcode::Timeout::CODE, "the operation TIMEOUT"),
    (opcode::Fsync::CODE, "the operation FSYNC"),
];

const NEWER_KERNEL: &str = "use Linux 6.1 or newer";

/// Tries out what this crate needs, on a small ring of its own.
///
/// # Errors
/// [`SetupError::Forbidden`], [`SetupError::Missing`] and [`SetupError::Memory`] name the cure.
pub fn probe() -> Result<Features, SetupError> {
    let (uring, no_index_array) = open_queues(8, 16, None, 0, true)?;
    let parameters = uring.params();
    let missing = |feature| {
        let source = io::Error::from_raw_os_error(libc::EOPNOTSUPP);
        Err(SetupError::Missing {
            feature,
            cure: NEWER_KERNEL,
            source,
        })
    };
    if !parameters.is_feature_nodrop() {
        return missing("completions that survive a full queue (NODROP)");
    }
    if !parameters.is_feature_skip_cqe_on_success() {
        return missing("operations without completion (CQE_SKIP)");
    }
    let mut operations = Probe::new();
    uring
        .submitter()
        .register_probe(&mut operations)
        .map_err(|source| SetupError::System {
            call: "io_uring_register(PROBE)",
            source,
        })?;
    for (code, feature) in OPERATIONS {
        if !operations.is_supported(code) {
            return missing(feature);
        }
    }
    uring
        .submitter()
        .register_files_sparse(1)
        .map_err(|source| SetupError::Missing {
            feature: "direct descriptors",
            cure: NEWER_KERNEL,
            source,
        })?;
    let bundled_receive = try_bundle(uring)?;
    Ok(Features {
        no_index_array,
        bundled_receive,
    })
}

/// Opens the queues of a ring. `known` skips the search for the right flags; `patient` tries
/// again for a second while the kernel has no memory. Answers also whether the index array could
/// be left away.
pub(crate) fn open_queues(
    submission: u32,
    completion: u32,
    known: Option<Features>,
    ring: usize,
    patient: bool,
) -> Result<(IoUring, bool), SetupError> {
    let started = Instant::now();
    let mut no_index_array = known.is_none_or(|features| features.no_index_array);
    loop {
        let mut builder = IoUring::builder();
        builder
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_cqsize(completion)
            .dontfork();
        if no_index_array {
            builder.setup_no_sqarray();
        }
        let refused = match builder.build(submission) {
            Ok(uring) => return Ok((uring, no_index_array)),
            Err(refused) => refused,
        };
        match refused.raw_os_error() {
            Some(libc::ENOMEM) => {
                if !patient || started.elapsed() >= Duration::from_millis(RING_RETRY_MS) {
                    return Err(SetupError::Memory {
                        ring,
                        source: refused,
                    });
                }
                thread::sleep(Duration::from_millis(20));
            }
            Some(libc::EINVAL) if no_index_array && known.is_none() => no_index_array = false,
            Some(libc::EINVAL) => {
                return Err(SetupError::Missing {
                    feature: "deferred completion work (IORING_SETUP_DEFER_TASKRUN)",
                    cure: NEWER_KERNEL,
                    source: refused,
                })
            }
            Some(libc::ENOSYS | libc::EPERM | libc::EACCES) => {
                return Err(SetupError::Forbidden(refused))
            }
            _ => {
                return Err(SetupError::System {
                    call: "io_uring_setup",
                    source: refused,
                })
            }
        }
    }
}

/// Receives two buffers' worth of bytes with one bundled multishot receive. `false` when the
/// kernel refuses the combination; an error when it refuses multishot receives altogether.
fn try_bundle(mut uring: IoUring) -> Result<bool, SetupError> {
    let system = |call| move |source| SetupError::System { call, source };
    let count = (2 * page_bytes() / BUFFER_BYTES as usize) as u16;
    // The ring is dropped before the buffers, in which the kernel may still write.
    let buffers =
        Buffers::new(&uring.submitter(), count).map_err(|source| SetupError::Missing {
            feature: "buffer rings",
            cure: NEWER_KERNEL,
            source,
        })?;
    let (reader, mut writer) = UnixStream::pair().map_err(system("socketpair"))?;
    writer
        .write_all(&[1; RECEIVE_BYTES as usize])
        .map_err(system("write to a socket pair"))?;
    let mut answer = 0;
    for bundled in [true, false] {
        let target = types::Fd(reader.as_raw_fd());
        let entry = receive_entry(target.into(), bundled, true).user_data(u64::from(bundled));
        // SAFETY: the receive takes its memory from the ring's buffers, which outlive the ring.
        unsafe { uring.submission().push(&entry) }
            .map_err(|_| system("push")(io::Error::from_raw_os_error(libc::EBUSY)))?;
        uring.submit_and_wait(1).map_err(system("io_uring_enter"))?;
        let first = uring
            .completion()
            .find(|c| c.user_data() == u64::from(bundled));
        answer = first.as_ref().map_or(-libc::EIO, cqueue::Entry::result);
        if answer > 0 {
            drop(uring);
            drop(buffers);
            return Ok(bundled && answer > BUFFER_BYTES as i32);
        }
    }
    Err(SetupError::Missing {
        feature: "multishot receives",
        cure: NEWER_KERNEL,
        source: io::Error::from_raw_os_error(-answer),
    })
}

const _: () = assert!(GROUP == 0, "a receive names no group by default");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probe_leaves_no_descriptor_open() {
        const PROBES: usize = 300;
        let before = open_descriptors();
        for _ in 0..PROBES {
            probe().expect("this crate's tests need io_uring");
        }
        assert!(
            open_descriptors() < before + PROBES / 2,
            "tests beside this one open up to a hundred"
        );
    }

    fn open_descriptors() -> usize {
        std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
    }
}
