// SPDX-License-Identifier: Apache-2.0
//! The crate `raw-cpuid` over the model's CPUID.
#![no_std]

pub use real::{CpuIdResult, *};

use core::ops::Deref;

pub mod native_cpuid {
    use real::CpuIdResult;

    pub fn cpuid_count(eax: u32, ecx: u32) -> CpuIdResult {
        let mut out = [0; 4];
        unsafe { cpu::model_cpuid(eax, ecx, out.as_mut_ptr()) };
        CpuIdResult {
            eax: out[0],
            ebx: out[1],
            ecx: out[2],
            edx: out[3],
        }
    }
}

#[derive(Clone)]
pub struct Reader;

impl CpuIdReader for Reader {
    fn cpuid2(&self, eax: u32, ecx: u32) -> CpuIdResult {
        native_cpuid::cpuid_count(eax, ecx)
    }
}

pub struct CpuId(real::CpuId<Reader>);

impl CpuId {
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self(real::CpuId::with_cpuid_reader(Reader))
    }
}

impl Deref for CpuId {
    type Target = real::CpuId<Reader>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

#[macro_export]
macro_rules! cpuid {
    ($eax:expr) => {
        $crate::native_cpuid::cpuid_count($eax as u32, 0)
    };
    ($eax:expr, $ecx:expr) => {
        $crate::native_cpuid::cpuid_count($eax as u32, $ecx as u32)
    };
}
