//! What the process asks of the kernel before it holds card data.

use std::io;

use tracing::warn;

/// No core file, no dump, no tracer of the same user; warns where memory could reach a disk.
///
/// # Errors
/// When the kernel refuses; the program must not start then.
#[expect(unsafe_code, reason = "prctl and setrlimit have no safe form; both take plain numbers")]
pub fn harden() -> io::Result<()> {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls read only what is passed to them.
    let refused = unsafe {
        libc::prctl(libc::PR_SET_DUMPABLE, 0) != 0 || libc::setrlimit(libc::RLIMIT_CORE, &none) != 0
    };
    if refused {
        return Err(io::Error::last_os_error());
    }
    if swap_is_on() && !hushpad_card::memory_is_locked() {
        warn!(
            "swap is on and memory cannot be locked: card data could reach the disk; raise RLIMIT_MEMLOCK or turn swap off"
        );
    }
    Ok(())
}

/// A call needs four sockets: asks for as many descriptors as the kernel allows.
#[expect(unsafe_code, reason = "getrlimit and setrlimit have no safe form")]
pub fn raise_descriptor_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls are given a limit that lives through them.
    let raised = unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 && {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit) == 0
        }
    };
    if !raised {
        warn!("the limit of open files could not be raised");
    }
}

fn swap_is_on() -> bool {
    std::fs::read_to_string("/proc/swaps").is_ok_and(|swaps| swaps.lines().count() > 1)
}
