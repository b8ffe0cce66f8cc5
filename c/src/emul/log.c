/* SPDX-License-Identifier: Apache-2.0 */
#include "emul/log.h"

#include <stddef.h>

void log_text(char *buffer, uint64_t size, uint64_t *used, const char *text)
{
	while (*text && *used + 1 < size)
		buffer[(*used)++] = *text++;
	if (size)
		buffer[*used < size ? *used : size - 1] = '\0';
}

void log_hex(char *buffer, uint64_t size, uint64_t *used, uint64_t value)
{
	static const char digits[] = "0123456789abcdef";
	char text[19] = "0x";
	unsigned at = 2, shift = 60;

	while (shift && !(value >> shift))
		shift -= 4;
	for (;; shift -= 4) {
		text[at++] = digits[value >> shift & 15];
		if (!shift)
			break;
	}
	text[at] = '\0';
	log_text(buffer, size, used, text);
}

void log_line(const struct x86vcpu_host_ops *host, void *ctx, enum log_level level, const char *const *parts)
{
	char line[160];
	uint64_t used = 0;

	if (!host->log)
		return;
	for (; *parts; parts++)
		log_text(line, sizeof(line), &used, *parts);
	host->log(ctx, level, line, used);
}
