/* SPDX-License-Identifier: Apache-2.0 */
/* Where enter.S finds what it needs of a vCPU; run.c asserts it. */
#ifndef SVM_OFFSETS_H
#define SVM_OFFSETS_H

#define SVM_GUEST_CR2 192

#endif
