#include "fuzz.h"
void fuzz_lapic(struct input *in, enum model_backend backend) {(void)in,(void)backend;}
