// SPDX-License-Identifier: Apache-2.0
//! The C library, replaced by one that keeps a record.

use std::{
    cell::Cell,
    collections::HashMap,
    ffi::c_void,
    sync::{
        Mutex,
        atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
};

use x86_vcpu_sys as ffi;

pub struct Fake {
    pub ops: ffi::x86vcpu_host_ops,
    pub ctx: *mut c_void,
    pub machine: usize,
    pub id: (u64, u32),
    pub bound: Option<usize>,
    pub gprs: [u64; 16],
    pub exits: Vec<ffi::x86vcpu_exit>,
    pub setup: Option<Setup>,
    pub committed: Option<ffi::x86vcpu_port_io_string>,
    pub interrupts: Vec<(u32, u32)>,
    pub pending: i32,
    pub eoi: i32,
    pub in_service: Vec<u8>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Setup {
    pub ports: Vec<(u16, u16)>,
    pub mmio: Vec<(u64, u64)>,
    pub memory: Vec<(u64, u64)>,
}

pub struct FakeMachine {
    pub ops: ffi::x86vcpu_host_ops,
    pub ctx: *mut c_void,
    pub vm_id: u64,
    pub vcpus: usize,
}

#[derive(Default)]
pub struct World {
    pub machines: HashMap<usize, FakeMachine>,
    pub vcpus: HashMap<usize, Fake>,
    pub percpu: HashMap<usize, Option<usize>>,
    pub leaked: usize,
}

unsafe impl Send for World {}

/// What the guest does in its next run.
pub type Act = Box<dyn FnOnce() + Send>;
pub static ACT: Mutex<Option<Act>> = Mutex::new(None);

pub static WORLD: Mutex<Option<World>> = Mutex::new(None);
pub static ALONE: Mutex<()> = Mutex::new(());
pub static NEXT: AtomicUsize = AtomicUsize::new(0x1000);
pub static EXTENSION: AtomicU64 = AtomicU64::new(ffi::X86VCPU_EXTENSION_SVM as u64);

thread_local! {
    /// The CPU that this thread plays.
    pub static CPU: Cell<usize> = const { Cell::new(0) };
}

pub fn world<T>(f: impl FnOnce(&mut World) -> T) -> T {
    f(WORLD.lock().unwrap().get_or_insert_with(World::default))
}

pub fn vcpu<T>(raw: *const ffi::x86vcpu, f: impl FnOnce(&mut Fake) -> T) -> T {
    world(|world| f(world.vcpus.get_mut(&(raw as usize)).expect("a live vCPU")))
}

pub fn here(fake: &Fake) -> bool {
    fake.bound == Some(CPU.get())
}

pub fn status(good: bool, otherwise: i32) -> i32 {
    if good { ffi::X86VCPU_OK } else { otherwise }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn x86vcpu_detect(extension: *mut u32) -> i32 {
    let found = EXTENSION.load(Ordering::Relaxed) as u32;
    unsafe { *extension = found };
    status(found != ffi::X86VCPU_EXTENSION_NONE, ffi::X86VCPU_ERR_UNSUPPORTED)
}

static SELECTED: AtomicU32 = AtomicU32::new(ffi::X86VCPU_EXTENSION_NONE);

#[unsafe(no_mangle)]
unsafe extern "C" fn x86vcpu_select() -> i32 {
    let found = EXTENSION.load(Ordering::Relaxed) as u32;
    if found == ffi::X86VCPU_EXTENSION_NONE {
        return ffi::X86VCPU_ERR_UNSUPPORTED;
    }
    let before = SELECTED.compare_exchange(0, found, Ordering::Relaxed, Ordering::Relaxed);
    status(before.is_ok() || before == Err(found), ffi::X86VCPU_ERR_BAD_STATE)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn x86vcpu_extension() -> u32 {
    SELECTED.load(Ordering::Relaxed)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn x86vcpu_nested_format(format: *mut u32) -> i32 {
    unsafe { *format = ffi::X86VCPU_NESTED_NPT };
    ffi::X86VCPU_OK
}

#[unsafe(no_mangle)]
unsafe extern "C" fn x86vcpu_percpu_create(
    _: *const ffi::x86vcpu_host_ops,
    _: *mut c_void,
    _: u32,
    out: *mut *mut ffi::x86vcpu_percpu,
) -> i32 {
    let raw = NEXT.fetch_add(16, Ordering::Relaxed);
    world(|world| world.percpu.insert(raw, None));
    unsafe { *out = raw as *mut _ };
    ffi::X86VCPU_OK
}

#[unsafe(no_mangle)]
unsafe extern "C" fn x86vcpu_percpu_destroy(raw: *mut ffi::x86vcpu_percpu) -> i32 {
    world(|world| match world.percpu[&(raw as usize)] {
        Some(_) => ffi::X86VCPU_ERR_RESOURCE_BUSY,
        None => status(
            world.percpu.remove(&(raw as usize)).is_some(),
            ffi::X86VCPU_ERR_INVALID_INPUT,
        ),
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn x86vcpu_percpu_is_enabled(raw: *const ffi::x86vcpu_percpu) -> i32 {
    world(|world| world.percpu[&(raw as usize)].is_some().into())
}

#[unsafe(no_mangle)]
unsafe extern "C" fn x86vcpu_percpu_enable(raw: *mut ffi::x86vcpu_percpu) -> i32 {
    world(|world| {
        let on = world.percpu.get_mut(&(raw as usize)).unwrap();
        status(on.replace(CPU.get()).is_none(), ffi::X86VCPU_ERR_RESOURCE_BUSY)
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn x86vcpu_percpu_disable(raw: *mut ffi::x86vcpu_percpu) -> i32 {
    world(|world| {
        let on = world.percpu.get_mut(&(raw as usize)).unwrap();
        if *on != Some(CPU.get()) {
            return ffi::X86VCPU_ERR_BAD_STATE;
        }
        *on = None;
        ffi::X86VCPU_OK
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn x86vcpu_machine_create(
    ops: *const ffi::x86vcpu_host_ops,
    ctx: *mut c_void,
    config: *const ffi::x86vcpu_machine_config,
    out: *mut *mut ffi::x86vcpu_machine,
) -> i32 {
    let (ops, config) = unsafe { (*ops, &*config) };
    assert_eq!(config.size as usize, size_of::<ffi::x86vcpu_machine_config>());
    assert_eq!(config.opaque.addr() as u64, config.vm_id);
    let raw = NEXT.fetch_add(16, Ordering::Relaxed);
    let machine = FakeMachine {
        ops,
        ctx,
        vm_id: config.vm_id,
        vcpus: 0,
    };
    world(|world| world.machines.insert(raw, machine));
    unsafe { *out = raw as *mut _ };
    ffi::X86VCPU_OK
}

#[unsafe(no_mangle)]
unsafe extern "C" fn x86vcpu_machine_destroy(raw: *mut ffi::x86vcpu_machine) -> i32 {
    if raw.is_null() {
        return ffi::X86VCPU_OK;
    }
    world(|world| {
        if world.machines[&(raw as usize)].vcpus != 0 {
            return ffi::X86VCPU_ERR_RESOURCE_BUSY;
        }
        world.machines.remove(&(raw as usize));
        ffi::X86VCPU_OK
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn x86vcpu_create(
    machine: *mut ffi::x86vcpu_machine,
    config: *const ffi::x86vcpu_create_config,
    out: *mut *mut ffi::x86vcpu,
) -> i32 {
    let config = unsafe { &*config };
    let machine = machine as usize;
    if config.vcpu_id > 63 {
        return ffi::X86VCPU_ERR_INVALID_INPUT;
    }
    assert_eq!(config.size as usize, size_of::<ffi::x86vcpu_create_config>());
    let raw = NEXT.fetch_add(16, Ordering::Relaxed);
    assert_eq!(config.opaque.addr(), config.vcpu_id as usize);
    let (ops, ctx, vm_id) = world(|world| {
        let machine = world.machines.get_mut(&machine).expect("a live machine");
        machine.vcpus += 1;
        (machine.ops, machine.ctx, machine.vm_id)
    });
    let fake = Fake {
        ops,
        ctx,
        machine,
        id: (vm_id, config.vcpu_id),
        bound: None,
        gprs: [0; 16],
        exits: Vec::new(),
        setup: None,
        committed: None,
        interrupts: Vec::new(),
        pending: 0,
        eoi: -1,
        in_service: Vec::new(),
    };
    world(|world| world.vcpus.insert(raw, fake));
    unsafe { *out = raw as *mut _ };
    ffi::X86VCPU_OK
}

#[unsafe(no_mangle)]
unsafe extern "C" fn x86vcpu_destroy(raw: *mut ffi::x86vcpu) -> i32 {
    world(|world| {
        if world.vcpus[&(raw as usize)].bound.is_some() {
            return ffi::X86VCPU_ERR_RESOURCE_BUSY;
        }
        let fake = world.vcpus.remove(&(raw as usize)).unwrap();
        world.machines.get_mut(&fake.machine).unwrap().vcpus -= 1;
        ffi::X86VCPU_OK
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn x86vcpu_structure_hpa(_: *const ffi::x86vcpu) -> u64 {
    0x5000
}

#[unsafe(no_mangle)]
unsafe extern "C" fn x86vcpu_set_entry(_: *mut ffi::x86vcpu, entry: u64) -> i32 {
    status(
        entry < 0x10000 || entry == 0xffff_fff0,
        ffi::X86VCPU_ERR_INVALID_INPUT,
    )
}

#[unsafe(no_mangle)]
unsafe extern "C" fn x86vcpu_set_nested_page_table(
    _: *mut ffi::x86vcpu,
    table: *const ffi::x86vcpu_nested_paging,
) -> i32 {
    status(unsafe { (*table).levels } == 4, ffi::X86VCPU_ERR_INVALID_INPUT)
}

unsafe fn list<'a, T>(first: *const T, count: u32) -> &'a [T] {
    if count == 0 {
        &[]
    } else {
        unsafe { std::slice::from_raw_parts(first, count as usize) }
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn x86vcpu_setup(raw: *mut ffi::x86vcpu, config: *const ffi::x86vcpu_setup_config) -> i32 {
    let config = unsafe { &*config };
    assert_eq!(config.size as usize, size_of::<ffi::x86vcpu_setup_config>());
    let setup = unsafe {
        Setup {
            ports: list(config.ports, config.port_count)
                .iter()
                .map(|r| (r.base, r.length))
                .collect(),
            mmio: list(config.mmio, config.mmio_count)
                .iter()
                .map(|r| (r.base, r.size))
                .collect(),
            memory: list(config.memory, config.memory_count)
                .iter()
                .map(|r| (r.gpa, r.size))
                .collect(),
        }
    };
    vcpu(raw, |fake| {
        if fake.bound.is_some() {
            return ffi::X86VCPU_ERR_RESOURCE_BUSY;
        }
        fake.setup = Some(setup);
        ffi::X86VCPU_OK
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn x86vcpu_bind(raw: *mut ffi::x86vcpu) -> i32 {
    vcpu(raw, |fake| {
        if fake.setup.is_none() {
            return ffi::X86VCPU_ERR_BAD_STATE;
        }
        status(
            fake.bound.replace(CPU.get()).is_none(),
            ffi::X86VCPU_ERR_RESOURCE_BUSY,
        )
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn x86vcpu_unbind(raw: *mut ffi::x86vcpu) -> i32 {
    vcpu(raw, |fake| {
        let here = here(fake);
        if here {
            fake.bound = None;
        }
        status(here, ffi::X86VCPU_ERR_BAD_STATE)
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn x86vcpu_run(raw: *mut ffi::x86vcpu, exit: *mut ffi::x86vcpu_exit) -> i32 {
    let act = ACT.lock().unwrap().take();
    if let Some(act) = act {
        act();
    }
    vcpu(raw, |fake| {
        if !here(fake) || fake.exits.is_empty() {
            return ffi::X86VCPU_ERR_BAD_STATE;
        }
        unsafe { *exit = fake.exits.remove(0) };
        ffi::X86VCPU_OK
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn x86vcpu_get_state(
    raw: *mut ffi::x86vcpu,
    _: u64,
    state: *mut ffi::x86vcpu_state,
) -> i32 {
    vcpu(raw, |fake| {
        if !here(fake) {
            return ffi::X86VCPU_ERR_BAD_STATE;
        }
        let state = unsafe { &mut *state };
        state.regs.rax = fake.gprs[0];
        state.regs.rdx = fake.gprs[2];
        state.rsp = fake.gprs[4];
        state.rip = 0x7c00;
        state.rflags = 0x202;
        state.cr0 = 0x30;
        state.segments[ffi::X86VCPU_SEGMENT_CS as usize].selector = 0xf000;
        ffi::X86VCPU_OK
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn x86vcpu_set_gpr_width(
    raw: *mut ffi::x86vcpu,
    index: u32,
    width: u32,
    value: u64,
) -> i32 {
    vcpu(raw, |fake| {
        if index > 15 {
            return ffi::X86VCPU_ERR_INVALID_INPUT;
        }
        if index == 4 && !here(fake) {
            return ffi::X86VCPU_ERR_BAD_STATE;
        }
        let reg = &mut fake.gprs[index as usize];
        *reg = match width {
            ffi::X86VCPU_WIDTH_BYTE => *reg & !0xff | value & 0xff,
            ffi::X86VCPU_WIDTH_WORD => *reg & !0xffff | value & 0xffff,
            ffi::X86VCPU_WIDTH_DWORD => value & 0xffff_ffff,
            _ => value,
        };
        ffi::X86VCPU_OK
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn x86vcpu_set_gpr_high_byte(raw: *mut ffi::x86vcpu, index: u32, value: u8) -> i32 {
    vcpu(raw, |fake| {
        let reg = &mut fake.gprs[index as usize];
        *reg = *reg & !0xff00 | u64::from(value) << 8;
        ffi::X86VCPU_OK
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn x86vcpu_set_return_value(raw: *mut ffi::x86vcpu, value: u64) -> i32 {
    vcpu(raw, |fake| fake.gprs[0] = value);
    ffi::X86VCPU_OK
}

#[unsafe(no_mangle)]
unsafe extern "C" fn x86vcpu_complete_port_io_string(
    raw: *mut ffi::x86vcpu,
    done: *const ffi::x86vcpu_port_io_string,
) -> i32 {
    vcpu(raw, |fake| {
        fake.committed = Some(unsafe { *done });
        status(here(fake), ffi::X86VCPU_ERR_BAD_STATE)
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn x86vcpu_inject_interrupt_with_trigger(
    raw: *mut ffi::x86vcpu,
    vector: u32,
    level: u32,
) -> i32 {
    vcpu(raw, |fake| {
        fake.interrupts.push((vector, level));
        status((1..256).contains(&vector), ffi::X86VCPU_ERR_INVALID_INPUT)
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn x86vcpu_has_pending_event(raw: *const ffi::x86vcpu) -> i32 {
    vcpu(raw, |fake| fake.pending)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn x86vcpu_handle_eoi(raw: *mut ffi::x86vcpu, vector: *mut i32) -> i32 {
    vcpu(raw, |fake| {
        fake.in_service.sort_unstable();
        fake.in_service.pop();
        unsafe { *vector = fake.eoi };
    });
    ffi::X86VCPU_OK
}

#[unsafe(no_mangle)]
unsafe extern "C" fn x86vcpu_get_apic(raw: *mut ffi::x86vcpu, state: *mut ffi::x86vcpu_apic_state) -> i32 {
    vcpu(raw, |fake| {
        for &vector in &fake.in_service {
            unsafe { (*state).registers[0x10 + usize::from(vector) / 32] |= 1 << (vector % 32) };
        }
        status(here(fake), ffi::X86VCPU_ERR_BAD_STATE)
    })
}

#[unsafe(no_mangle)]
unsafe extern "C" fn x86vcpu_get_gpr(raw: *mut ffi::x86vcpu, index: u32, value: *mut u64) -> i32 {
    unsafe { *value = vcpu(raw, |fake| fake.gprs[index as usize]) };
    ffi::X86VCPU_OK
}

#[unsafe(no_mangle)]
unsafe extern "C" fn x86vcpu_needs_apic_access_page(needed: *mut u32) -> i32 {
    unsafe { *needed = 0 };
    ffi::X86VCPU_OK
}
