//! Runs a shard's turns inside a glommio executor on its own core.
//!
//! Purpose: the bridge between glommio, which owns the thread, and the rings,
//! which own the sockets. glommio 0.9 offers no way to wait for a foreign ring,
//! so the driver waits for the ring's eventfd by reading it through a buffered
//! file, with one read alive at a time.
//!
//! Invariants: the ring is created, used and dropped on this thread; before every
//! sleep the ring's own check (`start_sleep`) has found nothing pending.
//!
//! Thread: the shard.

use std::os::fd::{FromRawFd, RawFd};
use std::time::Duration;

use glommio::io::BufferedFile;
use glommio::{executor, LocalExecutorBuilder, Placement};
use interlink_uring::driver::{Next, Turn};
use interlink_uring::{EdgeRing, Kernel};

/// A turn is at most this long before glommio may run another queue.
const PREEMPT: Duration = Duration::from_micros(250);
/// Memory that glommio registers for its own file operations.
const GLOMMIO_IO_MEMORY: usize = 64 * 1024;

/// Starts a pinned thread that builds a ring and a machine and runs its turns.
///
/// `build` runs on the new thread, since a ring belongs to the thread that made it;
/// `ended` is told there how it went.
///
/// # Errors
/// When the executor cannot start: no such processor, or no memory to lock.
pub fn spawn<T, B, E>(
    name: &str,
    processor: usize,
    build: B,
    ended: E,
) -> Result<glommio::ExecutorJoinHandle<()>, glommio::GlommioError<()>>
where
    T: Turn + 'static,
    B: FnOnce() -> anyhow::Result<(T, EdgeRing)> + Send + 'static,
    E: FnOnce(anyhow::Result<()>) + Send + 'static,
{
    LocalExecutorBuilder::new(Placement::Fixed(processor))
        .name(name)
        .io_memory(GLOMMIO_IO_MEMORY)
        .preempt_timer(PREEMPT)
        .spawn(move || async move {
            let outcome = match build() {
                Ok((mut machine, mut ring)) => run(&mut machine, &mut ring).await,
                Err(error) => Err(error),
            };
            ended(outcome);
        })
}

async fn run<T: Turn>(machine: &mut T, ring: &mut EdgeRing) -> anyhow::Result<()> {
    let wake = wake_file(ring.wake_descriptor())?;
    loop {
        ring.enter()?;
        let next = machine.turn(ring, monotonic_ns());
        ring.end_turn();
        match next {
            Next::Again => executor().yield_if_needed().await,
            Next::SleepUntil(deadline) => {
                ring.wake_at(deadline);
                // A deadline that is new leaves an entry to submit, so the loop goes round once.
                if ring.start_sleep() {
                    wake.read_at(0, 8)
                        .await
                        .map_err(|error| anyhow::anyhow!("waiting for the ring: {error}"))?;
                }
                ring.end_sleep();
            }
            Next::Stop => break,
        }
    }
    let _ = wake.close().await;
    Ok(())
}

/// A file over a duplicate of the eventfd; glommio closes what it is given.
fn wake_file(descriptor: RawFd) -> anyhow::Result<BufferedFile> {
    // SAFETY: dup takes a plain number and has no memory effects.
    let duplicate = unsafe { libc::dup(descriptor) };
    anyhow::ensure!(
        duplicate >= 0,
        "cannot duplicate the wake descriptor: {}; raise the limit of open files",
        std::io::Error::last_os_error()
    );
    // SAFETY: the duplicate is owned by nothing else.
    Ok(unsafe { BufferedFile::from_raw_fd(duplicate) })
}

/// CLOCK_MONOTONIC in nanoseconds; the one clock read of a turn.
pub fn monotonic_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a valid timespec for the call to fill.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Processors that this process may run on, in ascending order.
pub fn allowed_processors() -> Vec<usize> {
    // SAFETY: a zeroed cpu_set_t is valid and the call fills at most its size.
    let set = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::sched_getaffinity(0, std::mem::size_of::<libc::cpu_set_t>(), &mut set);
        set
    };
    (0..libc::CPU_SETSIZE as usize)
        // SAFETY: the index is below CPU_SETSIZE.
        .filter(|&processor| unsafe { libc::CPU_ISSET(processor, &set) })
        .collect()
}
