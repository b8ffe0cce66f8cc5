// SPDX-License-Identifier: Apache-2.0
//! The C library.

use std::ptr::{null, null_mut};
use std::sync::OnceLock;

use library::*;

use super::{Answer, Exit, Failure, Moves, Setup, Side, VCPUS};
use crate::fields;
use crate::machine::{Backend, Machine, OPS, create_vm};

pub struct Ours {
    vm: *mut x86vcpu_machine,
    vcpus: [*mut x86vcpu; VCPUS],
    at: usize,
    cpus: [usize; VCPUS],
    percpu: [*mut x86vcpu_percpu; 4],
    string: Option<x86vcpu_port_io_string>,
    /// Where run was called, and what is below.
    stack: fields::Span,
    offsets: Vec<(fields::Span, &'static str)>,
    machine: Machine,
}

pub fn status(status: i32) -> Answer<()> {
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
            vm: null_mut(),
            vcpus: [null_mut(); VCPUS],
            at: 0,
            cpus: [0; VCPUS],
            percpu: [null_mut(); 4],
            string: None,
            stack: fields::Span { first: 0, length: 0 },
            offsets: Vec::new(),
            machine,
        }
    }

    fn vcpu(&self) -> *mut x86vcpu {
        self.vcpus[self.at]
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
                // rust-compat hands it over so.
                X86VCPU_EXIT_UNKNOWN_INSTRUCTION => Exit::NestedFault {
                    gpa: u.instruction.gpa,
                    access: u.instruction.access.into(),
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
        let state = &mut self.percpu[cpu];
        unsafe {
            if state.is_null() {
                status(x86vcpu_percpu_create(
                    &OPS,
                    self.machine.context(),
                    cpu as u32,
                    state,
                ))?;
            }
            status(x86vcpu_percpu_enable(*state))
        }
    }

    fn is_enabled(&self) -> bool {
        !self.percpu[self.cpus[self.at]].is_null()
    }

    fn create(&mut self) -> Answer<()> {
        self.machine.select();
        let config = x86vcpu_create_config {
            size: size_of::<x86vcpu_create_config>() as u32,
            vcpu_id: self.at as u32,
            opaque: self.at as *mut _,
        };
        if self.vm.is_null() {
            match create_vm(self.machine.context()) {
                Ok(vm) => self.vm = vm,
                Err(code) => return status(code),
            }
        }
        status(unsafe { x86vcpu_create(self.vm, &config, &mut self.vcpus[self.at]) })
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
            hva: memory.as_mut_ptr().cast(),
            size: memory.len() as u64,
            flags: 0,
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
            status(x86vcpu_set_entry(self.vcpu(), setup.entry))
                .and_then(|()| status(x86vcpu_set_nested_page_table(self.vcpu(), &table)))
                .and_then(|()| status(x86vcpu_setup(self.vcpu(), &config)))
        };
        let zero = fields::offsets_for(0, (before, self.machine.tsc()));
        self.offsets.push((zero, "0 at setup"));
        result
    }

    fn bind(&mut self) -> Answer<()> {
        self.machine.select();
        status(unsafe { x86vcpu_bind(self.vcpu()) })
    }

    fn unbind(&mut self) -> Answer<()> {
        self.machine.select();
        status(unsafe { x86vcpu_unbind(self.vcpu()) })
    }

    fn destroy(&mut self) {
        self.machine.select();
        if self.vcpu().is_null() {
            return;
        }
        unsafe {
            x86vcpu_unbind(self.vcpu());
            x86vcpu_destroy(self.vcpu());
        }
        self.vcpus[self.at] = null_mut();
    }

    fn run(&mut self) -> Answer<Exit> {
        self.machine.select();
        const DEEP: u64 = 16384;
        let mut exit: x86vcpu_exit = unsafe { std::mem::zeroed() };
        self.stack = fields::Span {
            first: (&raw const exit as u64) - DEEP,
            length: DEEP,
        };
        status(unsafe { x86vcpu_run(self.vcpu(), &mut exit) })?;
        Ok(self.translate(&exit))
    }

    fn answer(&mut self, exit: &Exit, value: u64) -> Answer<()> {
        self.machine.select();
        unsafe {
            match exit {
                Exit::PortRead { .. } | Exit::MmioRead { .. } | Exit::MsrRead(_) => {
                    status(x86vcpu_complete_read(self.vcpu(), value))
                }
                Exit::MsrWrite(..) => status(x86vcpu_complete_write(self.vcpu())),
                Exit::PortString { .. } => {
                    let string = self.string.take().expect("the exit before");
                    status(x86vcpu_complete_port_io_string(self.vcpu(), &string))
                }
                Exit::Hypercall { .. } => status(x86vcpu_set_return_value(self.vcpu(), value)),
                _ => Ok(()),
            }
        }
    }

    fn set_gpr(&mut self, index: u32, value: u64) -> Answer<()> {
        self.machine.select();
        status(unsafe { x86vcpu_set_gpr(self.vcpu(), index, value) })
    }

    fn set_gpr_part(&mut self, index: u32, width: u8, value: u64) -> Answer<()> {
        self.machine.select();
        let width = width.trailing_zeros();
        status(unsafe { x86vcpu_set_gpr_width(self.vcpu(), index, width, value) })
    }

    fn set_return_value(&mut self, value: u64) -> Answer<()> {
        self.machine.select();
        status(unsafe { x86vcpu_set_return_value(self.vcpu(), value) })
    }

    fn has_pending_event(&mut self) -> bool {
        self.machine.select();
        unsafe { x86vcpu_has_pending_event(self.vcpu()) != 0 }
    }

    fn handle_eoi(&mut self) -> Answer<Option<u8>> {
        self.machine.select();
        let mut vector = 0;
        status(unsafe { x86vcpu_handle_eoi(self.vcpu(), &mut vector) })?;
        Ok(u8::try_from(vector).ok())
    }

    fn send(&mut self, vcpu: usize, vector: u32) -> Answer<()> {
        self.machine.select();
        if self.vcpus[vcpu].is_null() {
            return Ok(());
        }
        status(unsafe { x86vcpu_inject_interrupt(self.vcpus[vcpu], vector) })
    }

    fn inject(&mut self, vector: u32, level: bool) -> Answer<()> {
        self.machine.select();
        status(unsafe { x86vcpu_inject_interrupt_with_trigger(self.vcpu(), vector, level.into()) })
    }

    fn flush_nested_of_all(&mut self) {
        self.machine.select();
        for vcpu in self.vcpus.into_iter().filter(|vcpu| !vcpu.is_null()) {
            unsafe { x86vcpu_flush_nested(vcpu) };
        }
    }

    fn give_back(&mut self) {
        for vcpu in 0..VCPUS {
            self.choose(vcpu);
            self.destroy();
        }
        unsafe { x86vcpu_machine_destroy(self.vm) };
        self.vm = null_mut();
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

impl Moves for Ours {
    fn on_cpu(&mut self, number: u32) {
        self.cpus[self.at] = number as usize;
        self.machine.on_cpu(number);
    }
}
