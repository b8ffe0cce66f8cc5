#include "fuzz.h"
void fuzz_abi(struct input *in, enum model_backend backend) {(void)in,(void)backend;}
