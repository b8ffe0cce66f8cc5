// SPDX-License-Identifier: Apache-2.0
//! Virtual CPUs.

use core::cell::UnsafeCell;
use core::fmt;
use core::marker::PhantomData;
use core::mem::{ManuallyDrop, MaybeUninit};
use core::ptr::{self, NonNull};

use x86_vcpu_sys as ffi;

use crate::answer::{Open, RSP, Write, later};
use crate::cpu::Section;
use crate::doorbell::{self, Doorbell};
use crate::machine::Machine;
use crate::pic::Injected;
use crate::runtime::selected;
use crate::status::check;
use crate::{
    GeneralRegisters, X86AccessWidth, X86ByteRegister, X86GuestPhysAddr, X86HostOps, X86HostPhysAddr,
    X86NestedPagingConfig, X86PortIoStringExit, X86VcpuCreateConfig, X86VcpuError, X86VcpuResult,
    X86VcpuSetupConfig, X86VmExit, ops, setup,
};

/// A virtual CPU.
pub struct X86Vcpu<H: X86HostOps> {
    handle: UnsafeCell<Handle>,
    /// As the crate that this one stands in for: not to be carried over a caught panic.
    _not_unwind_safe: PhantomData<&'static mut ()>,
    _host: PhantomData<fn() -> H>,
    entry: Option<X86GuestPhysAddr>,
    nested_root: Option<X86HostPhysAddr>,
    launched: bool,
    bound: bool,
    /// The exit that `run` returned last, as long as it is not answered.
    open: Open,
    /// What was written to RSP while the vCPU was not bound.
    rsp: Option<(X86AccessWidth, u64)>,
    injected: Injected,
    /// RIP and RFLAGS of an SVM guest when its vCPU was bound last, for `Debug`.
    seen: (u64, u64),
    #[cfg(feature = "tracing")]
    regs_at_exit: GeneralRegisters,
}

/// RFLAGS at reset: the bit that is always set.
const FLAGS_AT_RESET: u64 = 2;

struct Handle(NonNull<ffi::x86vcpu>, &'static Doorbell, ManuallyDrop<Machine>);

impl Drop for Handle {
    fn drop(&mut self) {
        let vcpu = self.0.as_ptr();
        self.1.release();
        // SAFETY: ours, and gone when destroy answers 0.
        unsafe {
            if ffi::x86vcpu_destroy(vcpu) == ffi::X86VCPU_OK {
                return ManuallyDrop::drop(&mut self.2);
            }
            log::warn!("a vCPU is dropped while it is bound: unbinding it");
            let status = ffi::x86vcpu_unbind(vcpu);
            if status != ffi::X86VCPU_OK || ffi::x86vcpu_destroy(vcpu) != ffi::X86VCPU_OK {
                log::error!(
                    "cannot unbind it here ({:?}): its memory stays in use",
                    check(status)
                );
                return;
            }
            ManuallyDrop::drop(&mut self.2);
        }
    }
}

/// For the methods whose signature has no error.
fn log_failure(what: &str, status: i32) {
    if let Err(error) = check(status) {
        log::warn!("{what} is ignored: {error:?}");
    }
}

impl<H: X86HostOps> X86Vcpu<H> {
    fn raw(&self) -> *mut ffi::x86vcpu {
        // SAFETY: the pointer in the cell never changes.
        unsafe { (*self.handle.get()).0.as_ptr() }
    }

    fn doorbell(&self) -> &'static Doorbell {
        // SAFETY: as in `raw`.
        unsafe { (*self.handle.get()).1 }
    }

    /// Makes vCPU `vcpu_id`, 0 to 63, of machine `vm_id`.
    ///
    /// # Errors
    ///
    /// `BadState`: no extension is chosen; `InvalidInput`: `vcpu_id`; `NoMemory`.
    pub fn new_with_config(
        vm_id: usize,
        vcpu_id: usize,
        _config: X86VcpuCreateConfig,
    ) -> X86VcpuResult<Self> {
        let config = ffi::x86vcpu_create_config {
            size: size_of::<ffi::x86vcpu_create_config>() as u32,
            vcpu_id: u32::try_from(vcpu_id).map_err(|_| X86VcpuError::InvalidInput)?,
            opaque: ptr::without_provenance_mut(vcpu_id),
        };
        // Upstream says so before it takes a frame.
        // SAFETY: any CPU, any time.
        if unsafe { ffi::x86vcpu_extension() } == ffi::X86VCPU_EXTENSION_NONE {
            return Err(X86VcpuError::BadState);
        }
        let machine = Machine::join::<H>(vm_id)?;
        let mut vcpu = ptr::null_mut();
        // SAFETY: the machine lives as long as its vCPUs, the configuration for the call.
        check(unsafe { ffi::x86vcpu_create(machine.raw(), &config, &mut vcpu) })?;
        let vcpu = NonNull::new(vcpu).ok_or(X86VcpuError::NoMemory)?;
        Ok(Self {
            handle: UnsafeCell::new(Handle(
                vcpu,
                Doorbell::take(ops::address::<H>(), vm_id, vcpu_id),
                ManuallyDrop::new(machine),
            )),
            _not_unwind_safe: PhantomData,
            _host: PhantomData,
            entry: None,
            nested_root: None,
            launched: false,
            bound: false,
            open: Open::None,
            rsp: None,
            injected: Injected::default(),
            seen: (0, 0),
            #[cfg(feature = "tracing")]
            regs_at_exit: GeneralRegisters::default(),
        })
    }

    /// Where the guest begins in real mode: below 64 KiB, or 0xfffffff0 for the reset vector. For the next `setup`.
    ///
    /// # Errors
    ///
    /// `InvalidInput`: anywhere else.
    pub fn set_entry(&mut self, entry: X86GuestPhysAddr) -> X86VcpuResult {
        // SAFETY: a live vCPU, as in all that follows.
        check(unsafe { ffi::x86vcpu_set_entry(self.raw(), entry.as_usize() as u64) })?;
        self.entry = Some(entry);
        Ok(())
    }

    /// The nested tables. For the next `setup`.
    ///
    /// # Errors
    ///
    /// `InvalidInput`: a root that is not a frame, or a layout other than 4 levels and 48 bits.
    pub fn set_nested_page_table(&mut self, config: X86NestedPagingConfig) -> X86VcpuResult {
        let table = ffi::x86vcpu_nested_paging {
            root_hpa: config.root_paddr.as_usize() as u64,
            levels: u32::try_from(config.levels).map_err(|_| X86VcpuError::InvalidInput)?,
            gpa_bits: u32::try_from(config.gpa_bits).map_err(|_| X86VcpuError::InvalidInput)?,
            mode: config.mode as u64,
        };
        // SAFETY: the configuration lives for the call.
        check(unsafe { ffi::x86vcpu_set_nested_page_table(self.raw(), &table) })?;
        self.nested_root = Some(config.root_paddr);
        Ok(())
    }

    /// Brings the vCPU to its reset state with this configuration. On a CPU whose extension is on, pinned. A vCPU that is
    /// bound here stays so.
    ///
    /// # Errors
    ///
    /// `InvalidInput`: entry or nested table are not set, a bad range, too many of them; `BadState`: the extension is not
    /// on here; `ResourceBusy`: the vCPU is bound to another CPU; `Unsupported`; `NoMemory`.
    pub fn setup(&mut self, config: X86VcpuSetupConfig) -> X86VcpuResult {
        let bound = self.bound;
        if bound && self.unbind().is_err() {
            return Err(X86VcpuError::ResourceBusy);
        }
        self.open = Open::None;
        self.rsp = None;
        self.launched = false;
        // SAFETY: see set_entry; the memory regions are the caller's promise.
        unsafe { setup::setup(self.raw(), &config) }?;
        self.injected = Injected::default();
        self.seen = (
            self.entry.map_or(0, |entry| entry.as_usize() as u64 & 0xffff),
            FLAGS_AT_RESET,
        );
        if bound { self.bind() } else { Ok(()) }
    }

    /// Runs the guest until something is left for the VMM to do. The vCPU is bound to the executing CPU, IRQs are off
    /// during the whole call.
    ///
    /// # Errors
    ///
    /// `BadState`: not bound here, IRQs are on, or the vCPU has shut down; `Unsupported`: the guest did something that
    /// the library cannot go on from; `InvalidData`: the nested tables, or hardware, hold nonsense.
    pub fn run(&mut self) -> X86VcpuResult<X86VmExit> {
        #[cfg(feature = "tracing")]
        self.trace_changes();
        self.open = Open::None;
        let mut exit = MaybeUninit::<ffi::x86vcpu_exit>::zeroed();
        let acts = Section::run();
        // SAFETY: the library fills it in; zeros are a valid value, too.
        let (status, exit) = unsafe {
            (
                ffi::x86vcpu_run(self.raw(), exit.as_mut_ptr()),
                exit.assume_init(),
            )
        };
        drop(acts);
        #[cfg(x86_vcpu_0_6)]
        if let Some(vector) = crate::cpu::take_acknowledged() {
            return Ok(X86VmExit::ExternalInterrupt { vector });
        }
        #[cfg(feature = "tracing")]
        {
            self.regs_at_exit = self.regs();
        }
        check(status)?;
        self.launched = true;
        self.open = Open::left_by(&exit);
        // SAFETY: see set_entry.
        unsafe { self.injected.end_here_too(self.raw(), &exit) };
        X86VmExit::from_raw(&exit)
    }

    /// Makes the executing CPU the vCPU's. Pinned from here to `unbind`. Where it is bound already, nothing changes.
    ///
    /// # Errors
    ///
    /// `BadState`: not set up, or the extension is off here; `ResourceBusy`: bound to another CPU.
    pub fn bind(&mut self) -> X86VcpuResult {
        if self.bound {
            return self.state(0).map(drop).map_err(|_| X86VcpuError::ResourceBusy);
        }
        // SAFETY: see set_entry.
        check(unsafe { ffi::x86vcpu_bind(self.raw()) })?;
        self.bound = true;
        if let Some((width, value)) = self.rsp.take() {
            self.write("set_gpr_rsp", Write::Operand(RSP, width, value));
        }
        Ok(())
    }

    /// Releases it. A vCPU that is not bound stays so.
    ///
    /// # Errors
    ///
    /// `BadState`: bound to another CPU.
    pub fn unbind(&mut self) -> X86VcpuResult {
        if self.bound {
            self.remember();
            // SAFETY: see set_entry.
            check(unsafe { ffi::x86vcpu_unbind(self.raw()) })?;
            self.bound = false;
        }
        Ok(())
    }

    /// Sets general register `reg`, 0 to 15 in the order of the instruction encoding, without 4: for RSP there is
    /// `set_gpr_rsp`. Bound or not. Answers an open `PortIoRead` or `MsrRead` (register 0) or `MmioRead` (the register that
    /// it names) with the bits of the access. What cannot be done is ignored, with a log line.
    pub fn set_gpr(&mut self, reg: usize, value: usize) {
        if reg == RSP as usize {
            log_failure("set_gpr(4, ...)", ffi::X86VCPU_ERR_INVALID_INPUT);
            return;
        }
        self.set("set_gpr", reg, X86AccessWidth::Qword, value as u64);
    }

    /// Sets an 8-bit register; the rest stays. Answers as `set_gpr` does.
    pub fn set_gpr_byte(&mut self, reg: X86ByteRegister, value: u8) {
        if reg.high {
            self.open = match self.open {
                Open::Mmio(mmio) if mmio.reg == reg.gpr => Open::None,
                open => open,
            };
            self.write("set_gpr_byte", Write::HighByte(reg.gpr.into(), value));
        } else {
            self.set("set_gpr_byte", reg.gpr.into(), X86AccessWidth::Byte, value.into());
        }
    }

    /// Sets the low 16 bits of register `reg`; the rest stays. Answers as `set_gpr` does.
    pub fn set_gpr_word(&mut self, reg: usize, value: u16) {
        self.set("set_gpr_word", reg, X86AccessWidth::Word, value.into());
    }

    /// Sets RSP as an instruction with an operand of `width` does: when the vCPU is not bound, once it is.
    pub fn set_gpr_rsp(&mut self, width: X86AccessWidth, value: u64) {
        self.set("set_gpr_rsp", RSP as usize, width, value);
    }

    fn set(&mut self, what: &str, reg: usize, width: X86AccessWidth, value: u64) {
        let index = u32::try_from(reg).unwrap_or(u32::MAX);
        let (answered, writes) = self.open.answer(index, width, value);
        if answered {
            self.open = Open::None;
        }
        for write in writes.into_iter().flatten() {
            self.write(what, write);
        }
    }

    fn write(&mut self, what: &str, write: Write) {
        if let (Write::Operand(RSP, width, value), false) = (write, self.bound) {
            self.rsp = Some(later(self.rsp, width, value));
            return;
        }
        // SAFETY: see set_entry.
        log_failure(what, unsafe {
            match write {
                Write::HighByte(reg, value) => ffi::x86vcpu_set_gpr_high_byte(self.raw(), reg, value),
                Write::Operand(reg, width, value) => {
                    ffi::x86vcpu_set_gpr_width(self.raw(), reg, width.to_raw(), value)
                }
            }
        });
    }

    /// Commits the element of a string port access that `run` returned last.
    ///
    /// # Errors
    ///
    /// `BadState`: it is not that element, or the vCPU is not bound here.
    pub fn complete_port_io_string(&mut self, exit: X86PortIoStringExit) -> X86VcpuResult {
        let Open::String(open) = self.open else {
            return Err(X86VcpuError::BadState);
        };
        if X86PortIoStringExit::from_raw(&open) != Ok(exit) {
            return Err(X86VcpuError::BadState);
        }
        // SAFETY: see set_entry.
        check(unsafe { ffi::x86vcpu_complete_port_io_string(self.raw(), &open) })?;
        self.open = Open::None;
        Ok(())
    }

    /// Makes an edge-triggered interrupt pending.
    ///
    /// # Errors
    ///
    /// `InvalidInput`: the vector is 0 or above 255.
    pub fn inject_interrupt(&mut self, vector: usize) -> X86VcpuResult {
        self.inject_interrupt_with_trigger(vector, false)
    }

    /// Makes an interrupt pending, edge- or level-triggered.
    ///
    /// # Errors
    ///
    /// `InvalidInput`: the vector is 0 or above 255.
    pub fn inject_interrupt_with_trigger(&mut self, vector: usize, level_triggered: bool) -> X86VcpuResult {
        if vector == doorbell::VECTOR.into() && !level_triggered && self.doorbell().came_back() {
            return Ok(());
        }
        let vector = u32::try_from(vector).map_err(|_| X86VcpuError::InvalidInput)?;
        // SAFETY: see set_entry.
        check(unsafe {
            ffi::x86vcpu_inject_interrupt_with_trigger(self.raw(), vector, level_triggered.into())
        })?;
        if !level_triggered {
            self.injected.add(vector as u8);
        }
        Ok(())
    }

    /// Whether an event waits to be taken by the guest.
    pub fn has_pending_event(&self) -> bool {
        // SAFETY: see set_entry.
        unsafe { ffi::x86vcpu_has_pending_event(self.raw()) != 0 }
    }

    /// Ends the interrupt in service. The vector, if it was level-triggered.
    pub fn handle_eoi(&mut self) -> Option<u8> {
        let mut vector = -1;
        // SAFETY: a place for the answer.
        log_failure("handle_eoi", unsafe {
            ffi::x86vcpu_handle_eoi(self.raw(), &mut vector)
        });
        u8::try_from(vector).ok()
    }

    /// Sets RAX, where a hypercall's caller looks for its result.
    pub fn set_return_value(&mut self, value: usize) {
        // SAFETY: see set_entry.
        log_failure("set_return_value", unsafe {
            ffi::x86vcpu_set_return_value(self.raw(), value as u64)
        });
    }

    /// The components of the guest's state in `mask`. Bound here.
    fn state(&self, mask: u64) -> X86VcpuResult<ffi::x86vcpu_state> {
        // SAFETY: plain numbers, of which zeros are a valid value.
        let mut state: ffi::x86vcpu_state = unsafe { MaybeUninit::zeroed().assume_init() };
        state.size = size_of::<ffi::x86vcpu_state>() as u32;
        // SAFETY: the vCPU is not running: that takes `&mut self`, and it is not Sync.
        check(unsafe { ffi::x86vcpu_get_state(self.raw(), mask, &mut state) })?;
        Ok(state)
    }

    /// The general registers without RSP, bound or not.
    fn regs(&self) -> GeneralRegisters {
        let mut regs = GeneralRegisters::default();
        for index in (0..16u8).filter(|&index| u32::from(index) != RSP) {
            let mut value = 0;
            // SAFETY: as in `state`.
            let status = unsafe { ffi::x86vcpu_get_gpr(self.raw(), index.into(), &mut value) };
            log_failure("get_gpr", status);
            regs.set_reg_of_index(index, value);
        }
        regs
    }

    /// For `Debug`.
    fn remember(&mut self) {
        if selected() != Ok(ffi::X86VCPU_EXTENSION_SVM) {
            return;
        }
        if let Ok(state) = self.state(ffi::X86VCPU_STATE_RIP) {
            self.seen = (state.rip, state.rflags);
        }
    }

    #[cfg(feature = "tracing")]
    fn trace_changes(&self) {
        let diff = crate::regs::GeneralRegistersDiff {
            old: self.regs_at_exit,
            new: self.regs(),
        };
        if diff.is_same() {
            log::debug!("VCpu registers unchanged during handling VM-exit");
        } else {
            log::debug!("VCpu registers changed during handling VM-exit: {diff:#x?}");
        }
    }

    fn fmt_vmx(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = ffi::X86VCPU_STATE_GPRS
            | ffi::X86VCPU_STATE_RIP
            | ffi::X86VCPU_STATE_SEGMENTS
            | ffi::X86VCPU_STATE_CRS;
        let mut text = f.debug_struct("VmxVcpu");
        let Ok(state) = self.state(parts) else {
            return text.field("guest_regs", &self.regs()).finish_non_exhaustive();
        };
        let segment = |index: u32| &state.segments[index as usize];
        text.field("guest_regs", &GeneralRegisters::from_raw(state.regs))
            .field("rip", &state.rip)
            .field("rsp", &state.rsp)
            .field("rflags", &state.rflags)
            .field("rflags_if", &interrupts_enabled(state.rflags))
            .field("cr0", &state.cr0)
            .field("cr3", &state.cr3)
            .field("cr4", &state.cr4)
            .field("cs", &segment(ffi::X86VCPU_SEGMENT_CS).selector)
            .field("fs_base", &segment(ffi::X86VCPU_SEGMENT_FS).base)
            .field("gs_base", &segment(ffi::X86VCPU_SEGMENT_GS).base)
            .field("tss", &segment(ffi::X86VCPU_SEGMENT_TR).selector)
            .finish()
    }

    fn fmt_svm(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rip, rflags) = match self.state(ffi::X86VCPU_STATE_RIP) {
            Ok(state) => (state.rip, state.rflags),
            Err(_) => self.seen,
        };
        // SAFETY: a live vCPU.
        let vmcb = unsafe { ffi::x86vcpu_structure_hpa(self.raw()) };
        f.debug_struct("SvmVcpu")
            .field("entry", &self.entry)
            .field("npt_root", &self.nested_root)
            .field("vmcb", &X86HostPhysAddr::from_usize(vmcb as usize))
            .field("launched", &self.launched)
            .field("rip", &rip)
            .field("rflags", &rflags)
            .field("rflags_if", &interrupts_enabled(rflags))
            .finish()
    }
}

fn interrupts_enabled(rflags: u64) -> bool {
    rflags & 1 << 9 != 0
}

/// What upstream prints; of a VT-x vCPU that is not bound here, only what can be known.
impl<H: X86HostOps> fmt::Debug for X86Vcpu<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if selected() == Ok(ffi::X86VCPU_EXTENSION_SVM) {
            self.fmt_svm(f)
        } else {
            self.fmt_vmx(f)
        }
    }
}
