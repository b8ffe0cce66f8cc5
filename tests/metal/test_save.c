/* SPDX-License-Identifier: Apache-2.0 */
/* A vCPU whose state is saved and restored into another one goes on there as if nothing had happened. */
#include "guest.h"

static struct guest g, h;

#define MAX_IMAGE 8192u
#define MAX_MSRS 64u

static struct saved {
	struct x86vcpu_state state;
	struct x86vcpu_apic_state apic;
	struct x86vcpu_events events;
	uint64_t image_size;
	uint32_t msr_count, msr[MAX_MSRS];
	uint64_t value[MAX_MSRS];
	uint8_t image[MAX_IMAGE];
} saved, again;

static void save(struct guest *guest, struct saved *s)
{
	memset(s, 0, sizeof(*s));
	s->state.size = sizeof(s->state);
	s->apic.size = sizeof(s->apic);
	s->events.size = sizeof(s->events);
	s->image_size = sizeof(s->image);
	CHECK_OK(x86vcpu_get_state(guest->vcpu, X86VCPU_STATE_ALL, &s->state));
	CHECK_OK(x86vcpu_get_apic(guest->vcpu, &s->apic));
	CHECK_OK(x86vcpu_get_events(guest->vcpu, &s->events));
	CHECK_OK(x86vcpu_get_xsave(guest->vcpu, s->image, &s->image_size));
	while (!x86vcpu_saved_msr(guest->vcpu, s->msr_count, &s->msr[s->msr_count])) {
		CHECK_OK(x86vcpu_get_msr(guest->vcpu, s->msr[s->msr_count], &s->value[s->msr_count]));
		CHECK(++s->msr_count < MAX_MSRS);
	}
}

static void restore(struct guest *guest, const struct saved *s)
{
	for (uint32_t i = 0; i < s->msr_count; i++)
		CHECK_OK(x86vcpu_set_msr(guest->vcpu, s->msr[i], s->value[i]));
	CHECK_OK(x86vcpu_set_state(guest->vcpu, X86VCPU_STATE_ALL, &s->state));
	CHECK_OK(x86vcpu_set_xsave(guest->vcpu, s->image, s->image_size));
	CHECK_OK(x86vcpu_set_apic(guest->vcpu, &s->apic));
	CHECK_OK(x86vcpu_set_events(guest->vcpu, &s->events));
}

#define WRITE(msr, high, low) "mov $" #msr ", %ecx; mov $" #low ", %eax; mov $" #high ", %edx; wrmsr;"
/* Adds to EDI whatever differs. */
#define COMPARE(msr, high, low)                                                                                  \
	"mov $" #msr ", %ecx; rdmsr; xor $" #low ", %eax; xor $" #high ", %edx; or %eax, %edi; or %edx, %edi;"
#define EACH_MSR(DO)                                                                                             \
	DO(0x174, 0, 0x33) DO(0x175, 0, 0x175000) DO(0x176, 0, 0x176000) DO(0x277, 0x00070406, 0x00070406)         \
	DO(0xc0000081, 0x1b0008, 0x11223344) DO(0xc0000082, 0, 0x82000) DO(0xc0000083, 0, 0x83000)                 \
	DO(0xc0000084, 0, 0x47700) DO(0xc0000102, 0, 0x102000) DO(0x2ff, 0, 0xc06) DO(0x200, 0, 0x80000006)

GUEST_CODE_BLOB(busy_code, 64,
	EACH_MSR(WRITE)
	"mov $0x77, %eax; movq %rax, %xmm7; mov $0x15, %eax; movq %rax, %xmm15; fldpi; fldl2e;"
	"mov $0x1000, %eax; mov %rax, %dr0; mov $0x3000, %eax; mov %rax, %dr3; mov $0xbad000, %eax; mov %rax, %cr2;"
	"mov $1, %eax; vmcall;"
	"xor %edi, %edi;"
	EACH_MSR(COMPARE)
	"movq %xmm7, %rax; xor $0x77, %rax; or %rax, %rdi; movq %xmm15, %rax; xor $0x15, %rax; or %rax, %rdi;"
	"fldl2e; fcomip %st(1), %st; setne %al; movzbl %al, %eax; or %eax, %edi; fstp %st(0);"
	"fldpi; fcomip %st(1), %st; setne %al; movzbl %al, %eax; or %eax, %edi;"
	"mov %dr0, %rax; xor $0x1000, %rax; or %rax, %rdi; mov %dr3, %rax; xor $0x3000, %rax; or %rax, %rdi;"
	"mov %cr2, %rax; xor $0xbad000, %rax; or %rax, %rdi;"
	"mov $2, %eax; vmcall");

METAL_TEST(elsewhere, "save.guest_goes_on_in_another_vcpu",
	   .models = "corei7_skylake_x corei7_haswell_4770 corei7_sandy_bridge_2600k")
{
	guest_boot(&g, GUEST_LONG, &busy_code);
	guest_run_call(&g, 1);
	save(&g, &saved);
	CHECK_OK(x86vcpu_unbind(g.vcpu));
	guest_init(&h, 1);
	guest_start(&h, GUEST_LONG, &busy_code);
	restore(&h, &saved);
	save(&h, &again);
	CHECK_EQ(memcmp(&saved.events, &again.events, sizeof(saved.events)), 0);
	CHECK_EQ(memcmp(saved.image, again.image, sizeof(saved.image)), 0);
	CHECK_EQ(memcmp(saved.value, again.value, sizeof(saved.value)), 0);
	guest_run_call(&h, 2);
	CHECK_EQ(h.exit.u.hypercall.args[0], 0);
}

GUEST_CODE_BLOB(tsc_code, 64,
	"mov $0x3b, %ecx; mov $0x500, %eax; xor %edx, %edx; wrmsr;"
	"1: rdtsc; shl $32, %rdx; or %rdx, %rax; mov %rax, %rdi; mov $0x3b, %ecx; rdmsr; mov %rax, %rsi; mov $1, %eax; vmcall; jmp 1b");

static void take_init(struct guest *guest)
{
	static const struct x86vcpu_message init = { .size = sizeof(init), .delivery = X86VCPU_DELIVERY_INIT };

	CHECK_OK(x86vcpu_machine_deliver_message(guest->machine, &init, NULL));
	/* A run takes it, and there is no code at the reset vector. */
	CHECK_OK(x86vcpu_request_exit(guest->vcpu));
	CHECK_OK(x86vcpu_run(guest->vcpu, &guest->exit));
}

/* SDM table 10-1: INIT leaves MSRs, XCR0 and the extended registers alone, and resets the rest. */
METAL_TEST(init, "save.init_keeps_msrs_and_extended_registers",
	   .models = "corei7_skylake_x")
{
	uint64_t offset, offset_after;

	guest_boot(&g, GUEST_LONG, &busy_code);
	guest_run_call(&g, 1);
	save(&g, &saved);
	CHECK_OK(x86vcpu_get_msr(g.vcpu, X86VCPU_TSC_OFFSET, &offset));
	take_init(&g);
	save(&g, &again);
	CHECK_OK(x86vcpu_get_msr(g.vcpu, X86VCPU_TSC_OFFSET, &offset_after));
	CHECK_EQ(offset_after, offset);
	CHECK_EQ(again.msr_count, saved.msr_count);
	for (uint32_t i = 0; i < saved.msr_count; i++)
		CHECK_EQ(again.value[i], saved.value[i]);
	CHECK_EQ(again.image_size, saved.image_size);
	CHECK_EQ(memcmp(again.image, saved.image, saved.image_size), 0);
	CHECK_EQ(again.state.xcr0, saved.state.xcr0);
	CHECK_EQ(again.state.efer, 0);
	CHECK_EQ(again.state.cr0, 0x10);
	CHECK_EQ(again.state.cr2 | again.state.cr3 | again.state.cr4, 0);
	CHECK_EQ(again.state.dr0 | again.state.dr3, 0);
	CHECK_EQ(again.state.dr6, 0xffff0ff0);
	CHECK_EQ(again.state.dr7, 0x400);
	CHECK_EQ(again.state.rip, 0xfff0);
}

METAL_TEST(tsc, "save.time_stamp_counter")
{
	uint64_t offset, value;

	guest_boot(&g, GUEST_LONG, &tsc_code);
	guest_run_call(&g, 1);
	CHECK_OK(x86vcpu_get_msr(g.vcpu, X86VCPU_TSC_OFFSET, &offset));
	CHECK_OK(x86vcpu_set_msr(g.vcpu, X86VCPU_MSR_IA32_TIME_STAMP_COUNTER, UINT64_C(1) << 60));
	guest_run_call(&g, 1);
	CHECK_EQ(g.exit.u.hypercall.args[0] >> 32, UINT64_C(1) << 28);
	CHECK_EQ(g.exit.u.hypercall.args[1], 0x500); /* the host's doing, not the guest's */
	CHECK_OK(x86vcpu_get_msr(g.vcpu, X86VCPU_MSR_IA32_TIME_STAMP_COUNTER, &value));
	CHECK_EQ(value >> 32, UINT64_C(1) << 28);
	CHECK_OK(x86vcpu_set_msr(g.vcpu, X86VCPU_TSC_OFFSET, offset));
	CHECK_OK(x86vcpu_set_msr(g.vcpu, X86VCPU_MSR_IA32_TSC_ADJUST, 7));
	guest_run_call(&g, 1);
	CHECK(g.exit.u.hypercall.args[0] < UINT64_C(1) << 40);
	CHECK_EQ(g.exit.u.hypercall.args[1], 7);
}

GUEST_CODE_BLOB(wait_code, 64, "mov $1, %eax; vmcall; hlt; mov $2, %eax; vmcall; 1: jmp 1b");

METAL_TEST(halted, "save.halted_guest_sleeps_on_until_its_nmi")
{
	guest_boot(&g, GUEST_LONG, &wait_code);
	guest_run_call(&g, 1);
	guest_run_until(&g, X86VCPU_EXIT_HALT);
	save(&g, &saved);
	CHECK_EQ(saved.events.halted, 1);
	guest_init(&h, 1);
	guest_start(&h, GUEST_LONG, &wait_code);
	restore(&h, &saved);
	guest_run_until(&h, X86VCPU_EXIT_HALT);
	saved.events.nmi_pending = 1;
	CHECK_OK(x86vcpu_set_events(h.vcpu, &saved.events));
	guest_run_trap(&h, 2, 0, 0);
	save(&h, &again);
	CHECK(again.events.blocking & X86VCPU_BLOCKING_NMI);
	CHECK_EQ(again.events.halted, 0);
}

METAL_TEST(exception, "save.events_go_in_as_they_were")
{
	struct x86vcpu_events events = {.size = sizeof(events)};

	guest_boot(&g, GUEST_LONG, &wait_code);
	guest_run_call(&g, 1);
	events.exception = (struct x86vcpu_event){.valid = 1, .type = 3, .vector = 13, .has_error_code = 1, .error_code = 0x1234};
	CHECK_OK(x86vcpu_set_events(g.vcpu, &events));
	guest_run_trap(&g, 13, 0x1234, 0);
	guest_boot(&h, GUEST_LONG, &wait_code);
	guest_run_call(&h, 1);
	events.exception = (struct x86vcpu_event){.valid = 0};
	events.delivery = (struct x86vcpu_event){.valid = 1, .type = 0, .vector = 0x41};
	CHECK_STATUS(x86vcpu_set_events(h.vcpu, &events), X86VCPU_ERR_INVALID_INPUT); /* IF is 0 */
	guest_set_rflags(&h, 0x202);
	CHECK_OK(x86vcpu_set_events(h.vcpu, &events));
	guest_run_trap(&h, 0x41, 0, 0);
}

static void refused(struct x86vcpu_events events)
{
	struct x86vcpu_events before = {.size = sizeof(before)}, after = {.size = sizeof(after)};

	CHECK_OK(x86vcpu_get_events(g.vcpu, &before));
	CHECK_STATUS(x86vcpu_set_events(g.vcpu, &events), X86VCPU_ERR_INVALID_INPUT);
	CHECK_OK(x86vcpu_get_events(g.vcpu, &after));
	CHECK_EQ(memcmp(&before, &after, sizeof(before)), 0);
}

#define REFUSED(...) refused((struct x86vcpu_events){.size = sizeof(struct x86vcpu_events), __VA_ARGS__})

METAL_TEST(bad_events, "save.events_that_cannot_be_are_refused")
{
	guest_boot(&g, GUEST_LONG, &wait_code);
	guest_run_call(&g, 1);
	REFUSED(.exception = {.valid = 1, .type = 0, .vector = 0x41});
	REFUSED(.exception = {.valid = 1, .type = 3, .vector = 32});
	REFUSED(.exception = {.valid = 1, .type = 3, .vector = 2});
	REFUSED(.exception = {.valid = 1, .type = 3, .vector = 6, .has_error_code = 1});
	REFUSED(.exception = {.valid = 0, .vector = 6});
	REFUSED(.delivery = {.valid = 2, .vector = 0x41});
	REFUSED(.delivery = {.valid = 1, .type = 1, .vector = 0x41});
	REFUSED(.delivery = {.valid = 1, .type = 7});
	REFUSED(.delivery = {.valid = 1, .type = 0, .vector = 256});
	REFUSED(.delivery = {.valid = 1, .type = 2, .vector = 3});
	REFUSED(.delivery = {.valid = 1, .type = 4, .vector = 0x80});
	REFUSED(.delivery = {.valid = 1, .type = 4, .vector = 0x80, .length = 16});
	REFUSED(.delivery = {.valid = 1, .type = 5, .vector = 3, .length = 1});
	REFUSED(.delivery = {.valid = 1, .type = 6, .vector = 1, .length = 1});
	REFUSED(.blocking = 3);
	REFUSED(.blocking = 4);
	REFUSED(.blocking = X86VCPU_BLOCKING_STI); /* IF is 0 */
	REFUSED(.pending_debug = 16);
	REFUSED(.nmi_pending = 2);
	REFUSED(.halted = 2);
	REFUSED(.startup_pending = 0x10);
	REFUSED(.startup_pending = 0x200);
	REFUSED(.reserved = 1);
}

METAL_TEST(bad_calls, "save.calls_that_cannot_be_are_refused")
{
	struct x86vcpu_events events = {.size = 4};
	uint64_t value = 5, size = 4;
	uint32_t msr;

	guest_boot(&g, GUEST_LONG, &wait_code);
	guest_run_call(&g, 1);
	CHECK_STATUS(x86vcpu_get_events(g.vcpu, &events), X86VCPU_ERR_ABI_MISMATCH);
	CHECK_STATUS(x86vcpu_set_events(g.vcpu, &events), X86VCPU_ERR_ABI_MISMATCH);
	CHECK_STATUS(x86vcpu_get_xsave(g.vcpu, saved.image, &size), X86VCPU_ERR_NO_MEMORY);
	CHECK(size >= 512 && size <= MAX_IMAGE);
	CHECK_OK(x86vcpu_get_xsave(g.vcpu, saved.image, &size));
	CHECK_STATUS(x86vcpu_set_xsave(g.vcpu, saved.image, size - 1), X86VCPU_ERR_INVALID_INPUT);
	saved.image[24 + 2] = 1; /* MXCSR bit 16 */
	CHECK_STATUS(x86vcpu_set_xsave(g.vcpu, saved.image, size), X86VCPU_ERR_INVALID_INPUT);
	CHECK_STATUS(x86vcpu_get_msr(g.vcpu, 0x79, &value), X86VCPU_ERR_INVALID_INPUT); /* #GP for the guest */
	CHECK_STATUS(x86vcpu_get_msr(g.vcpu, 0x40000000, &value), X86VCPU_ERR_UNSUPPORTED); /* the VMM's */
	CHECK_STATUS(x86vcpu_set_msr(g.vcpu, 0x40000000, 0), X86VCPU_ERR_UNSUPPORTED);
	CHECK_EQ(value, 5);
	CHECK_STATUS(x86vcpu_set_msr(g.vcpu, 0xc0000082, UINT64_C(1) << 63), X86VCPU_ERR_INVALID_INPUT);
	CHECK_STATUS(x86vcpu_set_msr(g.vcpu, 0x1b, 0xfee00900), X86VCPU_ERR_UNSUPPORTED); /* the local APIC's */
	CHECK_STATUS(x86vcpu_saved_msr(g.vcpu, 1000, &msr), X86VCPU_ERR_INVALID_INPUT);
	CHECK_OK(x86vcpu_unbind(g.vcpu));
	events.size = sizeof(events);
	CHECK_STATUS(x86vcpu_get_events(g.vcpu, &events), X86VCPU_ERR_BAD_STATE);
	CHECK_STATUS(x86vcpu_get_xsave(g.vcpu, NULL, &size), X86VCPU_ERR_BAD_STATE);
	CHECK_STATUS(x86vcpu_get_msr(g.vcpu, 0x277, &value), X86VCPU_ERR_BAD_STATE);
	CHECK_STATUS(x86vcpu_set_msr(g.vcpu, 0x277, value), X86VCPU_ERR_BAD_STATE);
}

GUEST_CODE_BLOB(software_code, 64, "mov $1, %eax; vmcall; 1: jmp 1b");

/* The CPU completes the interrupted delivery: the guest returns to the next instruction. */
static void take_up(uint32_t type, uint32_t vector, uint32_t length)
{
	struct x86vcpu_events events = {.size = sizeof(events)};
	struct x86vcpu_state state;

	guest_boot(&g, GUEST_LONG, &software_code);
	guest_run_call(&g, 1);
	guest_state(&g, &state);
	CHECK_OK(x86vcpu_get_events(g.vcpu, &events));
	events.delivery = (struct x86vcpu_event){.valid = 1, .type = type, .vector = vector, .length = length};
	CHECK_OK(x86vcpu_set_events(g.vcpu, &events));
	guest_run_trap(&g, vector, 0, state.rip + length);
}

METAL_TEST(int_n, "save.delivery_of_int_n_goes_on",
	   .bochs_svm_gap = "announces next-RIP saving, and returns to RIP after an injected INT n, INT3 or INTO")
{
	take_up(4, 0x80, 2);
}

METAL_TEST(int3, "save.delivery_of_int3_goes_on",
	   .bochs_svm_gap = "announces next-RIP saving, and returns to RIP after an injected INT n, INT3 or INTO")
{
	take_up(6, 3, 1);
}

METAL_TEST(int1, "save.delivery_of_int1_goes_on")
{
	take_up(5, 1, 1);
}

/* What is accepted goes in; the rest is refused. */
METAL_TEST(every_exception, "save.every_exception_goes_in_or_is_refused")
{
	for (uint32_t vector = 0; vector < 32; vector++) {
		const uint32_t code = vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21;
		int32_t status;

		guest_boot(&g, GUEST_LONG, &software_code);
		guest_run_call(&g, 1);
		status = x86vcpu_inject_exception(g.vcpu, vector, code, 0);
		if (!status)
			guest_run_trap(&g, vector, 0, 0);
		else
			CHECK_STATUS(status, X86VCPU_ERR_INVALID_INPUT);
		guest_destroy(&g);
	}
}

METAL_TEST(nmi_pin, "save.nmi_pin_is_in_the_events")
{
	struct x86vcpu_events events = {.size = sizeof(events)};

	guest_init(&g, 0);
	g.config.flags = X86VCPU_SETUP_NO_LOCAL_APIC;
	guest_start(&g, GUEST_LONG, &software_code);
	guest_run_call(&g, 1);
	CHECK_OK(x86vcpu_set_lint(g.vcpu, 1, 1));
	CHECK_OK(x86vcpu_get_events(g.vcpu, &events));
	CHECK_EQ(events.nmi_pending, 1);
}
