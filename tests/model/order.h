/* SPDX-License-Identifier: Apache-2.0 */
/* What run can return with, each function of the library that may be called then, and what must come of the two. */
#ifndef MODEL_ORDER_H
#define MODEL_ORDER_H

#include "fixture.h"

#define ORDER_AT 0x1000u     /* the instruction that exits */
#define ORDER_TARGET 0x2000u /* RIP of a state that the VMM sets */
#define ORDER_ANSWER 0x5au
#define ORDER_MSR 0x1234u
#define ORDER_DEVICE 0x8000u
#define ORDER_BUFFER 0x6000u
#define ORDER_PORT 0x3f8u

enum order_open {
	ORDER_CLOSED,
	ORDER_PORT_READ,
	ORDER_PORT_STRING,
	ORDER_MMIO_READ,
	ORDER_EXCHANGE, /* the read of an XCHG */
	ORDER_SECOND,   /* its read is answered, its write is due */
	ORDER_MSR_READ,
	ORDER_MSR_WRITE,
};

/* What the guest and the VMM see when the vCPU runs on. */
struct order_outcome {
	int32_t status;
	uint32_t kind;
	uint64_t rip;
	bool write;     /* an MMIO_WRITE came first */
	uint32_t event; /* type << 8 | vector of the first event that the guest takes, with bit 31; 0: none */
};
#define ORDER_EVENT(type, vector) (1u << 31 | (type) << 8 | (vector))
#define ORDER_NMI ORDER_EVENT(2u, 2u)

struct order_situation {
	const char *name;
	void (*prepare)(struct fixture *f);
	uint32_t exit;        /* the kind that prepare ends with */
	uint64_t rip;         /* as x86vcpu_get_state has it then */
	enum order_open open;
	struct order_outcome plain; /* without any call in between */
	int only; /* enum model_backend plus 1; 0: both */
	uint32_t start; /* enum x86vcpu_start */
};
extern const struct order_situation order_situations[];
extern const int order_situation_count;

/* What a call does. Each is a line of x86vcpu_run's description in vcpu.h. */
enum order_effect {
	ORDER_NOTHING,
	ORDER_ANSWERS_READ,
	ORDER_ANSWERS_WRITE,
	ORDER_FAULTS,
	ORDER_COMMITS,
	ORDER_SETS_RAX,
	ORDER_READS_EVENTS,
	ORDER_WRITES_EVENTS,
	ORDER_WRITES_NMI,
	ORDER_RAISES,    /* #UD */
	ORDER_POSTS_NMI,
	ORDER_ASKS_TO_LEAVE,
	ORDER_SETS_RIP,  /* to ORDER_TARGET */
	ORDER_KEEPS_RIP, /* sets RIP to what it is */
	ORDER_SKIPS,     /* the same, where no exit is open */
	ORDER_RESETS,
	ORDER_INIT,
	ORDER_STARTUP,
};

struct order_call {
	const char *name; /* of the function */
	const char *what; /* NULL, or what is special about this row */
	int32_t (*call)(struct fixture *f);
	enum order_effect effect;
	int32_t status; /* with ORDER_NOTHING */
};
extern const struct order_call order_calls[];
extern const int order_call_count;

/* What the description says. */
int32_t order_status(const struct order_situation *s, const struct order_call *call);
struct order_outcome order_expected(const struct order_situation *s, const struct order_call *call);

#endif
