/* Functions that a program under Valgrind's tool callgrind calls by ctypes. See cost.py. */
#include <valgrind/callgrind.h>

int is_counting(void) { return RUNNING_ON_VALGRIND; }

void start(void) {
    CALLGRIND_START_INSTRUMENTATION;
    CALLGRIND_ZERO_STATS;
}

void stop(void) {
    CALLGRIND_DUMP_STATS;
    CALLGRIND_STOP_INSTRUMENTATION;
}
