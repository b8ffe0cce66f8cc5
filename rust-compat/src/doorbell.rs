// SPDX-License-Identifier: Apache-2.0
//! How an NMI, INIT or start-up IPI of one vCPU reaches another that waits or runs.
//!
//! The library keeps the message and asks the host to wake or interrupt the target. The host trait has one method that does
//! so: `inject_interrupt`. It queues a vector, wakes the vCPU's thread, and that thread injects the vector. So the target is
//! sent an interrupt that is none, and the vCPU drops it when it comes back. Its vector is that of the NMI, which
//! no interrupt controller of a PC uses.

use alloc::boxed::Box;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicUsize, Ordering};

/// Of the interrupt that is none.
pub(crate) const VECTOR: u8 = 2;

/// Of one vCPU. Never freed, because the library may ring it when its vCPU is gone; a later vCPU gets it then.
pub(crate) struct Doorbell {
    in_use: AtomicBool,
    /// Whose it is, or was: the address of the host's operations, and the numbers.
    host: AtomicUsize,
    vm_id: AtomicUsize,
    vcpu_id: AtomicUsize,
    /// Interrupts that have been sent and have not come back. A host may merge them, so that fewer come back.
    sent: AtomicU32,
    next: *mut Doorbell,
}

// SAFETY: `next` does not change once it is in the list.
unsafe impl Sync for Doorbell {}

/// All of them, the newest first.
static ALL: AtomicPtr<Doorbell> = AtomicPtr::new(ptr::null_mut());

fn all() -> impl Iterator<Item = &'static Doorbell> {
    let mut bell = ALL.load(Ordering::Acquire);
    core::iter::from_fn(move || {
        // SAFETY: complete when they get into the list, and never freed.
        let found = unsafe { bell.as_ref() }?;
        bell = found.next;
        Some(found)
    })
}

impl Doorbell {
    fn is_of(&self, host: usize, vm_id: usize, vcpu_id: usize) -> bool {
        self.vcpu_id.load(Ordering::Relaxed) == vcpu_id
            && self.vm_id.load(Ordering::Relaxed) == vm_id
            && self.host.load(Ordering::Relaxed) == host
    }

    fn try_take(&self) -> bool {
        self.in_use
            .compare_exchange(false, true, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// For a new vCPU. The last one with its numbers may have left interrupts that are still to come back, so its bell is
    /// preferred.
    pub(crate) fn take(host: usize, vm_id: usize, vcpu_id: usize) -> &'static Self {
        if let Some(bell) = all().find(|bell| bell.is_of(host, vm_id, vcpu_id) && bell.try_take()) {
            return bell;
        }
        let idle = |bell: &&Self| bell.sent.load(Ordering::Relaxed) == 0 && bell.try_take();
        let bell = all().find(idle).unwrap_or_else(Self::add);
        bell.host.store(host, Ordering::Relaxed);
        bell.vm_id.store(vm_id, Ordering::Relaxed);
        bell.vcpu_id.store(vcpu_id, Ordering::Relaxed);
        bell
    }

    fn add() -> &'static Self {
        let new = Box::into_raw(Box::new(Self {
            in_use: AtomicBool::new(true),
            host: AtomicUsize::new(0),
            vm_id: AtomicUsize::new(0),
            vcpu_id: AtomicUsize::new(0),
            sent: AtomicU32::new(0),
            next: ALL.load(Ordering::Relaxed),
        }));
        // SAFETY: ours alone until it is in the list, and never freed then.
        unsafe {
            while let Err(head) =
                ALL.compare_exchange_weak((*new).next, new, Ordering::Release, Ordering::Relaxed)
            {
                (*new).next = head;
            }
            &*new
        }
    }

    pub(crate) fn find(host: usize, vm_id: usize, vcpu_id: usize) -> Option<&'static Self> {
        all().find(|bell| bell.in_use.load(Ordering::Relaxed) && bell.is_of(host, vm_id, vcpu_id))
    }

    /// Its vCPU is gone.
    pub(crate) fn release(&self) {
        self.in_use.store(false, Ordering::Release);
    }

    /// `inject` hands VECTOR to the host, and tells whether the host took it.
    pub(crate) fn ring(&self, inject: impl FnOnce() -> bool) {
        // Counted before the host gets it, because it may return immediately, on another CPU.
        self.sent.fetch_add(1, Ordering::AcqRel);
        if !inject() {
            self.came_back();
        }
    }

    /// Whether an interrupt with VECTOR that the host injects is one of these.
    pub(crate) fn came_back(&self) -> bool {
        let mut sent = self.sent.load(Ordering::Acquire);
        while sent != 0 {
            match self
                .sent
                .compare_exchange_weak(sent, sent - 1, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return true,
                Err(now) => sent = now,
            }
        }
        false
    }
}
