//! A heap for a program that runs once: it gives memory out from front to back and takes back only what it gave last.

use core::{
    alloc::{GlobalAlloc, Layout},
    cell::UnsafeCell,
    ptr,
};

/// Sixteen mebibytes below the end of the region are left to the stack.
const HEAP_END: usize = 0x0f00_0000;

unsafe extern "C" {
    /// From the linker script: the first byte behind everything else in the region.
    static mut _heap_start: u8;
}

struct State {
    /// The first free byte; 0 before the first allocation.
    next: usize,
    /// The end of what was ever given out. Behind it memory is zero.
    used: usize,
}

struct Heap(UnsafeCell<State>);

// SAFETY: the machine has one hart and no interrupts.
unsafe impl Sync for Heap {}

#[global_allocator]
static HEAP: Heap = Heap(UnsafeCell::new(State { next: 0, used: 0 }));

impl Heap {
    /// Memory for `layout`, and the end of the part of it that may not be zero.
    #[inline]
    fn take(&self, layout: Layout) -> (*mut u8, usize) {
        // SAFETY: one hart, and no reference outlives its call.
        let state = unsafe { &mut *self.0.get() };
        if state.next == 0 {
            state.next = &raw mut _heap_start as usize;
            state.used = state.next;
        }
        // Word alignment at least, so that copies are of whole words.
        let alignment = layout.align().max(4);
        let start = (state.next + alignment - 1) & !(alignment - 1);
        let dirty = state.used;
        match start.checked_add(layout.size()) {
            Some(end) if end <= HEAP_END => {
                state.next = end;
                state.used = state.used.max(end);
                (start as *mut u8, dirty)
            }
            _ => (ptr::null_mut(), dirty),
        }
    }
}

// SAFETY: blocks are disjoint, because `next` only moves back over a block that was given back, and it is the last one.
unsafe impl GlobalAlloc for Heap {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.take(layout).0
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let (block, dirty) = self.take(layout);
        let length = dirty.saturating_sub(block as usize).min(layout.size());
        if length != 0 && !block.is_null() {
            // SAFETY: `length` bytes of the block.
            unsafe { ptr::write_bytes(block, 0, length) };
        }
        block
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as in `take`.
        let state = unsafe { &mut *self.0.get() };
        if block as usize + layout.size() == state.next {
            state.next = block as usize;
        }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as in `take`.
        let state = unsafe { &mut *self.0.get() };
        if block as usize + layout.size() == state.next {
            // The last block grows and shrinks in place.
            return match (block as usize).checked_add(size) {
                Some(end) if end <= HEAP_END => {
                    state.next = end;
                    state.used = state.used.max(end);
                    block
                }
                _ => ptr::null_mut(),
            };
        }
        if size <= layout.size() {
            return block;
        }
        // SAFETY: the size is not zero and does not overflow, as the caller of `realloc` promises.
        let new = self.take(unsafe { Layout::from_size_align_unchecked(size, layout.align()) }).0;
        if !new.is_null() {
            // SAFETY: both blocks hold `layout.size()` bytes, and blocks are disjoint.
            unsafe { ptr::copy_nonoverlapping(block, new, layout.size()) };
        }
        new
    }
}
