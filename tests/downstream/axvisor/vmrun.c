/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plugin of QEMU's TCG: counts how often the machine executes VMRUN, which is the number of its VM entries. The argument
 * count= names a file of 8 bytes that holds the count while QEMU runs. Debian's QEMU has no header for
 * plugins; what is declared here is of version 1 of the interface, QEMU's docs/devel/tcg-plugins.rst.
 */
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;

EXPORT int qemu_plugin_version = 1;

void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id,
					   void (*translated)(qemu_plugin_id_t id, struct qemu_plugin_tb *tb));
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t index);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *insn);
/* flags: 0, the callback neither reads nor writes registers. */
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn,
					    void (*executed)(unsigned int cpu, void *arg), int flags, void *arg);

static uint64_t *count;

static void executed(unsigned int cpu, void *arg)
{
	(void)cpu, (void)arg;
	__atomic_fetch_add(count, 1, __ATOMIC_RELAXED);
}

static int is_vmrun(const struct qemu_plugin_insn *insn)
{
	static const uint8_t vmrun[] = {0x0f, 0x01, 0xd8};

	return qemu_plugin_insn_size(insn) == sizeof vmrun &&
	       memcmp(qemu_plugin_insn_data(insn), vmrun, sizeof vmrun) == 0;
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	(void)id;
	for (size_t i = 0; i < qemu_plugin_tb_n_insns(tb); i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);

		if (is_vmrun(insn))
			qemu_plugin_register_vcpu_insn_exec_cb(insn, executed, 0, NULL);
	}
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv)
{
	static const char prefix[] = "count=";
	int file;

	(void)info;
	if (argc != 1 || strncmp(argv[0], prefix, sizeof prefix - 1) != 0)
		return -1;
	file = open(argv[0] + sizeof prefix - 1, O_RDWR);
	if (file < 0)
		return -1;
	count = mmap(NULL, sizeof *count, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	close(file);
	if (count == MAP_FAILED)
		return -1;
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	return 0;
}
