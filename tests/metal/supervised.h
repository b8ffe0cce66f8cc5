/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SUPERVISED_H
#define SUPERVISED_H

#include "metal.h"

/*
 * Does what the supervisor commands. Answers its list and leaves, or returns the test to run; NULL: there is no
 * such test.
 */
const struct metal_test *supervised_test(const struct metal_test *begin, const struct metal_test *end);

#endif
