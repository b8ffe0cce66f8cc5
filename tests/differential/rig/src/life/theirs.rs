// SPDX-License-Identifier: Apache-2.0
//! Upstream's crate.

use x86_vcpu as upstream;

use super::{Act, Hands, Plan};
use crate::compare::DEVICE_SIZE;
use crate::machine::{Backend, Host, Machine, take_reads};
use crate::side::{Failure, guarded};
use crate::step::DEVICE;

pub struct Theirs {
    vcpus: Vec<Option<Box<upstream::X86Vcpu<Host>>>>,
    percpu: [Option<upstream::X86PerCpuState<Host>>; 4],
    machine: Machine,
    cpu: usize,
}

fn text(result: Result<(), Failure>) -> String {
    match result {
        Ok(()) => "ok".into(),
        Err(Failure::Error(text)) => text.into(),
        Err(Failure::Panic(text)) => format!("panic: {text}"),
    }
}

impl Theirs {
    pub fn new(backend: Backend, features: u32) -> Self {
        Self {
            vcpus: Vec::new(),
            percpu: [const { None }; 4],
            machine: Machine::new(backend, features, true),
            cpu: 0,
        }
    }

    fn vcpu(&mut self, number: usize) -> &mut upstream::X86Vcpu<Host> {
        self.vcpus[number].as_mut().expect("it has been created")
    }

    fn enable(&mut self) -> Result<(), Failure> {
        let cpu = self.cpu;
        guarded(|| {
            upstream::initialize_hardware_support()?;
            let mut state = upstream::X86PerCpuState::new(cpu)?;
            let result = state.hardware_enable();
            self.percpu[cpu] = Some(state);
            result
        })
    }

    fn create(&mut self, number: u32) -> Result<(), Failure> {
        let config = upstream::X86VcpuCreateConfig;
        let vcpu = guarded(|| upstream::X86Vcpu::new_with_config(1, number as usize, config))?;
        self.vcpus.push(Some(Box::new(vcpu)));
        Ok(())
    }

    fn setup(&mut self, number: usize, plan: &Plan) -> Result<(), Failure> {
        let root = (self.machine.alloc() + plan.root) as usize;
        let mut config = upstream::X86VcpuSetupConfig::default();
        let (base, length) = plan.ports;
        config.intercepted_ports[0] = Some(upstream::X86InterceptedPortRange { base, length });
        let device = (DEVICE as usize, DEVICE_SIZE as usize);
        let _ = config.add_intercepted_mmio_range(device.0.into(), device.1);
        if plan.memory {
            let memory = self.machine.guest_memory();
            config.guest_memory_regions.push(upstream::X86GuestMemoryRegion {
                gpa: 0.into(),
                hva: (memory.as_ptr() as usize).into(),
                size: memory.len(),
            });
        }
        let (entry, levels) = (plan.entry as usize, plan.levels as usize);
        let vcpu = self.vcpu(number);
        guarded(|| {
            vcpu.set_entry(entry.into())?;
            vcpu.set_nested_page_table(upstream::X86NestedPagingConfig::new(root.into(), levels, 48, 0))?;
            vcpu.setup(config)
        })
    }

    fn run(&mut self, number: usize) -> String {
        let vcpu = self.vcpu(number);
        match guarded(|| vcpu.run()) {
            Err(error) => text(Err(error)),
            Ok(exit) => format!("{exit:?}")
                .split([' ', '('])
                .next()
                .unwrap_or("")
                .to_owned(),
        }
    }
}

impl Hands for Theirs {
    fn machine(&mut self) -> &mut Machine {
        &mut self.machine
    }

    fn act(&mut self, act: &Act) -> String {
        text(match *act {
            Act::On(cpu) => {
                self.cpu = cpu as usize;
                self.machine.on_cpu(cpu);
                Ok(())
            }
            Act::Enable => self.enable(),
            Act::Disable => {
                let state = self.percpu[self.cpu].as_mut().expect("it is on");
                guarded(|| state.hardware_disable())
            }
            Act::DropCpu => {
                let state = self.percpu[self.cpu].take();
                guarded(|| {
                    drop(state);
                    Ok(())
                })
            }
            Act::Create(number) => self.create(number),
            Act::Setup(number, ref plan) => self.setup(number, plan),
            Act::Bind(number) => {
                let vcpu = self.vcpu(number);
                guarded(|| vcpu.bind())
            }
            Act::Unbind(number) => {
                let vcpu = self.vcpu(number);
                guarded(|| vcpu.unbind())
            }
            Act::Destroy(number) => {
                let vcpu = self.vcpus[number].take();
                guarded(|| {
                    drop(vcpu);
                    Ok(())
                })
            }
            Act::Run(number, ..) | Act::Again(number) => return self.run(number),
            Act::SetGpr(number, index, value) => {
                let vcpu = self.vcpu(number);
                guarded(|| {
                    vcpu.set_gpr(index as usize, value as usize);
                    Ok(())
                })
            }
            Act::Answer(number, value) => {
                let vcpu = self.vcpu(number);
                guarded(|| {
                    vcpu.set_gpr(0, value as usize);
                    Ok(())
                })
            }
            Act::Inject(number, vector) => {
                let vcpu = self.vcpu(number);
                guarded(|| vcpu.inject_interrupt(vector as usize))
            }
            Act::Reads => return take_reads(),
            _ => unreachable!("{act:?} is the machine's"),
        })
    }
}

impl Drop for Theirs {
    fn drop(&mut self) {
        self.machine.select();
        for vcpu in self.vcpus.drain(..) {
            let _ = guarded(|| {
                drop(vcpu);
                Ok(())
            });
        }
        for cpu in 0..4 {
            self.machine.on_cpu(cpu);
            if let Some(mut state) = self.percpu[cpu as usize].take() {
                let _ = guarded(|| state.hardware_disable());
                drop(state);
            }
        }
    }
}
