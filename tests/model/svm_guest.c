/* SPDX-License-Identifier: Apache-2.0 */
#include "machine.h"
void model_vmload(uint64_t hpa) { (void)hpa; }
void model_vmsave(uint64_t hpa) { (void)hpa; }
void model_vmrun(uint64_t hpa, uint64_t gpr[16]) { (void)hpa; (void)gpr; }
void model_set_gif(uint32_t gif) { cpu->gif = gif; }
