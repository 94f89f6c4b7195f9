/* The system's calls on files below one folder: counted, or one of them made to fail.
 *
 * Loaded into a process that does nothing with it until `trust_arm` names a folder. From then on
 * every call of the kinds below on a path in that folder is written to a log, one "KIND PATH" a
 * line; and the n-th of one kind on paths of one pattern fails, is cut short, or ends the process.
 *
 *     open-r open-w mkdir rename unlink write fsync
 *
 * With `lasting`, every later write, open for writing, mkdir and rename fails likewise, as on a disk
 * that is full. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { PASS = 0, SHORT = -1 }; /* beside errno values, which are positive */

static char root[4096], kind_wanted[16], path_wanted[4096]; /* the path is a pattern */
static int log_fd = -1, nth, error_wanted, signal_wanted, lasting, full;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) real = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

static ssize_t plain_write(int fd, const void *data, size_t count) {
    REAL(ssize_t, "write", int, const void *, size_t);
    return real(fd, data, count);
}

/* Name the folder, and the call that fails: the nth (from 1; 0 for none) of a kind on a path. */
void trust_arm(const char *folder, int log, const char *kind, const char *path, int which,
               int error, int signal, int lasts) {
    snprintf(root, sizeof root, "%s/", folder);
    snprintf(kind_wanted, sizeof kind_wanted, "%s", kind);
    snprintf(path_wanted, sizeof path_wanted, "%s", path);
    log_fd = log, nth = which, error_wanted = error, signal_wanted = signal, lasting = lasts;
}

static int writes(const char *kind) { return strcmp(kind, "open-r") && strcmp(kind, "unlink"); }

/* What becomes of a call: PASS, SHORT or an errno. */
static int fate(const char *kind, const char *path) {
    char line[4400];
    int wanted = PASS, length;
    if (!root[0] || strncmp(path, root, strlen(root))) return PASS;
    path += strlen(root);
    pthread_mutex_lock(&mutex);
    if (log_fd >= 0) {
        length = snprintf(line, sizeof line, "%s %s\n", kind, path);
        plain_write(log_fd, line, length);
    }
    if (full && writes(kind)) wanted = error_wanted;
    if (nth > 0 && !strcmp(kind, kind_wanted) && !fnmatch(path_wanted, path, 0) && --nth == 0) {
        if (signal_wanted) kill(getpid(), signal_wanted);
        wanted = error_wanted;
        full = lasting;
    }
    pthread_mutex_unlock(&mutex);
    return wanted;
}

/* The path of a name that may be relative to a folder. */
static const char *whole(int folder, const char *name, char *path, size_t size) {
    char link[64];
    ssize_t length;
    if (name[0] == '/') return name;
    if (folder == AT_FDCWD) {
        if (!getcwd(path, size)) return name;
    } else {
        snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        if ((length = readlink(link, path, size - 1)) < 0) return name;
        path[length] = 0;
    }
    length = strlen(path);
    snprintf(path + length, size - length, "/%s", strncmp(name, "./", 2) ? name : name + 2);
    return path;
}

static const char *of_fd(int fd, char *path, size_t size) {
    char link[64];
    ssize_t length;
    if (!root[0] || fd == log_fd) return "";
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    length = readlink(link, path, size - 1);
    path[length < 0 ? 0 : length] = 0;
    return path;
}

static int refused(const char *kind, int folder, const char *name) {
    char path[4096];
    int error;
    if (!root[0]) return 0;
    error = fate(kind, whole(folder, name, path, sizeof path));
    if (error > 0) errno = error;
    return error > 0;
}

#define OPENED(flags) ((flags) & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC) ? "open-w" : "open-r")

#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        va_list rest; \
        va_start(rest, flags); \
        mode_t mode = va_arg(rest, mode_t); \
        va_end(rest); \
        REAL(int, #name, const char *, int, ...); \
        return refused(OPENED(flags), AT_FDCWD, path) ? -1 : real(path, flags, mode); \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name) \
    int name(int folder, const char *path, int flags, ...) { \
        va_list rest; \
        va_start(rest, flags); \
        mode_t mode = va_arg(rest, mode_t); \
        va_end(rest); \
        REAL(int, #name, int, const char *, int, ...); \
        return refused(OPENED(flags), folder, path) ? -1 : real(folder, path, flags, mode); \
    }
OPENAT(openat)
OPENAT(openat64)

#define FOPEN(name) \
    FILE *name(const char *path, const char *mode) { \
        REAL(FILE *, #name, const char *, const char *); \
        const char *kind = mode[0] == 'r' && !strchr(mode, '+') ? "open-r" : "open-w"; \
        return refused(kind, AT_FDCWD, path) ? NULL : real(path, mode); \
    }
FOPEN(fopen)
FOPEN(fopen64)

int mkdir(const char *path, mode_t mode) {
    REAL(int, "mkdir", const char *, mode_t);
    return refused("mkdir", AT_FDCWD, path) ? -1 : real(path, mode);
}

int rename(const char *from, const char *to) {
    REAL(int, "rename", const char *, const char *);
    return refused("rename", AT_FDCWD, to) ? -1 : real(from, to);
}

int renameat(int from_folder, const char *from, int to_folder, const char *to) {
    REAL(int, "renameat", int, const char *, int, const char *);
    return refused("rename", to_folder, to) ? -1 : real(from_folder, from, to_folder, to);
}

int unlink(const char *path) {
    REAL(int, "unlink", const char *);
    return refused("unlink", AT_FDCWD, path) ? -1 : real(path);
}

/* How many bytes of a write may pass; -1 where it fails. */
static ssize_t passing(int fd, size_t count) {
    char path[4096];
    int what = fate("write", of_fd(fd, path, sizeof path));
    if (what > 0) {
        errno = what;
        return -1;
    }
    return what == SHORT && count > 1 ? (ssize_t)(count / 2) : (ssize_t)count;
}

ssize_t write(int fd, const void *data, size_t count) {
    ssize_t most = passing(fd, count);
    return most < 0 ? -1 : plain_write(fd, data, most);
}

#define PWRITE(name) \
    ssize_t name(int fd, const void *data, size_t count, off_t place) { \
        REAL(ssize_t, #name, int, const void *, size_t, off_t); \
        ssize_t most = passing(fd, count); \
        return most < 0 ? -1 : real(fd, data, most, place); \
    }
PWRITE(pwrite)
PWRITE(pwrite64)

ssize_t writev(int fd, const struct iovec *parts, int count) {
    char path[4096];
    REAL(ssize_t, "writev", int, const struct iovec *, int);
    int what = fate("write", of_fd(fd, path, sizeof path));
    if (what > 0) errno = what;
    return what > 0 ? -1 : real(fd, parts, what == SHORT && count > 1 ? count / 2 : count);
}

#define SYNC(name) \
    int name(int fd) { \
        char path[4096]; \
        REAL(int, #name, int); \
        int what = fate("fsync", of_fd(fd, path, sizeof path)); \
        if (what > 0) errno = what; \
        return what > 0 ? -1 : real(fd); \
    }
SYNC(fsync)
SYNC(fdatasync)
