//! System calls the standard library has no words for: epoll, a wake-up file, a thread's processor.
//! Nothing here allocates after it was made.
//!
//! Packets themselves go through `UdpSocket`. `recvmmsg` and `sendmmsg` batch over one socket only, and a
//! call's socket has one packet every 20 ms: measured, they cost more than they save.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// Sockets reported at once.
const EVENTS: usize = 256;
/// `epoll_wait` without a time-out.
const FOR_EVER: i32 = -1;

/// Tells which sockets have something to read.
pub(super) struct Epoll {
    fd: OwnedFd,
    events: Box<[libc::epoll_event; EVENTS]>,
    ready: usize,
}

impl Epoll {
    pub(super) fn new() -> io::Result<Self> {
        #[expect(unsafe_code, reason = "a plain call; the new descriptor is owned at once")]
        let fd = unsafe {
            let fd = checked(libc::epoll_create1(libc::EPOLL_CLOEXEC))?;
            OwnedFd::from_raw_fd(fd)
        };
        Ok(Self { fd, events: Box::new([libc::epoll_event { events: 0, u64: 0 }; EVENTS]), ready: 0 })
    }

    /// Reports `token` whenever `fd` can be read. Closing the descriptor ends it.
    pub(super) fn add(&self, fd: &impl AsRawFd, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN.cast_unsigned(), u64: token };
        #[expect(unsafe_code, reason = "`event` outlives the call; the kernel checks both descriptors")]
        checked(unsafe {
            libc::epoll_ctl(self.fd.as_raw_fd(), libc::EPOLL_CTL_ADD, fd.as_raw_fd(), &raw mut event)
        })?;
        Ok(())
    }

    /// Waits until something can be read, for as long as it takes: a time-out would set the processor's clock anew for
    /// every packet. [`Ticker`] wakes instead.
    pub(super) fn wait(&mut self) -> io::Result<()> {
        let room = i32::try_from(EVENTS).unwrap_or(i32::MAX);
        #[expect(unsafe_code, reason = "`events` has room for as many entries as are said")]
        let ready = checked(unsafe {
            libc::epoll_wait(self.fd.as_raw_fd(), self.events.as_mut_ptr(), room, FOR_EVER)
        });
        self.ready = match ready {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            ready => usize::try_from(ready?).unwrap_or(0),
        };
        Ok(())
    }

    /// What the last wait found.
    pub(super) fn tokens(&self) -> impl Iterator<Item = u64> {
        self.events.iter().take(self.ready).map(|event| event.u64)
    }
}

/// Wakes a worker from another thread.
pub(super) struct Wake(OwnedFd);

impl Wake {
    pub(super) fn new() -> io::Result<Self> {
        #[expect(unsafe_code, reason = "a plain call; the new descriptor is owned at once")]
        let fd = unsafe {
            let fd = checked(libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK))?;
            OwnedFd::from_raw_fd(fd)
        };
        Ok(Self(fd))
    }

    /// Wakes. A full counter means it is awake already.
    pub(super) fn wake(&self) {
        let one = 1_u64.to_ne_bytes();
        #[expect(unsafe_code, reason = "`one` has the eight bytes that are said")]
        let _full = unsafe { libc::write(self.0.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    /// Sleeps again.
    pub(super) fn clear(&self) {
        take_count(&self.0);
    }
}

impl AsRawFd for Wake {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Wakes a worker again and again.
pub(super) struct Ticker {
    fd: OwnedFd,
    period_us: u64,
}

impl Ticker {
    /// One that does not tick yet.
    pub(super) fn new() -> io::Result<Self> {
        #[expect(unsafe_code, reason = "a plain call; the new descriptor is owned at once")]
        let fd = unsafe {
            let fd =
                checked(libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC | libc::TFD_NONBLOCK))?;
            OwnedFd::from_raw_fd(fd)
        };
        Ok(Self { fd, period_us: 0 })
    }

    /// Ticks each `period_us` from now on; never with 0. Costs nothing when it does so already.
    pub(super) fn every(&mut self, period_us: u64) -> io::Result<()> {
        if period_us == self.period_us {
            return Ok(());
        }
        let period = libc::timespec {
            tv_sec: i64::try_from(period_us / 1_000_000).unwrap_or(i64::MAX),
            tv_nsec: i64::try_from(period_us % 1_000_000 * 1_000).unwrap_or_default(),
        };
        let setting = libc::itimerspec { it_interval: period, it_value: period };
        #[expect(unsafe_code, reason = "`setting` outlives the call; no old setting is asked for")]
        checked(unsafe {
            libc::timerfd_settime(self.fd.as_raw_fd(), 0, &raw const setting, std::ptr::null_mut())
        })?;
        self.period_us = period_us;
        Ok(())
    }

    /// Takes note of the ticks there were.
    pub(super) fn clear(&self) {
        take_count(&self.fd);
    }
}

impl AsRawFd for Ticker {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// Reads the count of an event or timer file, which sets it to zero.
fn take_count(fd: &OwnedFd) {
    let mut count = [0_u8; 8];
    #[expect(unsafe_code, reason = "`count` has room for the eight bytes that are said")]
    let _empty = unsafe { libc::read(fd.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
}

/// Keeps this thread on one processor, counted over those it may use. Without effect if that fails: it is
/// faster when it works, and right when it does not.
pub(super) fn pin_to_processor(number: usize) {
    #[expect(unsafe_code, reason = "an empty set is all zero; both calls get its right size")]
    unsafe {
        let mut allowed: libc::cpu_set_t = mem::zeroed();
        if libc::sched_getaffinity(0, mem::size_of_val(&allowed), &raw mut allowed) != 0 {
            return;
        }
        let highest = 8 * mem::size_of_val(&allowed);
        let Some(processor) =
            (0..highest).filter(|processor| libc::CPU_ISSET(*processor, &allowed)).nth(number)
        else {
            return;
        };
        let mut only: libc::cpu_set_t = mem::zeroed();
        libc::CPU_SET(processor, &mut only);
        libc::sched_setaffinity(0, mem::size_of_val(&only), &raw const only);
    }
}

/// How much this thread goes before others, as `nice` counts: sound that waits is sound that is lost.
const PRIORITY: i32 = -10;

/// Lets this thread go before the others of the machine, where the system allows it.
pub(super) fn go_first() {
    #[expect(unsafe_code, reason = "a plain call; it takes numbers only, and zero is this thread")]
    let _not_allowed = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, PRIORITY) };
}

fn checked(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
