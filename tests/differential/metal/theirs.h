/* SPDX-License-Identifier: Apache-2.0 */
/* The registry's x86_vcpu 0.7.1 in C. Made by cbindgen of crate/src/lib.rs. */

#ifndef THEIRS_H
#define THEIRS_H

#include <stdint.h>

struct TheirsVcpu;

struct TheirsConfig {
  uint64_t entry;
  uint64_t root_hpa;
  uint64_t ram;
  uint64_t ram_size;
  uint64_t mmio;
  uint64_t mmio_size;
  uint16_t port;
  uint16_t ports;
};

struct TheirsExit {
  uint32_t kind;
  uint64_t words[8];
};

extern uint8_t *theirs_host_alloc(uintptr_t size, uintptr_t align);

extern void theirs_host_free(uint8_t *block, uintptr_t size);

extern uint64_t theirs_host_alloc_frames(uint64_t count, uint64_t align);

extern void theirs_host_free_frames(uint64_t hpa, uint64_t count);

extern int32_t theirs_host_read_guest(uint64_t gpa);

extern uint64_t theirs_host_time_ns(void);

extern uint64_t theirs_host_ticks(uint64_t nanos);

extern void theirs_host_dispatch(uint32_t vector);

extern void theirs_host_service(void);

extern void theirs_host_panic(const uint8_t *text, uintptr_t length);

int32_t theirs_initialize(void);

int32_t theirs_is_svm(void);

uint64_t theirs_apic_access_page(void);

struct TheirsVcpu *theirs_create(const struct TheirsConfig *config, int32_t *error);

const uint64_t *theirs_gprs(const struct TheirsVcpu *vcpu);

void theirs_set_gpr(struct TheirsVcpu *vcpu, uint32_t number, uint64_t value);

int32_t theirs_inject(struct TheirsVcpu *vcpu, uint32_t vector);

int32_t theirs_complete_string(struct TheirsVcpu *vcpu);

int32_t theirs_destroy(struct TheirsVcpu *vcpu);

int32_t theirs_run(struct TheirsVcpu *vcpu, struct TheirsExit *exit);

#endif  /* THEIRS_H */
