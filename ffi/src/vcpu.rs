// SPDX-License-Identifier: Apache-2.0
//! Virtual CPUs: `x86vcpu/vcpu.h`.

use core::ffi::{c_char, c_void};
use core::marker::{PhantomData, PhantomPinned};

use crate::exit::{x86vcpu_exit, x86vcpu_port_io_string};
use crate::machine::x86vcpu_machine;
use crate::regs::x86vcpu_regs;

#[repr(C)]
pub struct x86vcpu {
    opaque: [u8; 0],
    not_send: PhantomData<(*mut u8, PhantomPinned)>,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct x86vcpu_create_config {
    pub size: u32,
    pub vcpu_id: u32,
    pub opaque: *mut c_void,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct x86vcpu_nested_paging {
    pub root_hpa: u64,
    pub levels: u32,
    pub gpa_bits: u32,
    pub mode: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct x86vcpu_port_range {
    pub base: u16,
    pub length: u16,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct x86vcpu_mmio_range {
    pub base: u64,
    pub size: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct x86vcpu_memory_region {
    pub gpa: u64,
    pub hva: *mut c_void,
    pub size: u64,
    pub flags: u64,
}

pub const X86VCPU_MEMORY_READ_ONLY: u64 = 1;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct x86vcpu_msr_range {
    pub first: u32,
    pub last: u32,
}

pub const X86VCPU_MAX_PORT_RANGES: u32 = 16;
pub const X86VCPU_MAX_MMIO_RANGES: u32 = 256;
pub const X86VCPU_MAX_MEMORY_REGIONS: u32 = 128;
pub const X86VCPU_MAX_MSR_RANGES: u32 = 32;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct x86vcpu_setup_config {
    pub size: u32,
    pub port_count: u32,
    pub ports: *const x86vcpu_port_range,
    pub mmio: *const x86vcpu_mmio_range,
    pub memory: *const x86vcpu_memory_region,
    pub msrs: *const x86vcpu_msr_range,
    pub mmio_count: u32,
    pub memory_count: u32,
    pub msr_count: u32,
    pub passthrough_port_count: u32,
    pub passthrough_ports: *const x86vcpu_port_range,
    pub time_slice_ns: u64,
    pub start: u32,
    pub flags: u32,
}

// enum x86vcpu_start
pub const X86VCPU_START_AT_ENTRY: u32 = 0;
pub const X86VCPU_START_WAIT_FOR_SIPI: u32 = 1;

pub const X86VCPU_SETUP_NO_LOCAL_APIC: u32 = 1 << 0;
pub const X86VCPU_SETUP_KEEP_CONTEXT: u32 = 1 << 1;
pub const X86VCPU_SETUP_FPU_ERROR_EXITS: u32 = 1 << 2;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct x86vcpu_segment {
    pub selector: u16,
    pub reserved: u16,
    pub access_rights: u32,
    pub limit: u32,
    pub reserved2: u32,
    pub base: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct x86vcpu_table {
    pub base: u64,
    pub limit: u32,
    pub reserved: u32,
}

// enum x86vcpu_segment_index
pub const X86VCPU_SEGMENT_ES: u32 = 0;
pub const X86VCPU_SEGMENT_CS: u32 = 1;
pub const X86VCPU_SEGMENT_SS: u32 = 2;
pub const X86VCPU_SEGMENT_DS: u32 = 3;
pub const X86VCPU_SEGMENT_FS: u32 = 4;
pub const X86VCPU_SEGMENT_GS: u32 = 5;
pub const X86VCPU_SEGMENT_LDTR: u32 = 6;
pub const X86VCPU_SEGMENT_TR: u32 = 7;
pub const X86VCPU_SEGMENTS: u32 = 8;

pub const X86VCPU_STATE_GPRS: u64 = 1 << 0;
pub const X86VCPU_STATE_RIP: u64 = 1 << 1;
pub const X86VCPU_STATE_SEGMENTS: u64 = 1 << 2;
pub const X86VCPU_STATE_CRS: u64 = 1 << 3;
pub const X86VCPU_STATE_DRS: u64 = 1 << 4;
pub const X86VCPU_STATE_ALL: u64 = 0x1f;
pub const X86VCPU_STATE_HAS_PDPTES: u32 = 1 << 0;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct x86vcpu_state {
    pub size: u32,
    pub flags: u32,
    pub regs: x86vcpu_regs,
    pub rsp: u64,
    pub rip: u64,
    pub rflags: u64,
    pub segments: [x86vcpu_segment; 8],
    pub gdtr: x86vcpu_table,
    pub idtr: x86vcpu_table,
    pub cr0: u64,
    pub cr2: u64,
    pub cr3: u64,
    pub cr4: u64,
    pub efer: u64,
    pub xcr0: u64,
    pub dr0: u64,
    pub dr1: u64,
    pub dr2: u64,
    pub dr3: u64,
    pub dr6: u64,
    pub dr7: u64,
    pub pdptes: [u64; 4],
}

unsafe extern "C" {
    pub fn x86vcpu_create(
        machine: *mut x86vcpu_machine,
        config: *const x86vcpu_create_config,
        out: *mut *mut x86vcpu,
    ) -> i32;
    pub fn x86vcpu_destroy(vcpu: *mut x86vcpu) -> i32;
    pub fn x86vcpu_structure_hpa(vcpu: *const x86vcpu) -> u64;
    pub fn x86vcpu_set_entry(vcpu: *mut x86vcpu, entry: u64) -> i32;
    pub fn x86vcpu_set_nested_page_table(vcpu: *mut x86vcpu, table: *const x86vcpu_nested_paging) -> i32;
    pub fn x86vcpu_setup(vcpu: *mut x86vcpu, config: *const x86vcpu_setup_config) -> i32;
    pub fn x86vcpu_bind(vcpu: *mut x86vcpu) -> i32;
    pub fn x86vcpu_unbind(vcpu: *mut x86vcpu) -> i32;
    pub fn x86vcpu_run(vcpu: *mut x86vcpu, exit: *mut x86vcpu_exit) -> i32;
    pub fn x86vcpu_complete_read(vcpu: *mut x86vcpu, value: u64) -> i32;
    pub fn x86vcpu_complete_write(vcpu: *mut x86vcpu) -> i32;
    pub fn x86vcpu_complete_fault(vcpu: *mut x86vcpu) -> i32;
    pub fn x86vcpu_skip_instruction(vcpu: *mut x86vcpu, length: u32) -> i32;
    pub fn x86vcpu_complete_port_io_string(vcpu: *mut x86vcpu, done: *const x86vcpu_port_io_string) -> i32;
    pub fn x86vcpu_get_gpr(vcpu: *mut x86vcpu, index: u32, value: *mut u64) -> i32;
    pub fn x86vcpu_set_gpr(vcpu: *mut x86vcpu, index: u32, value: u64) -> i32;
    pub fn x86vcpu_set_gpr_width(vcpu: *mut x86vcpu, index: u32, width: u32, value: u64) -> i32;
    pub fn x86vcpu_set_gpr_high_byte(vcpu: *mut x86vcpu, index: u32, value: u8) -> i32;
    pub fn x86vcpu_set_return_value(vcpu: *mut x86vcpu, value: u64) -> i32;
    pub fn x86vcpu_flush_nested(vcpu: *mut x86vcpu) -> i32;
    pub fn x86vcpu_get_state(vcpu: *mut x86vcpu, mask: u64, state: *mut x86vcpu_state) -> i32;
    pub fn x86vcpu_set_state(vcpu: *mut x86vcpu, mask: u64, state: *const x86vcpu_state) -> i32;
    pub fn x86vcpu_explain_entry_failure(
        vcpu: *mut x86vcpu,
        check: *mut u32,
        text: *mut c_char,
        len: u64,
    ) -> i32;
    pub fn x86vcpu_entry_check_name(check: u32) -> *const c_char;
    pub fn x86vcpu_format_state(vcpu: *mut x86vcpu, text: *mut c_char, len: u64) -> u64;
}
