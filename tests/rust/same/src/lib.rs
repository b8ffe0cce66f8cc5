// SPDX-License-Identifier: Apache-2.0
//! Everything of the API that needs no VT-x or SVM is done with both crates, and must come out the same:
//! values, errors, text. What is left to say of a vCPU is in rust-compat/tests.
#![cfg(test)]

mod host;

/// `use theirs as it` in one module, `use ours as it` in the other.
macro_rules! both {
    ($($(#[$attribute:meta])* fn $name:ident() -> String $body:block)*) => {
        mod ours_does {
            use ours as it;
            $(#[allow(unused_imports, unused_variables, unused_mut)] pub fn $name() -> String {
                use it::*;
                use crate::host::Ours as Host;
                $body
            })*
        }
        mod theirs_does {
            use theirs as it;
            $(#[allow(unused_imports, unused_variables, unused_mut)] pub fn $name() -> String {
                use it::*;
                use crate::host::Theirs as Host;
                $body
            })*
        }
        $(
            $(#[$attribute])*
            #[test]
            fn $name() {
                let ours = ours_does::$name();
                assert_eq!(ours, theirs_does::$name().replace("host::Theirs", "host::Ours"));
                assert!(!ours.is_empty());
            }
        )*
    };
}

both! {
    fn addresses() -> String {
        let mut text = String::new();
        macro_rules! address { ($($name:ident)*) => { $({
            for number in [0usize, 0x10, 0xfee0_0000, usize::MAX] {
                let mut address = $name::from_usize(number);
                text += &format!("{address:?} {address:#?} {address:x} {address:#x} {address:X} {address:#X} ");
                text += &format!("{:?} {:?} {} ", address.as_ptr::<u8>(), address.as_mut_ptr::<u8>(), usize::from(address));
                text += &format!("{:?} {:?}", $name::from(number) == address, address.cmp(&$name::from(0x10)));
                if number < 1 << 40 {
                    address += 5;
                    text += &format!("{:?} {}\n", address + 3, address.as_usize());
                }
            }
        })* } }
        address!(X86GuestPhysAddr X86GuestVirtAddr X86HostPhysAddr X86HostVirtAddr);
        text
    }

    fn ports_and_msrs() -> String {
        let (port, msr) = (X86Port::new(0x3f8), X86MsrAddr::new(0xc000_0080));
        format!(
            "{port:?} {port:#?} {} {:?} {msr:?} {msr:#?} {} {:?} {:?} {:?}",
            port.number(), X86Port::from(7), msr.addr(), X86MsrAddr::from(7), port < X86Port::new(0x3f9), msr.cmp(&X86MsrAddr::new(1)),
        )
    }

    fn widths() -> String {
        use X86AccessWidth::*;
        let mut text = String::new();
        for width in [Byte, Word, Dword, Qword] {
            text += &format!("{width:?} {} {:?} {} {:?}\n", width.size(), width.bits_range(), usize::from(width), width.cmp(&Word));
        }
        for bytes in 0..20 {
            text += &format!("{:?}\n", X86AccessWidth::try_from(bytes));
        }
        text
    }

    fn access_flags() -> String {
        let mut text = String::new();
        for bits in 0..16 {
            let flags = X86AccessFlags::from_bits_retain(bits);
            text += &format!("{flags:?} {flags:x} {flags:b} {:?} {:?}\n", X86AccessFlags::from_bits(bits), X86AccessFlags::from_bits_truncate(bits));
        }
        text + &format!("{:?} {:?}", X86AccessFlags::all(), X86AccessFlags::from_name("WRITE"))
    }

    fn errors() -> String {
        use X86VcpuError::*;
        use x86_vlapic::X86VlapicError as V;
        let own = [InvalidInput, InvalidData, Unsupported, BadState, NoMemory, ResourceBusy, TimerUnavailable];
        let from = [V::InvalidInput, V::InvalidData, V::Unsupported, V::NoMemory, V::BadState, V::TimerUnavailable]
            .map(X86VcpuError::from);
        format!("{own:?} {:?} {from:?}", own.map(|error| error as u8))
    }

    fn constants_and_small_types() -> String {
        let fault = X86NestedPageFaultInfo { fault_guest_paddr: 0x1000.into(), access_flags: X86AccessFlags::READ };
        let paging = X86NestedPagingConfig::new(0x2000.into(), 4, 48, 9);
        let walk = GuestPageWalkInfo {
            top_entry: 1, level: 2, width: 3, is_user_mode_access: true, is_write_access: false, is_inst_fetch: true,
            pse: false, wp: true, nxe: false, is_smap_on: true, is_smep_on: false,
        };
        format!(
            "{X86_LOCAL_APIC_GPA} {X86_LOCAL_APIC_SIZE} {X86_MAX_INTERCEPTED_PORT_RANGES} {fault:?} {fault:#?} {paging:?} {walk:?} {:?} {:?} {:?} {:?}",
            X86VcpuCreateConfig, X86PortIoDirection::In, X86NestedPagingFormat::Ept, (X86NestedPagingFormat::Npt, X86PortIoDirection::Out),
        )
    }

    fn setup_configs() -> String {
        let mut config = X86VcpuSetupConfig::default();
        let mut text = format!("{config:?}\n");
        for (base, length) in [(0x60, 1), (0x60, 1), (0x60, 2), (0, 0), (0xffff, 1), (0xffff, 2), (0, 0xffff), (1, 0xffff)] {
            text += &format!("{:?}\n", config.add_intercepted_port_range(base, length));
        }
        for port in 0..16 {
            text += &format!("{:?}\n", config.add_intercepted_port_range(0x1000 + port, 1));
        }
        for (base, size) in [(0, 0), (0, 1), (0, 1), (0x1000, usize::MAX), (usize::MAX, 1), (usize::MAX, 2), (1, usize::MAX), (1, usize::MAX - 1)] {
            text += &format!("{:?}\n", config.add_intercepted_mmio_range(base.into(), size));
        }
        config.guest_memory_regions.push(X86GuestMemoryRegion { gpa: 1.into(), hva: 2.into(), size: 3 });
        let copy = config.clone();
        text += &format!("{copy:?} {copy:#?}\n");
        text += &format!("{:?} {:?}\n", config.intercepted_port_ranges().collect::<Vec<_>>(), config.intercepted_mmio_ranges().collect::<Vec<_>>());
        text + &format!("{:?} {}", X86InterceptedPortRange::default(), X86InterceptedPortRange { base: 1, length: 2 } == X86InterceptedPortRange::default())
    }

    fn mmio_ranges_contain() -> String {
        let mut text = String::new();
        for (base, size) in [(0x1000, 0x1000), (0, 0), (usize::MAX - 1, 10), (0, usize::MAX)] {
            let range = X86InterceptedMmioRange { base: base.into(), size };
            for address in [0, 0xfff, 0x1000, 0x1fff, 0x2000, usize::MAX - 2, usize::MAX - 1, usize::MAX] {
                text += &format!("{:?}", range.contains(address.into()));
            }
        }
        text
    }

    fn registers() -> String {
        let mut regs = GeneralRegisters::default();
        let mut text = format!("{regs:?} {regs:#?} {}\n", core::mem::size_of_val(&regs));
        for index in (0..16).filter(|&index| index != 4) {
            regs.set_reg_of_index(index, 0x1111_2222_3333_4444u64.wrapping_mul(u64::from(index) + 1));
            text += &format!("{} {:x}\n", GeneralRegisters::register_name(index), regs.get_reg_of_index(index));
        }
        macro_rules! parts { ($($get:ident $set:ident),*) => { $(
            text += &format!("{:x} ", regs.$get());
            regs.$set(0xa5);
            text += &format!("{regs:x?}\n");
        )* } }
        parts!(al set_al, ah set_ah, ax set_ax, bl set_bl, bh set_bh, bx set_bx, cl set_cl, ch set_ch, cx set_cx, dl set_dl, dh set_dh,
               dx set_dx, bpl set_bpl, bp set_bp, sil set_sil, si set_si, dil set_dil, di set_di, r8b set_r8b, r8w set_r8w, r9b set_r9b,
               r9w set_r9w, r10b set_r10b, r10w set_r10w, r11b set_r11b, r11w set_r11w, r12b set_r12b, r12w set_r12w, r13b set_r13b,
               r13w set_r13w, r14b set_r14b, r14w set_r14w, r15b set_r15b, r15w set_r15w);
        text += &format!("{:x}\n", regs.get_edx_eax());
        parts!(eax set_eax, ebx set_ebx, ecx set_ecx, edx set_edx, ebp set_ebp, esi set_esi, edi set_edi, r8d set_r8d, r9d set_r9d,
               r10d set_r10d, r11d set_r11d, r12d set_r12d, r13d set_r13d, r14d set_r14d, r15d set_r15d);
        text + &format!("{:?}", GeneralRegisters::REGISTER_NAMES)
    }

    fn exits() -> String {
        let exits = [
            X86VmExit::Hypercall { nr: 1, args: [1, 2, 3, 4, 5, 6] },
            X86VmExit::PortIoRead { port: X86Port::new(1), width: X86AccessWidth::Byte },
            X86VmExit::PortIoWrite { port: X86Port::new(1), width: X86AccessWidth::Word, data: 3 },
            X86VmExit::MmioRead {
                addr: 0x10.into(), width: X86AccessWidth::Byte, reg: 5, reg_width: X86AccessWidth::Qword, signed_ext: true, byte_reg: None,
            },
            X86VmExit::MmioWrite { addr: 0x10.into(), width: X86AccessWidth::Dword, data: 9 },
            X86VmExit::MsrRead { addr: X86MsrAddr::new(1) },
            X86VmExit::MsrWrite { addr: X86MsrAddr::new(1), value: 4 },
            X86VmExit::NestedPageFault { addr: 1.into(), access_flags: X86AccessFlags::empty() },
            X86VmExit::PreemptionTimer,
            X86VmExit::InterruptEnd { vector: Some(7) },
            X86VmExit::Halt,
            X86VmExit::SystemDown,
            X86VmExit::FailEntry { hardware_entry_failure_reason: 33 },
            X86VmExit::Nothing,
        ];
        format!("{exits:?} {exits:#x?}")
    }

    fn frames() -> String {
        use host::PhysFrame;
        crate::host::reset();
        let mut frame = PhysFrame::<Host>::alloc_zero().unwrap();
        let mut text = format!("{frame:?} {:?} ", frame.start_paddr());
        frame.fill(0x5a);
        text += &format!("{:x} ", unsafe { *frame.as_mut_ptr().add(4095) });
        let other = PhysFrame::<Host>::alloc().unwrap();
        text += &format!("{:?} {:?} ", other.start_paddr(), PhysFrame::<Host>::alloc().map(drop));
        drop((frame, other));
        text += &format!("{:?} ", unsafe { PhysFrame::<Host>::uninit() });
        text + &format!("{:?}", crate::host::freed())
    }

    fn without_an_extension() -> String {
        let mut text = format!("{} {:?} ", has_hardware_support(), initialize_hardware_support());
        if !has_hardware_support() {
            text += &format!(
                "{:?} {:?} {:?} {:?} {:?} {:?}",
                selected_nested_paging_format(), requires_apic_access_page(), apic_access_page_gpa(), apic_access_page_addr::<Host>(),
                X86PerCpuState::<Host>::new(0).map(drop), X86Vcpu::<Host>::new_with_config(1, 0, X86VcpuCreateConfig).map(drop),
            );
        }
        text
    }
}
