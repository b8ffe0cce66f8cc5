/* SPDX-License-Identifier: Apache-2.0 */
/* Guest state for the VMM: registers one by one, and all of it by component. */
#include "cpu/x86.h"
#include "emul/cr.h"
#include "emul/debug.h"
#include "emul/log.h"
#include "emul/mmio.h"
#include "vcpu/check.h"
#include "vcpu/machine.h"
#include "vcpu/vcpu.h"
#include "x86vcpu/status.h"

/* ---- General registers -------------------------------------------------------------------------- */

/* RSP is the backend's; the others are memory. */
static int32_t reach(struct x86vcpu *vcpu, uint32_t index)
{
	if (!vcpu || index > 15)
		return X86VCPU_ERR_INVALID_INPUT;
	if (index == 4)
		return vcpu_enter_here(vcpu);
	return vcpu->held ? X86VCPU_ERR_BAD_STATE : X86VCPU_OK;
}

int32_t x86vcpu_get_gpr(struct x86vcpu *vcpu, uint32_t index, uint64_t *value)
{
	int32_t status;

	if (!value)
		return X86VCPU_ERR_INVALID_INPUT;
	status = reach(vcpu, index);
	if (!status)
		*value = guest_gpr(vcpu->guest, index);
	return status;
}

/* A value for an instruction under emulation changes no register. Bound or not. */
static bool answer_emulation(struct x86vcpu *vcpu, uint32_t index, uint64_t value)
{
	struct guest *g = vcpu && !vcpu->held ? vcpu->guest : NULL;

	if (!g || index != X86VCPU_NO_REGISTER || g->open != GUEST_OPEN_MMIO_READ ||
	    g->last.u.mmio.reg != X86VCPU_NO_REGISTER)
		return false;
	emul_complete_read(g, value);
	return true;
}

/* RAX is where a VMM written for the Rust crate puts the answer to these two. */
static bool answers_read(const struct guest *g, uint32_t index)
{
	return index == 0 && (g->open == GUEST_OPEN_PORT_READ || g->open == GUEST_OPEN_MSR_READ);
}

int32_t x86vcpu_set_gpr(struct x86vcpu *vcpu, uint32_t index, uint64_t value)
{
	int32_t status;

	if (answer_emulation(vcpu, index, value))
		return X86VCPU_OK;
	status = reach(vcpu, index);
	if (status)
		return status;
	if (answers_read(vcpu->guest, index))
		return x86vcpu_complete_read(vcpu, value);
	guest_set_gpr(vcpu->guest, index, value);
	return X86VCPU_OK;
}

int32_t x86vcpu_set_gpr_width(struct x86vcpu *vcpu, uint32_t index, uint32_t width, uint64_t value)
{
	int32_t status;

	if (width > X86VCPU_WIDTH_QWORD)
		return X86VCPU_ERR_INVALID_INPUT;
	if (answer_emulation(vcpu, index, value))
		return X86VCPU_OK;
	status = reach(vcpu, index);
	if (!status)
		guest_set_gpr(vcpu->guest, index,
			      x86vcpu_regs_merge(guest_gpr(vcpu->guest, index), width, value));
	return status;
}

int32_t x86vcpu_set_gpr_high_byte(struct x86vcpu *vcpu, uint32_t index, uint8_t value)
{
	if (!vcpu || index > 3)
		return X86VCPU_ERR_INVALID_INPUT;
	guest_set_gpr(vcpu->guest, index, x86vcpu_regs_merge_high_byte(guest_gpr(vcpu->guest, index), value));
	return X86VCPU_OK;
}

int32_t x86vcpu_set_return_value(struct x86vcpu *vcpu, uint64_t value)
{
	if (!vcpu)
		return X86VCPU_ERR_INVALID_INPUT;
	vcpu->guest->regs.rax = value;
	return X86VCPU_OK;
}

/* ---- Components ----------------------------------------------------------------------------------- */

static uint64_t get(struct guest *g, unsigned field)
{
	return guest_get(g, (enum guest_field)field);
}

static void put(struct guest *g, unsigned field, uint64_t value)
{
	guest_update(g, (enum guest_field)field, value);
}

static void read_segments(struct guest *g, struct x86vcpu_state *state)
{
	for (unsigned i = 0; i < X86VCPU_SEGMENTS; i++)
		state->segments[i] = (struct x86vcpu_segment){
			.selector = (uint16_t)get(g, G_SELECTOR + i),
			.access_rights = (uint32_t)get(g, G_ACCESS + i),
			.limit = (uint32_t)get(g, G_LIMIT + i),
			.base = get(g, G_BASE + i),
		};
	state->gdtr = (struct x86vcpu_table){get(g, G_GDTR_BASE), (uint32_t)get(g, G_GDTR_LIMIT), 0};
	state->idtr = (struct x86vcpu_table){get(g, G_IDTR_BASE), (uint32_t)get(g, G_IDTR_LIMIT), 0};
}

static void read_crs(struct guest *g, struct x86vcpu_state *state)
{
	state->cr0 = get(g, G_CR0);
	state->cr2 = g->cr2;
	state->cr3 = get(g, G_CR3);
	state->cr4 = get(g, G_CR4);
	state->efer = get(g, G_EFER);
	state->xcr0 = g->xcr0;
}

static void read_drs(struct guest *g, struct x86vcpu_state *state)
{
	state->dr0 = g->dr[0];
	state->dr1 = g->dr[1];
	state->dr2 = g->dr[2];
	state->dr3 = g->dr[3];
	state->dr6 = g->dr6;
	state->dr7 = get(g, G_DR7);
}

static void read_state(struct guest *g, uint64_t mask, struct x86vcpu_state *state)
{
	if (mask & X86VCPU_STATE_GPRS) {
		state->regs = g->regs;
		state->regs.unused_rsp = 0;
		state->rsp = get(g, G_RSP);
	}
	if (mask & X86VCPU_STATE_RIP) {
		state->rip = get(g, G_RIP);
		state->rflags = get(g, G_RFLAGS);
	}
	if (mask & X86VCPU_STATE_SEGMENTS)
		read_segments(g, state);
	if (mask & X86VCPU_STATE_CRS)
		read_crs(g, state);
	if (mask & X86VCPU_STATE_DRS)
		read_drs(g, state);
}

static void write_segments(struct guest *g, const struct x86vcpu_state *state)
{
	for (unsigned i = 0; i < X86VCPU_SEGMENTS; i++) {
		put(g, G_SELECTOR + i, state->segments[i].selector);
		put(g, G_ACCESS + i, state->segments[i].access_rights);
		put(g, G_LIMIT + i, state->segments[i].limit);
		put(g, G_BASE + i, state->segments[i].base);
	}
	put(g, G_GDTR_BASE, state->gdtr.base);
	put(g, G_GDTR_LIMIT, state->gdtr.limit);
	put(g, G_IDTR_BASE, state->idtr.base);
	put(g, G_IDTR_LIMIT, state->idtr.limit);
}

static void write_crs(struct guest *g, const struct x86vcpu_state *state)
{
	put(g, G_CR0, state->cr0 | CR0_ET);
	put(g, G_CR3, state->cr3);
	put(g, G_CR4, state->cr4);
	put(g, G_EFER, state->efer);
	g->cr2 = state->cr2;
	g->xcr0 = state->xcr0;
	g->flush_tlb = true;
}

static void write_drs(struct guest *g, const struct x86vcpu_state *state)
{
	g->dr[0] = state->dr0;
	g->dr[1] = state->dr1;
	g->dr[2] = state->dr2;
	g->dr[3] = state->dr3;
	g->dr6 = (state->dr6 & DR6_WRITABLE) | DR6_RESET;
	put(g, G_DR7, (state->dr7 & DR7_WRITABLE) | DR7_RESET);
	g->drs_armed = state->dr7 & DR7_ENABLES;
}

/* The return address of INT n, INT1, INT3 or INTO is RIP plus the instruction's length (SDM 27.6.1). */
static void end_software_delivery(struct guest *g, uint64_t rip)
{
	struct guest_event *event = &g->events.reinject;

	if (event->type >= GUEST_EVENT_SOFTWARE_INTERRUPT && rip != get(g, G_RIP))
		event->valid = false;
}

static void write_state(struct guest *g, uint64_t mask, const struct x86vcpu_state *state)
{
	if (mask & X86VCPU_STATE_GPRS) {
		g->regs = state->regs;
		put(g, G_RSP, state->rsp);
	}
	if (mask & X86VCPU_STATE_RIP) {
		end_software_delivery(g, state->rip);
		put(g, G_RIP, state->rip);
		put(g, G_RFLAGS, state->rflags);
		/* Blocking belonged to the instruction before the old RIP. */
		put(g, G_BLOCKING, get(g, G_BLOCKING) & GUEST_BLOCKING_NMI);
		put(g, G_PENDING_DB, 0);
		g->events.halted = false;
		guest_drop_open_exit(g);
		debug_forget(g);
	}
	if (mask & X86VCPU_STATE_SEGMENTS)
		write_segments(g, state);
	if (mask & X86VCPU_STATE_CRS)
		write_crs(g, state);
	if (mask & X86VCPU_STATE_DRS)
		write_drs(g, state);
}

static void overlay(struct x86vcpu_state *whole, uint64_t mask, const struct x86vcpu_state *state)
{
	const struct x86vcpu_state old = *whole;

	*whole = *state;
	if (!(mask & X86VCPU_STATE_RIP)) {
		whole->rip = old.rip;
		whole->rflags = old.rflags;
	}
	if (!(mask & X86VCPU_STATE_SEGMENTS)) {
		for (unsigned i = 0; i < X86VCPU_SEGMENTS; i++)
			whole->segments[i] = old.segments[i];
		whole->gdtr = old.gdtr;
		whole->idtr = old.idtr;
	}
	if (!(mask & X86VCPU_STATE_CRS)) {
		whole->cr0 = old.cr0;
		whole->cr3 = old.cr3;
		whole->cr4 = old.cr4;
		whole->efer = old.efer;
		whole->xcr0 = old.xcr0;
	}
	if (!(mask & X86VCPU_STATE_DRS)) {
		whole->dr6 = old.dr6;
		whole->dr7 = old.dr7;
	}
}

static int32_t check_call(struct x86vcpu *vcpu, uint64_t mask, const struct x86vcpu_state *state)
{
	if (!vcpu || !state || mask & ~X86VCPU_STATE_ALL)
		return X86VCPU_ERR_INVALID_INPUT;
	if (state->size != sizeof(*state))
		return X86VCPU_ERR_ABI_MISMATCH;
	return vcpu_hold_whole(vcpu);
}

/* Only where they are state of their own. */
static void read_pdptes(struct x86vcpu *vcpu, uint64_t mask, struct x86vcpu_state *state)
{
	struct guest *g = vcpu->guest;

	if (!(mask & X86VCPU_STATE_CRS))
		return;
	state->flags = 0;
	if (!vcpu->backend->has_pdptes || !cr_pae_paging(state->cr0, state->cr4, state->efer))
		return;
	state->flags = X86VCPU_STATE_HAS_PDPTES;
	for (unsigned i = 0; i < 4; i++)
		state->pdptes[i] = get(g, G_PDPTE0 + i);
}

/* What MOV to CR3 loads once, the state brings along, or memory. False: they have reserved bits, and nothing has changed. */
static bool load_pdptes(struct x86vcpu *vcpu, const struct x86vcpu_state *state)
{
	struct guest *g = vcpu->guest;

	if (!vcpu->backend->has_pdptes || !cr_pae_paging(state->cr0, state->cr4, state->efer))
		return true;
	if (!(state->flags & X86VCPU_STATE_HAS_PDPTES))
		return cr_load_pdptes(g, state->cr3);
	if (!cr_pdptes_valid(&g->limits, state->pdptes))
		return false;
	for (unsigned i = 0; i < 4; i++)
		put(g, G_PDPTE0 + i, state->pdptes[i]);
	return true;
}

int32_t x86vcpu_get_state(struct x86vcpu *vcpu, uint64_t mask, struct x86vcpu_state *state)
{
	const int32_t status = check_call(vcpu, mask, state);

	if (!status) {
		read_state(vcpu->guest, mask, state);
		read_pdptes(vcpu, mask, state);
		vcpu_release(vcpu);
	}
	return status;
}

static int32_t set_state(struct x86vcpu *vcpu, uint64_t mask, const struct x86vcpu_state *state)
{
	struct x86vcpu_state whole = {.size = sizeof(whole)};
	struct guest *g = vcpu->guest;

	if (mask & X86VCPU_STATE_CRS && state->flags & ~X86VCPU_STATE_HAS_PDPTES)
		return X86VCPU_ERR_INVALID_INPUT;
	read_state(g, X86VCPU_STATE_ALL, &whole);
	overlay(&whole, mask, state);
	whole.cr0 |= CR0_ET;
	if (!state_valid(&g->limits, &whole))
		return X86VCPU_ERR_INVALID_INPUT;
	if (mask & X86VCPU_STATE_CRS && !load_pdptes(vcpu, &whole))
		return X86VCPU_ERR_INVALID_INPUT;
	write_state(g, mask, state);
	return X86VCPU_OK;
}

int32_t x86vcpu_set_state(struct x86vcpu *vcpu, uint64_t mask, const struct x86vcpu_state *state)
{
	int32_t status = check_call(vcpu, mask, state);

	if (!status) {
		status = set_state(vcpu, mask, state);
		vcpu_release(vcpu);
	}
	return status;
}

/* ---- For logs ---------------------------------------------------------------------------------------- */

struct line {
	char *text;
	uint64_t size, used;
};

static void item(struct line *line, const char *name, uint64_t value)
{
	log_text(line->text, line->size, &line->used, line->used ? " " : "");
	log_text(line->text, line->size, &line->used, name);
	log_text(line->text, line->size, &line->used, "=");
	log_hex(line->text, line->size, &line->used, value);
}

static void format_special(struct line *line, struct guest *g)
{
	item(line, "rip", guest_get(g, G_RIP));
	item(line, "rsp", guest_get(g, G_RSP));
	item(line, "rflags", guest_get(g, G_RFLAGS));
	item(line, "cr0", guest_get(g, G_CR0));
	item(line, "cr2", g->cr2);
	item(line, "cr3", guest_get(g, G_CR3));
	item(line, "cr4", guest_get(g, G_CR4));
	item(line, "efer", guest_get(g, G_EFER));
	item(line, "cs", get(g, G_SELECTOR + X86VCPU_SEGMENT_CS));
	item(line, "cs.base", get(g, G_BASE + X86VCPU_SEGMENT_CS));
}

uint64_t x86vcpu_format_state(struct x86vcpu *vcpu, char *text, uint64_t len)
{
	struct line line = {text, len, 0};

	if (!vcpu || !text || !len)
		return 0;
	text[0] = '\0';
	item(&line, "vm", vcpu->machine->vm_id);
	item(&line, "vcpu", vcpu->guest->vcpu_id);
	if (!vcpu_enter_here(vcpu))
		format_special(&line, vcpu->guest);
	for (unsigned i = 0; i < 16; i++)
		if (i != 4)
			item(&line, x86vcpu_regs_name(i), guest_gpr(vcpu->guest, i));
	return line.used;
}
