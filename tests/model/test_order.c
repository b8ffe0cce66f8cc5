/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All pairs: run returns with an exit of each kind, then any function is called, then the vCPU runs on. What must come of
 * it is computed from the description of x86vcpu_run in vcpu.h.
 */
#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "order.h"

static const struct x86vcpu_mmio_range device = {.base = ORDER_DEVICE, .size = 0x1000};
static const struct x86vcpu_msr_range msr = {ORDER_MSR, ORDER_MSR};

static struct x86vcpu_setup_config config_of(const struct order_situation *s, uint32_t flags)
{
	return (struct x86vcpu_setup_config){
		.size = sizeof(struct x86vcpu_setup_config),
		.mmio = &device,
		.mmio_count = 1,
		.msrs = &msr,
		.msr_count = 1,
		.time_slice_ns = UINT64_C(1) << 60,
		.start = s->start,
		.flags = flags,
	};
}

static uint64_t rip_of(struct fixture *f)
{
	struct x86vcpu_state state = {.size = sizeof(state)};

	ck_assert_int_eq(x86vcpu_get_state(f->vcpu, X86VCPU_STATE_RIP, &state), X86VCPU_OK);
	return state.rip;
}

static void note_event(struct fixture *f, struct order_outcome *o)
{
	const struct model_outcome *model = model_outcome(f->m);

	if (!o->event && model->event_count)
		o->event = ORDER_EVENT(model->events[0].type, model->events[0].vector);
}

static struct order_outcome run_on(struct fixture *f)
{
	struct order_outcome o = {.write = false};

	/* The write of an XCHG, and an event that wants an exit of its own, come before what counts. */
	for (unsigned i = 0; i < 2; i++) {
		o.status = x86vcpu_run(f->vcpu, &f->exit);
		o.kind = f->exit.kind;
		note_event(f, &o);
		if (o.kind != X86VCPU_EXIT_MMIO_WRITE)
			break;
		o.write = true;
	}
	o.rip = rip_of(f);
	return o;
}

static bool agrees(const struct order_outcome *a, const struct order_outcome *b)
{
	return a->status == b->status && a->kind == b->kind && a->rip == b->rip && a->write == b->write &&
	       a->event == b->event;
}

static int complain_of(const struct order_situation *s, const struct order_call *call, const char *text)
{
	printf("%s, then %s%s%s: %s\n", s->name, call->name, call->what ? ", " : "", call->what ? call->what : "", text);
	return 1;
}

static int check_outcome(struct fixture *f, const struct order_situation *s, const struct order_call *call)
{
	const struct order_outcome expected = order_expected(s, call), seen = run_on(f);
	char text[256];

	if (agrees(&expected, &seen))
		return 0;
	snprintf(text, sizeof(text), "status %d exit %u RIP %lx write %d event %x, and not %d %u %lx %d %x", seen.status,
		 seen.kind, (unsigned long)seen.rip, seen.write, seen.event, expected.status, expected.kind,
		 (unsigned long)expected.rip, expected.write, expected.event);
	return complain_of(s, call, text);
}

/* The value that answers a read is in the register, and in no other case. */
static int check_answer(struct fixture *f, const struct order_situation *s, const struct order_call *call)
{
	uint64_t rax, rcx;

	ck_assert_int_eq(x86vcpu_get_gpr(f->vcpu, 0, &rax), X86VCPU_OK);
	ck_assert_int_eq(x86vcpu_get_gpr(f->vcpu, 1, &rcx), X86VCPU_OK);
	if (call->effect == ORDER_ANSWERS_READ && order_status(s, call) == X86VCPU_OK && (rax & 0xff) != ORDER_ANSWER)
		return complain_of(s, call, "the answer did not arrive");
	if (call->effect == ORDER_COMMITS && order_status(s, call) == X86VCPU_OK && rcx != 1)
		return complain_of(s, call, "the element was not committed");
	if (s->open == ORDER_PORT_STRING && call->effect == ORDER_NOTHING && rcx != 2)
		return complain_of(s, call, "an element was committed");
	return 0;
}

static int check_pair(enum model_backend backend, uint32_t flags, const struct order_situation *s,
		      const struct order_call *call)
{
	const struct x86vcpu_setup_config config = config_of(s, flags);
	struct fixture *f = fixture_begin_with(backend, MODEL_ALL, &config);
	const int32_t expected = order_status(s, call);
	int32_t status;
	int bad = 0;

	s->prepare(f);
	if (f->exit.kind != s->exit || rip_of(f) != s->rip)
		bad = complain_of(s, call, "the exit is another one");
	/* REP INSB is still what the guest does where it left off. */
	if (s->open != ORDER_PORT_STRING)
		model_guest_does(f->m, &(struct model_op){.kind = MODEL_OP_NONE});
	status = call->call ? call->call(f) : expected;
	if (status != expected) {
		printf("status %d, and not %d\n", status, expected);
		bad = complain_of(s, call, "status");
	}
	/* XCHG gets its value when the vCPU runs. */
	if (s->open == ORDER_EXCHANGE)
		bad |= check_outcome(f, s, call);
	bad |= check_answer(f, s, call);
	if (s->open != ORDER_EXCHANGE)
		bad |= check_outcome(f, s, call);
	if (model_complaints(f->m)[0])
		bad = complain_of(s, call, model_complaints(f->m));
	model_forgive(f->m);
	fixture_end(f);
	return bad;
}

/* The situation, both backends, with and without the context kept. */
START_TEST(call_meets_exit)
{
	const struct order_situation *s = &order_situations[_i / 4];
	const enum model_backend backend = _i & 1 ? MODEL_SVM : MODEL_VMX;
	int bad = 0;

	if (s->only && s->only != (int)backend + 1)
		return;
	for (int i = 0; i < order_call_count; i++)
		bad += check_pair(backend, _i & 2 ? X86VCPU_SETUP_KEEP_CONTEXT : 0, s, &order_calls[i]);
	ck_assert_int_eq(bad, 0);
}
END_TEST

/* ---- No function is left out ---------------------------------------------------------------------------------- */

static bool has_row(const char *name, size_t length)
{
	for (int i = 0; i < order_call_count; i++)
		if (strlen(order_calls[i].name) == length && !memcmp(order_calls[i].name, name, length))
			return true;
	return false;
}

/* Prototypes of the public headers whose first parameter is a vCPU, beginning in column 0. */
static int check_line(const char *line)
{
	const char *open = strchr(line, '(');
	const char *name = strstr(line, " x86vcpu_");

	if (!open || !name || name > open || strncmp(line, "struct", 6) == 0)
		return 0;
	if (strncmp(open, "(struct x86vcpu *", 17) != 0 && strncmp(open, "(const struct x86vcpu *", 23) != 0)
		return 0;
	name++;
	if (has_row(name, (size_t)(open - name)))
		return 1;
	ck_abort_msg("order_calls has no row for %.*s", (int)(open - name), name);
	return 0;
}

static int check_header(const char *name)
{
	char path[1024], line[512];
	int found = 0;
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", X86VCPU_HEADERS, name);
	file = fopen(path, "r");
	ck_assert_ptr_nonnull(file);
	while (fgets(line, sizeof(line), file))
		found += check_line(line);
	fclose(file);
	return found;
}

START_TEST(every_function_has_a_row)
{
	DIR *folder = opendir(X86VCPU_HEADERS);
	const struct dirent *entry;
	int found = 0;

	ck_assert_ptr_nonnull(folder);
	while ((entry = readdir(folder)))
		if (strstr(entry->d_name, ".h"))
			found += check_header(entry->d_name);
	closedir(folder);
	ck_assert_int_ge(found, 41);
}
END_TEST

Suite *order_suite(void);
Suite *order_suite(void)
{
	Suite *suite = suite_create("order");
	TCase *tc = tcase_create("order");

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, call_meets_exit, 0, 4 * order_situation_count);
	tcase_add_test(tc, every_function_has_a_row);
	suite_add_tcase(suite, tc);
	return suite;
}
