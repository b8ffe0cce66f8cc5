// SPDX-License-Identifier: Apache-2.0
//! The crate `x86_64`, whose control registers and interrupt flag are the model's.
#![no_std]

pub use real::*;

pub mod registers {
    pub use real::registers::*;

    pub mod control {
        pub use real::registers::control::*;
        use real::{PhysAddr, structures::paging::PhysFrame};

        pub struct Cr0;

        impl Cr0 {
            pub fn read_raw() -> u64 {
                unsafe { cpu::model_read_cr(0) }
            }

            /// # Safety
            /// None is needed.
            pub unsafe fn write_raw(value: u64) {
                unsafe { cpu::model_write_cr(0, value) }
            }
        }

        pub struct Cr3;

        impl Cr3 {
            pub fn read_raw() -> (PhysFrame, u16) {
                let value = unsafe { cpu::model_read_cr(3) };
                let address = PhysAddr::new(value & 0x000f_ffff_ffff_f000);
                (PhysFrame::containing_address(address), (value & 0xfff) as u16)
            }
        }

        pub struct Cr4;

        impl Cr4 {
            pub fn read_raw() -> u64 {
                unsafe { cpu::model_read_cr(4) }
            }

            pub fn read() -> Cr4Flags {
                Cr4Flags::from_bits_truncate(Self::read_raw())
            }

            /// # Safety
            /// None is needed.
            pub unsafe fn write_raw(value: u64) {
                unsafe { cpu::model_write_cr(4, value) }
            }

            /// # Safety
            /// None is needed.
            pub unsafe fn write(flags: Cr4Flags) {
                let reserved = Self::read_raw() & !Cr4Flags::all().bits();
                unsafe { Self::write_raw(reserved | flags.bits()) }
            }

            /// # Safety
            /// None is needed.
            pub unsafe fn update<F: FnOnce(&mut Cr4Flags)>(change: F) {
                let mut flags = Self::read();
                change(&mut flags);
                unsafe { Self::write(flags) }
            }
        }
    }
}

pub mod instructions {
    pub use real::instructions::*;

    pub mod interrupts {
        pub fn enable() {
            unsafe { cpu::model_set_if(1) }
        }

        pub fn disable() {
            unsafe { cpu::model_set_if(0) }
        }
    }
}
