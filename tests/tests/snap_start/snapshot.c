// The state of a process in a snapshot, loaded into the extension with LD_PRELOAD.
//
// Until the file $SNAPSHOT_RESTORED exists, each random byte is 0x5a, and the clocks stand still, at a
// second that all copies share. From then on, random bytes are the kernel's, the wall clock is right,
// a year later than before, and the monotonic clock is a year ahead.
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define YEAR (365L * 24 * 3600)

static int is_restored(void) {
    static int restored;
    const char *flag = getenv("SNAPSHOT_RESTORED");
    if (!restored && (!flag || access(flag, F_OK) == 0)) restored = 1;
    return restored;
}

ssize_t getrandom(void *bytes, size_t count, unsigned int flags) {
    if (is_restored()) return syscall(SYS_getrandom, bytes, count, flags);
    memset(bytes, 0x5a, count);
    return (ssize_t)count;
}

int getentropy(void *bytes, size_t count) {
    return getrandom(bytes, count, 0) == (ssize_t)count ? 0 : -1;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = (int)syscall(SYS_clock_gettime, clock, now);
    if (failed || (clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC)) return failed;
    if (is_restored()) {
        if (clock == CLOCK_MONOTONIC) now->tv_sec += YEAR;
        return 0;
    }
    const char *frozen = getenv("SNAPSHOT_SECOND");
    now->tv_nsec = 0;
    now->tv_sec = clock == CLOCK_MONOTONIC ? 1000 : (frozen ? atol(frozen) : 0) - YEAR;
    return 0;
}
