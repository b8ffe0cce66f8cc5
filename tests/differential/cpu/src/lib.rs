// SPDX-License-Identifier: Apache-2.0
//! The declarations of tests/model/model.h and trap.h.
#![no_std]
#![allow(non_camel_case_types)]

use core::ffi::{c_char, c_int, c_void};

pub const MODEL_VMX: u32 = 0;
pub const MODEL_SVM: u32 = 1;
pub const MODEL_GUEST_SIZE: usize = 0x40000;
pub const MODEL_GDTR: u32 = 0;
pub const MODEL_IDTR: u32 = 1;

macro_rules! numbered {
    ($($name:ident)*) => { numbered!(@ 0; $($name)*); };
    (@ $n:expr; $name:ident $($rest:ident)*) => { pub const $name: u32 = $n; numbered!(@ $n + 1; $($rest)*); };
    (@ $n:expr;) => {};
}

pub mod feature {
    pub const XSAVE: u32 = 1 << 0;
    pub const XSAVES: u32 = 1 << 1;
    pub const AVX512: u32 = 1 << 2;
    pub const AMX: u32 = 1 << 3;
    pub const RDTSCP: u32 = 1 << 4;
    pub const INVPCID: u32 = 1 << 5;
    pub const TIMER: u32 = 1 << 6;
    pub const VPID: u32 = 1 << 7;
    pub const EPT_AD: u32 = 1 << 8;
    pub const APICV: u32 = 1 << 9;
    pub const APIC_ACCESS: u32 = 1 << 10;
    pub const INVEPT_SINGLE: u32 = 1 << 11;
    pub const VNMI: u32 = 1 << 12;
    pub const NRIPS: u32 = 1 << 13;
    pub const DECODE: u32 = 1 << 14;
    pub const FLUSH_ASID: u32 = 1 << 15;
    pub const CLEAN: u32 = 1 << 16;
    pub const TSC_DEADLINE: u32 = 1 << 17;
    pub const BARE_CONTROLS: u32 = 1 << 19;
    pub const ODD_HOST: u32 = 1 << 20;
    pub const MAY_NMI_WINDOW_IN_STI: u32 = 1 << 25;
    pub const MAY_STALE_FIELDS: u32 = 1 << 26;
    pub const ALL: u32 = 0x3ffff;
}

pub mod op {
    numbered! {
        NONE CPUID HYPERCALL HLT IN OUT RDMSR WRMSR MOV_TO_CR MOV_FROM_CR CLTS LMSW XSETBV XGETBV INVD WBINVD RDTSC
        RDPMC PAUSE MONITOR MWAIT MOV_DR UD2 REFUSED MMIO EXCEPTION TRIPLE_FAULT INTERRUPT NMI TIMER TASK_SWITCH
        BAD_ENTRY CUT_SHORT STORM DELIVERY
    }
}

pub mod field {
    numbered! {
        RAX RCX RDX RBX RSP RBP RSI RDI R8 R9 R10 R11 R12 R13 R14 R15 RIP RFLAGS CR0 CR2 CR3 CR4 EFER XCR0 XSS
        DR0 DR1 DR2 DR3 DR6 DR7 SELECTOR
    }
    pub const BASE: u32 = SELECTOR + 8;
    pub const LIMIT: u32 = BASE + 8;
    pub const RIGHTS: u32 = LIMIT + 8;
    pub const GDTR_BASE: u32 = RIGHTS + 8;
    pub const GDTR_LIMIT: u32 = GDTR_BASE + 1;
    pub const IDTR_BASE: u32 = GDTR_BASE + 2;
    pub const IDTR_LIMIT: u32 = GDTR_BASE + 3;
    pub const STAR: u32 = GDTR_BASE + 4;
    pub const LSTAR: u32 = STAR + 1;
    pub const CSTAR: u32 = STAR + 2;
    pub const FMASK: u32 = STAR + 3;
    pub const KERNEL_GS_BASE: u32 = STAR + 4;
    pub const SYSENTER_CS: u32 = STAR + 5;
    pub const SYSENTER_ESP: u32 = STAR + 6;
    pub const SYSENTER_EIP: u32 = STAR + 7;
    pub const PAT: u32 = STAR + 8;
    pub const TSC_AUX: u32 = STAR + 9;
    pub const DEBUGCTL: u32 = STAR + 10;
    pub const SHADOW: u32 = STAR + 11;
    pub const PENDING_DEBUG: u32 = STAR + 12;
    pub const PDPTE0: u32 = STAR + 13;
    pub const COUNT: u32 = STAR + 17;
}

#[repr(C)]
pub struct model {
    private: [u8; 0],
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct model_op {
    pub kind: u32,
    pub length: u32,
    pub a: u64,
    pub b: u64,
    pub c: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct model_event {
    pub kind: u32,
    pub vector: u32,
    pub has_error_code: u32,
    pub error_code: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct model_outcome {
    pub stopped: u32,
    pub native: u32,
    pub entries: u32,
    pub entry_failed: u32,
    pub event_count: u32,
    pub stuck: u32,
    pub before: u32,
    pub reserved: u32,
    pub events: [model_event; 8],
    pub fields: [u64; field::COUNT as usize],
}

pub const MODEL_WORDS: usize = 512;
pub const MODEL_PAGES: usize = 5;
pub const MODEL_REGISTERS: usize = 128;
pub const MODEL_PICTURES: u32 = 16;

/// Numbers of registers that are no MSRs.
pub mod register {
    numbered! { XCR0 CR0 CR2 CR3 CR4 DR0 DR1 DR2 DR3 DR6 DR7 COUNT }
    pub const OTHERS: u64 = 1 << 32;
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct model_register {
    pub number: u64,
    pub value: u64,
}

#[repr(C)]
pub struct model_picture {
    pub words: [u64; MODEL_WORDS],
    pub written: [u8; MODEL_WORDS],
    pub pages: [[u8; 4096]; MODEL_PAGES],
    pub owned: u32,
    pub register_count: u32,
    pub registers: [model_register; MODEL_REGISTERS],
    pub owner: u64,
    pub cpu: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct model_write {
    pub number: u64,
    pub value: u64,
    pub before: u64,
    pub cpu: u32,
    pub entries: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct model_record {
    pub operation: u32,
    pub cpu: u32,
    pub a: u64,
    pub b: u64,
}

// A panic may pass through the model: it holds nothing that would have to be given back.
unsafe extern "C-unwind" {
    pub fn model_create(backend: u32, features: u32) -> *mut model;
    pub fn model_destroy(m: *mut model);
    pub fn model_use(m: *mut model, cpu: u32);
    pub fn model_relax(m: *mut model);
    pub fn model_pass(m: *mut model, ticks: u64);
    pub fn model_alloc(m: *mut model, count: u64, align: u64) -> u64;
    pub fn model_free(m: *mut model, hpa: u64, count: u64);
    pub fn model_memory(m: *mut model, hpa: u64) -> *mut c_void;
    pub fn model_physical(m: *mut model, memory: *const c_void) -> u64;
    pub fn model_frames_in_use(m: *const model) -> u32;
    pub fn model_fail_allocation(m: *mut model, after: u32);
    pub fn model_guest_memory(m: *mut model) -> *mut u8;
    pub fn model_nested_changed(m: *mut model);
    pub fn model_field_name(field: u32) -> *const c_char;
    pub fn model_guest_sets(m: *mut model, field: u32, value: u64);
    pub fn model_guest_does(m: *mut model, op: *const model_op);
    pub fn model_outcome(m: *const model) -> *const model_outcome;
    pub fn model_register_name(number: u64) -> *const c_char;
    pub fn model_words(backend: u32, count: *mut u32) -> *const u32;
    pub fn model_word_name(backend: u32, word: u32) -> *const c_char;
    pub fn model_entries(m: *const model) -> u32;
    pub fn model_picture(m: *const model, number: u32) -> *const model_picture;
    pub fn model_writes(m: *const model, count: *mut u32) -> *const model_write;
    pub fn model_forget_writes(m: *mut model);
    pub fn model_remembered(m: *const model, number: u64) -> u64;
    pub fn model_complaints(m: *const model) -> *const c_char;
    pub fn model_forgive(m: *mut model);
    pub fn model_host_remember(m: *mut model);
    pub fn model_host_changes(m: *mut model) -> *const c_char;
    pub fn model_operation_name(operation: u32) -> *const c_char;
    pub fn model_trace(m: *mut model, count: *mut u32) -> *const model_record;
    pub fn model_trace_clear(m: *mut model);
    pub fn model_operations(m: *const model, operation: u32) -> u64;

    pub fn model_vmxon(hpa: u64) -> u32;
    pub fn model_vmxoff() -> u32;
    pub fn model_vmclear(hpa: u64) -> u32;
    pub fn model_vmptrld(hpa: u64) -> u32;
    pub fn model_vmread(field: u64, value: *mut u64) -> u32;
    pub fn model_vmwrite(field: u64, value: u64) -> u32;
    pub fn model_cpuid(leaf: u32, subleaf: u32, out: *mut u32);
    pub fn model_rdtsc() -> u64;
    pub fn model_tsc() -> u64;
    pub fn model_rdmsr(msr: u32) -> u64;
    pub fn model_wrmsr(msr: u32, value: u64);
    pub fn model_try_rdmsr(msr: u32, value: *mut u64) -> u32;
    pub fn model_read_cr(number: u32) -> u64;
    pub fn model_write_cr(number: u32, value: u64);
    pub fn model_xgetbv(index: u32) -> u64;
    pub fn model_xsetbv(index: u32, value: u64);
    pub fn model_set_if(interrupts: u32);
    pub fn model_store_table(table: u32, limit: *mut u16, base: *mut u64);
    pub fn model_read_selector(segment: u32) -> u16;

    pub fn model_trap_install() -> c_int;
    pub fn model_trap_replace(address: usize) -> c_int;
    pub fn model_trap_count() -> u64;
}
