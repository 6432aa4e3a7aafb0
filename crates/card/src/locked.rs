//! Memory for digits: locked into RAM, left out of core dumps, wiped before it is used again.
//!
//! `mlock` works on whole pages and does not count, so two secrets on one ordinary heap page would unlock
//! each other. Hence a pool of our own: pages mapped once, never given back, cut into slots.
#![expect(unsafe_code, reason = "mmap, mlock and madvise have no safe form; slots are raw memory")]

use std::ptr::NonNull;
use std::sync::{Mutex, PoisonError};

use zeroize::Zeroize;

/// Room for the longest card number (19 digits), rounded up to a power of two.
pub(crate) const SLOT_BYTES: usize = 32;

/// The smallest page size there is; larger pages are only used in part.
const PAGE_BYTES: usize = 4096;

/// 1 MiB, 32,768 slots: three fields each for 10,000 sessions at once, far above what one node serves.
/// Past it no field can be started, until another session ends.
const PAGES_MAX: usize = 256;

static POOL: Mutex<Pool> = Mutex::new(Pool::new(PAGES_MAX));

/// Whether all memory for digits is locked into RAM: it can then never reach a swap device.
///
/// False when the system refused (`RLIMIT_MEMLOCK` too low). Digits are still left out of dumps and wiped.
#[must_use]
pub fn memory_is_locked() -> bool {
    // Taking a slot maps the first page, so that the answer at start-up is a measured one.
    let slot = Slot::take();
    let pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    let locked = slot.is_some() && pool.all_locked;
    drop(pool);
    locked
}

/// One piece of locked memory, zero when taken, wiped when dropped.
pub(crate) struct Slot(Memory);

impl Slot {
    /// A free slot; `None` when the pool is at its bound or the system gives no memory.
    pub(crate) fn take() -> Option<Self> {
        POOL.lock().unwrap_or_else(PoisonError::into_inner).take().map(Self)
    }

    pub(crate) fn bytes(&self) -> &[u8; SLOT_BYTES] {
        // SAFETY: the memory is mapped for ever, initialised, and this slot is its only owner.
        unsafe { self.0.0.as_ref() }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8; SLOT_BYTES] {
        // SAFETY: as above, and `self` is borrowed exclusively.
        unsafe { self.0.0.as_mut() }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.bytes_mut().zeroize();
        POOL.lock().unwrap_or_else(PoisonError::into_inner).give_back(self.0);
    }
}

/// Where a slot lies.
#[derive(Clone, Copy)]
struct Memory(NonNull<[u8; SLOT_BYTES]>);

// SAFETY: it points to plain bytes that are never unmapped and have one owner at a time: a `Slot`, or the
// pool behind its mutex.
unsafe impl Send for Memory {}
// SAFETY: shared access only reads.
unsafe impl Sync for Memory {}

/// The slots that nobody uses. Holds at most `pages_max * PAGE_BYTES / SLOT_BYTES`.
struct Pool {
    free: Vec<Memory>,
    pages: usize,
    pages_max: usize,
    all_locked: bool,
}

impl Pool {
    const fn new(pages_max: usize) -> Self {
        Self { free: Vec::new(), pages: 0, pages_max, all_locked: true }
    }

    fn take(&mut self) -> Option<Memory> {
        if self.free.is_empty() && self.pages < self.pages_max {
            self.map_page();
        }
        self.free.pop()
    }

    /// `memory` has been wiped.
    fn give_back(&mut self, memory: Memory) {
        self.free.push(memory);
    }

    /// Adds one page of free slots, if the system has one.
    fn map_page(&mut self) {
        // SAFETY: an anonymous private mapping at an address of the system's choice touches nothing of ours.
        let page = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                PAGE_BYTES,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if page == libc::MAP_FAILED {
            return;
        }
        // SAFETY: both calls get exactly the page just mapped.
        let (locked, hidden) = unsafe {
            (libc::mlock(page, PAGE_BYTES) == 0, libc::madvise(page, PAGE_BYTES, libc::MADV_DONTDUMP) == 0)
        };
        self.all_locked &= locked && hidden;
        self.pages += 1;
        let first = page.cast::<[u8; SLOT_BYTES]>();
        for index in 0..PAGE_BYTES / SLOT_BYTES {
            // SAFETY: `index` stays inside the page.
            self.free.extend(NonNull::new(unsafe { first.add(index) }).map(Memory));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_slot_is_wiped() {
        let mut slot = Slot::take().unwrap();
        slot.bytes_mut().fill(b'7');
        let memory = slot.0;
        // The mutex is held over the drop's wipe and the look, so nobody can take the slot in between.
        drop(slot);
        let pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
        if pool.free.iter().any(|free| free.0 == memory.0) {
            // SAFETY: the slot is free and the pool is locked.
            assert_eq!(unsafe { *memory.0.as_ref() }, [0; SLOT_BYTES]);
        }
    }

    #[test]
    fn the_pool_stops_at_its_bound_and_reuses_what_comes_back() {
        let mut pool = Pool::new(1);
        let taken: Vec<Memory> = std::iter::from_fn(|| pool.take()).collect();
        assert_eq!(taken.len(), PAGE_BYTES / SLOT_BYTES);
        assert!(pool.take().is_none());
        pool.give_back(taken[0]);
        assert!(pool.take().is_some());
    }

    /// `lo` = locked, `dd` = not in dumps (proc(5), `VmFlags`).
    #[test]
    fn the_system_confirms_that_the_page_is_locked_and_not_dumped() {
        let slot = Slot::take().unwrap();
        let address = slot.bytes().as_ptr() as usize;
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut inside = false;
        let mut flags = "";
        for line in maps.lines() {
            let range = line.split(' ').next().and_then(|range| range.split_once('-'));
            if let Some((from, to)) = range
                && let (Ok(from), Ok(to)) = (usize::from_str_radix(from, 16), usize::from_str_radix(to, 16))
            {
                inside = (from..to).contains(&address);
            }
            if inside && let Some(found) = line.strip_prefix("VmFlags:") {
                flags = found;
            }
        }
        assert!(flags.contains(" dd"), "{flags}");
        assert_eq!(flags.contains(" lo"), memory_is_locked(), "{flags}");
    }
}
