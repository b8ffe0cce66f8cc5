// SPDX-License-Identifier: Apache-2.0
//! A PC's ROM: read-only below 4 GiB (memory.rs), and its last 128 KiB also below 1 MiB, in RAM, as behind a chipset
//! whose shadow RAM is switched on.

use crate::memory::Memory;

const RESET_VECTOR: u64 = 0xffff_fff0;
const SHADOW_MAX: usize = 128 << 10;
const ONE_MIB: u64 = 1 << 20;

pub fn load(memory: &mut Memory) -> Result<u64, &'static str> {
    let rom = memory.rom();
    let size = rom.len();
    if !size.is_power_of_two() || !(64 << 10..=2 << 20).contains(&size) {
        return Err("the ROM's size is not a power of two from 64 KiB to 2 MiB");
    }
    let shadow = &rom[size - size.min(SHADOW_MAX)..];
    memory
        .write(ONE_MIB - shadow.len() as u64, shadow)
        .ok_or("the ROM's copy needs more memory")?;
    Ok(RESET_VECTOR)
}
