/* SPDX-License-Identifier: Apache-2.0 */
/* The virtual machine control block (APM appendix B), and the numbers that go into it. */
#ifndef SVM_VMCB_H
#define SVM_VMCB_H

#include <stddef.h>
#include <stdint.h>

/* ---- Intercept vectors, APM table B-1 ------------------------------------------------------------- */

/* Vector 3, offset 0x00c. */
enum svm_intercept3 {
	INTERCEPT_INTR = 1u << 0,
	INTERCEPT_NMI = 1u << 1,
	INTERCEPT_SMI = 1u << 2,
	INTERCEPT_INIT = 1u << 3,
	INTERCEPT_VINTR = 1u << 4,
	INTERCEPT_CR0_SEL_WRITE = 1u << 5,
	INTERCEPT_READ_IDTR = 1u << 6,
	INTERCEPT_READ_GDTR = 1u << 7,
	INTERCEPT_READ_LDTR = 1u << 8,
	INTERCEPT_READ_TR = 1u << 9,
	INTERCEPT_WRITE_IDTR = 1u << 10,
	INTERCEPT_WRITE_GDTR = 1u << 11,
	INTERCEPT_WRITE_LDTR = 1u << 12,
	INTERCEPT_WRITE_TR = 1u << 13,
	INTERCEPT_RDTSC = 1u << 14,
	INTERCEPT_RDPMC = 1u << 15,
	INTERCEPT_PUSHF = 1u << 16,
	INTERCEPT_POPF = 1u << 17,
	INTERCEPT_CPUID = 1u << 18,
	INTERCEPT_RSM = 1u << 19,
	INTERCEPT_IRET = 1u << 20,
	INTERCEPT_INTN = 1u << 21,
	INTERCEPT_INVD = 1u << 22,
	INTERCEPT_PAUSE = 1u << 23,
	INTERCEPT_HLT = 1u << 24,
	INTERCEPT_INVLPG = 1u << 25,
	INTERCEPT_INVLPGA = 1u << 26,
	INTERCEPT_IOIO = 1u << 27,
	INTERCEPT_MSR = 1u << 28,
	INTERCEPT_TASK_SWITCH = 1u << 29,
	INTERCEPT_FERR_FREEZE = 1u << 30,
	INTERCEPT_SHUTDOWN = 1u << 31,
};

/* Vector 4, offset 0x010. */
enum svm_intercept4 {
	INTERCEPT_VMRUN = 1u << 0,
	INTERCEPT_VMMCALL = 1u << 1,
	INTERCEPT_VMLOAD = 1u << 2,
	INTERCEPT_VMSAVE = 1u << 3,
	INTERCEPT_STGI = 1u << 4,
	INTERCEPT_CLGI = 1u << 5,
	INTERCEPT_SKINIT = 1u << 6,
	INTERCEPT_RDTSCP = 1u << 7,
	INTERCEPT_ICEBP = 1u << 8,
	INTERCEPT_WBINVD = 1u << 9,
	INTERCEPT_MONITOR = 1u << 10,
	INTERCEPT_MWAIT = 1u << 11,
	INTERCEPT_MWAIT_ARMED = 1u << 12,
	INTERCEPT_XSETBV = 1u << 13,
	INTERCEPT_RDPRU = 1u << 14,
	INTERCEPT_EFER_WRITE_TRAP = 1u << 15,
};

/* Vector 5, offset 0x014. */
enum svm_intercept5 {
	INTERCEPT_INVLPGB = 1u << 0,
	INTERCEPT_INVLPGB_ILLEGAL = 1u << 1,
	INTERCEPT_INVPCID = 1u << 2,
	INTERCEPT_MCOMMIT = 1u << 3,
	INTERCEPT_TLBSYNC = 1u << 4,
};

/* ---- Other fields ---------------------------------------------------------------------------------- */

enum svm_tlb_control {
	TLB_CONTROL_NONE = 0,
	TLB_CONTROL_FLUSH_ALL = 1, /* every ASID's entries; works on any CPU with SVM (APM 15.16.2) */
};

/* Offset 0x060, APM 15.21. */
#define V_TPR UINT64_C(0xff)
#define V_IRQ (UINT64_C(1) << 8)
#define V_INTR_PRIO (UINT64_C(0xf) << 16)
#define V_IGN_TPR (UINT64_C(1) << 20)
#define V_INTR_MASKING (UINT64_C(1) << 24)
#define V_INTR_VECTOR_SHIFT 32
#define V_INTR_VECTOR (UINT64_C(0xff) << V_INTR_VECTOR_SHIFT)

#define INTERRUPT_SHADOW (UINT64_C(1) << 0) /* offset 0x068 */
#define NESTED_PAGING (UINT64_C(1) << 0)    /* offset 0x090 */

/* EVENTINJ and EXITINTINFO, APM 15.20. */
#define EVENT_TYPE_SHIFT 8
#define EVENT_ERROR_CODE (UINT64_C(1) << 11)
#define EVENT_VALID (UINT64_C(1) << 31)

/* Offset 0x0c0, APM 15.15.3: what the CPU may keep from the last VMRUN. */
enum svm_clean {
	CLEAN_INTERCEPTS = 1u << 0, /* intercepts, TSC offset, pause filter */
	CLEAN_PERMISSION_MAPS = 1u << 1,
	CLEAN_ASID = 1u << 2,
	CLEAN_TPR = 1u << 3, /* offset 0x060 */
	CLEAN_NESTED_PAGING = 1u << 4,
	CLEAN_CONTROL_REGISTERS = 1u << 5, /* CR0, CR3, CR4, EFER */
	CLEAN_DEBUG_REGISTERS = 1u << 6,
	CLEAN_DESCRIPTOR_TABLES = 1u << 7,
	CLEAN_SEGMENTS = 1u << 8, /* CS, DS, ES, SS and the CPL */
	CLEAN_CR2 = 1u << 9,
	CLEAN_ALL = (1u << 10) - 1,
};

/* Bits of EXITINFO1 of a nested page fault above the error code, APM 15.25.6. */
#define NPF_FINAL (UINT64_C(1) << 32) /* translating the access itself */
#define NPF_WALK (UINT64_C(1) << 33)  /* the guest's page tables on the way */

struct vmcb_segment {
	uint16_t selector;
	uint16_t attributes; /* bits 7:0 and 11:8: bits 47:40 and 55:52 of the descriptor */
	uint32_t limit;
	uint64_t base;
};

struct vmcb {
	/* Control area, table B-1. */
	uint16_t intercept_cr_read;
	uint16_t intercept_cr_write;
	uint16_t intercept_dr_read;
	uint16_t intercept_dr_write;
	uint32_t intercept_exceptions;
	uint32_t intercept3;
	uint32_t intercept4;
	uint32_t intercept5;
	uint8_t reserved_018[0x03c - 0x018];
	uint16_t pause_filter_threshold;
	uint16_t pause_filter_count;
	uint64_t iopm_base;
	uint64_t msrpm_base;
	uint64_t tsc_offset;
	uint32_t asid;
	uint8_t tlb_control;
	uint8_t reserved_05d[3];
	uint64_t virtual_interrupt;
	uint64_t interrupt_shadow;
	uint64_t exit_code;
	uint64_t exit_info1;
	uint64_t exit_info2;
	uint64_t exit_int_info;
	uint64_t nested_control;
	uint64_t avic_apic_bar;
	uint64_t ghcb;
	uint64_t event_injection;
	uint64_t nested_cr3;
	uint64_t virtualization_control;
	uint32_t clean;
	uint32_t reserved_0c4;
	uint64_t next_rip;
	uint8_t fetched_bytes; /* with decode assists */
	uint8_t instruction_bytes[15];
	uint64_t avic_backing_page;
	uint64_t reserved_0e8;
	uint64_t avic_logical_table;
	uint64_t avic_physical_table;
	uint64_t reserved_100;
	uint64_t vmsa;
	uint8_t reserved_110[0x400 - 0x110];

	/* State save area, table B-2. */
	struct vmcb_segment es, cs, ss, ds, fs, gs, gdtr, ldtr, idtr, tr;
	uint8_t reserved_4a0[0x4cb - 0x4a0];
	uint8_t cpl;
	uint32_t reserved_4cc;
	uint64_t efer;
	uint8_t reserved_4d8[0x548 - 0x4d8];
	uint64_t cr4;
	uint64_t cr3;
	uint64_t cr0;
	uint64_t dr7;
	uint64_t dr6;
	uint64_t rflags;
	uint64_t rip;
	uint8_t reserved_580[0x5d8 - 0x580];
	uint64_t rsp;
	uint64_t s_cet;
	uint64_t ssp;
	uint64_t interrupt_ssp_table;
	uint64_t rax;
	uint64_t star;
	uint64_t lstar;
	uint64_t cstar;
	uint64_t sfmask;
	uint64_t kernel_gs_base;
	uint64_t sysenter_cs;
	uint64_t sysenter_esp;
	uint64_t sysenter_eip;
	uint64_t cr2;
	uint8_t reserved_648[0x668 - 0x648];
	uint64_t pat;
	uint64_t debugctl;
	uint64_t last_branch_from;
	uint64_t last_branch_to;
	uint64_t last_interrupt_from;
	uint64_t last_interrupt_to;
	uint8_t reserved_698[0x6e0 - 0x698];
	uint64_t spec_ctrl; /* where CPUID says that VMRUN exchanges it */
	uint8_t reserved_6e8[0x1000 - 0x6e8];
};

#define VMCB_AT(member, offset) _Static_assert(offsetof(struct vmcb, member) == (offset), #member)
VMCB_AT(intercept3, 0x00c);
VMCB_AT(intercept4, 0x010);
VMCB_AT(intercept5, 0x014);
VMCB_AT(pause_filter_threshold, 0x03c);
VMCB_AT(iopm_base, 0x040);
VMCB_AT(msrpm_base, 0x048);
VMCB_AT(tsc_offset, 0x050);
VMCB_AT(asid, 0x058);
VMCB_AT(tlb_control, 0x05c);
VMCB_AT(virtual_interrupt, 0x060);
VMCB_AT(interrupt_shadow, 0x068);
VMCB_AT(exit_code, 0x070);
VMCB_AT(exit_info1, 0x078);
VMCB_AT(exit_info2, 0x080);
VMCB_AT(exit_int_info, 0x088);
VMCB_AT(nested_control, 0x090);
VMCB_AT(avic_apic_bar, 0x098);
VMCB_AT(ghcb, 0x0a0);
VMCB_AT(event_injection, 0x0a8);
VMCB_AT(nested_cr3, 0x0b0);
VMCB_AT(virtualization_control, 0x0b8);
VMCB_AT(clean, 0x0c0);
VMCB_AT(next_rip, 0x0c8);
VMCB_AT(fetched_bytes, 0x0d0);
VMCB_AT(instruction_bytes, 0x0d1);
VMCB_AT(avic_backing_page, 0x0e0);
VMCB_AT(avic_logical_table, 0x0f0);
VMCB_AT(avic_physical_table, 0x0f8);
VMCB_AT(vmsa, 0x108);
VMCB_AT(es, 0x400);
VMCB_AT(cs, 0x410);
VMCB_AT(ss, 0x420);
VMCB_AT(ds, 0x430);
VMCB_AT(fs, 0x440);
VMCB_AT(gs, 0x450);
VMCB_AT(gdtr, 0x460);
VMCB_AT(ldtr, 0x470);
VMCB_AT(idtr, 0x480);
VMCB_AT(tr, 0x490);
VMCB_AT(cpl, 0x4cb);
VMCB_AT(efer, 0x4d0);
VMCB_AT(cr4, 0x548);
VMCB_AT(cr3, 0x550);
VMCB_AT(cr0, 0x558);
VMCB_AT(dr7, 0x560);
VMCB_AT(dr6, 0x568);
VMCB_AT(rflags, 0x570);
VMCB_AT(rip, 0x578);
VMCB_AT(rsp, 0x5d8);
VMCB_AT(s_cet, 0x5e0);
VMCB_AT(ssp, 0x5e8);
VMCB_AT(interrupt_ssp_table, 0x5f0);
VMCB_AT(rax, 0x5f8);
VMCB_AT(star, 0x600);
VMCB_AT(lstar, 0x608);
VMCB_AT(cstar, 0x610);
VMCB_AT(sfmask, 0x618);
VMCB_AT(kernel_gs_base, 0x620);
VMCB_AT(sysenter_cs, 0x628);
VMCB_AT(sysenter_esp, 0x630);
VMCB_AT(sysenter_eip, 0x638);
VMCB_AT(cr2, 0x640);
VMCB_AT(pat, 0x668);
VMCB_AT(debugctl, 0x670);
VMCB_AT(last_branch_from, 0x678);
VMCB_AT(last_interrupt_to, 0x690);
VMCB_AT(spec_ctrl, 0x6e0);
_Static_assert(sizeof(struct vmcb) == 0x1000, "struct vmcb");

#endif
