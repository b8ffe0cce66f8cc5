// SPDX-License-Identifier: Apache-2.0
//! The general registers.

use core::mem::offset_of;

use x86_vcpu_sys as ffi;

/// The general registers, in the order of the instruction encoding. RSP is elsewhere: its slot means nothing.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GeneralRegisters {
    /// RAX
    pub rax: u64,
    /// RCX
    pub rcx: u64,
    /// RDX
    pub rdx: u64,
    /// RBX
    pub rbx: u64,
    _unused_rsp: u64,
    /// RBP
    pub rbp: u64,
    /// RSI
    pub rsi: u64,
    /// RDI
    pub rdi: u64,
    /// R8
    pub r8: u64,
    /// R9
    pub r9: u64,
    /// R10
    pub r10: u64,
    /// R11
    pub r11: u64,
    /// R12
    pub r12: u64,
    /// R13
    pub r13: u64,
    /// R14
    pub r14: u64,
    /// R15
    pub r15: u64,
}

macro_rules! same_place_as_in_c {
    ($($ours:ident = $c:ident),*) => {
        const _: () = {
            assert!(size_of::<GeneralRegisters>() == size_of::<ffi::x86vcpu_regs>());
            $(assert!(offset_of!(GeneralRegisters, $ours) == offset_of!(ffi::x86vcpu_regs, $c));)*
        };
    };
}

same_place_as_in_c!(
    rax = rax,
    rcx = rcx,
    rdx = rdx,
    rbx = rbx,
    _unused_rsp = unused_rsp,
    rbp = rbp,
    rsi = rsi,
    rdi = rdi,
    r8 = r8,
    r9 = r9,
    r10 = r10,
    r11 = r11,
    r12 = r12,
    r13 = r13,
    r14 = r14,
    r15 = r15
);

const UNUSED: u8 = 4;

impl GeneralRegisters {
    /// The registers' names, in the order of the instruction encoding.
    pub const REGISTER_NAMES: [&'static str; 16] = [
        "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13",
        "r14", "r15",
    ];

    /// The name of register `index`; "?" above 15.
    pub const fn register_name(index: u8) -> &'static str {
        if (index as usize) < Self::REGISTER_NAMES.len() {
            Self::REGISTER_NAMES[index as usize]
        } else {
            "?"
        }
    }
}

impl GeneralRegisters {
    /// Register `index`: 0 to 15 without 4, which is RSP. Any other number: 0, and a log line.
    pub fn get_reg_of_index(&self, index: u8) -> u64 {
        match self.slots().get(index as usize) {
            Some(value) if index != UNUSED => *value,
            _ => {
                log::error!("no general register {index} here to read");
                0
            }
        }
    }

    /// Sets register `index`: 0 to 15 without 4, which is RSP. Any other number: nothing, and a log line.
    pub fn set_reg_of_index(&mut self, index: u8, value: u64) {
        match self.slots_mut().get_mut(index as usize) {
            Some(slot) if index != UNUSED => *slot = value,
            _ => log::error!("no general register {index} here to set"),
        }
    }

    /// EDX:EAX.
    pub fn get_edx_eax(&self) -> u64 {
        u64::from(self.edx()) << 32 | u64::from(self.eax())
    }

    fn slots(&self) -> &[u64; 16] {
        // SAFETY: sixteen u64 in a row.
        unsafe { &*core::ptr::from_ref(self).cast() }
    }

    fn slots_mut(&mut self) -> &mut [u64; 16] {
        // SAFETY: sixteen u64 in a row.
        unsafe { &mut *core::ptr::from_mut(self).cast() }
    }

    pub(crate) const fn from_raw(raw: ffi::x86vcpu_regs) -> Self {
        // SAFETY: the same sixteen u64, as asserted above.
        unsafe { core::mem::transmute(raw) }
    }
}

/// Accessors of a part of a register: a 32-bit write clears the upper half, a smaller one keeps the rest (Intel's
/// manual, Vol. 1, 3.4.1.1).
macro_rules! part {
    ($type:ty, $shift:literal, $keep:expr, $($name:ident $set:ident $reg:ident),* $(,)?) => {
        $(
            #[doc = concat!("The part of ", stringify!($reg), " that ", stringify!($name), " names.")]
            #[inline]
            pub fn $name(&self) -> $type {
                (self.$reg >> $shift) as $type
            }

            #[doc = concat!("Sets ", stringify!($name), " as an instruction does.")]
            #[inline]
            pub fn $set(&mut self, value: $type) {
                self.$reg = self.$reg & $keep | u64::from(value) << $shift;
            }
        )*
    };
}

impl GeneralRegisters {
    part!(
        u32, 0, 0,
        eax set_eax rax, ecx set_ecx rcx, edx set_edx rdx, ebx set_ebx rbx, ebp set_ebp rbp, esi set_esi rsi,
        edi set_edi rdi, r8d set_r8d r8, r9d set_r9d r9, r10d set_r10d r10, r11d set_r11d r11, r12d set_r12d r12,
        r13d set_r13d r13, r14d set_r14d r14, r15d set_r15d r15,
    );
    part!(
        u16, 0, !0xffff,
        ax set_ax rax, cx set_cx rcx, dx set_dx rdx, bx set_bx rbx, bp set_bp rbp, si set_si rsi, di set_di rdi,
        r8w set_r8w r8, r9w set_r9w r9, r10w set_r10w r10, r11w set_r11w r11, r12w set_r12w r12, r13w set_r13w r13,
        r14w set_r14w r14, r15w set_r15w r15,
    );
    part!(
        u8, 0, !0xff,
        al set_al rax, cl set_cl rcx, dl set_dl rdx, bl set_bl rbx, bpl set_bpl rbp, sil set_sil rsi, dil set_dil rdi,
        r8b set_r8b r8, r9b set_r9b r9, r10b set_r10b r10, r11b set_r11b r11, r12b set_r12b r12, r13b set_r13b r13,
        r14b set_r14b r14, r15b set_r15b r15,
    );
    part!(u8, 8, !0xff00, ah set_ah rax, ch set_ch rcx, dh set_dh rdx, bh set_bh rbx);
}

/// The registers in which two sets differ, for a log.
#[cfg(feature = "tracing")]
pub(crate) struct GeneralRegistersDiff {
    pub(crate) old: GeneralRegisters,
    pub(crate) new: GeneralRegisters,
}

#[cfg(feature = "tracing")]
impl GeneralRegistersDiff {
    fn changed(&self) -> impl Iterator<Item = u8> + '_ {
        (0..16u8).filter(|&i| i != UNUSED && self.old.slots()[i as usize] != self.new.slots()[i as usize])
    }

    pub(crate) fn is_same(&self) -> bool {
        self.changed().next().is_none()
    }
}

#[cfg(feature = "tracing")]
impl core::fmt::Debug for GeneralRegistersDiff {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let mut text = f.debug_struct("GeneralRegistersDiff");
        for i in self.changed() {
            let (old, new) = (self.old.get_reg_of_index(i), self.new.get_reg_of_index(i));
            text.field(
                GeneralRegisters::register_name(i),
                &alloc::format!("{old:#x} -> {new:#x}"),
            );
        }
        text.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    macro_rules! by_every_name {
        ($($index:literal $reg:ident $set32:ident $set16:ident $set8:ident $get32:ident $get16:ident $get8:ident;)*) => {
            $(
                #[test]
                fn $reg() {
                    let mut regs = GeneralRegisters { $reg: 0xfedc_ba98_7654_3210, ..Default::default() };
                    assert_eq!(regs.get_reg_of_index($index), 0xfedc_ba98_7654_3210);
                    assert_eq!((regs.$get32(), regs.$get16(), regs.$get8()), (0x7654_3210, 0x3210, 0x10));
                    regs.set_reg_of_index($index, 0x1234_5678_9abc_def0);
                    assert_eq!(regs.$reg, 0x1234_5678_9abc_def0);
                    regs.$set8(0x34);
                    assert_eq!(regs.$reg, 0x1234_5678_9abc_de34);
                    regs.$set16(0x5678);
                    assert_eq!(regs.$reg, 0x1234_5678_9abc_5678);
                    regs.$set32(0x9abc_def0);
                    assert_eq!(regs.$reg, 0x9abc_def0);
                    assert_eq!(GeneralRegisters::register_name($index), stringify!($reg));
                    regs.$reg = 0;
                    assert_eq!(regs, GeneralRegisters::default());
                }
            )*
        };
    }

    by_every_name! {
        0 rax set_eax set_ax set_al eax ax al;
        1 rcx set_ecx set_cx set_cl ecx cx cl;
        2 rdx set_edx set_dx set_dl edx dx dl;
        3 rbx set_ebx set_bx set_bl ebx bx bl;
        5 rbp set_ebp set_bp set_bpl ebp bp bpl;
        6 rsi set_esi set_si set_sil esi si sil;
        7 rdi set_edi set_di set_dil edi di dil;
        8 r8 set_r8d set_r8w set_r8b r8d r8w r8b;
        9 r9 set_r9d set_r9w set_r9b r9d r9w r9b;
        10 r10 set_r10d set_r10w set_r10b r10d r10w r10b;
        11 r11 set_r11d set_r11w set_r11b r11d r11w r11b;
        12 r12 set_r12d set_r12w set_r12b r12d r12w r12b;
        13 r13 set_r13d set_r13w set_r13b r13d r13w r13b;
        14 r14 set_r14d set_r14w set_r14b r14d r14w r14b;
        15 r15 set_r15d set_r15w set_r15b r15d r15w r15b;
    }

    #[test]
    fn high_bytes() {
        let mut regs = GeneralRegisters {
            rax: 0x1234,
            rcx: 0x5678,
            rdx: u64::MAX,
            rbx: 0,
            ..Default::default()
        };
        assert_eq!(
            (regs.ah(), regs.ch(), regs.dh(), regs.bh()),
            (0x12, 0x56, 0xff, 0)
        );
        regs.set_ah(0xab);
        regs.set_ch(0);
        regs.set_dh(0);
        regs.set_bh(0xff);
        assert_eq!(
            (regs.rax, regs.rcx, regs.rdx, regs.rbx),
            (0xab34, 0x78, !0xff00, 0xff00)
        );
    }

    #[test]
    fn numbers_that_name_no_register() {
        let mut regs = GeneralRegisters::default();
        for index in [4, 16, 255] {
            regs.set_reg_of_index(index, 1);
            assert_eq!(regs.get_reg_of_index(index), 0);
        }
        assert_eq!(regs, GeneralRegisters::default());
        assert_eq!(
            (
                GeneralRegisters::register_name(4),
                GeneralRegisters::register_name(16)
            ),
            ("rsp", "?")
        );
    }

    #[test]
    fn pair_of_edx_and_eax() {
        let regs = GeneralRegisters {
            rax: u64::MAX,
            rdx: 0x1_2345_6789,
            ..Default::default()
        };
        assert_eq!(regs.get_edx_eax(), 0x2345_6789_ffff_ffff);
    }

    #[test]
    fn text() {
        let text = format!(
            "{:?}",
            GeneralRegisters {
                rcx: 7,
                ..Default::default()
            }
        );
        assert!(
            text.starts_with("GeneralRegisters { rax: 0, rcx: 7, rdx: 0, rbx: 0, _unused_rsp: 0, rbp: 0, ")
        );
    }

    #[cfg(feature = "tracing")]
    #[test]
    fn difference() {
        let old = GeneralRegisters::default();
        let new = GeneralRegisters {
            rbx: 0x1f,
            r9: 2,
            _unused_rsp: 5,
            ..old
        };
        let diff = GeneralRegistersDiff { old, new };
        assert!(!diff.is_same());
        assert_eq!(
            format!("{diff:?}"),
            r#"GeneralRegistersDiff { rbx: "0x0 -> 0x1f", r9: "0x0 -> 0x2" }"#
        );
        assert!(
            GeneralRegistersDiff {
                old,
                new: GeneralRegisters {
                    _unused_rsp: 5,
                    ..old
                }
            }
            .is_same()
        );
    }
}
