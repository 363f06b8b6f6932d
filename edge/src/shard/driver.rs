//! Runs a shard's turns on a glommio executor of its own, pinned to one core.
//!
//! Purpose: glommio makes and pins the thread; the shard is the executor's only task
//! and waits in its own rings. It does not yield to wait: glommio 0.9 offers no way to
//! wait for a foreign ring but a read of its eventfd, and under load that read was
//! seen to miss wake-ups, so that a shard slept with work at hand (see the decisions
//! in edge/README.md).
//!
//! Invariants: the ring is created, used and dropped on this thread; before every
//! sleep the ring's own check (`start_sleep`) has found nothing pending.
//!
//! `unsafe` stands here for one call that asks the kernel for the allowed processors.
//!
//! Thread: the shard.

pub use interlink_uring::driver::monotonic_ns;

use glommio::{LocalExecutorBuilder, Placement};
use interlink_uring::driver::Turn;
use interlink_uring::EdgeRing;

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
        .spawn(move || async move {
            let outcome = match build() {
                Ok((mut machine, mut ring)) => {
                    interlink_uring::driver::run(&mut ring, &mut machine).map_err(Into::into)
                }
                Err(error) => Err(error),
            };
            ended(outcome);
        })
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
