// Takes more than its share, in ways that a simple look does not show.
#define _GNU_SOURCE
#include <pthread.h>
#include <sys/xattr.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char block[1 << 20];

static int fill(int fd, int megabytes) {
    memset(block, 'x', sizeof block);
    for (int i = 0; i < megabytes; i++)
        if (write(fd, block, sizeof block) != sizeof block) return -1;
    return 0;
}

static int fail(const char *what) {
    perror(what);
    return 9;
}

// deep LEVELS: directories one in the other, far beyond PATH_MAX.
static int deep(int levels) {
    for (int i = 0; i < levels; i++)
        if (mkdir("d", 0755) < 0 || chdir("d") < 0) return fail("deep");
    return 0;
}

// buried MEGABYTES: a file far below.
static int buried(int megabytes) {
    if (deep(400)) return 9;
    return fill(open("file", O_CREAT | O_WRONLY, 0644), megabytes) ? fail("buried") : 0;
}

// unnamed MEGABYTES: files of one megabyte that have no name any more.
static int unnamed(int megabytes) {
    for (int i = 0; i < megabytes; i++) {
        int fd = open("file", O_CREAT | O_RDWR, 0644);
        if (fd < 0 || unlink("file") || fill(fd, 1)) return fail("unnamed");
    }
    return 0;
}

static int memory(int megabytes) {
    int fd = memfd_create("x", 0);
    return fd < 0 || fill(fd, megabytes) ? fail("memfd") : 0;
}

static int shared(int megabytes) {
    size_t size = (size_t)megabytes << 20;
    char *bytes = mmap(0, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (bytes == MAP_FAILED) return fail("mmap");
    memset(bytes, 'x', size);
    return 0;
}

static int segment(int megabytes) {
    size_t size = (size_t)megabytes << 20;
    int id = shmget(IPC_PRIVATE, size, 0600);
    char *bytes = id < 0 ? (void *)-1 : shmat(id, 0, 0);
    if (bytes == (void *)-1) return fail("shm");
    memset(bytes, 'x', size);
    // Nobody has it mapped from here on, but it stays.
    return shmdt(bytes) ? fail("shmdt") : 0;
}

// entries COUNT: empty files, a thousand to a directory.
static int entries(int count) {
    char name[64];
    for (int i = 0; i < count; i++) {
        if (i % 1000 == 0) {
            snprintf(name, sizeof name, "e%d", i / 1000);
            if (mkdir(name, 0755) < 0 || chdir(name) < 0) return fail("entries");
        }
        snprintf(name, sizeof name, "%d", i);
        int fd = open(name, O_CREAT | O_WRONLY, 0644);
        if (fd < 0) return fail("entries");
        close(fd);
        if (i % 1000 == 999 && chdir("..")) return fail("entries");
    }
    return 0;
}

// flight: leaves its output in the queue of a socket that lies in its own queue, so that no
// process has it open and it is not closed either.
static int flight(void) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_DGRAM, 0, pair)) return fail("socketpair");
    int fds[4] = {1, 2, pair[0], pair[1]};
    char control[CMSG_SPACE(sizeof fds)] = {0};
    struct iovec vector = {"x", 1};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof fds);
    memcpy(CMSG_DATA(head), fds, sizeof fds);
    for (int i = 0; i < 2; i++)
        if (sendmsg(pair[i], &message, 0) < 0) return fail("sendmsg");
    return 0;
}

static void become(const char *mark) {
    for (int i = 1; i < 32; i++) signal(i, SIG_IGN);
    execl("/bin/sleep", "sleep", mark, (char *)0);
    _exit(9);
}

// daemons MARK: one that left its session, one that is stopped, one that is traced, one whose
// parent never looks after it.
static int daemons(const char *mark) {
    if (fork() == 0) {
        setsid();
        if (fork() == 0) become(mark);
        _exit(0);
    }
    pid_t stopped = fork();
    if (stopped == 0) become(mark);
    pid_t tracer = fork();
    if (tracer == 0) {
        setsid();
        if (fork() == 0) {
            ptrace(PTRACE_TRACEME, 0, 0, 0);
            become(mark);
        }
        for (;;) pause();
    }
    pid_t careless = fork();
    if (careless == 0) {
        setsid();
        for (int i = 0; i < 5; i++)
            if (fork() == 0) _exit(0);
        become(mark);
    }
    usleep(100000);
    kill(stopped, SIGSTOP);
    return 0;
}

static void *write_on(void *unused) {
    (void)unused;
    int file = open("/var/alive", O_WRONLY | O_CREAT | O_APPEND, 0644);
    for (;;) {
        if (write(file, "x", 1) != 1) return 0;
        usleep(2000);
    }
}

// opaque 0: tells overlay that a directory hides what is below it.
static int opaque(void) { return setxattr("/etc", "user.overlay.opaque", "y", 1, 0) != 0; }

// headless NUMBER: so many processes whose first thread has ended while another still writes; they look dead.
static int headless(int number) {
    for (int i = 0; i < number; i++)
        if (fork() == 0) {
            pthread_t other;
            setsid();
            pthread_create(&other, 0, write_on, 0);
            pthread_exit(0);
        }
    usleep(200000);
    return 0;
}

int main(int count, char **words) {
    setvbuf(stdout, 0, _IONBF, 0);
    if (count == 2 && !strcmp(words[1], "flight")) return flight();
    if (count != 3) return 2;
    if (!strcmp(words[1], "daemons")) return daemons(words[2]);
    int number = atoi(words[2]), code = 2;
    if (!strcmp(words[1], "deep")) return deep(number);
    if (!strcmp(words[1], "opaque")) return opaque();
    if (!strcmp(words[1], "headless")) return headless(number);
    if (!strcmp(words[1], "entries")) return entries(number);
    if (!strcmp(words[1], "buried")) code = buried(number);
    if (!strcmp(words[1], "unnamed")) code = unnamed(number);
    if (!strcmp(words[1], "memfd")) code = memory(number);
    if (!strcmp(words[1], "shared")) code = shared(number);
    if (!strcmp(words[1], "segment")) code = segment(number);
    // What was taken is kept until somebody notices.
    if (code == 0) sleep(20);
    return code;
}
