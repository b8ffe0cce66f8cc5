// SPDX-License-Identifier: Apache-2.0
//! Upstream's crate.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

use x86_vcpu as upstream;

use super::{Answer, Exit, Failure, Moves, Setup, Side, VCPUS};
use crate::fields;
use crate::machine::{Backend, Host, Machine};

pub struct Theirs {
    /// In boxes: one must not move once it has been launched (U-04).
    vcpus: [Option<Box<upstream::X86Vcpu<Host>>>; VCPUS],
    at: usize,
    cpus: [usize; VCPUS],
    percpu: [Option<upstream::X86PerCpuState<Host>>; 4],
    string: Option<upstream::X86PortIoStringExit>,
    byte: Option<upstream::X86ByteRegister>, // of the last read
    offsets: Vec<(fields::Span, &'static str)>,
    machine: Machine, // last: the others free their frames before it goes
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

pub fn guarded<T>(call: impl FnOnce() -> upstream::X86VcpuResult<T>) -> Answer<T> {
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
            vcpus: [const { None }; VCPUS],
            at: 0,
            cpus: [0; VCPUS],
            percpu: [const { None }; 4],
            string: None,
            byte: None,
            offsets: Vec::new(),
            machine,
        }
    }

    fn vcpu(&mut self) -> &mut upstream::X86Vcpu<Host> {
        self.vcpus[self.at].as_mut().expect("create comes first")
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
        let vcpu = self.vcpus[self.at].as_mut().expect("create comes first");
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
        let vcpu = self.vcpus[self.at]
            .as_deref()
            .map_or(0, |vcpu| &raw const *vcpu as u64);
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

    fn choose(&mut self, vcpu: usize) {
        self.at = vcpu;
        self.machine.on_cpu(self.cpus[vcpu] as u32);
    }

    fn cpu_of(&self, vcpu: usize) -> usize {
        self.cpus[vcpu]
    }

    fn enable(&mut self) -> Answer<()> {
        self.machine.select();
        let cpu = self.cpus[self.at];
        guarded(|| {
            upstream::initialize_hardware_support()?;
            let mut state = upstream::X86PerCpuState::new(cpu)?;
            let result = state.hardware_enable();
            self.percpu[cpu] = Some(state);
            result
        })
    }

    fn is_enabled(&self) -> bool {
        self.percpu[self.cpus[self.at]].is_some()
    }

    fn create(&mut self) -> Answer<()> {
        self.machine.select();
        let number = self.at;
        let vcpu = guarded(|| upstream::X86Vcpu::new_with_config(1, number, upstream::X86VcpuCreateConfig))?;
        self.vcpus[number] = Some(Box::new(vcpu));
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
        let vcpu = self.vcpus[self.at].take();
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

    fn set_gpr_part(&mut self, index: u32, width: u8, value: u64) -> Answer<()> {
        self.machine.select();
        let vcpu = self.vcpu();
        guarded(|| {
            match (index, width) {
                (4, _) => vcpu.set_gpr_rsp(access_width(width), value),
                (_, 2) => vcpu.set_gpr_word(index as usize, value as u16),
                (_, 4) => vcpu.set_gpr(index as usize, value as u32 as usize),
                _ => vcpu.set_gpr(index as usize, value as usize),
            }
            Ok(())
        })
    }

    fn set_return_value(&mut self, value: u64) -> Answer<()> {
        self.machine.select();
        let vcpu = self.vcpu();
        guarded(|| {
            vcpu.set_return_value(value as usize);
            Ok(())
        })
    }

    fn has_pending_event(&mut self) -> bool {
        self.machine.select();
        self.vcpu().has_pending_event()
    }

    fn handle_eoi(&mut self) -> Answer<Option<u8>> {
        self.machine.select();
        let vcpu = self.vcpu();
        guarded(|| Ok(vcpu.handle_eoi()))
    }

    fn send(&mut self, vcpu: usize, vector: u32) -> Answer<()> {
        self.machine.select();
        let Some(vcpu) = self.vcpus[vcpu].as_mut() else {
            return Ok(());
        };
        guarded(|| vcpu.inject_interrupt(vector as usize))
    }

    fn inject(&mut self, vector: u32, level: bool) -> Answer<()> {
        self.machine.select();
        let vcpu = self.vcpu();
        guarded(|| vcpu.inject_interrupt_with_trigger(vector as usize, level))
    }

    fn flush_nested_of_all(&mut self) {}

    fn give_back(&mut self) {
        for vcpu in 0..VCPUS {
            self.choose(vcpu);
            self.destroy();
        }
        for number in 0..4 {
            if let Some(mut state) = self.percpu[number].take() {
                self.machine.on_cpu(number as u32);
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

impl Moves for Theirs {
    fn on_cpu(&mut self, number: u32) {
        self.cpus[self.at] = number as usize;
        self.machine.on_cpu(number);
    }
}
