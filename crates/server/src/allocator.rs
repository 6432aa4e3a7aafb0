//! An allocator that wipes what is freed, so that no copy of a digit outlives its use.

use std::alloc::{GlobalAlloc, Layout};

use mimalloc::MiMalloc;

/// `MiMalloc`, and every block is set to zero before it goes back.
pub struct WipingAllocator;

#[expect(unsafe_code, reason = "an allocator is unsafe by its trait; each call is passed on unchanged")]
// SAFETY: every request goes to `MiMalloc` as it came; a block is written only before it is freed, within
// the size it was asked for. `realloc` is the trait's own: allocate, copy, free, so the old block is wiped.
unsafe impl GlobalAlloc for WipingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is passed on.
        unsafe { MiMalloc.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise is passed on.
        unsafe { MiMalloc.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the block is the caller's, `layout.size()` bytes long, and not used after this.
        unsafe {
            std::ptr::write_bytes(block, 0, layout.size());
            // The write must happen although nothing reads it.
            std::hint::black_box(block);
            MiMalloc.dealloc(block, layout);
        }
    }
}
