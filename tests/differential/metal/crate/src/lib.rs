// SPDX-License-Identifier: Apache-2.0
//! The registry's x86_vcpu 0.7.1 behind a small C interface: one CPU, one vCPU.
#![no_std]

extern crate alloc;

use alloc::boxed::Box;
use alloc::format;
use core::alloc::{GlobalAlloc, Layout};
use core::fmt::Write;
use core::panic::PanicInfo;
use core::slice;

use x86_vcpu::{
    X86AccessWidth, X86GuestMemoryRegion, X86GuestPhysAddr, X86HostOps, X86HostPhysAddr, X86HostVirtAddr,
    X86NestedPagingConfig, X86NestedPagingFormat, X86PerCpuState, X86PortIoStringExit, X86Vcpu,
    X86VcpuCreateConfig, X86VcpuError, X86VcpuResult, X86VcpuSetupConfig, X86VmExit,
};
use x86_vlapic::{X86TimerCallback, X86VlapicError, X86VlapicHostOps, X86VlapicResult};

// ---- What the C side has -------------------------------------------------------------------------------

unsafe extern "C" {
    fn theirs_host_alloc(size: usize, align: usize) -> *mut u8;
    fn theirs_host_free(block: *mut u8, size: usize);
    /// 0: none is left.
    fn theirs_host_alloc_frames(count: u64, align: u64) -> u64;
    fn theirs_host_free_frames(hpa: u64, count: u64);
    /// Negative: there is no memory.
    fn theirs_host_read_guest(gpa: u64) -> i32;
    fn theirs_host_time_ns() -> u64;
    fn theirs_host_ticks(nanos: u64) -> u64;
    fn theirs_host_dispatch(vector: u32);
    fn theirs_host_service();
    /// Does not return.
    fn theirs_host_panic(text: *const u8, length: usize) -> !;
}

struct Heap;

// SAFETY: the C side's allocator honours size and alignment.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        unsafe { theirs_host_alloc(layout.size(), layout.align()) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        unsafe { theirs_host_free(block, layout.size()) }
    }
}

#[global_allocator]
static HEAP: Heap = Heap;

struct Text {
    bytes: [u8; 256],
    length: usize,
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        let space = &mut self.bytes[self.length..];
        let count = text.len().min(space.len());
        space[..count].copy_from_slice(&text.as_bytes()[..count]);
        self.length += count;
        Ok(())
    }
}

#[panic_handler]
fn panic(info: &PanicInfo) -> ! {
    let mut text = Text {
        bytes: [0; 256],
        length: 0,
    };
    if let Some(place) = info.location() {
        let _ = write!(text, "{}: ", place.file().rsplit('/').next().unwrap_or(""));
    }
    let _ = write!(text, "{}", info.message());
    unsafe { theirs_host_panic(text.bytes.as_ptr(), text.length) }
}

struct Host;

fn frames(count: u64, align: u64) -> Option<u64> {
    let hpa = unsafe { theirs_host_alloc_frames(count, align) };
    (hpa != 0).then_some(hpa)
}

impl X86VlapicHostOps for Host {
    type TimerHandle = u64;

    fn alloc_frame() -> Option<x86_vlapic::X86HostPhysAddr> {
        frames(1, 4096).map(|hpa| x86_vlapic::X86HostPhysAddr::from_usize(hpa as usize))
    }

    fn dealloc_frame(paddr: x86_vlapic::X86HostPhysAddr) {
        unsafe { theirs_host_free_frames(paddr.as_usize() as u64, 1) }
    }

    fn phys_to_virt(paddr: x86_vlapic::X86HostPhysAddr) -> x86_vlapic::X86HostVirtAddr {
        x86_vlapic::X86HostVirtAddr::from_usize(paddr.as_usize())
    }

    fn virt_to_phys(vaddr: x86_vlapic::X86HostVirtAddr) -> x86_vlapic::X86HostPhysAddr {
        x86_vlapic::X86HostPhysAddr::from_usize(vaddr.as_usize())
    }

    fn current_time_nanos() -> u64 {
        unsafe { theirs_host_time_ns() }
    }

    // The guests here use no timer; tests/differential/lapic compares it.
    fn register_timer(_: u64, _: X86TimerCallback) -> X86VlapicResult<u64> {
        Err(X86VlapicError::TimerUnavailable)
    }

    unsafe fn register_hard_timer(_: u64, _: X86TimerCallback) -> X86VlapicResult<u64> {
        Err(X86VlapicError::TimerUnavailable)
    }

    fn cancel_timer(_: u64) -> X86VlapicResult {
        Ok(())
    }

    fn current_vm_id() -> usize {
        0
    }

    fn current_vm_vcpu_num() -> usize {
        1
    }

    fn current_vm_active_vcpus() -> usize {
        1
    }

    fn active_vcpus(_: usize) -> Option<usize> {
        Some(1)
    }

    fn inject_interrupt(_: usize, _: usize, _: u8) -> X86VlapicResult {
        Ok(())
    }
}

impl X86HostOps for Host {
    fn alloc_frame() -> Option<X86HostPhysAddr> {
        frames(1, 4096).map(|hpa| X86HostPhysAddr::from_usize(hpa as usize))
    }

    fn dealloc_frame(paddr: X86HostPhysAddr) {
        unsafe { theirs_host_free_frames(paddr.as_usize() as u64, 1) }
    }

    fn alloc_contiguous_frames(count: usize, align: usize) -> Option<X86HostPhysAddr> {
        frames(count as u64, align as u64).map(|hpa| X86HostPhysAddr::from_usize(hpa as usize))
    }

    fn dealloc_contiguous_frames(start: X86HostPhysAddr, count: usize) {
        unsafe { theirs_host_free_frames(start.as_usize() as u64, count as u64) }
    }

    fn phys_to_virt(paddr: X86HostPhysAddr) -> X86HostVirtAddr {
        X86HostVirtAddr::from_usize(paddr.as_usize())
    }

    fn read_guest_u8(paddr: X86GuestPhysAddr) -> X86VcpuResult<u8> {
        u8::try_from(unsafe { theirs_host_read_guest(paddr.as_usize() as u64) })
            .map_err(|_| X86VcpuError::InvalidData)
    }

    fn nanos_to_ticks(nanos: u64) -> u64 {
        unsafe { theirs_host_ticks(nanos) }
    }

    fn service_pending_host_interrupt() {
        unsafe { theirs_host_service() }
    }

    fn dispatch_acknowledged_host_interrupt(vector: u8) {
        unsafe { theirs_host_dispatch(u32::from(vector)) }
    }
}

// ---- What it offers ----------------------------------------------------------------------------------------

/// The numbers of X86VmExit, in the order of its declaration; what follows depends on it.
#[repr(C)]
pub struct TheirsExit {
    pub kind: u32,
    pub words: [u64; 8],
}

/// How a vCPU is made.
#[repr(C)]
pub struct TheirsConfig {
    pub entry: u64,
    pub root_hpa: u64,
    pub ram: u64,
    pub ram_size: u64,
    pub mmio: u64,
    pub mmio_size: u64,
    pub port: u16,
    pub ports: u16,
}

pub struct TheirsVcpu {
    vcpu: X86Vcpu<Host>,
    percpu: X86PerCpuState<Host>,
    gprs: usize,
    string: Option<X86PortIoStringExit>,
}

fn status(result: X86VcpuResult) -> i32 {
    match result {
        Ok(()) => 0,
        Err(error) => -1 - error as i32,
    }
}

/// Detects the extension: 0, or -1 - the number of the crate's error.
#[unsafe(no_mangle)]
pub extern "C" fn theirs_initialize() -> i32 {
    status(x86_vcpu::initialize_hardware_support())
}

/// 1 on SVM.
#[unsafe(no_mangle)]
pub extern "C" fn theirs_is_svm() -> i32 {
    i32::from(matches!(
        x86_vcpu::selected_nested_paging_format(),
        Ok(X86NestedPagingFormat::Npt)
    ))
}

/// The page that the nested tables must have at FEE00000H, or 0.
#[unsafe(no_mangle)]
pub extern "C" fn theirs_apic_access_page() -> u64 {
    x86_vcpu::apic_access_page_addr::<Host>().map_or(0, |page| page.as_usize() as u64)
}

/// Where in the object the general registers are: nothing of the interface shows them.
fn find_gprs(vcpu: &mut X86Vcpu<Host>) -> Option<usize> {
    let value = |n: usize| 0x5a5a_0000_1111_0000 + n;
    for n in (0..16).filter(|&n| n != 4) {
        vcpu.set_gpr(n, value(n));
    }
    // SAFETY: the object's own bytes; padding may hold anything.
    let words = unsafe { slice::from_raw_parts((&raw const *vcpu).cast::<usize>(), size_of_val(vcpu) / 8) };
    let at = words
        .windows(16)
        .position(|w| (0..16).all(|n| n == 4 || w[n] == value(n)))?;
    let address = &raw const words[at] as usize;
    for n in (0..16).filter(|&n| n != 4) {
        vcpu.set_gpr(n, 0);
    }
    Some(address)
}

fn create(config: &TheirsConfig) -> X86VcpuResult<Box<TheirsVcpu>> {
    let mut percpu = X86PerCpuState::new(0)?;
    percpu.hardware_enable()?;
    let mut setup = X86VcpuSetupConfig::default();
    setup.add_intercepted_port_range(config.port, config.ports)?;
    setup.add_intercepted_mmio_range(
        X86GuestPhysAddr::from_usize(config.mmio as usize),
        config.mmio_size as usize,
    )?;
    setup.guest_memory_regions.push(X86GuestMemoryRegion {
        gpa: X86GuestPhysAddr::from_usize(0),
        hva: X86HostVirtAddr::from_usize(config.ram as usize),
        size: config.ram_size as usize,
    });
    // Where it stays.
    let mut made = Box::new(TheirsVcpu {
        vcpu: X86Vcpu::new_with_config(0, 0, X86VcpuCreateConfig)?,
        percpu,
        gprs: 0,
        string: None,
    });
    let vcpu = &mut made.vcpu;
    vcpu.set_entry(X86GuestPhysAddr::from_usize(config.entry as usize))?;
    let root = X86HostPhysAddr::from_usize(config.root_hpa as usize);
    vcpu.set_nested_page_table(X86NestedPagingConfig::new(root, 4, 48, 0))?;
    vcpu.setup(setup)?;
    vcpu.bind()?;
    let gprs = find_gprs(vcpu).ok_or(X86VcpuError::Unsupported)?;
    made.gprs = gprs;
    Ok(made)
}

/// Turns the extension on, makes a vCPU, sets it up and binds it. NULL, and its error in `error`.
///
/// # Safety
///
/// Both pointers are valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn theirs_create(config: *const TheirsConfig, error: *mut i32) -> *mut TheirsVcpu {
    match create(unsafe { &*config }) {
        Ok(vcpu) => Box::into_raw(vcpu),
        Err(kind) => {
            unsafe { *error = status(Err(kind)) };
            core::ptr::null_mut()
        }
    }
}

/// RAX, RCX, ... R15, that of RSP without meaning.
///
/// # Safety
///
/// `vcpu` is of theirs_create.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn theirs_gprs(vcpu: *const TheirsVcpu) -> *const u64 {
    unsafe { (*vcpu).gprs as *const u64 }
}

/// # Safety
///
/// `vcpu` is of theirs_create.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn theirs_set_gpr(vcpu: *mut TheirsVcpu, number: u32, value: u64) {
    unsafe { (*vcpu).vcpu.set_gpr(number as usize, value as usize) }
}

/// # Safety
///
/// `vcpu` is of theirs_create.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn theirs_inject(vcpu: *mut TheirsVcpu, vector: u32) -> i32 {
    status(unsafe { (*vcpu).vcpu.inject_interrupt(vector as usize) })
}

/// # Safety
///
/// `vcpu` is of theirs_create, its last exit was PortIoString.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn theirs_complete_string(vcpu: *mut TheirsVcpu) -> i32 {
    let vcpu = unsafe { &mut *vcpu };
    let Some(exit) = vcpu.string.take() else {
        return status(Err(X86VcpuError::BadState));
    };
    status(vcpu.vcpu.complete_port_io_string(exit))
}

/// # Safety
///
/// `vcpu` is of theirs_create and gone afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn theirs_destroy(vcpu: *mut TheirsVcpu) -> i32 {
    let TheirsVcpu {
        mut vcpu, mut percpu, ..
    } = *unsafe { Box::from_raw(vcpu) };
    let unbound = vcpu.unbind();
    drop(vcpu);
    status(unbound.and_then(|()| percpu.hardware_disable()))
}

/// The numbers in the text that Debug makes: the fields are private.
fn string_words(exit: &X86PortIoStringExit, words: &mut [u64; 8]) {
    let text = format!("{exit:?}");
    let field = |name: &str| {
        let rest = &text[text.find(name).map_or(text.len(), |at| at + name.len())..];
        // A number, or a name and a number in parentheses.
        let rest = if rest.starts_with(|c: char| c.is_ascii_digit()) {
            rest
        } else {
            rest.split_once('(').map_or("", |(_, rest)| rest)
        };
        match rest.strip_prefix("0x") {
            Some(rest) => {
                let end = rest.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(rest.len());
                u64::from_str_radix(&rest[..end], 16).unwrap_or(u64::MAX)
            }
            None => {
                let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
                rest[..end].parse().unwrap_or(u64::MAX)
            }
        }
    };
    let count = text.contains("updated_count: Some");
    *words = [
        field("port: "),
        ["width: Byte", "width: Word", "width: Dword"]
            .iter()
            .position(|w| text.contains(w))
            .unwrap_or(9) as u64,
        u64::from(text.contains("direction: Out")),
        field("guest_paddr: "),
        field("updated_index: "),
        if count { field("updated_count: ") } else { 0 },
        u64::from(count) | u64::from(text.contains("instruction_complete: true")) << 1,
        field("next_rip: "),
    ];
}

fn width(width: X86AccessWidth) -> u64 {
    width.size().trailing_zeros().into()
}

fn describe(exit: &X86VmExit) -> TheirsExit {
    let mut words = [0; 8];
    let kind = match exit {
        X86VmExit::Hypercall { nr, args } => {
            words[0] = *nr;
            words[1..7].copy_from_slice(args);
            0
        }
        X86VmExit::PortIoRead { port, width: w } => {
            words[..2].copy_from_slice(&[u64::from(port.number()), width(*w)]);
            1
        }
        X86VmExit::PortIoWrite { port, width: w, data } => {
            words[..3].copy_from_slice(&[u64::from(port.number()), width(*w), *data]);
            2
        }
        X86VmExit::PortIoString(exit) => {
            string_words(exit, &mut words);
            3
        }
        X86VmExit::MmioRead {
            addr,
            width: w,
            reg,
            reg_width,
            signed_ext,
            byte_reg,
        } => {
            let byte = byte_reg.is_some();
            words[..3].copy_from_slice(&[addr.as_usize() as u64, width(*w), *reg as u64]);
            words[3..6].copy_from_slice(&[width(*reg_width), u64::from(*signed_ext), u64::from(byte)]);
            4
        }
        X86VmExit::MmioWrite { addr, width: w, data } => {
            words[..3].copy_from_slice(&[addr.as_usize() as u64, width(*w), *data]);
            5
        }
        X86VmExit::MsrRead { addr } => {
            words[0] = addr.addr() as u64;
            6
        }
        X86VmExit::MsrWrite { addr, value } => {
            words[..2].copy_from_slice(&[addr.addr() as u64, *value]);
            7
        }
        X86VmExit::NestedPageFault { addr, access_flags } => {
            words[..2].copy_from_slice(&[addr.as_usize() as u64, access_flags.bits() as u64]);
            8
        }
        X86VmExit::PreemptionTimer => 9,
        X86VmExit::InterruptEnd { vector } => {
            words[..2].copy_from_slice(&[u64::from(vector.is_some()), u64::from(vector.unwrap_or(0))]);
            10
        }
        X86VmExit::Halt => 11,
        X86VmExit::SystemDown => 12,
        X86VmExit::FailEntry {
            hardware_entry_failure_reason,
        } => {
            words[0] = *hardware_entry_failure_reason as u64;
            13
        }
        X86VmExit::Nothing => 14,
        _ => 99,
    };
    TheirsExit { kind, words }
}

/// # Safety
///
/// `vcpu` is of theirs_create, `exit` valid.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn theirs_run(vcpu: *mut TheirsVcpu, exit: *mut TheirsExit) -> i32 {
    let vcpu = unsafe { &mut *vcpu };
    match vcpu.vcpu.run() {
        Ok(reason) => {
            unsafe { *exit = describe(&reason) };
            if let X86VmExit::PortIoString(string) = reason {
                vcpu.string = Some(string);
            }
            0
        }
        Err(error) => status(Err(error)),
    }
}
