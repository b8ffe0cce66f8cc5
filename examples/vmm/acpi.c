/* SPDX-License-Identifier: Apache-2.0 */
/* The ACPI tables (ACPI 6.4, 5.2): which CPUs there are, the I/O APIC, and how to switch off. */
#include "vmm.h"

/* Where firmware has them: the RSDP is looked for on 16-byte boundaries from 0xe0000 on. */
#define RSDP 0xe0000
#define XSDT 0xe0040
#define FADT 0xe0100
#define FACS 0xe0200
#define DSDT 0xe0240
#define MADT 0xe0280
#define AREA_SIZE 0x1000

#define HEADER 36
#define FADT_SIZE 244
#define LOCAL_APIC_ADDRESS 0xfee00000u
#define SYSTEM_IO 1

/* Name (_S5_, Package (4) { 0, 0, 0, 0 }): sleep type 0 at PM1 control switches the machine off. */
static const uint8_t aml[] = {
	0x08, '_', 'S', '5', '_', /* NameOp, its name */
	0x12, 0x06, 0x04,         /* PackageOp, length from here on, number of elements */
	0x00, 0x00, 0x00, 0x00,   /* ZeroOp four times */
};

static uint8_t checksum(const uint8_t *table, size_t size)
{
	uint8_t sum = 0;

	for (size_t i = 0; i < size; i++)
		sum = (uint8_t)(sum + table[i]);
	return (uint8_t)-sum;
}

static void finish_table(uint8_t *table, const char *signature, uint8_t revision, size_t size)
{
	memcpy(table, signature, 4);
	put32(table + 4, (uint32_t)size);
	table[8] = revision;
	memcpy(table + 10, "X86VCPU PC      ", 14); /* OEM ID and table ID */
	put32(table + 24, 1);
	memcpy(table + 28, "VCPU", 4);
	put32(table + 32, 1);
	table[9] = 0;
	table[9] = checksum(table, size);
}

static void build_rsdp(uint8_t *p)
{
	memcpy(p, "RSD PTR ", 8);
	memcpy(p + 9, "X86VCP", 6);
	p[15] = 2;
	put32(p + 20, 36);
	put64(p + 24, XSDT);
	p[8] = checksum(p, 20);
	p[32] = checksum(p, 36);
}

static void build_xsdt(uint8_t *p)
{
	put64(p + HEADER, FADT);
	put64(p + HEADER + 8, MADT);
	finish_table(p, "XSDT", 1, HEADER + 16);
}

static void build_facs(uint8_t *p)
{
	memcpy(p, "FACS", 4);
	put32(p + 4, 64);
	p[32] = 2; /* version */
}

/* A generic address (ACPI 5.2.3.2) of a byte in I/O space. */
static void put_port(uint8_t *p, uint16_t port)
{
	p[0] = SYSTEM_IO;
	p[1] = 8; /* bits */
	p[3] = 1; /* byte access */
	put64(p + 4, port);
}

/*
 * Always in ACPI mode (there is no SMI command), no buttons, no general-purpose events. Reset goes through the
 * keyboard controller, as on every PC.
 */
static void build_fadt(uint8_t *p)
{
	put32(p + 36, FACS);
	put32(p + 40, DSDT);
	put16(p + 46, PM_SCI);
	put32(p + 56, PM_EVENT);
	put32(p + 64, PM_CONTROL);
	put32(p + 76, PM_TIMER);
	p[88] = 4; /* lengths: PM1 event, PM1 control, timer */
	p[89] = 2;
	p[91] = 4;
	put16(p + 96, 0xfff); /* no C2, no C3 */
	put16(p + 98, 0xfff);
	p[108] = 0x32; /* the century, in CMOS */
	put16(p + 109, 0x0001 | 0x0004); /* legacy devices, no VGA; and no keyboard worth probing */
	/* WBINVD works; C1 on every CPU; buttons would be in the namespace; a reset register. */
	put32(p + 112, 1u << 0 | 1u << 2 | 1u << 4 | 1u << 5 | 1u << 10);
	put_port(p + 116, KBD_COMMAND);
	p[128] = 0xfe;
	put64(p + 140, DSDT);
	finish_table(p, "FACP", 3, FADT_SIZE);
}

static void build_dsdt(uint8_t *p)
{
	memcpy(p + HEADER, aml, sizeof(aml));
	finish_table(p, "DSDT", 2, HEADER + sizeof(aml));
}

/* ---- Multiple APIC description table (ACPI 5.2.12) ------------------------------------------------ */

static uint8_t *add_local_apic(uint8_t *p, uint8_t id)
{
	const uint8_t entry[8] = { 0, sizeof(entry), id, id, 1 };

	memcpy(p, entry, sizeof(entry));
	return p + sizeof(entry);
}

static uint8_t *add_io_apic(uint8_t *p, uint8_t id)
{
	const uint8_t entry[12] = { 1, sizeof(entry), id };

	memcpy(p, entry, sizeof(entry));
	put32(p + 4, (uint32_t)IOAPIC_BASE);
	return p + sizeof(entry);
}

/* `flags`: 0 as the bus has it, 0xd active high and level-triggered. */
static uint8_t *add_override(uint8_t *p, uint8_t irq, uint8_t pin, uint8_t flags)
{
	const uint8_t entry[10] = { 2, sizeof(entry), 0, irq, pin, 0, 0, 0, flags };

	memcpy(p, entry, sizeof(entry));
	return p + sizeof(entry);
}

/* LINT1 of every CPU is NMI. */
static uint8_t *add_nmi(uint8_t *p)
{
	const uint8_t entry[6] = { 4, sizeof(entry), 0xff, 0, 0, 1 };

	memcpy(p, entry, sizeof(entry));
	return p + sizeof(entry);
}

static void build_madt(uint8_t *table, unsigned cpus)
{
	uint8_t *p = table + HEADER + 8;

	put32(table + HEADER, LOCAL_APIC_ADDRESS);
	put32(table + HEADER + 4, 1); /* a pair of 8259A is there too */
	for (unsigned i = 0; i < cpus; i++)
		p = add_local_apic(p, (uint8_t)i);
	p = add_io_apic(p, (uint8_t)cpus);
	p = add_override(p, PIT_IRQ, 2, 0);
	p = add_override(p, PM_SCI, PM_SCI, 0xd);
	p = add_nmi(p);
	finish_table(table, "APIC", 3, (size_t)(p - table));
}

uint64_t acpi_build(const struct vm *vm)
{
	uint8_t *area = memory_at(vm, RSDP, AREA_SIZE);

	if (!area)
		return 0;
	memset(area, 0, AREA_SIZE);
	build_rsdp(area);
	build_xsdt(area + (XSDT - RSDP));
	build_fadt(area + (FADT - RSDP));
	build_facs(area + (FACS - RSDP));
	build_dsdt(area + (DSDT - RSDP));
	build_madt(area + (MADT - RSDP), vm->vcpus);
	return RSDP;
}
