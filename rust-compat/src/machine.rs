// SPDX-License-Identifier: Apache-2.0
//! Machines of the C library. The crate has none: vCPUs with one host type and one `vm_id` are a machine, which lives as
//! long as it has a vCPU.

use alloc::boxed::Box;
use core::any::TypeId;
use core::cell::UnsafeCell;
use core::hint::spin_loop;
use core::ptr;
use core::sync::atomic::{AtomicBool, Ordering};

use x86_vcpu_sys as ffi;

use crate::status::check;
use crate::{X86HostOps, X86VcpuResult, ops};

struct Entry {
    host: TypeId,
    vm_id: usize,
    vcpus: usize,
    raw: *mut ffi::x86vcpu_machine,
    next: Option<Box<Entry>>,
}

impl Entry {
    fn new<H: X86HostOps>(vm_id: usize) -> X86VcpuResult<Box<Self>> {
        let config = ffi::x86vcpu_machine_config {
            size: size_of::<ffi::x86vcpu_machine_config>() as u32,
            flags: 0,
            vm_id: vm_id as u64,
            opaque: ptr::without_provenance_mut(vm_id),
        };
        let table = ops::table::<H>();
        let mut entry = Box::new(Self {
            host: TypeId::of::<H>(),
            vm_id,
            vcpus: 1,
            raw: ptr::null_mut(),
            next: None,
        });
        // SAFETY: the library copies the table and the configuration.
        check(unsafe { ffi::x86vcpu_machine_create(table, ptr::null_mut(), &config, &mut entry.raw) })?;
        Ok(entry)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        // SAFETY: ours alone, without vCPUs. NULL is allowed.
        if unsafe { ffi::x86vcpu_machine_destroy(self.raw) } != ffi::X86VCPU_OK {
            log::error!(
                "machine {} has a vCPU that could not be destroyed: its memory stays in use",
                self.vm_id
            );
        }
    }
}

/// Every machine. Held for a few instructions, without a call of the host.
struct Registry {
    locked: AtomicBool,
    first: UnsafeCell<Option<Box<Entry>>>,
}

// SAFETY: the list is reached under the lock only.
unsafe impl Sync for Registry {}

static REGISTRY: Registry = Registry {
    locked: AtomicBool::new(false),
    first: UnsafeCell::new(None),
};

impl Registry {
    fn with<T>(&self, work: impl FnOnce(&mut Option<Box<Entry>>) -> T) -> T {
        while self.locked.swap(true, Ordering::Acquire) {
            spin_loop();
        }
        // SAFETY: nothing else has the list while the lock is held.
        let result = work(unsafe { &mut *self.first.get() });
        self.locked.store(false, Ordering::Release);
        result
    }
}

fn find(mut entry: &mut Option<Box<Entry>>, host: TypeId, vm_id: usize) -> Option<&mut Entry> {
    while let Some(found) = entry {
        if found.host == host && found.vm_id == vm_id {
            return Some(found);
        }
        entry = &mut found.next;
    }
    None
}

/// One vCPU's share of its machine.
pub(crate) struct Machine {
    host: TypeId,
    vm_id: usize,
    raw: *mut ffi::x86vcpu_machine,
}

impl Machine {
    /// The machine of this host type and number, for one more vCPU.
    pub(crate) fn join<H: X86HostOps>(vm_id: usize) -> X86VcpuResult<Self> {
        let host = TypeId::of::<H>();
        let share = |raw| Self { host, vm_id, raw };
        let join = |first: &mut Option<Box<Entry>>| {
            find(first, host, vm_id).map(|entry| {
                entry.vcpus += 1;
                entry.raw
            })
        };
        if let Some(raw) = REGISTRY.with(join) {
            return Ok(share(raw));
        }
        // The host is called without the lock, so another vCPU of the machine may be faster.
        let mut spare = Some(Entry::new::<H>(vm_id)?);
        let raw = REGISTRY.with(|first| {
            join(first).or_else(|| {
                let mut entry = spare.take()?;
                let raw = entry.raw;
                entry.next = first.take();
                *first = Some(entry);
                Some(raw)
            })
        });
        Ok(share(raw.expect("one of the two")))
    }

    pub(crate) fn raw(&self) -> *mut ffi::x86vcpu_machine {
        self.raw
    }
}

impl Drop for Machine {
    /// After the vCPU was destroyed.
    fn drop(&mut self) {
        let unused = REGISTRY.with(|first| {
            let entry = find(first, self.host, self.vm_id)?;
            entry.vcpus -= 1;
            (entry.vcpus == 0).then(|| unlink(first, self.raw))?
        });
        drop(unused);
    }
}

fn unlink(mut link: &mut Option<Box<Entry>>, raw: *mut ffi::x86vcpu_machine) -> Option<Box<Entry>> {
    while link.as_ref()?.raw != raw {
        link = &mut link.as_mut()?.next;
    }
    let mut entry = link.take()?;
    *link = entry.next.take();
    Some(entry)
}
