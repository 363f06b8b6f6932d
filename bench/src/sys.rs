//! The few kernel calls that the standard library does not offer.
//!
//! Purpose: affinity, process clocks, precise sleep and signals for the bench.
//! Invariant: every function here is safe to call with any argument; `unsafe` stays inside.
//! This file holds `unsafe` because these are plain system calls with no safe wrapper among
//! the dependencies; each block passes pointers to locals that outlive the call.
//!
//! Runs on: any thread.

use std::io;
use std::os::fd::RawFd;
use std::process::{Child, Command};

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Runs the calling thread before every ordinary thread of its core, where the system permits it;
/// what it starts is ordinary again. False when it is not permitted.
pub fn run_first() -> bool {
    let parameter = libc::sched_param { sched_priority: 1 };
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: the pointer is to a local that outlives the call; 0 names the caller.
    unsafe { libc::sched_setscheduler(0, policy, &parameter) == 0 }
}

/// Restricts the calling thread, and every thread and process it starts, to one core.
pub fn pin_to_core(core: usize) -> io::Result<()> {
    // SAFETY: a zeroed cpu_set_t is an empty set; CPU_SET checks its index against the size.
    let set = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(core, &mut set);
        set
    };
    // SAFETY: the pointer is to a local of exactly the size given; 0 names the caller.
    check(unsafe { libc::sched_setaffinity(0, std::mem::size_of_val(&set), &set) })
}

/// Starts a process whose threads all run on `core` and that is killed when this thread ends.
pub fn spawn_pinned(command: &mut Command, core: usize) -> io::Result<Child> {
    use std::os::unix::process::CommandExt;
    // SAFETY: between fork and exec the closure only makes two system calls, which are safe there;
    // it takes no lock and allocates nothing.
    unsafe {
        command.pre_exec(move || {
            pin_to_core(core)?;
            check(libc::prctl(
                libc::PR_SET_PDEATHSIG,
                libc::SIGKILL as libc::c_ulong,
            ))
        });
    }
    command.spawn()
}

/// Lets timers of the calling thread fire as precisely as the kernel can.
pub fn sharpen_timers() {
    // SAFETY: PR_SET_TIMERSLACK takes one number and touches no memory of ours.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1_u64, 0_u64, 0_u64, 0_u64) };
}

fn clock_ns(clock: libc::clockid_t) -> io::Result<u64> {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a local that outlives the call.
    check(unsafe { libc::clock_gettime(clock, &mut time) })?;
    Ok(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

/// Monotonic time in nanoseconds; the clock of every schedule and stamp.
pub fn monotonic_ns() -> u64 {
    clock_ns(libc::CLOCK_MONOTONIC).unwrap_or(0)
}

/// CPU time (user and system) of all threads of a process, in nanoseconds.
pub fn process_cpu_ns(pid: u32) -> io::Result<u64> {
    let mut clock: libc::clockid_t = 0;
    // SAFETY: the pointer is to a local that outlives the call.
    let result = unsafe { libc::clock_getcpuclockid(pid as libc::pid_t, &mut clock) };
    if result != 0 {
        return Err(io::Error::from_raw_os_error(result));
    }
    clock_ns(clock)
}

/// CPU time of this process in nanoseconds.
pub fn own_cpu_ns() -> u64 {
    clock_ns(libc::CLOCK_PROCESS_CPUTIME_ID).unwrap_or(0)
}

/// Sleeps until `descriptor` is readable or `timeout_ns` is over, then takes what the eventfd
/// holds. True means that it was readable.
pub fn sleep_on(descriptor: RawFd, timeout_ns: u64) -> io::Result<bool> {
    let mut poll = libc::pollfd {
        fd: descriptor,
        events: libc::POLLIN,
        revents: 0,
    };
    let timeout = libc::timespec {
        tv_sec: (timeout_ns / 1_000_000_000) as libc::time_t,
        tv_nsec: (timeout_ns % 1_000_000_000) as libc::c_long,
    };
    // SAFETY: both pointers are to locals that outlive the call; a null mask changes nothing.
    let ready = unsafe { libc::ppoll(&mut poll, 1, &timeout, std::ptr::null()) };
    if ready < 0 {
        let error = io::Error::last_os_error();
        return if error.kind() == io::ErrorKind::Interrupted {
            Ok(false)
        } else {
            Err(error)
        };
    }
    if ready == 0 {
        return Ok(false);
    }
    let mut value = 0_u64;
    // SAFETY: the buffer is a local of eight bytes; poll said that the read does not block.
    unsafe { libc::read(descriptor, std::ptr::from_mut(&mut value).cast(), 8) };
    Ok(true)
}

/// Sends without waiting; the number of bytes that the socket took.
pub fn send_now(descriptor: RawFd, bytes: &[u8]) -> io::Result<usize> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: pointer and length come from one live slice.
    let sent = unsafe { libc::send(descriptor, bytes.as_ptr().cast(), bytes.len(), flags) };
    if sent < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(sent as usize)
    }
}

/// Leaves the choice of a port to `connect`, which may use one again towards another peer; a
/// `bind` would look for a port that nothing uses at all (`IP_BIND_ADDRESS_NO_PORT`).
pub fn bind_without_port(descriptor: RawFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the pointer is to a local of exactly the size given.
    check(unsafe {
        libc::setsockopt(
            descriptor,
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            std::ptr::from_ref(&on).cast(),
            std::mem::size_of_val(&on) as libc::socklen_t,
        )
    })
}

/// Sends a signal to a process that this process started.
pub fn signal(pid: u32, signal: libc::c_int) -> io::Result<()> {
    // SAFETY: kill touches no memory of ours.
    check(unsafe { libc::kill(pid as libc::pid_t, signal) })
}

/// Raises the soft limit of open files to the hard one and returns it.
pub fn raise_open_files() -> u64 {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the pointer is to a local that outlives the call.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 {
        return 1024;
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the pointer is to a local that outlives the call.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) };
    limit.rlim_cur
}

/// Type number of the file system that holds `path` (`statfs(2)`, field `f_type`).
pub fn file_system_type(path: &std::path::Path) -> io::Result<i64> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: a zeroed statfs is a valid value of this plain structure.
    let mut stat: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the string is terminated and the pointer is to a local that outlives the call.
    check(unsafe { libc::statfs(path.as_ptr(), &mut stat) })?;
    Ok(stat.f_type as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_move_forward() {
        let (wall, cpu) = (monotonic_ns(), own_cpu_ns());
        let mut sum = 0_u64;
        while monotonic_ns() < wall + 2_000_000 {
            sum = sum.wrapping_add(monotonic_ns());
        }
        assert!(sum > 0 && own_cpu_ns() > cpu);
    }

    #[test]
    fn own_process_clock_can_be_read_by_pid() {
        assert!(process_cpu_ns(std::process::id()).unwrap() > 0);
    }

    #[test]
    fn a_pinned_thread_runs_on_its_core_only() {
        std::thread::spawn(|| {
            pin_to_core(0).unwrap();
            let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
            let list = status
                .lines()
                .find(|line| line.starts_with("Cpus_allowed_list"))
                .unwrap();
            assert!(list.ends_with("\t0"), "{list}");
        })
        .join()
        .unwrap();
    }
}
