// Measures what a call costs that the supervisor answers: lchown and stat of one file, in turns.
// calls COUNT prints microseconds a call of each kind, and of getppid, which nobody answers: the median, so that
// what else the machine does in between counts little, and the mean.
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

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void tell(const char *what, double *times, int count) {
    double sum = 0;
    for (int i = 0; i < count; i++) sum += times[i];
    qsort(times, count, sizeof *times, ascending);
    printf("%s %.2f %.2f\n", what, times[count / 2], sum / count);
}

int main(int argc, char **argv) {
    int count = argc > 1 ? atoi(argv[1]) : 10000;
    const char *name = "/var/tmp/calls";
    struct stat st;
    double *times = calloc(3 * count, sizeof *times), begin;
    double *of_chown = times, *of_stat = times + count, *of_getppid = times + 2 * count;
    close(open(name, O_CREAT | O_WRONLY, 0644));
    for (int i = 0; i < count; i++) {
        begin = now();
        if (lchown(name, 1 + i % 2, 1)) return perror("lchown"), 1;
        of_chown[i] = now() - begin;
        begin = now();
        if (lstat(name, &st)) return perror("lstat"), 1;
        of_stat[i] = now() - begin;
        // An answer that is not true counts for nothing.
        if (st.st_uid != (uid_t)(1 + i % 2)) return fprintf(stderr, "the owner is %u\n", st.st_uid), 1;
        begin = now();
        syscall(SYS_getppid);
        of_getppid[i] = now() - begin;
    }
    tell("chown", of_chown, count);
    tell("stat", of_stat, count);
    tell("getppid", of_getppid, count);
    return 0;
}
