// Measures what a call costs that the supervisor answers: lchown and stat of one file, in turns.
// calls COUNT prints microseconds a call of each kind, and of getppid, which nobody answers.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

int main(int argc, char **argv) {
    int count = argc > 1 ? atoi(argv[1]) : 10000;
    const char *name = "/var/tmp/calls";
    struct stat st;
    double chown_us = 0, stat_us = 0, begin;
    close(open(name, O_CREAT | O_WRONLY, 0644));
    for (int i = 0; i < count; i++) {
        begin = now();
        if (lchown(name, 1 + i % 2, 1)) return perror("lchown"), 1;
        chown_us += now() - begin;
        begin = now();
        if (lstat(name, &st)) return perror("lstat"), 1;
        stat_us += now() - begin;
        // An answer that is not true counts for nothing.
        if (st.st_uid != (uid_t)(1 + i % 2)) return fprintf(stderr, "the owner is %u\n", st.st_uid), 1;
    }
    begin = now();
    for (int i = 0; i < count; i++) syscall(SYS_getppid);
    printf("chown %.2f stat %.2f getppid %.2f\n", chown_us / count, stat_us / count, (now() - begin) / count);
    return 0;
}
