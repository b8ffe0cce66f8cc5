// SPDX-License-Identifier: Apache-2.0
//! Which CPU executes, and what it executes for whom.
//!
//! The library asks at every bind, run and unbind. A CPU's APIC ID comes from CPUID, which costs an exit where the host is
//! itself a guest. But the CPUs of a host differ in GDTR.base or TR: a TSS is busy on the CPU that has loaded it (SDM 8.2.2).
//! SGDT and STR are cheap, so `hardware_enable` records which pair belongs to which APIC ID. Where two CPUs have the same
//! pair, or a CPU has changed its own, CPUID decides.

use alloc::boxed::Box;
use core::arch::asm;
use core::arch::x86_64::__cpuid_count;
use core::ffi::c_void;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};

/// A CPU that has been enabled once. Never freed. A cache line of its own, because `run` writes to it.
#[repr(align(64))]
struct Cpu {
    apic_id: u32,
    enabled: AtomicBool,
    /// Calls of `run`.
    running: AtomicU32,
    /// Calls into the host in which it may take interrupts or inject them, and timers that expire.
    muted: AtomicU32,
    /// The vector that VT-x has acknowledged for the VMM to handle, plus 1; or 0.
    #[cfg(x86_vcpu_0_6)]
    acknowledged: AtomicU32,
    next: *mut Cpu,
}

/// The CPU with this GDTR.base and TR. Never freed.
struct Tables {
    key: Key,
    /// NULL: none at present; AMBIGUOUS: several.
    cpu: AtomicPtr<Cpu>,
    next: *mut Tables,
}

#[derive(Clone, Copy, PartialEq)]
struct Key {
    gdtr_base: u64,
    tr: u16,
}

const AMBIGUOUS: *mut Cpu = ptr::dangling_mut();

const BUCKETS: usize = 256;

/// All CPUs, the newest first.
static CPUS: AtomicPtr<Cpu> = AtomicPtr::new(ptr::null_mut());
/// By the hash of the key, each the newest first.
static TABLES: [AtomicPtr<Tables>; BUCKETS] = [const { AtomicPtr::new(ptr::null_mut()) }; BUCKETS];

impl Key {
    fn here() -> Self {
        #[repr(C, packed)]
        struct Table {
            limit: u16,
            base: u64,
        }
        let mut table = Table { limit: 0, base: 0 };
        let tr: u16;
        // SAFETY: the instructions read two registers; SGDT writes the 10 bytes of `table`.
        unsafe {
            asm!("sgdt [{}]", in(reg) &raw mut table, options(nostack, preserves_flags));
            asm!("str {0:x}", out(reg) tr, options(nomem, nostack, preserves_flags));
        }
        Self {
            gdtr_base: table.base,
            tr,
        }
    }

    fn bucket(self) -> &'static AtomicPtr<Tables> {
        let mixed = (self.gdtr_base ^ u64::from(self.tr) << 48).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        &TABLES[(mixed >> 56) as usize % BUCKETS]
    }

    fn find(self) -> Option<&'static Tables> {
        let mut tables = self.bucket().load(Ordering::Acquire);
        // SAFETY: entries are complete when they get into the list, `next` does not change then, none is freed.
        while let Some(found) = unsafe { tables.as_ref() } {
            if found.key == self {
                return Some(found);
            }
            tables = found.next;
        }
        None
    }

    /// Two CPUs with one key may add it twice: then the newer entry counts, to which both come.
    fn find_or_add(self) -> &'static Tables {
        if let Some(found) = self.find() {
            return found;
        }
        let new = Box::into_raw(Box::new(Tables {
            key: self,
            cpu: AtomicPtr::new(ptr::null_mut()),
            next: ptr::null_mut(),
        }));
        push(self.bucket(), new, |entry, next| entry.next = next);
        self.find()
            .unwrap_or_else(|| unreachable!("it has just been added"))
    }
}

/// Puts `new`, which is the caller's alone, into a list for ever.
fn push<T>(list: &AtomicPtr<T>, new: *mut T, link: impl Fn(&mut T, *mut T)) {
    let mut head = list.load(Ordering::Relaxed);
    loop {
        // SAFETY: not in the list yet.
        link(unsafe { &mut *new }, head);
        match list.compare_exchange_weak(head, new, Ordering::AcqRel, Ordering::Relaxed) {
            Ok(_) => return,
            Err(other) => head = other,
        }
    }
}

/// The x2APIC ID where leaf 0xb exists, else the initial APIC ID (SDM Vol. 2, CPUID).
fn apic_id() -> u32 {
    if __cpuid_count(0, 0).eax >= 0xb {
        let topology = __cpuid_count(0xb, 0);
        if topology.ebx != 0 {
            return topology.edx;
        }
    }
    __cpuid_count(1, 0).ebx >> 24
}

fn find(apic_id: u32) -> Option<&'static Cpu> {
    let mut cpu = CPUS.load(Ordering::Acquire);
    // SAFETY: as in Key::find.
    while let Some(found) = unsafe { cpu.as_ref() } {
        if found.apic_id == apic_id {
            return Some(found);
        }
        cpu = found.next;
    }
    None
}

/// Only the CPU itself adds its entry, so there is one.
fn find_or_add(apic_id: u32) -> &'static Cpu {
    if let Some(found) = find(apic_id) {
        return found;
    }
    let new = Box::into_raw(Box::new(Cpu {
        apic_id,
        enabled: AtomicBool::new(false),
        running: AtomicU32::new(0),
        muted: AtomicU32::new(0),
        #[cfg(x86_vcpu_0_6)]
        acknowledged: AtomicU32::new(0),
        next: ptr::null_mut(),
    }));
    push(&CPUS, new, |entry, next| entry.next = next);
    // SAFETY: never freed from now on.
    unsafe { &*new }
}

/// The one CPU with these tables.
fn known(key: Key) -> Option<&'static Cpu> {
    let cpu = key.find()?.cpu.load(Ordering::Acquire);
    if cpu == AMBIGUOUS {
        return None;
    }
    // SAFETY: NULL or a CPU, none of which is freed.
    unsafe { cpu.as_ref() }
}

/// The executing CPU, if its extension is on.
fn here() -> Option<&'static Cpu> {
    known(Key::here()).or_else(|| find(apic_id()).filter(|cpu| cpu.enabled.load(Ordering::Relaxed)))
}

fn enable(key: Key, apic_id: u32) {
    let cpu = find_or_add(apic_id);
    let mine = ptr::from_ref(cpu).cast_mut();
    cpu.enabled.store(true, Ordering::Relaxed);
    let of_tables = &key.find_or_add().cpu;
    let before = of_tables.compare_exchange(ptr::null_mut(), mine, Ordering::AcqRel, Ordering::Acquire);
    if before.is_err_and(|other| other != mine) {
        of_tables.store(AMBIGUOUS, Ordering::Release);
    }
}

fn disable(apic_id: u32) {
    let Some(cpu) = find(apic_id) else {
        return;
    };
    cpu.enabled.store(false, Ordering::Relaxed);
    let mine = ptr::from_ref(cpu).cast_mut();
    for bucket in &TABLES {
        let mut tables = bucket.load(Ordering::Acquire);
        // SAFETY: as in Key::find.
        while let Some(found) = unsafe { tables.as_ref() } {
            // Those of other CPUs stay.
            let _ = found
                .cpu
                .compare_exchange(mine, ptr::null_mut(), Ordering::AcqRel, Ordering::Relaxed);
            tables = found.next;
        }
    }
}

/// The extension has been turned on here.
pub(crate) fn enabled_here() {
    enable(Key::here(), apic_id());
}

/// The extension has been turned off here.
pub(crate) fn disabled_here() {
    disable(apic_id());
}

/// `host_ops.current_cpu`
pub(crate) unsafe extern "C" fn current_cpu(_: *mut c_void) -> u32 {
    known(Key::here()).map_or_else(apic_id, |cpu| cpu.apic_id)
}

/// Counts on the executing CPU for as long as it lives there. On a CPU whose extension is off it does nothing.
pub(crate) struct Section(Option<&'static AtomicU32>);

impl Section {
    fn begin(counter: impl Fn(&'static Cpu) -> &'static AtomicU32) -> Self {
        let counter = here().map(counter);
        if let Some(counter) = counter {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        Self(counter)
    }

    /// A guest may act until this is dropped.
    pub(crate) fn run() -> Self {
        Self::begin(|cpu| &cpu.running)
    }

    /// What happens until this is dropped is the host's doing, not a guest's.
    pub(crate) fn of_the_host() -> Self {
        Self::begin(|cpu| &cpu.muted)
    }
}

impl Drop for Section {
    fn drop(&mut self) {
        if let Some(counter) = self.0 {
            counter.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Whether the library calls because of what a guest does here.
pub(crate) fn a_guest_acts() -> bool {
    here()
        .is_some_and(|cpu| cpu.running.load(Ordering::Relaxed) != 0 && cpu.muted.load(Ordering::Relaxed) == 0)
}

/// The interrupt is the VMM's to handle.
#[cfg(x86_vcpu_0_6)]
pub(crate) fn acknowledge(vector: u32) {
    if let Some(cpu) = here() {
        cpu.acknowledged.store(vector + 1, Ordering::Relaxed);
    }
}

/// The interrupt that ended the run here, once.
#[cfg(x86_vcpu_0_6)]
pub(crate) fn take_acknowledged() -> Option<u8> {
    let vector = here()?.acknowledged.swap(0, Ordering::Relaxed).checked_sub(1)?;
    u8::try_from(vector).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn key(gdtr_base: u64, tr: u16) -> Key {
        Key { gdtr_base, tr }
    }

    fn number(key: Key) -> Option<u32> {
        known(key).map(|cpu| cpu.apic_id)
    }

    #[test]
    fn a_cpu_is_known_while_it_is_on() {
        let (one, two) = (key(0xffff_8000_0010_0000, 0x28), key(0xffff_8000_0010_0000, 0x38));
        assert_eq!((number(one), number(two)), (None, None));
        enable(one, 0x1000);
        enable(two, 0x1001);
        assert_eq!((number(one), number(two)), (Some(0x1000), Some(0x1001)));
        disable(0x1000);
        assert_eq!((number(one), number(two)), (None, Some(0x1001)));
        // A hypervisor that has moved its GDT enables again; the old one may be another CPU's then.
        enable(key(0x5000, 0x28), 0x1000);
        enable(one, 0x1002);
        assert_eq!(number(key(0x5000, 0x28)), Some(0x1000));
        assert_eq!(number(one), Some(0x1002));
    }

    #[test]
    fn tables_of_two_cpus_tell_nothing() {
        let shared = key(0x9000, 0);
        enable(shared, 0x2000);
        enable(shared, 0x2000);
        assert_eq!(number(shared), Some(0x2000));
        enable(shared, 0x2001);
        assert_eq!(number(shared), None);
        disable(0x2000);
        enable(shared, 0x2002);
        assert_eq!(number(shared), None);
    }
}
