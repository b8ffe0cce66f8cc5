// SPDX-License-Identifier: Apache-2.0
//! What the crate asks of the C library and does with its answers. The library is replaced by one that keeps
//! a record: its functions are defined here, so the linker does not look for them in the real one.

mod fake;
mod host;
mod notify;
mod ops;
mod timer;
mod vcpu;

use std::{
    ffi::{c_char, c_void},
    mem::zeroed,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use x86_vcpu::*;
use x86_vcpu_sys as ffi;
use x86_vlapic::X86TimerAction;

use fake::*;
use host::*;

struct Bench {
    vcpu: X86Vcpu<Host>,
    raw: usize,
    _alone: MutexGuard<'static, ()>,
}

fn alone() -> MutexGuard<'static, ()> {
    let guard = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    WORLD.clear_poison();
    HOST.clear_poison();
    host(|state| *state = HostState::default());
    EAGER.store(false, Ordering::Relaxed);
    REFUSES.store(false, Ordering::Relaxed);
    STOPPED.store(false, Ordering::Relaxed);
    CPU.set(0);
    initialize_hardware_support().unwrap();
    guard
}

fn newest() -> usize {
    world(|world| *world.vcpus.keys().max().unwrap())
}

fn bench() -> Bench {
    let guard = alone();
    let mut vcpu = X86Vcpu::<Host>::new_with_config(3, 1, X86VcpuCreateConfig).unwrap();
    let raw = newest();
    vcpu.set_entry(0x7c00.into()).unwrap();
    vcpu.set_nested_page_table(X86NestedPagingConfig::new(0x9000.into(), 4, 48, 0))
        .unwrap();
    vcpu.setup(X86VcpuSetupConfig::default()).unwrap();
    Bench {
        vcpu,
        raw,
        _alone: guard,
    }
}

impl Bench {
    fn fake<T>(&self, f: impl FnOnce(&mut Fake) -> T) -> T {
        vcpu(self.raw as *const _, f)
    }

    fn gpr(&self, index: usize) -> u64 {
        self.fake(|fake| fake.gprs[index])
    }

    /// Runs into this exit, and releases the vCPU as axvm does before it handles one.
    fn exits(&mut self, exit: ffi::x86vcpu_exit) -> X86VmExit {
        self.fake(|fake| fake.exits.push(exit));
        self.vcpu.bind().unwrap();
        let exit = self.vcpu.run().unwrap();
        self.vcpu.unbind().unwrap();
        exit
    }
}

fn exit(kind: u32, fill: impl FnOnce(&mut ffi::x86vcpu_exit_payload)) -> ffi::x86vcpu_exit {
    let mut exit: ffi::x86vcpu_exit = unsafe { zeroed() };
    exit.kind = kind;
    fill(&mut exit.u);
    exit
}

fn mmio_read(reg: u8, width: u8, reg_width: u8, sign_extend: u8) -> ffi::x86vcpu_exit {
    exit(ffi::X86VCPU_EXIT_MMIO_READ, |u| {
        u.mmio = ffi::x86vcpu_mmio {
            gpa: 0xd000_0010,
            width,
            reg,
            reg_width,
            sign_extend,
            ..unsafe { zeroed() }
        }
    })
}

fn text(exit: X86VmExit) -> String {
    format!("{exit:?}")
}
