// SPDX-License-Identifier: Apache-2.0
//! The two libraries behind one interface, with their answers in one vocabulary.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{null, null_mut};
use std::sync::OnceLock;

use library::*;
use x86_vcpu as upstream;

use crate::fields;
use crate::machine::{Backend, Host, Machine, OPS};

/// What run returned. Widths are in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Exit {
    Hypercall {
        nr: u64,
        args: [u64; 6],
    },
    PortRead {
        port: u16,
        width: u8,
    },
    PortWrite {
        port: u16,
        width: u8,
        data: u64,
    },
    PortString {
        port: u16,
        width: u8,
        out: bool,
        gpa: u64,
    },
    MmioRead {
        gpa: u64,
        width: u8,
        reg: u8,
        reg_width: u8,
        signed: bool,
        byte: Option<(u8, bool)>,
    },
    MmioWrite {
        gpa: u64,
        width: u8,
        data: u64,
    },
    MsrRead(u32),
    MsrWrite(u32, u64),
    NestedFault {
        gpa: u64,
        access: u64,
    },
    Timer,
    InterruptEnd(Option<u8>),
    Halt,
    Down,
    FailEntry(u64),
    WaitForSipi,
    Nothing,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    Error(&'static str),
    Panic(String),
}

pub type Answer<T> = Result<T, Failure>;

pub struct Setup {
    pub entry: u64,
    pub root: u64,
    pub ports: Vec<(u16, u16)>,
    pub mmio: Vec<(u64, u64)>,
    pub memory: bool, // whether guest RAM is given as a region
}

/// A vCPU and its CPUs.
pub trait Side {
    fn machine(&self) -> &Machine;
    /// For the comparison of what it gives the CPU.
    fn as_given(&self) -> fields::Side<'_>;
    fn offsets(&mut self) -> &mut Vec<(fields::Span, &'static str)>;
    /// On the current CPU.
    fn enable(&mut self) -> Answer<()>;
    /// By us, on the current CPU.
    fn is_enabled(&self) -> bool;
    fn create(&mut self) -> Answer<()>;
    fn setup(&mut self, setup: &Setup) -> Answer<()>;
    fn bind(&mut self) -> Answer<()>;
    fn unbind(&mut self) -> Answer<()>;
    fn destroy(&mut self);
    fn run(&mut self) -> Answer<Exit>;
    /// Answers the exit as its library wants it: `value` for what was read.
    fn answer(&mut self, exit: &Exit, value: u64) -> Answer<()>;
    fn set_gpr(&mut self, index: u32, value: u64) -> Answer<()>;
    fn inject(&mut self, vector: u32, level: bool) -> Answer<()>;
    fn flush_nested(&mut self);
    /// The vCPU is destroyed, every CPU that is on turned off.
    fn give_back(&mut self);
}

// ---- Upstream --------------------------------------------------------------------------------------------------

pub struct Theirs {
    /// In a box: it must not move once it has been launched (U-04).
    vcpu: Option<Box<upstream::X86Vcpu<Host>>>,
    percpu: [Option<upstream::X86PerCpuState<Host>>; 4],
    string: Option<upstream::X86PortIoStringExit>,
    byte: Option<upstream::X86ByteRegister>, // of the last read
    offsets: Vec<(fields::Span, &'static str)>,
    machine: Machine,                        // last: the others free their frames before it goes
    cpu: usize,
}

fn message(panic: Box<dyn Any + Send>) -> String {
    match panic.downcast::<String>() {
        Ok(text) => text.lines().next().unwrap_or("").to_owned(),
        Err(panic) => panic
            .downcast::<&str>()
            .map_or("?".into(), |text| text.to_string()),
    }
}

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Panics of upstream are answers; others are reported.
pub fn quiet_panics() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !GUARDED.get() {
            report(info);
        }
    }));
}

fn guarded<T>(call: impl FnOnce() -> upstream::X86VcpuResult<T>) -> Answer<T> {
    GUARDED.set(true);
    let result = catch_unwind(AssertUnwindSafe(call));
    GUARDED.set(false);
    match result {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Failure::Error(match error {
            upstream::X86VcpuError::InvalidInput => "invalid input",
            upstream::X86VcpuError::InvalidData => "invalid data",
            upstream::X86VcpuError::Unsupported => "unsupported",
            upstream::X86VcpuError::BadState => "bad state",
            upstream::X86VcpuError::NoMemory => "no memory",
            upstream::X86VcpuError::ResourceBusy => "resource busy",
            upstream::X86VcpuError::TimerUnavailable => "timer unavailable",
        })),
        Err(panic) => Err(Failure::Panic(message(panic))),
    }
}

fn byte_register(reg: upstream::X86ByteRegister) -> (u8, bool) {
    let text = format!("{reg:?}");
    let gpr = text
        .split("gpr: ")
        .nth(1)
        .and_then(|rest| rest.split(',').next())
        .unwrap_or("0");
    (gpr.parse().unwrap_or(0), text.contains("high: true"))
}

impl Theirs {
    pub fn new(backend: Backend, features: u32) -> Self {
        let machine = Machine::new(backend, features, true);
        Self {
            vcpu: None,
            percpu: [const { None }; 4],
            string: None,
            byte: None,
            offsets: Vec::new(),
            machine,
            cpu: 0,
        }
    }

    fn vcpu(&mut self) -> &mut upstream::X86Vcpu<Host> {
        self.vcpu.as_mut().expect("create comes first")
    }

    fn translate(&mut self, exit: upstream::X86VmExit) -> Exit {
        use upstream::X86VmExit as E;
        match exit {
            E::Hypercall { nr, args } => Exit::Hypercall { nr, args },
            E::PortIoRead { port, width } => Exit::PortRead {
                port: port.number(),
                width: width.size() as u8,
            },
            E::PortIoWrite { port, width, data } => Exit::PortWrite {
                port: port.number(),
                width: width.size() as u8,
                data,
            },
            E::PortIoString(string) => {
                self.string = Some(string);
                Exit::PortString {
                    port: string.port().number(),
                    width: string.width().size() as u8,
                    out: string.direction() == upstream::X86PortIoDirection::Out,
                    gpa: string.guest_paddr().as_usize() as u64,
                }
            }
            E::MmioRead {
                addr,
                width,
                reg,
                reg_width,
                signed_ext,
                byte_reg,
            } => {
                self.byte = byte_reg;
                Exit::MmioRead {
                    gpa: addr.as_usize() as u64,
                    width: width.size() as u8,
                    reg: reg as u8,
                    reg_width: reg_width.size() as u8,
                    signed: signed_ext,
                    byte: byte_reg.map(byte_register),
                }
            }
            E::MmioWrite { addr, width, data } => Exit::MmioWrite {
                gpa: addr.as_usize() as u64,
                width: width.size() as u8,
                data,
            },
            E::MsrRead { addr } => Exit::MsrRead(addr.addr() as u32),
            E::MsrWrite { addr, value } => Exit::MsrWrite(addr.addr() as u32, value),
            E::NestedPageFault { addr, access_flags } => Exit::NestedFault {
                gpa: addr.as_usize() as u64,
                access: access_flags.bits() as u64,
            },
            E::PreemptionTimer => Exit::Timer,
            E::InterruptEnd { vector } => Exit::InterruptEnd(vector),
            E::Halt => Exit::Halt,
            E::SystemDown => Exit::Down,
            E::FailEntry {
                hardware_entry_failure_reason,
            } => Exit::FailEntry(hardware_entry_failure_reason as u64),
            E::Nothing => Exit::Nothing,
            other => panic!("upstream has a new exit: {other:?}"),
        }
    }

    /// What a VMM writes to the destination of a read of device memory.
    fn write_register(&mut self, exit: &Exit, value: u64) {
        let &Exit::MmioRead {
            width,
            reg,
            reg_width,
            signed,
            byte,
            ..
        } = exit
        else {
            return;
        };
        let bits = 8 * u32::from(width);
        let value = if width == 8 {
            value
        } else {
            value & ((1 << bits) - 1)
        };
        let value = if signed {
            ((value << (64 - bits)) as i64 >> (64 - bits)) as u64
        } else {
            value
        };
        let vcpu = self.vcpu.as_mut().expect("create comes first");
        match (byte, reg_width) {
            (Some(_), _) => vcpu.set_gpr_byte(self.byte.expect("of the same exit"), value as u8),
            (None, _) if reg == 4 => vcpu.set_gpr_rsp(access_width(reg_width), value),
            (None, 2) => vcpu.set_gpr_word(reg.into(), value as u16),
            (None, 4) => vcpu.set_gpr(reg.into(), value as u32 as usize),
            _ => vcpu.set_gpr(reg.into(), value as usize),
        }
    }
}

fn access_width(bytes: u8) -> upstream::X86AccessWidth {
    upstream::X86AccessWidth::try_from(usize::from(bytes)).expect("1, 2, 4 or 8")
}

impl Side for Theirs {
    fn machine(&self) -> &Machine {
        &self.machine
    }

    fn as_given(&self) -> fields::Side<'_> {
        static EXIT_POINT: OnceLock<u64> = OnceLock::new();
        let vcpu = self.vcpu.as_deref().map_or(0, |vcpu| &raw const *vcpu as u64);
        fields::Side {
            machine: &self.machine,
            stack: (
                fields::Span {
                    first: vcpu,
                    length: size_of::<upstream::X86Vcpu<Host>>() as u64,
                },
                "in the vCPU",
            ),
            exit_point: &EXIT_POINT,
            offsets: &self.offsets,
        }
    }

    fn offsets(&mut self) -> &mut Vec<(fields::Span, &'static str)> {
        &mut self.offsets
    }

    fn enable(&mut self) -> Answer<()> {
        self.machine.select();
        let cpu = self.cpu;
        guarded(|| {
            upstream::initialize_hardware_support()?;
            let mut state = upstream::X86PerCpuState::new(cpu)?;
            let result = state.hardware_enable();
            self.percpu[cpu] = Some(state);
            result
        })
    }

    fn is_enabled(&self) -> bool {
        self.percpu[self.cpu].is_some()
    }

    fn create(&mut self) -> Answer<()> {
        self.machine.select();
        let vcpu = guarded(|| upstream::X86Vcpu::new_with_config(1, 0, upstream::X86VcpuCreateConfig))?;
        self.vcpu = Some(Box::new(vcpu));
        Ok(())
    }

    fn setup(&mut self, setup: &Setup) -> Answer<()> {
        self.machine.select();
        let mut config = upstream::X86VcpuSetupConfig::default();
        for &(base, length) in &setup.ports {
            guarded(|| config.add_intercepted_port_range(base, length))?;
        }
        for &(base, size) in &setup.mmio {
            guarded(|| config.add_intercepted_mmio_range((base as usize).into(), size as usize))?;
        }
        if setup.memory {
            let memory = self.machine.guest_memory();
            config.guest_memory_regions.push(upstream::X86GuestMemoryRegion {
                gpa: 0.into(),
                hva: (memory.as_ptr() as usize).into(),
                size: memory.len(),
            });
        }
        let (entry, root) = (setup.entry as usize, setup.root as usize);
        let vcpu = self.vcpu();
        guarded(|| {
            vcpu.set_entry(entry.into())?;
            vcpu.set_nested_page_table(upstream::X86NestedPagingConfig::new(root.into(), 4, 48, 0))?;
            vcpu.setup(config)
        })
    }

    fn bind(&mut self) -> Answer<()> {
        self.machine.select();
        let vcpu = self.vcpu();
        guarded(|| vcpu.bind())
    }

    fn unbind(&mut self) -> Answer<()> {
        self.machine.select();
        let vcpu = self.vcpu();
        guarded(|| vcpu.unbind())
    }

    fn destroy(&mut self) {
        self.machine.select();
        let vcpu = self.vcpu.take();
        let _ = guarded(|| {
            drop(vcpu);
            Ok(())
        });
    }

    fn run(&mut self) -> Answer<Exit> {
        self.machine.select();
        let vcpu = self.vcpu();
        let exit = guarded(|| vcpu.run())?;
        Ok(self.translate(exit))
    }

    fn answer(&mut self, exit: &Exit, value: u64) -> Answer<()> {
        self.machine.select();
        match exit {
            Exit::PortRead { .. } | Exit::MsrRead(_) => self.set_gpr(0, value),
            Exit::MmioRead { .. } => guarded(|| {
                self.write_register(exit, value);
                Ok(())
            }),
            Exit::PortString { .. } => {
                let string = self.string.take().expect("the exit before");
                let vcpu = self.vcpu();
                guarded(|| vcpu.complete_port_io_string(string))
            }
            Exit::Hypercall { .. } => {
                let vcpu = self.vcpu();
                guarded(|| {
                    vcpu.set_return_value(value as usize);
                    Ok(())
                })
            }
            _ => Ok(()),
        }
    }

    fn set_gpr(&mut self, index: u32, value: u64) -> Answer<()> {
        self.machine.select();
        let vcpu = self.vcpu();
        guarded(|| {
            vcpu.set_gpr(index as usize, value as usize);
            Ok(())
        })
    }

    fn inject(&mut self, vector: u32, level: bool) -> Answer<()> {
        self.machine.select();
        let vcpu = self.vcpu();
        guarded(|| vcpu.inject_interrupt_with_trigger(vector as usize, level))
    }

    fn flush_nested(&mut self) {}

    fn give_back(&mut self) {
        self.destroy();
        for number in 0..4 {
            if let Some(mut state) = self.percpu[number].take() {
                self.on_cpu(number as u32);
                let _ = guarded(|| state.hardware_disable());
                drop(state);
            }
        }
    }
}

impl Drop for Theirs {
    fn drop(&mut self) {
        self.give_back();
    }
}

// ---- The C library ------------------------------------------------------------------------------------------------

pub struct Ours {
    vcpu: *mut x86vcpu,
    percpu: [*mut x86vcpu_percpu; 4],
    string: Option<x86vcpu_port_io_string>,
    /// Where run was called, and what is below.
    stack: fields::Span,
    offsets: Vec<(fields::Span, &'static str)>,
    machine: Machine,
    cpu: usize,
}

fn status(status: i32) -> Answer<()> {
    Err(Failure::Error(match status {
        0 => return Ok(()),
        X86VCPU_ERR_INVALID_INPUT => "invalid input",
        X86VCPU_ERR_INVALID_DATA => "invalid data",
        X86VCPU_ERR_UNSUPPORTED => "unsupported",
        X86VCPU_ERR_BAD_STATE => "bad state",
        X86VCPU_ERR_NO_MEMORY => "no memory",
        X86VCPU_ERR_RESOURCE_BUSY => "resource busy",
        X86VCPU_ERR_FIRMWARE_DISABLED => "firmware disabled",
        _ => "another error",
    }))
}

impl Ours {
    pub fn new(backend: Backend, features: u32) -> Self {
        let machine = Machine::new(backend, features, false);
        Self {
            vcpu: null_mut(),
            percpu: [null_mut(); 4],
            string: None,
            stack: fields::Span { first: 0, length: 0 },
            offsets: Vec::new(),
            machine,
            cpu: 0,
        }
    }

    fn translate(&mut self, exit: &x86vcpu_exit) -> Exit {
        let u = unsafe { &exit.u.words };
        let u: &x86vcpu_exit_payload = unsafe { &*(u as *const _ as *const _) };
        unsafe {
            match exit.kind {
                X86VCPU_EXIT_HYPERCALL => Exit::Hypercall {
                    nr: u.hypercall.nr,
                    args: u.hypercall.args,
                },
                X86VCPU_EXIT_PORT_IO_READ => Exit::PortRead {
                    port: u.port_io.port,
                    width: 1 << u.port_io.width,
                },
                X86VCPU_EXIT_PORT_IO_WRITE => Exit::PortWrite {
                    port: u.port_io.port,
                    width: 1 << u.port_io.width,
                    data: u.port_io.data,
                },
                X86VCPU_EXIT_PORT_IO_STRING => {
                    let string = u.port_io_string;
                    self.string = Some(string);
                    Exit::PortString {
                        port: string.port,
                        width: 1 << string.width,
                        out: string.direction == 1,
                        gpa: string.gpa,
                    }
                }
                X86VCPU_EXIT_MMIO_READ => Exit::MmioRead {
                    gpa: u.mmio.gpa,
                    width: 1 << u.mmio.width,
                    reg: u.mmio.reg,
                    reg_width: 1 << u.mmio.reg_width,
                    signed: u.mmio.sign_extend == 1,
                    byte: (u.mmio.has_byte_reg == 1).then_some((u.mmio.reg, u.mmio.byte_reg_high == 1)),
                },
                X86VCPU_EXIT_MMIO_WRITE => Exit::MmioWrite {
                    gpa: u.mmio.gpa,
                    width: 1 << u.mmio.width,
                    data: u.mmio.data,
                },
                X86VCPU_EXIT_MSR_READ => Exit::MsrRead(u.msr.index),
                X86VCPU_EXIT_MSR_WRITE => Exit::MsrWrite(u.msr.index, u.msr.value),
                X86VCPU_EXIT_NESTED_PAGE_FAULT => Exit::NestedFault {
                    gpa: u.nested_page_fault.gpa,
                    access: u.nested_page_fault.access,
                },
                X86VCPU_EXIT_PREEMPTION_TIMER => Exit::Timer,
                X86VCPU_EXIT_INTERRUPT_END => Exit::InterruptEnd(
                    (u.interrupt_end.has_vector == 1).then_some(u.interrupt_end.vector as u8),
                ),
                X86VCPU_EXIT_HALT => Exit::Halt,
                X86VCPU_EXIT_SYSTEM_DOWN => Exit::Down,
                X86VCPU_EXIT_FAIL_ENTRY => Exit::FailEntry(u.fail_entry.reason),
                X86VCPU_EXIT_WAIT_FOR_SIPI => Exit::WaitForSipi,
                X86VCPU_EXIT_NOTHING => Exit::Nothing,
                other => panic!("exit kind {other}"),
            }
        }
    }
}

impl Side for Ours {
    fn machine(&self) -> &Machine {
        &self.machine
    }

    fn as_given(&self) -> fields::Side<'_> {
        static EXIT_POINT: OnceLock<u64> = OnceLock::new();
        fields::Side {
            machine: &self.machine,
            stack: (self.stack, "the caller's stack"),
            exit_point: &EXIT_POINT,
            offsets: &self.offsets,
        }
    }

    fn offsets(&mut self) -> &mut Vec<(fields::Span, &'static str)> {
        &mut self.offsets
    }

    fn enable(&mut self) -> Answer<()> {
        self.machine.select();
        let state = &mut self.percpu[self.cpu];
        unsafe {
            if state.is_null() {
                status(x86vcpu_percpu_create(
                    &OPS,
                    self.machine.context(),
                    self.cpu as u32,
                    state,
                ))?;
            }
            status(x86vcpu_percpu_enable(*state))
        }
    }

    fn is_enabled(&self) -> bool {
        !self.percpu[self.cpu].is_null()
    }

    fn create(&mut self) -> Answer<()> {
        self.machine.select();
        let config = x86vcpu_create_config {
            size: size_of::<x86vcpu_create_config>() as u32,
            vcpu_id: 0,
            vm_id: 1,
        };
        status(unsafe { x86vcpu_create(&OPS, self.machine.context(), &config, &mut self.vcpu) })
    }

    fn setup(&mut self, setup: &Setup) -> Answer<()> {
        self.machine.select();
        let ports: Vec<_> = setup
            .ports
            .iter()
            .map(|&(base, length)| x86vcpu_port_range { base, length })
            .collect();
        let mmio: Vec<_> = setup
            .mmio
            .iter()
            .map(|&(base, size)| x86vcpu_mmio_range { base, size })
            .collect();
        let memory = self.machine.guest_memory();
        let region = x86vcpu_memory_region {
            gpa: 0,
            hva: memory.as_ptr().cast(),
            size: memory.len() as u64,
        };
        let mut config: x86vcpu_setup_config = unsafe { std::mem::zeroed() };
        config.size = size_of::<x86vcpu_setup_config>() as u32;
        (config.port_count, config.ports) = (ports.len() as u32, ports.as_ptr());
        (config.mmio_count, config.mmio) = (mmio.len() as u32, mmio.as_ptr());
        (config.memory_count, config.memory) = if setup.memory {
            (1, &raw const region)
        } else {
            (0, null())
        };
        // No test waits for the end of a slice: it is a matter of the clock.
        config.time_slice_ns = 1 << 60;
        let table = x86vcpu_nested_paging {
            root_hpa: setup.root,
            levels: 4,
            gpa_bits: 48,
            mode: 0,
        };
        let before = self.machine.tsc();
        let result = unsafe {
            status(x86vcpu_set_entry(self.vcpu, setup.entry))
                .and_then(|()| status(x86vcpu_set_nested_page_table(self.vcpu, &table)))
                .and_then(|()| status(x86vcpu_setup(self.vcpu, &config)))
        };
        let zero = fields::offsets_for(0, (before, self.machine.tsc()));
        self.offsets.push((zero, "0 at setup"));
        result
    }

    fn bind(&mut self) -> Answer<()> {
        self.machine.select();
        status(unsafe { x86vcpu_bind(self.vcpu) })
    }

    fn unbind(&mut self) -> Answer<()> {
        self.machine.select();
        status(unsafe { x86vcpu_unbind(self.vcpu) })
    }

    fn destroy(&mut self) {
        self.machine.select();
        if self.vcpu.is_null() {
            return;
        }
        unsafe {
            x86vcpu_unbind(self.vcpu);
            x86vcpu_destroy(self.vcpu);
        }
        self.vcpu = null_mut();
    }

    fn run(&mut self) -> Answer<Exit> {
        self.machine.select();
        const DEEP: u64 = 16384;
        let mut exit: x86vcpu_exit = unsafe { std::mem::zeroed() };
        self.stack = fields::Span {
            first: (&raw const exit as u64) - DEEP,
            length: DEEP,
        };
        status(unsafe { x86vcpu_run(self.vcpu, &mut exit) })?;
        Ok(self.translate(&exit))
    }

    fn answer(&mut self, exit: &Exit, value: u64) -> Answer<()> {
        self.machine.select();
        unsafe {
            match exit {
                Exit::PortRead { .. } | Exit::MmioRead { .. } | Exit::MsrRead(_) => {
                    status(x86vcpu_complete_read(self.vcpu, value))
                }
                Exit::MsrWrite(..) => status(x86vcpu_complete_write(self.vcpu)),
                Exit::PortString { .. } => {
                    let string = self.string.take().expect("the exit before");
                    status(x86vcpu_complete_port_io_string(self.vcpu, &string))
                }
                Exit::Hypercall { .. } => status(x86vcpu_set_return_value(self.vcpu, value)),
                _ => Ok(()),
            }
        }
    }

    fn set_gpr(&mut self, index: u32, value: u64) -> Answer<()> {
        self.machine.select();
        status(unsafe { x86vcpu_set_gpr(self.vcpu, index, value) })
    }

    fn inject(&mut self, vector: u32, level: bool) -> Answer<()> {
        self.machine.select();
        status(unsafe { x86vcpu_inject_interrupt_with_trigger(self.vcpu, vector, level.into()) })
    }

    fn flush_nested(&mut self) {
        self.machine.select();
        unsafe { x86vcpu_flush_nested(self.vcpu) };
    }

    fn give_back(&mut self) {
        self.destroy();
        for number in 0..4 {
            if self.percpu[number].is_null() {
                continue;
            }
            self.machine.on_cpu(number as u32);
            unsafe {
                x86vcpu_percpu_disable(self.percpu[number]);
                x86vcpu_percpu_destroy(self.percpu[number]);
            }
            self.percpu[number] = null_mut();
        }
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// Both on another CPU from now on.
pub trait Moves {
    fn on_cpu(&mut self, number: u32);
}

impl Moves for Theirs {
    fn on_cpu(&mut self, number: u32) {
        self.cpu = number as usize;
        self.machine.on_cpu(number);
    }
}

impl Moves for Ours {
    fn on_cpu(&mut self, number: u32) {
        self.cpu = number as usize;
        self.machine.on_cpu(number);
    }
}
