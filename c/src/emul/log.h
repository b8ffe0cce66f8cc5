/* SPDX-License-Identifier: Apache-2.0 */
/* Lines for the host's log. */
#ifndef EMUL_LOG_H
#define EMUL_LOG_H

#include "x86vcpu/host.h"

enum log_level { LOG_ERROR = 1, LOG_WARN = 2, LOG_INFO = 3, LOG_DEBUG = 4, LOG_TRACE = 5 };

/* The parts, one after the other; NULL ends them. Cut at 160 bytes. */
void log_line(const struct x86vcpu_host_ops *host, void *ctx, enum log_level level, const char *const *parts);

#define LOG(host, ctx, level, ...) log_line(host, ctx, level, (const char *const[]){__VA_ARGS__, NULL})

/* Appends text or a number to a buffer of `size` bytes that holds `*used`; never overruns it. */
void log_text(char *buffer, uint64_t size, uint64_t *used, const char *text);
void log_hex(char *buffer, uint64_t size, uint64_t *used, uint64_t value);

#endif
