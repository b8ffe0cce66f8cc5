// SPDX-License-Identifier: Apache-2.0
//! Why run returned: `x86vcpu/exit.h`.

use core::ffi::c_char;

// enum x86vcpu_exit_kind
pub const X86VCPU_EXIT_HYPERCALL: u32 = 0;
pub const X86VCPU_EXIT_PORT_IO_READ: u32 = 1;
pub const X86VCPU_EXIT_PORT_IO_WRITE: u32 = 2;
pub const X86VCPU_EXIT_PORT_IO_STRING: u32 = 3;
pub const X86VCPU_EXIT_MMIO_READ: u32 = 4;
pub const X86VCPU_EXIT_MMIO_WRITE: u32 = 5;
pub const X86VCPU_EXIT_MSR_READ: u32 = 6;
pub const X86VCPU_EXIT_MSR_WRITE: u32 = 7;
pub const X86VCPU_EXIT_NESTED_PAGE_FAULT: u32 = 8;
pub const X86VCPU_EXIT_PREEMPTION_TIMER: u32 = 9;
pub const X86VCPU_EXIT_INTERRUPT_END: u32 = 10;
pub const X86VCPU_EXIT_HALT: u32 = 11;
pub const X86VCPU_EXIT_SYSTEM_DOWN: u32 = 12;
pub const X86VCPU_EXIT_FAIL_ENTRY: u32 = 13;
pub const X86VCPU_EXIT_NOTHING: u32 = 14;
pub const X86VCPU_EXIT_WAIT_FOR_SIPI: u32 = 64;
pub const X86VCPU_EXIT_FPU_ERROR: u32 = 65;
pub const X86VCPU_EXIT_DEBUG: u32 = 66;
pub const X86VCPU_EXIT_UNKNOWN_INSTRUCTION: u32 = 67;
pub const X86VCPU_INSTRUCTION_BYTES: u32 = 15;

// enum x86vcpu_width
pub const X86VCPU_WIDTH_BYTE: u32 = 0;
pub const X86VCPU_WIDTH_WORD: u32 = 1;
pub const X86VCPU_WIDTH_DWORD: u32 = 2;
pub const X86VCPU_WIDTH_QWORD: u32 = 3;

pub const X86VCPU_ACCESS_READ: u64 = 1 << 0;
pub const X86VCPU_ACCESS_WRITE: u64 = 1 << 1;
pub const X86VCPU_ACCESS_EXECUTE: u64 = 1 << 2;

// enum x86vcpu_direction
pub const X86VCPU_DIRECTION_IN: u32 = 0;
pub const X86VCPU_DIRECTION_OUT: u32 = 1;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct x86vcpu_hypercall {
    pub nr: u64,
    pub args: [u64; 6],
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct x86vcpu_port_io {
    pub port: u16,
    pub width: u8,
    pub reserved: [u8; 5],
    pub data: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct x86vcpu_port_io_string {
    pub port: u16,
    pub width: u8,
    pub direction: u8,
    pub has_count: u8,
    pub instruction_complete: u8,
    pub reserved: [u8; 2],
    pub gpa: u64,
    pub gpa2: u64,
    pub updated_index: u64,
    pub updated_count: u64,
    pub next_rip: u64,
}

pub const X86VCPU_NO_REGISTER: u32 = 0xff;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct x86vcpu_mmio {
    pub gpa: u64,
    pub data: u64,
    pub width: u8,
    pub reg: u8,
    pub reg_width: u8,
    pub sign_extend: u8,
    pub has_byte_reg: u8,
    pub byte_reg_high: u8,
    pub reserved: [u8; 2],
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct x86vcpu_msr_access {
    pub index: u32,
    pub reserved: u32,
    pub value: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct x86vcpu_nested_page_fault {
    pub gpa: u64,
    pub access: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct x86vcpu_instruction {
    pub gpa: u64,
    pub linear: u64,
    pub has_linear: u8,
    pub access: u8,
    pub mode: u8,
    pub length: u8,
    pub count: u8,
    pub bytes: [u8; X86VCPU_INSTRUCTION_BYTES as usize],
    pub reserved: [u8; 4],
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct x86vcpu_interrupt_end {
    pub has_vector: u32,
    pub vector: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct x86vcpu_fail_entry {
    pub reason: u64,
    pub qualification: u64,
    pub instruction_error: u32,
    pub reserved: u32,
}

pub const X86VCPU_DEBUG_HIT_STEP: u32 = 1;
pub const X86VCPU_DEBUG_HIT_BREAKPOINT: u32 = 2;
pub const X86VCPU_DEBUG_HIT_INT3: u32 = 4;
pub const X86VCPU_DEBUG_HIT_DB: u32 = 8;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct x86vcpu_debug_exit {
    pub what: u32,
    pub length: u32,
    pub rip: u64,
    pub dr6: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub union x86vcpu_exit_payload {
    pub hypercall: x86vcpu_hypercall,
    pub port_io: x86vcpu_port_io,
    pub port_io_string: x86vcpu_port_io_string,
    pub mmio: x86vcpu_mmio,
    pub msr: x86vcpu_msr_access,
    pub nested_page_fault: x86vcpu_nested_page_fault,
    pub interrupt_end: x86vcpu_interrupt_end,
    pub instruction: x86vcpu_instruction,
    pub fail_entry: x86vcpu_fail_entry,
    pub debug: x86vcpu_debug_exit,
    pub words: [u64; 15],
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct x86vcpu_exit {
    pub kind: u32,
    pub reserved: u32,
    pub u: x86vcpu_exit_payload,
}

unsafe extern "C" {
    pub fn x86vcpu_exit_name(kind: u32) -> *const c_char;
}
