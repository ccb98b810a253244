// Tries to reach what lies outside of the sandbox. A line "reached ..." is a hole; the test also
// looks from the outside, because a payload may believe what is not so.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static void tell(const char *what, long result) {
    if (result >= 0) printf("reached %s\n", what);
}

// inet ADDRESS PORT: a connection, and a datagram.
static int inet(const char *address, int port) {
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    int is_six = inet_pton(AF_INET, address, &four.sin_addr) != 1;
    if (is_six && inet_pton(AF_INET6, address, &six.sin6_addr) != 1) return 1;
    struct sockaddr *to = is_six ? (void *)&six : (void *)&four;
    socklen_t length = is_six ? sizeof six : sizeof four;
    int stream = socket(is_six ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (stream >= 0 && connect(stream, to, length) < 0 && errno == EINPROGRESS) usleep(300000);
    char byte;
    // A connection that stands has nothing to read yet.
    if (stream >= 0 && recv(stream, &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN && send(stream, "x", 1, MSG_NOSIGNAL) == 1)
        tell(address, 0);
    int datagram = socket(is_six ? AF_INET6 : AF_INET, SOCK_DGRAM, 0);
    if (datagram >= 0) sendto(datagram, "x", 1, MSG_DONTWAIT, to, length);
    return 0;
}

// unix NAME: a socket by path, or by abstract name where it begins with @.
static int local(const char *name) {
    int kinds[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};
    for (int i = 0; i < 3; i++) {
        struct sockaddr_un to = {.sun_family = AF_UNIX};
        size_t length = strlen(name);
        if (length >= sizeof to.sun_path) return 1;
        memcpy(to.sun_path, name, length);
        if (name[0] == '@') to.sun_path[0] = 0;
        socklen_t size = offsetof(struct sockaddr_un, sun_path) + length + (name[0] != '@');
        int fd = socket(AF_UNIX, kinds[i] | SOCK_NONBLOCK, 0);
        if (fd >= 0) tell(name, connect(fd, (void *)&to, size));
    }
    return 0;
}

// families: kinds of socket that no network namespace confines, or that reach the hardware.
static int families(void) {
    int list[] = {3, 4, 5, 9, 15, 17, 21, 29, 31, 37, 38, 39, 40, 41, 42, 44};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        char name[32];
        snprintf(name, sizeof name, "family %d", list[i]);
        for (int kind = 1; kind <= 5; kind++) tell(name, socket(list[i], kind, 0));
    }
    return 0;
}

static void memory_of(const char *who, int pid) {
    char buffer[8] = "owned", path[64], what[96];
    struct iovec here = {buffer, 5}, there = {(void *)0x400000, 5};
    snprintf(what, sizeof what, "%s by process_vm_readv", who);
    tell(what, process_vm_readv(pid, &here, 1, &there, 1, 0));
    // EFAULT would mean that only the address was wrong.
    if (process_vm_writev(pid, &here, 1, &there, 1, 0) >= 0 || errno == EFAULT) printf("reached %s by process_vm_writev\n", who);
    const char *names[] = {"mem", "environ", "maps", "exe", "root/etc", "cwd/.", "fd/0"};
    for (int i = 0; i < 7; i++) {
        snprintf(path, sizeof path, "/proc/%d/%s", pid, names[i]);
        int fd = open(path, i ? O_RDONLY : O_RDWR);
        snprintf(what, sizeof what, "%s by %s", who, path);
        // Opening may be allowed where reading gives nothing.
        if (fd >= 0 && (i > 2 || read(fd, buffer, 1) > 0)) tell(what, 0);
    }
    int handle = syscall(SYS_pidfd_open, pid, 0);
    for (int fd = 0; handle >= 0 && fd < 16; fd++) {
        snprintf(what, sizeof what, "descriptor %d of %s", fd, who);
        tell(what, syscall(SYS_pidfd_getfd, handle, fd, 0));
    }
    snprintf(what, sizeof what, "%s by ptrace", who);
    long traced = ptrace(PTRACE_SEIZE, pid, 0, 0);
    tell(what, traced);
    if (traced < 0) traced = ptrace(PTRACE_ATTACH, pid, 0, 0), tell(what, traced);
    if (traced >= 0) {
        // Let go again: the test wants to hear of it.
        int status;
        if (waitpid(pid, &status, __WALL | WNOHANG) >= 0) ptrace(PTRACE_DETACH, pid, 0, 0);
    }
}

// process PID: one that is not ours.
static int process(int pid) {
    memory_of("the process", pid);
    tell("the process by signal 0", kill(pid, 0));
    tell("its group", kill(-pid, SIGKILL));
    tell("its thread", syscall(SYS_tgkill, pid, pid, SIGKILL));
    tell("its thread without its group", syscall(SYS_tkill, pid, SIGKILL));
    siginfo_t info = {.si_code = SI_QUEUE};
    tell("it by sigqueue", syscall(SYS_rt_sigqueueinfo, pid, SIGKILL, &info));
    int handle = syscall(SYS_pidfd_open, pid, 0);
    tell("it by pidfd", handle);
    if (handle >= 0) syscall(SYS_pidfd_send_signal, handle, SIGKILL, 0, 0);
    struct rlimit limit = {1, 1};
    tell("its limits", prlimit(pid, RLIMIT_NOFILE, &limit, 0));
    tell("its priority", setpriority(PRIO_PROCESS, pid, 19));
    tell("its group's priority", setpriority(PRIO_PGRP, pid, 19));
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(0, &one);
    tell("its processors", sched_setaffinity(pid, sizeof one, &one));
    struct sched_param none = {0};
    tell("its scheduler", sched_setscheduler(pid, SCHED_IDLE, &none));
    // IOPRIO_WHO_PROCESS, class idle.
    tell("its disk priority", syscall(SYS_ioprio_set, 1, pid, 3 << 13));
    tell("its group", setpgid(pid, pid));
    tell("it by kill", kill(pid, SIGKILL));
    // Of all processes of a user. They may say yes, for the payload's own; the test looks.
    // By one step, and the least of the usual class: a hole must not stop the machine.
    setpriority(PRIO_USER, 0, getpriority(PRIO_PROCESS, 0) + 1);
    syscall(SYS_ioprio_set, 3, 0, 2 << 13 | 7);
    return 0;
}

// calls: what is shared with the machine, or makes a way out of the view.
static int calls(void) {
    char handle[256] = {0};
    struct { unsigned bytes; int type; char rest[128]; } file = {.bytes = 128};
    int mount;
    tell("a mount", syscall(SYS_mount, "none", "/var", "tmpfs", 0, 0));
    tell("a bind mount", syscall(SYS_mount, "/etc", "/var", 0, 4096, 0));
    tell("umount", syscall(SYS_umount2, "/proc", 2));
    tell("pivot_root", syscall(SYS_pivot_root, "/var", "/var"));
    tell("open_tree", syscall(428, AT_FDCWD, "/", 1));
    tell("fsopen", syscall(430, "tmpfs", 0));
    tell("unshare of users", unshare(CLONE_NEWUSER));
    tell("unshare of mounts", unshare(CLONE_NEWNS));
    tell("unshare of time", unshare(CLONE_NEWTIME));
    long child = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
    if (child == 0) _exit(0);
    tell("clone of users", child);
    tell("setns", setns(open("/proc/self/ns/mnt", O_RDONLY), 0));
    tell("keyctl", syscall(SYS_keyctl, 0, -3, 1));
    tell("add_key", syscall(SYS_add_key, "user", "x", "x", 1, -4));
    tell("bpf", syscall(SYS_bpf, 0, handle, 64));
    tell("perf_event_open", syscall(SYS_perf_event_open, handle, 0, -1, -1, 0));
    tell("userfaultfd", syscall(SYS_userfaultfd, 0));
    tell("io_uring", syscall(425, 1, handle));
    if (syscall(SYS_name_to_handle_at, AT_FDCWD, "/etc/passwd", &file, &mount, 0) == 0)
        tell("open_by_handle_at", syscall(SYS_open_by_handle_at, AT_FDCWD, &file, 0));
    tell("the kernel's log", syscall(SYS_syslog, 3, handle, sizeof handle));
    tell("the clock", syscall(SYS_clock_settime, 0, &(struct timespec){1, 0}));
    tell("init_module", syscall(SYS_init_module, handle, 1, ""));
    tell("kexec", syscall(SYS_kexec_load, 0, 0, 0, 0) == 0 ? 0 : -1);
    tell("swapoff", syscall(SYS_swapoff, "/var"));
    tell("acct", syscall(SYS_acct, "/var/acct"));
    tell("quotactl", syscall(SYS_quotactl, 0, "/", 0, 0));
    // A node may be made, for the image; it must not be the device. Memory, and the first disks.
    dev_t devices[] = {makedev(1, 1), makedev(254, 0), makedev(8, 0), makedev(259, 0)};
    for (int i = 0; i < 4; i++) {
        unlink("/var/device");
        if (mknod("/var/device", (i ? S_IFBLK : S_IFCHR) | 0600, devices[i]) < 0) continue;
        int fd = open("/var/device", O_RDONLY);
        tell("a device", fd >= 0 && read(fd, handle, 1) > 0 ? 0 : -1);
    }
    return 0;
}

// forge FILE: the owner 0:0 as the sandbox keeps it where it cannot be real. Nothing is told:
// whether it may be written is the sandbox's affair, but it must not be believed.
static int forge(const char *file) {
    char value[19] = {1, 1};
    int fd = open(file, O_RDWR);
    setxattr(file, "user.image-composer.entry", value, sizeof value, 0);
    fsetxattr(fd, "user.image-composer.entry", value, sizeof value, 0);
    return fd < 0;
}

int main(int count, char **words) {
    setvbuf(stdout, 0, _IONBF, 0);
    if (count == 4 && !strcmp(words[1], "inet")) return inet(words[2], atoi(words[3]));
    if (count == 3 && !strcmp(words[1], "forge")) return forge(words[2]);
    if (count == 3 && !strcmp(words[1], "unix")) return local(words[2]);
    if (count == 2 && !strcmp(words[1], "families")) return families();
    if (count == 2 && !strcmp(words[1], "calls")) return calls();
    if (count == 3 && !strcmp(words[1], "process")) return process(atoi(words[2]));
    if (count == 2 && !strcmp(words[1], "parent")) return memory_of("the parent", getppid()), 0;
    return 2;
}
