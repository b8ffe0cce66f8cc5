/* SPDX-License-Identifier: Apache-2.0 */
#include "emul/debug.h"

#include "emul/decode.h"
#include "emul/paging.h"

/* ---- Exits ---------------------------------------------------------------------------------------------- */

int debug_report(struct guest *g)
{
	struct guest_debug *debug = &g->debug;

	emul_report(g, X86VCPU_EXIT_DEBUG);
	g->exit->u.debug = (struct x86vcpu_debug_exit){
		.what = debug->due,
		.length = debug->due & X86VCPU_DEBUG_HIT_INT3 ? debug->event.length : 0,
		.rip = guest_get(g, G_RIP),
		.dr6 = debug->conditions,
	};
	debug->due = 0;
	debug->conditions = 0;
	debug->delivering = false;
	return EMUL_EXIT;
}

void debug_forget(struct guest *g)
{
	g->debug.due = 0;
	g->debug.conditions = 0;
	g->debug.delivering = false;
	g->debug.event.valid = false;
}

void debug_step_ended(struct guest *g)
{
	g->debug.due |= X86VCPU_DEBUG_HIT_STEP;
	g->debug.conditions |= DR6_BS;
}

/* R/W and LEN of a breakpoint are bits 16 to 19 of DR7, and further up for the others; R/W 0 is an instruction's. */
static bool hits_instruction(uint64_t dr7, uint64_t hits)
{
	for (unsigned i = 0; i < 4; i++)
		if (hits >> i & 1 && !(dr7 >> (16 + 4 * i) & 3))
			return true;
	return false;
}

uint64_t debug_take_conditions(struct guest *g, uint64_t conditions)
{
	struct guest_debug *debug = &g->debug;
	const uint64_t hits = conditions & DEBUG_BREAKPOINTS;

	if (debug->owns_drs && hits) {
		debug->due |= X86VCPU_DEBUG_HIT_BREAKPOINT;
		debug->conditions |= hits;
		conditions &= ~DEBUG_BREAKPOINTS;
		/* The instruction has not been executed, and must not hit again (SDM 18.3.1.1). */
		if (hits_instruction(debug->dr7, hits))
			guest_update(g, G_RFLAGS, guest_get(g, G_RFLAGS) | RFLAGS_RF);
	}
	return conditions;
}

bool debug_takes_exception(struct guest *g, const struct guest_event *event, uint64_t conditions)
{
	struct guest_debug *debug = &g->debug;
	const bool is_db = event->vector == VECTOR_DB;

	if (!(debug->flags & (is_db ? X86VCPU_DEBUG_DB : X86VCPU_DEBUG_INT3)))
		return false;
	debug->event = *event;
	debug->due |= is_db ? X86VCPU_DEBUG_HIT_DB : X86VCPU_DEBUG_HIT_INT3;
	debug->conditions |= conditions;
	return true;
}

/* ---- The VMM's breakpoints --------------------------------------------------------------------------------- */

void debug_begin_run(struct guest *g)
{
	struct guest_debug *debug = &g->debug;

	debug->event.valid = false;
	debug->owns_drs = debug->dr7;
	if (!debug->owns_drs)
		return;
	debug->guest_dr7 = guest_get(g, G_DR7);
	guest_set(g, G_DR7, debug->dr7 | DR7_RESET);
}

void debug_end_run(struct guest *g)
{
	if (!g->debug.owns_drs)
		return;
	g->debug.owns_drs = false;
	guest_set(g, G_DR7, g->debug.guest_dr7);
	g->drs_armed = g->debug.guest_dr7 & DR7_ENABLES;
}

static int read_dr(struct guest *g, unsigned number, unsigned gpr)
{
	const uint64_t value = number == 7 ? g->debug.guest_dr7 : number == 6 ? g->dr6 : g->dr[number];

	guest_set_gpr(g, gpr, guest_in_64bit_mode(g) ? value : (uint32_t)value);
	return EMUL_NEXT;
}

static int write_dr(struct guest *g, unsigned number, uint64_t value)
{
	if (!guest_in_64bit_mode(g))
		value = (uint32_t)value;
	if (number >= 6 && value >> 32)
		return EMUL_GP;
	if (number == 7)
		g->debug.guest_dr7 = (value & DR7_WRITABLE) | DR7_RESET;
	else if (number == 6)
		g->dr6 = (value & DR6_WRITABLE) | DR6_RESET;
	else
		g->dr[number] = value;
	return EMUL_NEXT;
}

/* The CPU has checked the CPL (SDM 26.1.1). */
int debug_mov_dr(struct guest *g, unsigned number, unsigned gpr, bool read)
{
	const struct guest_event fault = {.valid = true, .type = GUEST_EVENT_EXCEPTION, .vector = VECTOR_DB};

	if (number == 4 || number == 5) {
		if (guest_get(g, G_CR4) & CR4_DE)
			return EMUL_UD;
		number += 2;
	}
	if (g->debug.guest_dr7 & DR7_GD) {
		g->debug.guest_dr7 &= ~DR7_GD;
		g->dr6 |= DR6_BD;
		if (!debug_takes_exception(g, &fault, DR6_BD))
			guest_raise(g, VECTOR_DB, false, 0);
		return EMUL_RESUME;
	}
	return read ? read_dr(g, number & 7, gpr) : write_dr(g, number & 7, guest_gpr(g, gpr));
}

/* ---- Steps by RFLAGS.TF -------------------------------------------------------------------------------------- */

#define LOOK_BYTES (2 * DECODE_MAX_LENGTH)

static unsigned read_code(struct guest *g, uint64_t linear, uint8_t *bytes)
{
	uint64_t done = 0;

	while (done < LOOK_BYTES) {
		struct paging_fault fault;
		uint64_t gpa, count, left = 0x1000 - ((linear + done) & 0xfff);

		if (paging_translate(g, linear + done, PF_FETCH | PAGING_UNCHECKED, &gpa, &fault) != PAGING_OK)
			break;
		if (left > LOOK_BYTES - done)
			left = LOOK_BYTES - done;
		if (guest_read_some(g, gpa, bytes + done, left, &count))
			break;
		done += count;
	}
	return (unsigned)done;
}

static bool is_legacy_prefix(uint8_t byte)
{
	static const uint8_t legacy[] = {0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x2e, 0x36, 0x3e, 0x26, 0x64, 0x65};

	for (unsigned i = 0; i < sizeof(legacy); i++)
		if (legacy[i] == byte)
			return true;
	return false;
}

/* How many bytes of prefixes there are (SDM Vol. 2, 2.1.1). */
static unsigned prefixes(const uint8_t *bytes, unsigned count, bool rex)
{
	unsigned n = 0;

	while (n < count && is_legacy_prefix(bytes[n]))
		n++;
	while (rex && n < count && (bytes[n] & 0xf0) == 0x40)
		n++;
	return n;
}

/* MOV SS and POP SS hold the step back until the next instruction has ended (SDM 6.8.3). Their length, or 0. */
static unsigned shadowing_length(struct guest *g, const uint8_t *bytes, unsigned count, unsigned n)
{
	struct decode d;

	if (n + 1 < count && bytes[n] == 0x8e && (bytes[n + 1] >> 3 & 7) == X86VCPU_SEGMENT_SS &&
	    decode_bytes(&d, bytes, count, guest_address_bytes(g)) == DECODE_OK)
		return d.length;
	return n < count && bytes[n] == 0x17 && !guest_in_64bit_mode(g) ? n + 1 : 0;
}

/* Outside long mode SYSCALL and SYSRET leave the flag alone (APM Vol. 3, SYSCALL). */
static enum guest_step_kind kind_of_two_byte(struct guest *g, uint8_t opcode)
{
	if (!(guest_get(g, G_EFER) & EFER_LMA))
		return GUEST_STEP_PLAIN;
	return opcode == 0x05 ? GUEST_STEP_SYSCALL : opcode == 0x07 ? GUEST_STEP_SYSRET : GUEST_STEP_PLAIN;
}

static enum guest_step_kind kind_of(struct guest *g, const uint8_t *opcode, unsigned count)
{
	switch (count ? opcode[0] : 0) {
	case 0x9c:
		return GUEST_STEP_STORES;
	case 0x9d:
	case 0xcf:
		return GUEST_STEP_LOADS;
	case 0x0f:
		return count > 1 ? kind_of_two_byte(g, opcode[1]) : GUEST_STEP_PLAIN;
	default:
		return GUEST_STEP_PLAIN;
	}
}

static bool int_n(const uint8_t *bytes, unsigned count, unsigned n, struct guest_event *event)
{
	if (n + 1 >= count || bytes[n] != 0xcd)
		return false;
	*event = (struct guest_event){
		.valid = true,
		.type = GUEST_EVENT_SOFTWARE_INTERRUPT,
		.vector = bytes[n + 1],
		.length = n + 2,
	};
	return true;
}

/* INT n goes in as an event, with the checks of the instruction (SDM 27.6.1, APM 15.20). */
static bool inject_int_n(struct guest *g, const uint8_t *bytes, unsigned count, unsigned n)
{
	struct guest_event event;

	if (guest_get(g, G_RFLAGS) & RFLAGS_VM || !int_n(bytes, count, n, &event))
		return false;
	guest_reinject(g, event);
	return true;
}

bool debug_decode_int(struct guest *g, struct guest_event *event)
{
	uint8_t code[LOOK_BYTES];
	const unsigned count = read_code(g, paging_linear(g, X86VCPU_SEGMENT_CS, guest_get(g, G_RIP)), code);
	const unsigned n = prefixes(code, count, guest_in_64bit_mode(g));

	if (n >= count || code[n] != 0xcc)
		return int_n(code, count, n, event);
	*event = (struct guest_event){
		.valid = true,
		.type = GUEST_EVENT_SOFTWARE_EXCEPTION,
		.vector = VECTOR_BP,
		.length = n + 1,
	};
	return true;
}

void debug_look_at_instruction(struct guest *g)
{
	const bool rex = guest_in_64bit_mode(g);
	uint8_t code[LOOK_BYTES];
	const uint8_t *bytes = code;
	unsigned count, n, shadow;

	g->debug.kind = GUEST_STEP_PLAIN;
	if (g->debug.delivering || g->events.exception.valid || g->events.reinject.valid)
		return;
	count = read_code(g, paging_linear(g, X86VCPU_SEGMENT_CS, guest_get(g, G_RIP)), code);
	n = prefixes(bytes, count, rex);
	if (inject_int_n(g, bytes, count, n))
		return;
	shadow = shadowing_length(g, bytes, count, n);
	if (shadow && shadow < count) {
		bytes += shadow;
		count -= shadow;
		n = prefixes(bytes, count, rex);
	}
	g->debug.kind = (uint8_t)kind_of(g, bytes + n, count - n);
}

bool debug_begin_step(struct guest *g, bool injecting)
{
	struct guest_debug *debug = &g->debug;
	const uint64_t rflags = guest_get(g, G_RFLAGS);

	debug->delivering |= injecting;
	if (debug->delivering)
		return false;
	debug->stepping = true;
	debug->own_flag = rflags & RFLAGS_TF;
	debug->r11_flag = g->regs.r11 & RFLAGS_TF;
	guest_update(g, G_RFLAGS, rflags | RFLAGS_TF);
	/* The CPU looks at the flag that SYSRET has loaded. */
	if (debug->kind == GUEST_STEP_SYSRET)
		g->regs.r11 |= RFLAGS_TF;
	return true;
}

/* The flag in what PUSHF has stored. */
static void clear_stored_flag(struct guest *g)
{
	const uint64_t rsp = guest_get(g, G_RSP);
	const bool wide = guest_in_64bit_mode(g) || guest_get(g, G_ACCESS + X86VCPU_SEGMENT_SS) & AR_D;
	const uint64_t linear = paging_linear(g, X86VCPU_SEGMENT_SS, (wide ? rsp : rsp & 0xffff) + 1);
	struct paging_fault fault;
	uint64_t gpa, left;
	uint8_t *at;

	if (paging_translate(g, linear, PF_WRITE | PAGING_UNCHECKED, &gpa, &fault) != PAGING_OK)
		return;
	at = guest_writable_memory_at(g, gpa, &left);
	if (at)
		*at &= (uint8_t)~(RFLAGS_TF >> 8);
}

static uint64_t with_flag(uint64_t rflags, bool on)
{
	return on ? rflags | RFLAGS_TF : rflags & ~RFLAGS_TF;
}

static void set_flag(struct guest *g, bool on)
{
	guest_update(g, G_RFLAGS, with_flag(guest_get(g, G_RFLAGS), on));
}

/* The guest's own flag after an instruction that has ended. */
static void hide_flag(struct guest *g)
{
	const bool own = g->debug.own_flag;

	switch (g->debug.kind) {
	case GUEST_STEP_STORES:
		if (!own)
			clear_stored_flag(g);
		set_flag(g, own);
		break;
	case GUEST_STEP_LOADS:
		break;
	case GUEST_STEP_SYSCALL:
		if (!own)
			g->regs.r11 &= ~RFLAGS_TF;
		set_flag(g, own && !(g->msrs.fmask & RFLAGS_TF));
		break;
	case GUEST_STEP_SYSRET:
		set_flag(g, g->debug.r11_flag);
		break;
	default:
		set_flag(g, own);
	}
}

void debug_end_step(struct guest *g, bool completed)
{
	struct guest_debug *debug = &g->debug;

	debug->stepping = false;
	if (debug->kind == GUEST_STEP_SYSRET)
		g->regs.r11 = with_flag(g->regs.r11, debug->r11_flag);
	if (completed) {
		hide_flag(g);
		debug_step_ended(g);
	} else {
		set_flag(g, debug->own_flag);
	}
}
