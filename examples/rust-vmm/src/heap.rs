// SPDX-License-Identifier: Apache-2.0
//! The allocator behind `alloc`: powers of two up to a frame from lists of free blocks, frames for the rest. One CPU,
//! and no interrupt comes while Rust code runs but where it is waited for.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr;

use crate::platform::{self, FRAME};

const SMALLEST: usize = 16;
const CLASSES: usize = 9; // 16 to 4096 bytes

struct Block {
    next: *mut Block,
}

struct Lists {
    free: [*mut Block; CLASSES],
    frames: u64,
}

struct Heap(UnsafeCell<Lists>);

// SAFETY: there is one CPU, see above.
unsafe impl Sync for Heap {}

#[global_allocator]
static HEAP: Heap = Heap(UnsafeCell::new(Lists {
    free: [ptr::null_mut(); CLASSES],
    frames: 0,
}));

/// How many frames the heap holds.
pub fn frames() -> u64 {
    // SAFETY: one CPU.
    unsafe { (*HEAP.0.get()).frames }
}

/// The list for blocks of this layout, None when it is larger than a frame.
fn class(layout: Layout) -> Option<usize> {
    let size = layout
        .size()
        .max(layout.align())
        .max(SMALLEST)
        .next_power_of_two();
    (size <= FRAME as usize).then(|| (size / SMALLEST).trailing_zeros() as usize)
}

impl Lists {
    /// Cuts a frame into blocks.
    fn refill(&mut self, class: usize) -> Option<()> {
        let frame = platform::frame_alloc(1, FRAME)?;
        self.frames += 1;
        for at in (0..FRAME as usize).step_by(SMALLEST << class) {
            // SAFETY: within the frame, which is ours.
            unsafe { self.push(class, (frame as *mut u8).add(at)) };
        }
        Some(())
    }

    unsafe fn push(&mut self, class: usize, block: *mut u8) {
        let block = block.cast::<Block>();
        // SAFETY: the caller's block.
        unsafe {
            block.write(Block {
                next: self.free[class],
            })
        };
        self.free[class] = block;
    }

    fn pop(&mut self, class: usize) -> Option<*mut u8> {
        if self.free[class].is_null() {
            self.refill(class)?;
        }
        let block = self.free[class];
        // SAFETY: a block of the list.
        self.free[class] = unsafe { (*block).next };
        Some(block.cast())
    }
}

fn frame_count(layout: Layout) -> u64 {
    (layout.size() as u64).div_ceil(FRAME)
}

// SAFETY: blocks are of the layout's size and alignment, and given out once.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: one CPU.
        let lists = unsafe { &mut *self.0.get() };
        match class(layout) {
            Some(class) => lists.pop(class).unwrap_or(ptr::null_mut()),
            None => {
                let align = (layout.align() as u64).max(FRAME);
                let Some(frames) = platform::frame_alloc(frame_count(layout), align) else {
                    return ptr::null_mut();
                };
                lists.frames += frame_count(layout);
                frames as *mut u8
            }
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: one CPU, and the block is the caller's.
        let lists = unsafe { &mut *self.0.get() };
        match class(layout) {
            Some(class) => unsafe { lists.push(class, block) },
            None => {
                platform::frame_free(block as u64, frame_count(layout));
                lists.frames -= frame_count(layout);
            }
        }
    }
}
