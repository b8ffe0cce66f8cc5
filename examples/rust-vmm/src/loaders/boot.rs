// SPDX-License-Identifier: Apache-2.0
//! Instructions of the guest that lead from real mode to what a boot protocol promises: 32-bit protected mode for
//! Multiboot, 64-bit mode for Linux.

use core::arch::global_asm;
use core::slice;

use crate::bytes::put32;
use crate::memory::Memory;

/// A page that no image may be loaded to.
pub const AT: u64 = 0x1000;
pub const SIZE: u64 = 0x1000;

// Segments as Linux wants them: 64-bit code at 0x10, data at 0x18.
global_asm!(
    r#"
    .section .rodata.boot_stub, "a"
    .globl boot_stub, boot_stub_end
    .code16
boot_stub:
    cli
    xorw %ax, %ax
    movw %ax, %ds
    lgdtl {at} + (3f - boot_stub)
    movl %cr0, %eax
    orb $1, %al
    movl %eax, %cr0
    ljmpl $0x08, $({at} + (1f - boot_stub))
    .code32
1:  movw $0x18, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movw %ax, %fs
    movw %ax, %gs
    movl $({at} + {size}), %esp
    movl {at} + (5f - boot_stub), %edi /* where to */
    movl {at} + (6f - boot_stub), %esi /* the argument */
    movl {at} + (7f - boot_stub), %edx /* page tables */
    testl %edx, %edx
    jnz 2f
    movl %esi, %ebx
    movl $0x2badb002, %eax
    jmpl *%edi
2:  movl %edx, %cr3
    movl $0x20, %eax /* PAE */
    movl %eax, %cr4
    movl $0xc0000080, %ecx /* EFER.LME */
    rdmsr
    orl $0x100, %eax
    wrmsr
    movl %cr0, %eax
    orl $0x80000000, %eax
    movl %eax, %cr0
    ljmpl $0x10, $({at} + (8f - boot_stub))
    .code64
8:  movl %edi, %eax
    jmpq *%rax
    .balign 8
3:  .word 4f - 9f - 1
    .long {at} + (9f - boot_stub)
    .balign 8
9:  .quad 0
    .quad 0x00cf9b000000ffff
    .quad 0x00af9b000000ffff
    .quad 0x00cf93000000ffff
4:
5:  .long 0
6:  .long 0
7:  .long 0
boot_stub_end:
    .text
"#,
    at = const AT,
    size = const SIZE,
    options(att_syntax)
);

unsafe extern "C" {
    static boot_stub: u8;
    static boot_stub_end: u8;
}

fn code() -> &'static [u8] {
    let start = &raw const boot_stub;
    let end = &raw const boot_stub_end;
    // SAFETY: the bytes between two symbols of one section.
    unsafe { slice::from_raw_parts(start, end as usize - start as usize) }
}

fn place(memory: &mut Memory, words: [u32; 3]) -> Result<u64, &'static str> {
    let code = code();
    let page = memory.slice(AT, SIZE).ok_or("there is no memory")?;
    page[..code.len()].copy_from_slice(code);
    let at = code.len() - size_of_val(&words);
    for (i, word) in words.into_iter().enumerate() {
        put32(page, at + 4 * i, word);
    }
    Ok(AT)
}

/// Has the guest begin at `entry` in protected mode, with EBX at the Multiboot information.
pub fn protected_mode(memory: &mut Memory, entry: u32, information: u32) -> Result<u64, &'static str> {
    place(memory, [entry, information, 0])
}

/// Has the guest begin at `entry` in 64-bit mode, with RSI at `parameters`. All below 4 GiB.
pub fn long_mode(
    memory: &mut Memory,
    entry: u32,
    parameters: u32,
    page_tables: u32,
) -> Result<u64, &'static str> {
    place(memory, [entry, parameters, page_tables])
}
