/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every function of the library from every host op: callbacks [vmx|svm]. In the life of a vCPU a host op calls one of the
 * functions that tests/fuzz/abi_calls.c knows. Whatever the order, the sanitizers and the model have nothing to report, and
 * every frame comes back. Without an argument: both, and whether abi_calls.c leaves out a function of the headers.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "abi.h"
#include "world.h"
#include "cpu/x86.h"
#include "x86vcpu/msr.h"

const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "detect_leaks=0";
}

#define LIVES 6u     /* of a host op and a function, with other arguments */
#define ARGUMENTS 96u

/* ---- Arguments ------------------------------------------------------------------------------------------- */

static uint64_t seed;

static uint8_t random_byte(void)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint8_t)(seed >> 56);
}

/* ---- A life, in which every host op is called ------------------------------------------------------------------ */

static void does(struct world *w, uint32_t kind, uint64_t a, uint64_t b)
{
	struct model_op op = {.kind = kind, .length = 2, .a = a, .b = b, .c = a};

	if (w->home[0] != w->cpu)
		return;
	model_guest_does(w->m, &op);
	model_guest_source(w->m, NULL, NULL);
	world_run(w, 0);
}

static void access_device(struct world *w)
{
	/* MOV [RBX], EAX at the end of a page: the rest is behind read_guest. */
	world_write(w, 0x1ffff, "\x89\x03", 2);
	model_guest_sets(w->m, MODEL_RIP, 0x1ffff);
	model_guest_sets(w->m, MODEL_RBX, WORLD_MMIO);
	does(w, MODEL_OP_MMIO, WORLD_MMIO, 1);
}

/* With a timer, and LINT0 for an 8259A. */
static void enable_apic(struct world *w, uint32_t n)
{
	struct x86vcpu_apic_state apic = {.size = sizeof(apic)};

	if (!w->vcpu[n] || x86vcpu_get_apic(w->vcpu[n], &apic))
		return;
	apic.registers[0x0f] = 0x1ff;
	apic.registers[0x32] = 0x20030;
	apic.registers[0x35] = 0x700;
	apic.registers[0x38] = 1000;
	apic.timer_remaining = 500;
	world_check_status(x86vcpu_set_apic(w->vcpu[n], &apic), "set_apic");
	world_check_status(x86vcpu_set_apic(w->vcpu[n], &apic), "set_apic");
}

static void use_apic(struct world *w)
{
	const struct x86vcpu_message message = {.size = sizeof(message), .destination = 0xff, .vector = 0x40};
	uint64_t accepted;

	world_use(w, 1);
	enable_apic(w, 1);
	world_use(w, 0);
	enable_apic(w, 0);
	world_pass(w, 1000);
	world_check_status(x86vcpu_machine_deliver_message(w->machine[0], &message, &accepted), "deliver_message");
	/* Through the interrupt command register to the other one. */
	model_guest_sets(w->m, MODEL_RBX, 0xfee00300);
	model_guest_sets(w->m, MODEL_RAX, 0xc0000 | 0x41);
	world_write(w, WORLD_CODE, "\x89\x03", 2);
	model_guest_sets(w->m, MODEL_RIP, WORLD_CODE);
	does(w, MODEL_OP_MMIO, 0xfee00300, 1);
	if (w->vcpu[0])
		world_check_status(x86vcpu_set_lint(w->vcpu[0], 0, 1), "set_lint");
	does(w, MODEL_OP_NONE, 0, 0);
}

static void use_state(struct world *w)
{
	struct x86vcpu_state state = {.size = sizeof(state)};
	static struct snapshot s;

	world_check_status(x86vcpu_get_state(w->vcpu[0], X86VCPU_STATE_ALL, &state), "get_state");
	world_state(WORLD_PAE, 0, &state);
	world_check_status(x86vcpu_set_state(w->vcpu[0], X86VCPU_STATE_ALL, &state), "set_state");
	world_state(WORLD_PROTECTED32, 0, &state);
	state.rflags |= RFLAGS_IF;
	world_check_status(x86vcpu_set_state(w->vcpu[0], X86VCPU_STATE_ALL, &state), "set_state");
	if (w->home[0] == w->cpu)
		snapshot_take(w, w->vcpu[0], &s);
}

static void run_guest(struct world *w)
{
	use_state(w);
	does(w, MODEL_OP_CPUID, 0, 0);
	access_device(w);
	use_apic(w);
	does(w, MODEL_OP_INTERRUPT, 0x30, 0);
	does(w, MODEL_OP_TASK_SWITCH, 0x18, 0);
	does(w, MODEL_OP_HLT, 0, 0);
}

static void destroy(struct world *w, uint32_t n)
{
	if (w->vcpu[n] && w->home[n] < MODEL_CPUS) {
		world_use(w, w->home[n]);
		if (!x86vcpu_unbind(w->vcpu[n]))
			w->home[n] = MODEL_CPUS;
	}
	if (!x86vcpu_destroy(w->vcpu[n]))
		w->vcpu[n] = NULL;
}

static void live(struct world *w)
{
	const bool ready = world_add(w, 1, 1) & world_add(w, 0, 0);

	world_use(w, 0);
	if (ready)
		run_guest(w);
	destroy(w, 1);
}

static void call_from(enum model_backend backend, uint32_t service, uint32_t call, uint32_t life)
{
	uint8_t bytes[ARGUMENTS];
	struct input in = {bytes, bytes + sizeof(bytes)};
	struct abi a = {0};
	struct world *w;

	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = random_byte();
	w = world_begin(&in, backend, MODEL_ALL | (life & 1 ? MODEL_VARIANTS : 0), life & 2 ? 0 : WORLD_NO_SEND);
	w->kept = life & 4;
	a.w = w;
	w->abi = &a;
	w->hostility = (struct hostility){
		.services = 1u << service, .malice = WORLD_REENTERS, .skip = random_byte() % (life < 3 ? 1 : 8), .times = 1,
		.fixed = true, .call = (uint8_t)(call < ABI_CALLS ? call : ABI_LATER + call - ABI_CALLS), .how = random_byte()};
	live(w);
	abi_end(&a);
	world_end(w);
}

static int call_all(enum model_backend backend)
{
	unsigned met = 0, failed = 0;

	for (uint32_t service = 0; service < WORLD_MEMORY; service++) {
		const unsigned before = met;

		for (uint32_t call = 1; call < ABI_ALL_CALLS; call++)
			for (uint32_t life = 0; life < LIVES; life++) {
				call_from(backend, service, call, life);
				met += world.turns;
			}
		if (met == before && service != (backend == MODEL_SVM ? WORLD_DISPATCH : WORLD_SERVICE)) {
			printf("%s is not called\n", world_service_name(service));
			failed++;
		}
	}
	printf("%s: %u calls from host ops\n", backend == MODEL_SVM ? "SVM" : "VT-x", met);
	return failed || met < 2000;
}

/* ---- No function is left out ---------------------------------------------------------------------------------- */

static char *text_of(const char *folder, const char *name)
{
	char path[1024];
	char *text = calloc(1, 1 << 18);
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = fopen(path, "r");
	if (!file || !fread(text, 1, (1 << 18) - 1, file))
		exit(2);
	fclose(file);
	return text;
}

static bool calls(const char *name, size_t length)
{
	static const char *const files[] = {"abi.c", "abi_calls.c"};
	char call[128];
	bool found = false;

	snprintf(call, sizeof(call), "%.*s(", (int)length, name);
	for (unsigned i = 0; i < 2 && !found; i++) {
		char *text = text_of(FUZZ_SOURCES, files[i]);

		found = strstr(text, call);
		free(text);
	}
	return found;
}

/* Prototypes begin in column 0. */
static unsigned check_line(const char *line, unsigned *missing)
{
	const char *open = strchr(line, '('), *name = strstr(line, "x86vcpu_");

	while (name && open && name < open && name[strcspn(name, " (*")] != '(')
		name = strstr(name + 1, "x86vcpu_");
	if (!open || !name || name > open || strchr("\t /#", line[0]) || !strncmp(line, "typedef", 7))
		return 0;
	if (!calls(name, (size_t)(open - name))) {
		printf("no call of %.*s\n", (int)(open - name), name);
		(*missing)++;
	}
	return 1;
}

static int check_functions(void)
{
	DIR *folder = opendir(X86VCPU_HEADERS);
	unsigned found = 0, missing = 0;
	const struct dirent *entry;

	while (folder && (entry = readdir(folder))) {
		char *text, *line, *rest;

		if (!strstr(entry->d_name, ".h"))
			continue;
		text = rest = text_of(X86VCPU_HEADERS, entry->d_name);
		while ((line = strsep(&rest, "\n")))
			found += check_line(line, &missing);
		free(text);
	}
	printf("%u functions, %u without a call in the ABI's fuzzer\n", found, missing);
	return missing || found < 80;
}

int main(int argc, char **argv)
{
	int failed = check_functions();

	fflush(stdout);
	for (int backend = 0; backend < 2; backend++) {
		int status = 1;
		const bool wanted = argc < 2 || !strcmp(argv[1], backend == MODEL_SVM ? "svm" : "vmx");
		const pid_t child = wanted ? fork() : -1;

		if (!child) {
			status = call_all(backend);
			fflush(stdout);
			_exit(status);
		}
		if (wanted)
			waitpid(child, &status, 0);
		failed |= wanted && status;
	}
	return failed;
}
