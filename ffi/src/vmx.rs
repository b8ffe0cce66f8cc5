// SPDX-License-Identifier: Apache-2.0
//! What VT-x says about an exit: `x86vcpu/vmx.h`.

use core::ffi::c_char;

// enum x86vcpu_vmx_exit_reason
pub const X86VCPU_VMX_EXIT_EXCEPTION_OR_NMI: u32 = 0;
pub const X86VCPU_VMX_EXIT_EXTERNAL_INTERRUPT: u32 = 1;
pub const X86VCPU_VMX_EXIT_TRIPLE_FAULT: u32 = 2;
pub const X86VCPU_VMX_EXIT_INIT: u32 = 3;
pub const X86VCPU_VMX_EXIT_SIPI: u32 = 4;
pub const X86VCPU_VMX_EXIT_IO_SMI: u32 = 5;
pub const X86VCPU_VMX_EXIT_OTHER_SMI: u32 = 6;
pub const X86VCPU_VMX_EXIT_INTERRUPT_WINDOW: u32 = 7;
pub const X86VCPU_VMX_EXIT_NMI_WINDOW: u32 = 8;
pub const X86VCPU_VMX_EXIT_TASK_SWITCH: u32 = 9;
pub const X86VCPU_VMX_EXIT_CPUID: u32 = 10;
pub const X86VCPU_VMX_EXIT_GETSEC: u32 = 11;
pub const X86VCPU_VMX_EXIT_HLT: u32 = 12;
pub const X86VCPU_VMX_EXIT_INVD: u32 = 13;
pub const X86VCPU_VMX_EXIT_INVLPG: u32 = 14;
pub const X86VCPU_VMX_EXIT_RDPMC: u32 = 15;
pub const X86VCPU_VMX_EXIT_RDTSC: u32 = 16;
pub const X86VCPU_VMX_EXIT_RSM: u32 = 17;
pub const X86VCPU_VMX_EXIT_VMCALL: u32 = 18;
pub const X86VCPU_VMX_EXIT_VMCLEAR: u32 = 19;
pub const X86VCPU_VMX_EXIT_VMLAUNCH: u32 = 20;
pub const X86VCPU_VMX_EXIT_VMPTRLD: u32 = 21;
pub const X86VCPU_VMX_EXIT_VMPTRST: u32 = 22;
pub const X86VCPU_VMX_EXIT_VMREAD: u32 = 23;
pub const X86VCPU_VMX_EXIT_VMRESUME: u32 = 24;
pub const X86VCPU_VMX_EXIT_VMWRITE: u32 = 25;
pub const X86VCPU_VMX_EXIT_VMXOFF: u32 = 26;
pub const X86VCPU_VMX_EXIT_VMXON: u32 = 27;
pub const X86VCPU_VMX_EXIT_CR_ACCESS: u32 = 28;
pub const X86VCPU_VMX_EXIT_DR_ACCESS: u32 = 29;
pub const X86VCPU_VMX_EXIT_IO: u32 = 30;
pub const X86VCPU_VMX_EXIT_RDMSR: u32 = 31;
pub const X86VCPU_VMX_EXIT_WRMSR: u32 = 32;
pub const X86VCPU_VMX_EXIT_INVALID_GUEST_STATE: u32 = 33;
pub const X86VCPU_VMX_EXIT_MSR_LOADING: u32 = 34;
pub const X86VCPU_VMX_EXIT_MWAIT: u32 = 36;
pub const X86VCPU_VMX_EXIT_MONITOR_TRAP_FLAG: u32 = 37;
pub const X86VCPU_VMX_EXIT_MONITOR: u32 = 39;
pub const X86VCPU_VMX_EXIT_PAUSE: u32 = 40;
pub const X86VCPU_VMX_EXIT_ENTRY_MACHINE_CHECK: u32 = 41;
pub const X86VCPU_VMX_EXIT_TPR_BELOW_THRESHOLD: u32 = 43;
pub const X86VCPU_VMX_EXIT_APIC_ACCESS: u32 = 44;
pub const X86VCPU_VMX_EXIT_VIRTUALIZED_EOI: u32 = 45;
pub const X86VCPU_VMX_EXIT_GDTR_OR_IDTR: u32 = 46;
pub const X86VCPU_VMX_EXIT_LDTR_OR_TR: u32 = 47;
pub const X86VCPU_VMX_EXIT_EPT_VIOLATION: u32 = 48;
pub const X86VCPU_VMX_EXIT_EPT_MISCONFIGURATION: u32 = 49;
pub const X86VCPU_VMX_EXIT_INVEPT: u32 = 50;
pub const X86VCPU_VMX_EXIT_RDTSCP: u32 = 51;
pub const X86VCPU_VMX_EXIT_PREEMPTION_TIMER: u32 = 52;
pub const X86VCPU_VMX_EXIT_INVVPID: u32 = 53;
pub const X86VCPU_VMX_EXIT_WBINVD: u32 = 54;
pub const X86VCPU_VMX_EXIT_XSETBV: u32 = 55;
pub const X86VCPU_VMX_EXIT_APIC_WRITE: u32 = 56;
pub const X86VCPU_VMX_EXIT_RDRAND: u32 = 57;
pub const X86VCPU_VMX_EXIT_INVPCID: u32 = 58;
pub const X86VCPU_VMX_EXIT_VMFUNC: u32 = 59;
pub const X86VCPU_VMX_EXIT_ENCLS: u32 = 60;
pub const X86VCPU_VMX_EXIT_RDSEED: u32 = 61;
pub const X86VCPU_VMX_EXIT_PML_FULL: u32 = 62;
pub const X86VCPU_VMX_EXIT_XSAVES: u32 = 63;
pub const X86VCPU_VMX_EXIT_XRSTORS: u32 = 64;
pub const X86VCPU_VMX_EXIT_PCONFIG: u32 = 65;
pub const X86VCPU_VMX_EXIT_SPP: u32 = 66;
pub const X86VCPU_VMX_EXIT_UMWAIT: u32 = 67;
pub const X86VCPU_VMX_EXIT_TPAUSE: u32 = 68;
pub const X86VCPU_VMX_EXIT_LOADIWKEY: u32 = 69;
pub const X86VCPU_VMX_EXIT_ENCLV: u32 = 70;
pub const X86VCPU_VMX_EXIT_ENQCMD_PASID: u32 = 72;
pub const X86VCPU_VMX_EXIT_ENQCMDS_PASID: u32 = 73;
pub const X86VCPU_VMX_EXIT_BUS_LOCK: u32 = 74;
pub const X86VCPU_VMX_EXIT_INSTRUCTION_TIMEOUT: u32 = 75;
pub const X86VCPU_VMX_EXIT_SEAMCALL: u32 = 76;
pub const X86VCPU_VMX_EXIT_TDCALL: u32 = 77;
pub const X86VCPU_VMX_EXIT_RDMSRLIST: u32 = 78;
pub const X86VCPU_VMX_EXIT_WRMSRLIST: u32 = 79;

pub const X86VCPU_VMX_REASON_BASIC: u32 = 0x0000ffff;
pub const X86VCPU_VMX_REASON_SHADOW_STACK_BUSY: u32 = 1 << 25;
pub const X86VCPU_VMX_REASON_BUS_LOCK: u32 = 1 << 26;
pub const X86VCPU_VMX_REASON_ENCLAVE: u32 = 1 << 27;
pub const X86VCPU_VMX_REASON_PENDING_MTF: u32 = 1 << 28;
pub const X86VCPU_VMX_REASON_FROM_ROOT: u32 = 1 << 29;
pub const X86VCPU_VMX_REASON_ENTRY_FAILURE: u32 = 1 << 31;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct x86vcpu_vmx_debug {
    pub breakpoints: u8,
    pub bus_lock: u8,
    pub register_access: u8,
    pub single_step: u8,
    pub in_transaction: u8,
    pub reserved: [u8; 3],
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct x86vcpu_vmx_page_fault {
    pub address: u64,
    pub present: u8,
    pub write: u8,
    pub user: u8,
    pub reserved_bit: u8,
    pub fetch: u8,
    pub protection_key: u8,
    pub shadow_stack: u8,
    pub reserved: u8,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct x86vcpu_vmx_sipi {
    pub vector: u32,
    pub address: u32,
}

// enum x86vcpu_vmx_task_switch_source
pub const X86VCPU_VMX_TASK_CALL: u32 = 0;
pub const X86VCPU_VMX_TASK_IRET: u32 = 1;
pub const X86VCPU_VMX_TASK_JMP: u32 = 2;
pub const X86VCPU_VMX_TASK_GATE: u32 = 3;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct x86vcpu_vmx_task_switch {
    pub selector: u16,
    pub source: u8,
    pub reserved: [u8; 5],
}

// enum x86vcpu_vmx_cr_access_type
pub const X86VCPU_VMX_CR_MOV_TO: u32 = 0;
pub const X86VCPU_VMX_CR_MOV_FROM: u32 = 1;
pub const X86VCPU_VMX_CR_CLTS: u32 = 2;
pub const X86VCPU_VMX_CR_LMSW: u32 = 3;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct x86vcpu_vmx_cr_access {
    pub number: u8,
    pub r#type: u8,
    pub gpr: u8,
    pub lmsw_memory: u8,
    pub lmsw_source: u16,
    pub reserved: [u8; 2],
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct x86vcpu_vmx_dr_access {
    pub number: u8,
    pub read: u8,
    pub gpr: u8,
    pub reserved: [u8; 5],
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct x86vcpu_vmx_io {
    pub port: u16,
    pub width: u8,
    pub r#in: u8,
    pub string: u8,
    pub rep: u8,
    pub immediate: u8,
    pub reserved: u8,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct x86vcpu_vmx_mwait {
    pub armed: u32,
    pub reserved: u32,
}

// enum x86vcpu_vmx_apic_access_type
pub const X86VCPU_VMX_APIC_LINEAR_READ: u32 = 0;
pub const X86VCPU_VMX_APIC_LINEAR_WRITE: u32 = 1;
pub const X86VCPU_VMX_APIC_LINEAR_FETCH: u32 = 2;
pub const X86VCPU_VMX_APIC_LINEAR_EVENT_DELIVERY: u32 = 3;
pub const X86VCPU_VMX_APIC_LINEAR_MONITORING: u32 = 4;
pub const X86VCPU_VMX_APIC_PHYSICAL_EVENT_DELIVERY: u32 = 10;
pub const X86VCPU_VMX_APIC_PHYSICAL_MONITORING: u32 = 11;
pub const X86VCPU_VMX_APIC_PHYSICAL_FETCH_OR_DATA: u32 = 15;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct x86vcpu_vmx_apic_access {
    pub offset: u16,
    pub r#type: u8,
    pub asynchronous: u8,
    pub reserved: [u8; 4],
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct x86vcpu_vmx_apic_write {
    pub offset: u32,
    pub reserved: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct x86vcpu_vmx_virtualized_eoi {
    pub vector: u32,
    pub reserved: u32,
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct x86vcpu_vmx_ept_violation {
    pub access: u8,
    pub allowed: u8,
    pub user_execute: u8,
    pub linear_valid: u8,
    pub translated: u8,
    pub linear_user: u8,
    pub linear_writable: u8,
    pub linear_no_execute: u8,
    pub nmi_unblocked: u8,
    pub shadow_stack: u8,
    pub supervisor_shadow_stack: u8,
    pub paging_verification: u8,
    pub asynchronous: u8,
    pub reserved: [u8; 3],
}

// enum x86vcpu_vmx_event_type
pub const X86VCPU_VMX_EVENT_EXTERNAL_INTERRUPT: u32 = 0;
pub const X86VCPU_VMX_EVENT_NMI: u32 = 2;
pub const X86VCPU_VMX_EVENT_HARDWARE_EXCEPTION: u32 = 3;
pub const X86VCPU_VMX_EVENT_SOFTWARE_INTERRUPT: u32 = 4;
pub const X86VCPU_VMX_EVENT_PRIVILEGED_SOFTWARE_EXCEPTION: u32 = 5;
pub const X86VCPU_VMX_EVENT_SOFTWARE_EXCEPTION: u32 = 6;
pub const X86VCPU_VMX_EVENT_OTHER: u32 = 7;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct x86vcpu_vmx_event {
    pub valid: u8,
    pub vector: u8,
    pub r#type: u8,
    pub has_error_code: u8,
    pub error_code: u32,
    pub nmi_unblocked: u8,
    pub instruction_length: u8,
    pub reserved: [u8; 6],
}

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct x86vcpu_vmx_instruction {
    pub memory: u8,
    pub address_bytes: u8,
    pub segment: u8,
    pub scale: u8,
    pub base: u8,
    pub index: u8,
    pub operand_bytes: u8,
    pub reg1: u8,
    pub reg2: u8,
    pub identity: u8,
    pub reserved: [u8; 6],
}

unsafe extern "C" {
    pub fn x86vcpu_vmx_exit_name(reason: u32) -> *const c_char;
    pub fn x86vcpu_vmx_instruction_error(error: u32) -> *const c_char;
    pub fn x86vcpu_vmx_entry_failure(reason: u32, qualification: u64) -> *const c_char;
    pub fn x86vcpu_vmx_decode_debug(qualification: u64, out: *mut x86vcpu_vmx_debug) -> i32;
    pub fn x86vcpu_vmx_decode_page_fault(
        qualification: u64,
        error_code: u32,
        out: *mut x86vcpu_vmx_page_fault,
    ) -> i32;
    pub fn x86vcpu_vmx_decode_sipi(qualification: u64, out: *mut x86vcpu_vmx_sipi) -> i32;
    pub fn x86vcpu_vmx_decode_task_switch(qualification: u64, out: *mut x86vcpu_vmx_task_switch) -> i32;
    pub fn x86vcpu_vmx_decode_cr_access(qualification: u64, out: *mut x86vcpu_vmx_cr_access) -> i32;
    pub fn x86vcpu_vmx_decode_dr_access(qualification: u64, out: *mut x86vcpu_vmx_dr_access) -> i32;
    pub fn x86vcpu_vmx_decode_io(qualification: u64, out: *mut x86vcpu_vmx_io) -> i32;
    pub fn x86vcpu_vmx_decode_mwait(qualification: u64, out: *mut x86vcpu_vmx_mwait) -> i32;
    pub fn x86vcpu_vmx_decode_apic_access(qualification: u64, out: *mut x86vcpu_vmx_apic_access) -> i32;
    pub fn x86vcpu_vmx_decode_apic_write(qualification: u64, out: *mut x86vcpu_vmx_apic_write) -> i32;
    pub fn x86vcpu_vmx_decode_virtualized_eoi(
        qualification: u64,
        out: *mut x86vcpu_vmx_virtualized_eoi,
    ) -> i32;
    pub fn x86vcpu_vmx_decode_ept_violation(qualification: u64, out: *mut x86vcpu_vmx_ept_violation) -> i32;
    pub fn x86vcpu_vmx_decode_interruption(info: u32, error_code: u32, out: *mut x86vcpu_vmx_event) -> i32;
    pub fn x86vcpu_vmx_decode_vectoring(info: u32, error_code: u32, out: *mut x86vcpu_vmx_event) -> i32;
    pub fn x86vcpu_vmx_encode_event(event: *const x86vcpu_vmx_event, info: *mut u32) -> i32;
    pub fn x86vcpu_vmx_vector_has_error_code(vector: u32) -> i32;
    pub fn x86vcpu_vmx_decode_instruction(
        reason: u32,
        info: u32,
        r#in: u32,
        out: *mut x86vcpu_vmx_instruction,
    ) -> i32;
}
