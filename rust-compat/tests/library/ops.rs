// SPDX-License-Identifier: Apache-2.0
//! The host operations that the library gets.

use crate::{host::*, *};

pub fn ops(bench: &Bench) -> (ffi::x86vcpu_host_ops, *mut c_void) {
    bench.fake(|fake| (fake.ops, fake.ctx))
}

/// What the crate gives the library to hand back.
pub fn number(number: usize) -> *mut c_void {
    std::ptr::without_provenance_mut(number)
}

#[test]
fn operations_reach_the_host() {
    let bench = bench();
    let (ops, ctx) = ops(&bench);
    assert_eq!(ops.size as usize, size_of::<ffi::x86vcpu_host_ops>());
    assert_eq!(ops.abi_version, ffi::X86VCPU_ABI_VERSION);
    assert!(ops.acknowledge_interrupt.is_none());
    unsafe {
        assert_eq!(ops.alloc_frame.unwrap()(ctx), 0x5000);
        ops.free_frame.unwrap()(ctx, 0x5000);
        assert_eq!(ops.alloc_contiguous_frames.unwrap()(ctx, 2, 0x2000), 0x2000);
        assert_eq!(ops.alloc_contiguous_frames.unwrap()(ctx, 9, 0x2000), 0);
        ops.free_contiguous_frames.unwrap()(ctx, 0x2000, 2);
        assert_eq!(ops.phys_to_virt.unwrap()(ctx, 0x5000) as usize, 0x5100);
        assert_eq!(ops.nanos_to_ticks.unwrap()(ctx, 5), 15);
        assert_eq!(ops.time_ns.unwrap()(ctx), 123);
        let mut bytes = [0u8; 4];
        assert_eq!(
            ops.read_guest.unwrap()(ctx, number(3), 0x42, bytes.as_mut_ptr().cast(), 4),
            0
        );
        assert_eq!(bytes, [0x42, 0x43, 0x44, 0x45]);
        let status = ops.read_guest.unwrap()(ctx, number(3), 0xffe, bytes.as_mut_ptr().cast(), 4);
        assert_eq!(status, ffi::X86VCPU_ERR_BAD_STATE);
        ops.dispatch_external_interrupt.unwrap()(ctx, 0xec);
        ops.service_pending_interrupt.unwrap()(ctx);
        ops.send_interrupt.unwrap()(ctx, number(3), number(2), 0xfd);
    }
    host(|state| {
        assert_eq!(state.freed, [(0x5000, 1), (0x2000, 2)]);
        let dispatched: &[u8] = if cfg!(x86_vcpu_0_6) { &[] } else { &[0xec] };
        assert_eq!((&state.dispatched[..], state.serviced), (dispatched, 1));
        assert_eq!(state.sent, [(3, 2, 0xfd)]);
    });
}

struct Lines(Mutex<Vec<String>>);

impl log::Log for Lines {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &log::Record<'_>) {
        let line = format!("{} {} {}", record.level(), record.target(), record.args());
        self.0.lock().unwrap().push(line);
    }
    fn flush(&self) {}
}

static LINES: Lines = Lines(Mutex::new(Vec::new()));

#[test]
fn the_library_s_log_is_the_crate_log() {
    let bench = bench();
    let (ops, ctx) = ops(&bench);
    let _ = log::set_logger(&LINES);
    log::set_max_level(log::LevelFilter::Trace);
    for (level, text) in [(1, "no EPT"), (3, "hello"), (5, "step"), (9, "what")] {
        unsafe { ops.log.unwrap()(ctx, level, text.as_ptr().cast::<c_char>(), text.len() as u64) };
    }
    log::set_max_level(log::LevelFilter::Off);
    let lines = LINES.0.lock().unwrap().clone();
    for line in [
        "ERROR x86_vcpu no EPT",
        "INFO x86_vcpu hello",
        "TRACE x86_vcpu step",
        "TRACE x86_vcpu what",
    ] {
        assert!(lines.iter().any(|found| found == line), "{line}: {lines:?}");
    }
}
