// SPDX-License-Identifier: Apache-2.0
//! The crate `x86`, whose privileged instructions are the model's.
#![no_std]

pub use real::*;

pub mod msr {
    pub use real::msr::*;

    /// # Safety
    /// None is needed.
    pub unsafe fn rdmsr(msr: u32) -> u64 {
        unsafe { cpu::model_rdmsr(msr) }
    }

    /// # Safety
    /// None is needed.
    pub unsafe fn wrmsr(msr: u32, value: u64) {
        unsafe { cpu::model_wrmsr(msr, value) }
    }
}

pub mod controlregs {
    pub use real::controlregs::*;

    /// # Safety
    /// None is needed.
    pub unsafe fn cr2() -> usize {
        unsafe { cpu::model_read_cr(2) as usize }
    }

    /// # Safety
    /// None is needed.
    pub unsafe fn cr2_write(value: u64) {
        unsafe { cpu::model_write_cr(2, value) }
    }

    /// # Safety
    /// None is needed.
    pub unsafe fn xcr0() -> Xcr0 {
        Xcr0::from_bits_truncate(unsafe { cpu::model_xgetbv(0) })
    }

    /// # Safety
    /// None is needed.
    pub unsafe fn xcr0_write(value: Xcr0) {
        unsafe { cpu::model_xsetbv(0, value.bits()) }
    }
}

pub mod dtables {
    pub use real::dtables::*;

    fn store<T>(which: u32, table: &mut DescriptorTablePointer<T>) {
        let (mut limit, mut base) = (0, 0);
        unsafe { cpu::model_store_table(which, &mut limit, &mut base) };
        table.limit = limit;
        table.base = base as *const T;
    }

    /// # Safety
    /// None is needed.
    pub unsafe fn sgdt<T>(table: &mut DescriptorTablePointer<T>) {
        store(cpu::MODEL_GDTR, table);
    }

    /// # Safety
    /// None is needed.
    pub unsafe fn sidt<T>(table: &mut DescriptorTablePointer<T>) {
        store(cpu::MODEL_IDTR, table);
    }
}

pub mod segmentation {
    pub use real::segmentation::*;

    fn selector(segment: u32) -> SegmentSelector {
        SegmentSelector::from_raw(unsafe { cpu::model_read_selector(segment) })
    }

    pub fn es() -> SegmentSelector {
        selector(0)
    }
    pub fn cs() -> SegmentSelector {
        selector(1)
    }
    pub fn ss() -> SegmentSelector {
        selector(2)
    }
    pub fn ds() -> SegmentSelector {
        selector(3)
    }
    pub fn fs() -> SegmentSelector {
        selector(4)
    }
    pub fn gs() -> SegmentSelector {
        selector(5)
    }
}

pub mod task {
    pub use real::task::*;

    /// # Safety
    /// None is needed.
    pub unsafe fn tr() -> real::segmentation::SegmentSelector {
        real::segmentation::SegmentSelector::from_raw(unsafe { cpu::model_read_selector(7) })
    }
}

pub mod bits64 {
    pub use real::bits64::*;

    pub mod vmx {
        use real::vmx::{Result, VmFail};

        fn outcome(outcome: u32) -> Result<()> {
            match outcome {
                0 => Ok(()),
                1 => Err(VmFail::VmFailInvalid),
                _ => Err(VmFail::VmFailValid),
            }
        }

        /// # Safety
        /// None is needed.
        pub unsafe fn vmxon(address: u64) -> Result<()> {
            outcome(unsafe { cpu::model_vmxon(address) })
        }

        /// # Safety
        /// None is needed.
        pub unsafe fn vmxoff() -> Result<()> {
            outcome(unsafe { cpu::model_vmxoff() })
        }

        /// # Safety
        /// None is needed.
        pub unsafe fn vmclear(address: u64) -> Result<()> {
            outcome(unsafe { cpu::model_vmclear(address) })
        }

        /// # Safety
        /// None is needed.
        pub unsafe fn vmptrld(address: u64) -> Result<()> {
            outcome(unsafe { cpu::model_vmptrld(address) })
        }

        /// # Safety
        /// None is needed.
        pub unsafe fn vmread(field: u32) -> Result<u64> {
            let mut value = 0;
            outcome(unsafe { cpu::model_vmread(field.into(), &mut value) })?;
            Ok(value)
        }

        /// # Safety
        /// None is needed.
        pub unsafe fn vmwrite(field: u32, value: u64) -> Result<()> {
            outcome(unsafe { cpu::model_vmwrite(field.into(), value) })
        }
    }
}
