// SPDX-License-Identifier: Apache-2.0
//! Addresses, ports, widths and flags.

use core::fmt;
use core::ops::{Add, AddAssign, Range};

use bitflags::bitflags;
use x86_vcpu_sys as ffi;

use crate::{X86VcpuError, X86VcpuResult};

macro_rules! address {
    ($(#[$doc:meta])* $name:ident, $debug:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $name(usize);

        impl $name {
            /// The address `addr`.
            pub const fn from_usize(addr: usize) -> Self {
                Self(addr)
            }

            /// Its number.
            pub const fn as_usize(self) -> usize {
                self.0
            }

            /// A pointer with this number.
            pub const fn as_ptr<T>(self) -> *const T {
                self.0 as *const T
            }

            /// A pointer with this number, to write through.
            pub const fn as_mut_ptr<T>(self) -> *mut T {
                self.0 as *mut T
            }
        }

        impl From<usize> for $name {
            fn from(addr: usize) -> Self {
                Self(addr)
            }
        }

        impl From<$name> for usize {
            fn from(addr: $name) -> Self {
                addr.0
            }
        }

        /// Wraps at the end of the address space.
        impl Add<usize> for $name {
            type Output = Self;

            fn add(self, bytes: usize) -> Self::Output {
                Self(self.0.wrapping_add(bytes))
            }
        }

        impl AddAssign<usize> for $name {
            fn add_assign(&mut self, bytes: usize) {
                *self = *self + bytes;
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($debug, "({:#x})"), self.0)
            }
        }

        impl fmt::LowerHex for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }

        impl fmt::UpperHex for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:#X}", self.0)
            }
        }
    };
}

address!(
    /// A guest-physical address.
    X86GuestPhysAddr,
    "GPA"
);
address!(
    /// A guest-linear address.
    X86GuestVirtAddr,
    "GVA"
);
address!(
    /// A host-physical address.
    X86HostPhysAddr,
    "HPA"
);
address!(
    /// An address in the host's own address space.
    X86HostVirtAddr,
    "HVA"
);

/// An I/O port.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct X86Port(u16);

impl X86Port {
    /// Port number `port`.
    pub const fn new(port: u16) -> Self {
        Self(port)
    }

    /// Its number.
    pub const fn number(self) -> u16 {
        self.0
    }
}

impl From<u16> for X86Port {
    fn from(port: u16) -> Self {
        Self(port)
    }
}

impl fmt::Debug for X86Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "X86Port({:#x})", self.0)
    }
}

/// The number of a model-specific register.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct X86MsrAddr(usize);

impl X86MsrAddr {
    /// MSR number `addr`.
    pub const fn new(addr: usize) -> Self {
        Self(addr)
    }

    /// Its number.
    pub const fn addr(self) -> usize {
        self.0
    }
}

impl From<usize> for X86MsrAddr {
    fn from(addr: usize) -> Self {
        Self(addr)
    }
}

impl fmt::Debug for X86MsrAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MSR({:#x})", self.0)
    }
}

/// The size of an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum X86AccessWidth {
    /// 8 bits.
    Byte,
    /// 16 bits.
    Word,
    /// 32 bits.
    Dword,
    /// 64 bits.
    Qword,
}

impl X86AccessWidth {
    /// In bytes.
    pub const fn size(self) -> usize {
        1 << self as usize
    }

    /// The bits that it covers.
    pub fn bits_range(self) -> Range<usize> {
        0..8 * self.size()
    }

    /// From the C library's number.
    pub(crate) fn from_raw(width: u8) -> X86VcpuResult<Self> {
        match u32::from(width) {
            ffi::X86VCPU_WIDTH_BYTE => Ok(Self::Byte),
            ffi::X86VCPU_WIDTH_WORD => Ok(Self::Word),
            ffi::X86VCPU_WIDTH_DWORD => Ok(Self::Dword),
            ffi::X86VCPU_WIDTH_QWORD => Ok(Self::Qword),
            _ => Err(X86VcpuError::InvalidData),
        }
    }

    /// The C library's number.
    pub(crate) const fn to_raw(self) -> u32 {
        match self {
            Self::Byte => ffi::X86VCPU_WIDTH_BYTE,
            Self::Word => ffi::X86VCPU_WIDTH_WORD,
            Self::Dword => ffi::X86VCPU_WIDTH_DWORD,
            Self::Qword => ffi::X86VCPU_WIDTH_QWORD,
        }
    }
}

impl TryFrom<usize> for X86AccessWidth {
    type Error = X86VcpuError;

    /// From a size in bytes.
    fn try_from(bytes: usize) -> Result<Self, Self::Error> {
        match bytes {
            1 => Ok(Self::Byte),
            2 => Ok(Self::Word),
            4 => Ok(Self::Dword),
            8 => Ok(Self::Qword),
            _ => Err(X86VcpuError::InvalidInput),
        }
    }
}

impl From<X86AccessWidth> for usize {
    fn from(width: X86AccessWidth) -> Self {
        width.size()
    }
}

bitflags! {
    /// What an access that the nested tables refused wanted to do.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct X86AccessFlags: usize {
        /// It was a read.
        const READ = ffi::X86VCPU_ACCESS_READ as usize;
        /// It was a write.
        const WRITE = ffi::X86VCPU_ACCESS_WRITE as usize;
        /// It was an instruction fetch.
        const EXECUTE = ffi::X86VCPU_ACCESS_EXECUTE as usize;
    }
}

/// An access that the nested tables refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct X86NestedPageFaultInfo {
    /// Its address.
    pub fault_guest_paddr: X86GuestPhysAddr,
    /// What the access wanted to do.
    pub access_flags: X86AccessFlags,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    #[test]
    fn widths_convert_both_ways() {
        for (raw, width) in [
            (0, X86AccessWidth::Byte),
            (1, X86AccessWidth::Word),
            (2, X86AccessWidth::Dword),
            (3, X86AccessWidth::Qword),
        ] {
            assert_eq!(X86AccessWidth::from_raw(raw), Ok(width));
            assert_eq!(width.to_raw(), u32::from(raw));
            assert_eq!(width.size(), 1 << raw);
            assert_eq!(width.bits_range(), 0..8 << raw);
            assert_eq!(X86AccessWidth::try_from(width.size()), Ok(width));
            assert_eq!(usize::from(width), width.size());
        }
        assert_eq!(X86AccessWidth::from_raw(4), Err(X86VcpuError::InvalidData));
        for bytes in [0, 3, 5, 16, usize::MAX] {
            assert_eq!(X86AccessWidth::try_from(bytes), Err(X86VcpuError::InvalidInput));
        }
    }

    #[test]
    fn texts() {
        let addr = X86GuestPhysAddr::from(0xab);
        assert_eq!(format!("{addr:?} {addr:x} {addr:X}"), "GPA(0xab) 0xab 0xAB");
        assert_eq!(format!("{:?}", X86GuestVirtAddr::from(1)), "GVA(0x1)");
        assert_eq!(format!("{:?}", X86HostPhysAddr::from(2)), "HPA(0x2)");
        assert_eq!(format!("{:?}", X86HostVirtAddr::from(3)), "HVA(0x3)");
        assert_eq!(format!("{:?}", X86Port::new(0x3f8)), "X86Port(0x3f8)");
        assert_eq!(format!("{:?}", X86MsrAddr::new(0x1b)), "MSR(0x1b)");
        assert_eq!(
            format!("{:?}", X86AccessFlags::READ | X86AccessFlags::WRITE),
            "X86AccessFlags(READ | WRITE)"
        );
    }

    #[test]
    fn addresses_wrap() {
        let mut addr = X86HostPhysAddr::from(usize::MAX);
        addr += 2;
        assert_eq!(addr, X86HostPhysAddr::from(1));
    }
}
