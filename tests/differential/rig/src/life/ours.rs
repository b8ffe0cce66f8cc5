// SPDX-License-Identifier: Apache-2.0
//! The C library.

use std::ptr::{null, null_mut};

use library::*;

use super::{Act, Hands, Plan};
use crate::compare::DEVICE_SIZE;
use crate::machine::{Backend, Machine, OPS, create_vm, take_reads};
use crate::side::{Failure, status};
use crate::step::DEVICE;

pub struct Ours {
    vm: *mut x86vcpu_machine,
    vcpus: Vec<*mut x86vcpu>,
    percpu: [*mut x86vcpu_percpu; 4],
    machine: Machine,
    cpu: usize,
}

fn text(code: i32) -> String {
    match status(code) {
        Ok(()) => "ok".into(),
        Err(Failure::Error(text)) => text.into(),
        Err(Failure::Panic(text)) => text,
    }
}

fn exit_name(kind: u32) -> String {
    match kind {
        X86VCPU_EXIT_NOTHING => "Nothing",
        X86VCPU_EXIT_HALT => "Halt",
        X86VCPU_EXIT_SYSTEM_DOWN => "SystemDown",
        X86VCPU_EXIT_MSR_READ => "MsrRead",
        X86VCPU_EXIT_HYPERCALL => "Hypercall",
        X86VCPU_EXIT_PREEMPTION_TIMER => "PreemptionTimer",
        X86VCPU_EXIT_MMIO_WRITE => "MmioWrite",
        X86VCPU_EXIT_NESTED_PAGE_FAULT => "NestedPageFault",
        _ => "another exit",
    }
    .into()
}

impl Ours {
    pub fn new(backend: Backend, features: u32) -> Self {
        Self {
            vm: null_mut(),
            vcpus: Vec::new(),
            percpu: [null_mut(); 4],
            machine: Machine::new(backend, features, false),
            cpu: 0,
        }
    }

    fn enable(&mut self) -> i32 {
        let state = &mut self.percpu[self.cpu];
        let created = if state.is_null() {
            unsafe { x86vcpu_percpu_create(&OPS, self.machine.context(), self.cpu as u32, state) }
        } else {
            0
        };
        if created != 0 {
            return created;
        }
        unsafe { x86vcpu_percpu_enable(*state) }
    }

    fn create(&mut self, number: u32) -> i32 {
        let config = x86vcpu_create_config {
            size: size_of::<x86vcpu_create_config>() as u32,
            vcpu_id: number,
            opaque: number as usize as *mut _,
        };
        if self.vm.is_null() {
            match create_vm(self.machine.context()) {
                Ok(vm) => self.vm = vm,
                Err(code) => return code,
            }
        }
        let mut vcpu = null_mut();
        let code = unsafe { x86vcpu_create(self.vm, &config, &mut vcpu) };
        if code == 0 {
            self.vcpus.push(vcpu);
        }
        code
    }

    fn setup(&mut self, number: usize, plan: &Plan) -> i32 {
        let vcpu = self.vcpus[number];
        let table = x86vcpu_nested_paging {
            root_hpa: self.machine.alloc() + plan.root,
            levels: plan.levels,
            gpa_bits: 48,
            mode: 0,
        };
        let ports = x86vcpu_port_range {
            base: plan.ports.0,
            length: plan.ports.1,
        };
        let memory = self.machine.guest_memory();
        let region = x86vcpu_memory_region {
            gpa: 0,
            hva: memory.as_mut_ptr().cast(),
            size: memory.len() as u64,
            flags: 0,
        };
        let mut config: x86vcpu_setup_config = unsafe { std::mem::zeroed() };
        config.size = size_of::<x86vcpu_setup_config>() as u32;
        let device = x86vcpu_mmio_range {
            base: DEVICE,
            size: DEVICE_SIZE,
        };
        (config.mmio_count, config.mmio) = (1, &raw const device);
        (config.port_count, config.ports) = (1, &raw const ports);
        (config.memory_count, config.memory) = if plan.memory {
            (1, &raw const region)
        } else {
            (0, null())
        };
        config.time_slice_ns = 1 << 60;
        unsafe {
            for code in [
                x86vcpu_set_entry(vcpu, plan.entry),
                x86vcpu_set_nested_page_table(vcpu, &table),
            ] {
                if code != 0 {
                    return code;
                }
            }
            x86vcpu_setup(vcpu, &config)
        }
    }

    fn run(&mut self, number: usize) -> String {
        let mut exit: x86vcpu_exit = unsafe { std::mem::zeroed() };
        match unsafe { x86vcpu_run(self.vcpus[number], &mut exit) } {
            0 => exit_name(exit.kind),
            code => text(code),
        }
    }

    fn destroy(&mut self, number: usize) -> i32 {
        let code = unsafe { x86vcpu_destroy(self.vcpus[number]) };
        if code == 0 {
            self.vcpus[number] = null_mut();
        }
        code
    }

    fn drop_cpu(&mut self) -> i32 {
        let code = unsafe { x86vcpu_percpu_destroy(self.percpu[self.cpu]) };
        if code == 0 {
            self.percpu[self.cpu] = null_mut();
        }
        code
    }
}

impl Hands for Ours {
    fn machine(&mut self) -> &mut Machine {
        &mut self.machine
    }

    fn act(&mut self, act: &Act) -> String {
        unsafe {
            text(match *act {
                Act::On(cpu) => {
                    self.cpu = cpu as usize;
                    self.machine.on_cpu(cpu);
                    0
                }
                Act::Enable => self.enable(),
                Act::Disable => x86vcpu_percpu_disable(self.percpu[self.cpu]),
                Act::DropCpu => self.drop_cpu(),
                Act::Create(number) => self.create(number),
                Act::Setup(number, ref plan) => self.setup(number, plan),
                Act::Bind(number) => x86vcpu_bind(self.vcpus[number]),
                Act::Unbind(number) => x86vcpu_unbind(self.vcpus[number]),
                Act::Destroy(number) => self.destroy(number),
                Act::Run(number, ..) | Act::Again(number) => return self.run(number),
                Act::SetGpr(number, index, value) => x86vcpu_set_gpr(self.vcpus[number], index, value),
                Act::Answer(number, value) => x86vcpu_set_gpr(self.vcpus[number], 0, value),
                Act::Inject(number, vector) => x86vcpu_inject_interrupt(self.vcpus[number], vector),
                Act::Reads => return take_reads(),
                _ => unreachable!("{act:?} is the machine's"),
            })
        }
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        for cpu in 0..4 {
            self.machine.on_cpu(cpu);
            for &vcpu in self.vcpus.iter().filter(|vcpu| !vcpu.is_null()) {
                unsafe { x86vcpu_unbind(vcpu) };
            }
        }
        for &vcpu in self.vcpus.iter().filter(|vcpu| !vcpu.is_null()) {
            unsafe { x86vcpu_destroy(vcpu) };
        }
        unsafe { x86vcpu_machine_destroy(self.vm) };
        for cpu in 0..4 {
            self.machine.on_cpu(cpu);
            let state = self.percpu[cpu as usize];
            if !state.is_null() {
                unsafe {
                    x86vcpu_percpu_disable(state);
                    x86vcpu_percpu_destroy(state);
                }
            }
        }
    }
}
