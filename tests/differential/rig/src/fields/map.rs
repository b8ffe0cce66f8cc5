// SPDX-License-Identifier: Apache-2.0
//! The permission maps: where they are in a picture, and whose each bit is.

use super::{Map, Pages};
use crate::machine::Backend;

impl Map {
    pub fn bytes(self, backend: Backend, pages: &Pages) -> &[u8] {
        let all = pages.as_flattened();
        match (self, backend) {
            (Map::Ports, Backend::Vmx) => &all[..8192],
            (Map::Msrs, Backend::Vmx) => &all[8192..12288],
            (Map::Ports, Backend::Svm) => &all[..8193],
            (Map::Msrs, Backend::Svm) => &all[12288..12288 + 0x1800],
        }
    }

    /// Whose bit it is: an access by name, and the number of a port or an MSR.
    pub fn meaning(self, backend: Backend, bit: u32) -> (&'static str, u32) {
        const FIRST: [u32; 3] = [0, 0xc000_0000, 0xc001_0000];
        match (self, backend) {
            (Map::Ports, _) => ("ports", bit),
            // SDM 25.6.9: reads of the two ranges, and then writes.
            (Map::Msrs, Backend::Vmx) => {
                let msr = FIRST[(bit / 8192 % 2) as usize] + bit % 8192;
                (if bit < 16384 { "MSR reads" } else { "MSR writes" }, msr)
            }
            // APM 15.11: two bits for an MSR.
            (Map::Msrs, Backend::Svm) => {
                let msr = FIRST[(bit / 16384) as usize] + bit % 16384 / 2;
                (if bit % 2 == 0 { "MSR reads" } else { "MSR writes" }, msr)
            }
        }
    }
}
