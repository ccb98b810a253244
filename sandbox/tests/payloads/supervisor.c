// Asks the supervisor for nonsense, races it, leaves while it works, and crowds it. Where there
// is none the kernel answers, and everything here must go the same way.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define FOREIGN 1234

static unsigned long seed = 1;

static unsigned next(unsigned below) {
    seed = seed * 6364136223846793005UL + 1442695040888963407UL;
    return (unsigned)(seed >> 33) % below;
}

static void expect(int yes, const char *what) {
    if (yes) return;
    printf("wrong: %s (%s)\n", what, strerror(errno));
    exit(9);
}

// That the supervisor still answers, and rightly.
static void sane(void) {
    struct stat stat;
    char name[64];
    snprintf(name, sizeof name, "sane-%d", getpid());
    int fd = open(name, O_CREAT | O_EXCL | O_RDWR, 0640);
    expect(fd >= 0, "open");
    expect(fchown(fd, 33, 44) == 0, "fchown");
    expect(fstat(fd, &stat) == 0 && stat.st_uid == 33 && stat.st_gid == 44, "the owner");
    close(fd);
    expect(unlink(name) == 0, "unlink");
}

// The calls that may be asked about, on x86_64 and i386. Without fork, exit and what waits.
static const short calls[][2] = {
    {92, 212}, {94, 198}, {93, 207}, {260, 298}, {92, 182}, {94, 16}, {93, 95}, {4, 195}, {6, 196}, {5, 197},
    {262, 300}, {332, 383}, {188, 226}, {189, 227}, {190, 228}, {191, 229}, {192, 230}, {193, 231}, {194, 232},
    {195, 233}, {196, 234}, {197, 235}, {198, 236}, {199, 237}, {463, 463}, {466, 466}, {133, 14}, {259, 297},
    {83, 39}, {258, 296}, {88, 83}, {266, 304}, {85, 8}, {2, 5}, {257, 295}, {437, 437}, {102, 199}, {107, 201},
    {118, 209}, {120, 211}, {115, 205}, {105, 213}, {106, 214}, {113, 203}, {114, 204}, {117, 208}, {119, 210},
    {122, 215}, {123, 216}, {116, 206}, {115, 80}, {116, 81}, {117, 164}, {118, 165}, {59, 11}, {322, 358},
    {126, 185}, {157, 172},
};

// A call by the 32-bit entry; its pointers lie below 4 GiB.
static long call32(long number, const unsigned *a) {
    long result;
    __asm__ volatile(
        "push %%rbp\n mov %6, %%ebp\n int $0x80\n pop %%rbp"
        : "=a"(result)
        : "a"(number), "b"(a[0]), "c"(a[1]), "d"(a[2]), "r"(a[5]), "S"(a[3]), "D"(a[4])
        : "memory", "r8", "r9", "r10", "r11", "r12");
    return result;
}

static unsigned long pool[40];
static int pooled;

static void fill_pool(void) {
    // Below 4 GiB, so that both interfaces reach it: two pages, and nothing behind them.
    char *page = mmap((void *)0x10000000, 3 << 12, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    expect(page != MAP_FAILED, "mmap");
    munmap(page + (2 << 12), 1 << 12);
    memset(page, 'a', 2 << 12);
    strcpy(page, "some/../name");
    strcpy(page + 64, "user.image-composer.entry");
    strcpy(page + 128, "/proc/self/fd/1");
    strcpy(page + 192, "system.posix_acl_access");
    strcpy(page + 256, "..");
    strcpy(page + 320, "/");
    strcpy(page + 384, "");
    strcpy(page + 448, "loop/loop/loop");
    char *read_only = mmap((void *)0x20000000, 1 << 12, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    unsigned long list[] = {
        0, 1, 2, 3, 7, 255, 256, 4095, 4096, 65535, 65536, 65537, 0x7fffffff, 0x80000000, 0xffffffff, 0xffffff9c,
        ~0UL, ~0UL << 12, 1UL << 47, 1UL << 63, 0xffffffff81000000UL, 0x1000, 0x4800, 0101, 02000101, 020200002,
        (unsigned long)page, (unsigned long)page + 64, (unsigned long)page + 128, (unsigned long)page + 192,
        (unsigned long)page + 256, (unsigned long)page + 320, (unsigned long)page + 384, (unsigned long)page + 448,
        // No NUL up to the end; the last byte; a page that cannot be written.
        (unsigned long)page + 512, (unsigned long)page + (2 << 12) - 1, (unsigned long)page + (2 << 12) - 10,
        (unsigned long)read_only,
    };
    pooled = sizeof list / sizeof *list;
    memcpy(pool, list, sizeof list);
}

// nonsense SECONDS
static int nonsense(int seconds) {
    fill_pool();
    symlink("loop", "loop");
    time_t end = time(0) + seconds;
    unsigned long rounds = 0;
    while (time(0) < end) {
        pid_t child = fork();
        if (child == 0) {
            // What it does to itself is its own affair, as long as the others go on.
            signal(SIGSYS, SIG_IGN);
            seed += rounds * 7919;
            // Descriptors that say little, so that the parent's are not written to.
            for (int fd = 0; fd < 3; fd++) dup2(open("/dev/null", O_RDWR), fd);
            ualarm(500000, 0);
            for (int i = 0; i < 400; i++) {
                const short *call = calls[next(sizeof calls / sizeof *calls)];
                unsigned long a[6];
                unsigned short_a[6];
                for (int j = 0; j < 6; j++) short_a[j] = a[j] = pool[next(pooled)];
                switch (next(5)) {
                case 0: call32(call[1], short_a); break;
                case 1: syscall(call[0] | 0x40000000, a[0], a[1], a[2], a[3], a[4], a[5]); break;
                default: syscall(call[0], a[0], a[1], a[2], a[3], a[4], a[5]);
                }
            }
            _exit(0);
        }
        expect(child > 0 && waitpid(child, 0, 0) == child, "a child");
        rounds++;
    }
    sane();
    printf("sane\n");
    return 0;
}

static volatile int stop;
static char *shown;
// In the tree; and the directory of the machine, from here upwards and by its whole name.
static const char *inner, *outer, *whole;

static void *swap_words(void *unused) {
    while (!stop) {
        strcpy(shown, outer);
        strcpy(shown, whole);
        strcpy(shown, inner);
    }
    return unused;
}

static void *swap_links(void *unused) {
    while (!stop) {
        unlink("race/link");
        symlink(outer, "race/link");
        unlink("race/link");
        symlink(whole, "race/link");
        rename("race/a/b", "race/b");
        rename("race/b", "race/a/b");
        unlink("race/link");
        symlink(inner, "race/link");
        // A directory and a link change places.
        syscall(SYS_renameat2, AT_FDCWD, "race/way", AT_FDCWD, "race/other", 2);
    }
    return unused;
}

static void *swap_descriptors(void *number) {
    int inside = open("race", O_DIRECTORY | O_RDONLY), root = open("/proc", O_DIRECTORY | O_RDONLY);
    while (!stop) {
        dup2(root, *(int *)number);
        dup2(inside, *(int *)number);
    }
    return number;
}

// race OUTSIDE SECONDS: OUTSIDE is a directory of the machine that must not be reached.
static int race(const char *outside, int seconds) {
    static char up[4096], here[4096], words[8192], way[128];
    // From six directories down: as many "..", and many more than there are.
    strcpy(up, "../../../../../../../../../../../../../../../..");
    strcat(up, outside);
    expect(!!getcwd(here, sizeof here), "getcwd");
    snprintf(way, sizeof way, "%.100s/race/a", here);
    inner = way, outer = up, whole = outside, shown = words;
    strcpy(words, inner);
    expect(!mkdir("race", 0777) && !mkdir("race/a", 0777) && !mkdir("race/a/b", 0777), "mkdir");
    expect(!mkdir("race/a/b/c", 0777) && !mkdir("race/other", 0777) && !symlink(outside, "race/way"), "mkdir");
    expect(!chmod("race", 0777) && !chmod("race/a", 0777) && !chmod("race/a/b", 0777) && !chmod("race/a/b/c", 0777), "chmod");
    int fd = open("race", O_DIRECTORY | O_RDONLY), number = 100;
    expect(fd >= 0 && dup2(fd, number) == number, "open");
    pthread_t threads[3];
    expect(!pthread_create(&threads[0], 0, swap_words, 0) && !pthread_create(&threads[1], 0, swap_links, 0), "thread");
    expect(!pthread_create(&threads[2], 0, swap_descriptors, &number), "thread");
    time_t end = time(0) + seconds;
    unsigned long tries = 0;
    // In the ids of another, so that making is asked about too; as root again every other time.
    while (time(0) < end) {
        int foreign = tries++ % 2;
        if (foreign) expect(!syscall(SYS_setresgid, FOREIGN, FOREIGN, 0) && !syscall(SYS_setresuid, FOREIGN, FOREIGN, 0), "setresuid");
        char name[8300];
        const char *ways[] = {shown, "race/link", "race/way", "race/a/b/c/../../../../race/link", "race/a/b/c/../../../way"};
        for (int i = 0; i < 5; i++) {
            snprintf(name, sizeof name, "%s/made", ways[i]);
            mkdir(name, 0777);
            if (rmdir(name)) unlink(name);
            symlink("x", name);
            unlink(name);
            close(open(name, O_CREAT | O_WRONLY | O_NONBLOCK, 0666));
            mknod(name, S_IFIFO | 0666, 0);
            mknod(name, S_IFCHR | 0666, 0x103);
            // The words themselves, while they change.
            chown(i ? name : shown, FOREIGN, FOREIGN);
            lchown(ways[i], FOREIGN, FOREIGN);
            mkdir(shown, 0777);
            unlink(name);
        }
        fchown(number, FOREIGN, FOREIGN);
        fchownat(number, "a", FOREIGN, FOREIGN, 0);
        mkdirat(number, "sys", 0777);
        if (foreign) expect(!syscall(SYS_setresuid, 0, 0, 0) && !syscall(SYS_setresgid, 0, 0, 0), "back");
    }
    stop = 1;
    for (int i = 0; i < 3; i++) pthread_join(threads[i], 0);
    printf("%s after %s tries\n", "done", tries > 10 ? "many" : "few");
    return 0;
}

static void *ask(void *unused) {
    struct stat status;
    for (;;) {
        chown("leave", 5, 6);
        stat("leave", &status);
        syscall(SYS_setresuid, -1, -1, -1);
        close(open("leave/no", O_CREAT | O_WRONLY, 0600));
    }
    return unused;
}

// leave ROUNDS: threads that ask, in processes that end or become another program meanwhile.
static int leave(int rounds) {
    close(open("leave", O_CREAT | O_WRONLY, 0600));
    for (int i = 0; i < rounds; i++) {
        pid_t child = fork();
        if (child == 0) {
            pthread_t thread;
            for (int j = 0; j < 3; j++) pthread_create(&thread, 0, ask, 0);
            usleep(next(3000));
            if (i % 3 == 0) execl("/bin/true", "true", (char *)0);
            if (i % 3 == 1) _exit(0);
            for (;;) pause();
        }
        usleep(next(4000));
        if (i % 3 == 2) kill(child, SIGKILL);
        int status;
        expect(child > 0 && waitpid(child, &status, 0) == child, "a child");
        expect(i % 3 == 2 || (WIFEXITED(status) && WEXITSTATUS(status) == 0), "its end");
    }
    sane();
    printf("sane\n");
    return 0;
}

// crowd COUNT: so many processes at once, each in ids of its own.
static int crowd(int count) {
    int gate[2], failed = 0, made = 0;
    expect(!pipe(gate) && !chmod(".", 0777), "pipe");
    for (; made < count; made++) {
        pid_t child = fork();
        if (child < 0) break;
        if (child == 0) {
            char name[32], byte;
            struct stat status;
            close(gate[1]);
            read(gate[0], &byte, 1);
            if (setgid(1000 + made) || setuid(1000 + made)) _exit(1);
            snprintf(name, sizeof name, "crowd-%d", made);
            int fd = open(name, O_CREAT | O_EXCL | O_WRONLY, 0600);
            if (fd < 0 || fstat(fd, &status) || status.st_uid != 1000 + (unsigned)made) _exit(2);
            if (getuid() != 1000 + (unsigned)made || unlink(name)) _exit(3);
            _exit(0);
        }
    }
    close(gate[0]), close(gate[1]);
    int status;
    while (wait(&status) > 0)
        if (!WIFEXITED(status) || WEXITSTATUS(status)) failed = failed ? failed : status;
    printf("%s failed %x\n", made > count / 2 ? "a crowd," : "few,", failed);
    return 0;
}

// tables: more owners of pipes and more sets of ids than anyone keeps.
static int tables(void) {
    char name[32];
    int held = 0, refused = 0;
    for (int i = 0; i < 8300; i++) {
        snprintf(name, sizeof name, "pipe-%d", i);
        expect(!mkfifo(name, 0600), "mkfifo");
        if (!chown(name, 7, 8)) held++;
        else refused++, expect(errno == ENOSPC || errno == EMFILE, "an owner too many");
    }
    for (int i = 0; i < 8300; i++) snprintf(name, sizeof name, "pipe-%d", i), unlink(name);
    expect(held > 500, "owners are held");
    // There is room again.
    expect(!mkfifo("pipe", 0600) && !chown("pipe", 7, 8) && !unlink("pipe"), "an owner after the flood");
    pid_t child = fork();
    if (child == 0) {
        for (unsigned i = 1; i < 10100; i++)
            if (syscall(SYS_setresuid, -1, i, 0)) expect(errno == EAGAIN, "ids too many"), _exit(0);
            else if (syscall(SYS_setresuid, -1, 0, 0)) _exit(8);
        _exit(0);
    }
    int status;
    expect(waitpid(child, &status, 0) == child && status == 0, "ids");
    sane();
    printf("sane\n");
    return 0;
}

// filters: one of its own over ours cannot allow what ours refuses, nor hear what ours hears.
static int filters(void) {
    expect(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl");
    struct sock_filter allow[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_filter hear[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF)};
    struct sock_fprog program = {1, allow};
    expect(!syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program), "a filter of its own");
    program.filter = hear;
    long listener = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
    expect(listener < 0 && errno == EBUSY, "a listener of its own");
    expect(syscall(SYS_mount, "none", "/var", "tmpfs", 0, 0) < 0, "mount");
    expect(syscall(SYS_unshare, CLONE_NEWUSER) < 0, "unshare");
    sane();
    printf("sane\n");
    return 0;
}

int main(int count, char **words) {
    setvbuf(stdout, 0, _IONBF, 0);
    if (count == 4 && !strcmp(words[1], "race")) return race(words[2], atoi(words[3]));
    if (count == 3 && !strcmp(words[1], "nonsense")) return nonsense(atoi(words[2]));
    if (count == 3 && !strcmp(words[1], "leave")) return leave(atoi(words[2]));
    if (count == 3 && !strcmp(words[1], "crowd")) return crowd(atoi(words[2]));
    if (count == 2 && !strcmp(words[1], "tables")) return tables();
    if (count == 2 && !strcmp(words[1], "filters")) return filters();
    return 2;
}
