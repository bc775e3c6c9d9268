/* Preloaded into a program, lets it die as if the power went, at the n-th change of files below a
 * folder: of the writes to each file that were not synced any may be forgotten, or torn at any byte,
 * and of the names that were made, changed and removed since the last sync only the first are kept,
 * as a journal keeps them. Reading is not looked at, nor is what is written through memory maps.
 *
 * AZUD_FORGET_FOLDER   the folder, without `/` at its end
 * AZUD_FORGET_AT       at which change it dies, from 1
 * AZUD_FORGET_SEED     what is forgotten can be forgotten again
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/* A write at an offset, or, without bytes, a change of the length to `at`. */
struct op {
    off_t at, size_before;
    size_t length, old_length;
    char *bytes, *old;
};

struct file {
    dev_t device;
    ino_t inode;
    int fd;
    struct op *ops;
    size_t count, room;
    struct file *next;
};

/* A name that was made (`from` alone), changed, or removed (`stash` has the file). */
struct change {
    char *from, *to, *stash;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct file *files;
static struct change *changes;
static size_t change_count, change_room;
static char folder[PATH_MAX];
static uint64_t seed;
static long points, dies_at;
static unsigned stashes;

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (!found) abort();
    return found;
}

__attribute__((constructor)) static void begin(void) {
    const char *where = getenv("AZUD_FORGET_FOLDER");
    const char *at = getenv("AZUD_FORGET_AT"), *random = getenv("AZUD_FORGET_SEED");
    if (!where || !at || !random) return;
    snprintf(folder, sizeof folder, "%s", where);
    dies_at = atol(at);
    seed = strtoull(random, NULL, 10);
}

/* SplitMix64. */
static size_t below(size_t bound) {
    uint64_t mixed = seed += 0x9E3779B97F4A7C15u;
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9u;
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EBu;
    return (mixed ^ (mixed >> 31)) % (bound ? bound : 1);
}

static int is_below(const char *path) {
    size_t length = strlen(folder);
    return length && !strncmp(path, folder, length) && path[length] == '/';
}

/* Gives the path of an open file, if it is one of ours. */
static int path_of(int fd, char path[PATH_MAX]) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = folder[0] ? readlink(link, path, PATH_MAX - 1) : -1;
    if (length < 0) return 0;
    path[length] = 0;
    return is_below(path) || !strcmp(path, folder);
}

static int whole_path(int at, const char *name, char path[PATH_MAX]) {
    char base[PATH_MAX] = "";
    if (!folder[0]) return 0;
    if (name[0] == '/') {
        snprintf(path, PATH_MAX, "%s", name);
    } else if (at == AT_FDCWD ? getcwd(base, sizeof base) != NULL : path_of(at, base)) {
        if (snprintf(path, PATH_MAX, "%s/%s", base, name) >= PATH_MAX) return 0;
    } else {
        return 0;
    }
    return is_below(path);
}

static struct file *file_of(int fd) {
    struct stat known;
    if (fstat(fd, &known) || !S_ISREG(known.st_mode)) return NULL;
    for (struct file *file = files; file; file = file->next)
        if (file->device == known.st_dev && file->inode == known.st_ino) return file;
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    struct file *file = calloc(1, sizeof *file);
    *file = (struct file){known.st_dev, known.st_ino, REAL(open64)(link, O_RDWR), 0, 0, 0, files};
    if (file->fd < 0) abort();
    return files = file;
}

static off_t size_of(int fd) {
    struct stat known;
    return fstat(fd, &known) ? 0 : known.st_size;
}

static void put(int fd, const char *bytes, size_t length, off_t at) {
    if (length && REAL(pwrite64)(fd, bytes, length, at) != (ssize_t)length) abort();
}

static void note(struct file *file, off_t at, const char *bytes, size_t length) {
    if (file->count == file->room)
        file->ops = realloc(file->ops, (file->room = 2 * file->room + 16) * sizeof *file->ops);
    off_t size = size_of(file->fd);
    struct op op = {at, size, length, 0, NULL, NULL};
    size_t touched = bytes ? length : (size_t)(size > at ? size - at : 0);
    op.old = malloc(touched + 1);
    ssize_t had = pread64(file->fd, op.old, touched, at);
    op.old_length = had > 0 ? had : 0;
    if (bytes) op.bytes = memcpy(malloc(length + 1), bytes, length);
    file->ops[file->count++] = op;
}

static void take_back(const struct file *file) {
    for (size_t number = file->count; number-- > 0;) {
        const struct op *op = &file->ops[number];
        if (REAL(ftruncate64)(file->fd, op->size_before)) abort();
        put(file->fd, op->old, op->old_length, op->at);
    }
}

static void do_some_again(const struct file *file) {
    for (size_t number = 0; number < file->count; number++) {
        const struct op *op = &file->ops[number];
        size_t fate = below(4);
        if (fate == 0) continue;
        if (op->bytes)
            put(file->fd, op->bytes, fate == 1 ? below(op->length + 1) : op->length, op->at);
        else if (REAL(ftruncate64)(file->fd, op->at))
            abort();
    }
}

static void die(void) {
    for (const struct file *file = files; file; file = file->next) {
        take_back(file);
        do_some_again(file);
    }
    size_t kept = below(change_count + 1);
    while (change_count-- > kept) {
        const struct change *change = &changes[change_count];
        if (change->to) REAL(rename)(change->to, change->from);
        if (change->stash) REAL(rename)(change->stash, change->to ? change->to : change->from);
        if (!change->to && !change->stash) REAL(unlink)(change->from);
    }
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

/* Counts a change that is about to be made; the last one is made or not. Gives whether to die once
 * it is made. */
static int is_last(void) {
    if (++points < dies_at) return 0;
    if (below(2)) die();
    return 1;
}

static void synced(struct file *file) {
    for (size_t number = 0; number < file->count; number++) {
        free(file->ops[number].bytes);
        free(file->ops[number].old);
    }
    file->count = 0;
}

/* The first changes of names are durable. */
static void named(size_t count) {
    for (size_t number = 0; number < count; number++) {
        struct change *change = &changes[number];
        if (change->stash) REAL(unlink)(change->stash);
        free(change->from), free(change->to), free(change->stash);
    }
    change_count -= count;
    memmove(changes, changes + count, change_count * sizeof *changes);
}

static void renamed(const char *from, const char *to, const char *stash) {
    if (change_count == change_room)
        changes = realloc(changes, (change_room = 2 * change_room + 16) * sizeof *changes);
    struct change change = {strdup(from), to ? strdup(to) : NULL, stash ? strdup(stash) : NULL};
    changes[change_count++] = change;
}

/* Keeps a file that is about to lose its name, beside the folder. */
static const char *stashed(const char *path, char stash[PATH_MAX]) {
    if (snprintf(stash, PATH_MAX, "%s.%u", folder, stashes++) >= PATH_MAX) abort();
    return link(path, stash) ? NULL : stash;
}

static ssize_t write_to(int fd, const char *bytes, size_t length, off_t at) {
    struct file *file = file_of(fd);
    if (!file) return REAL(pwrite64)(fd, bytes, length, at);
    int last = is_last();
    note(file, at, bytes, length);
    put(file->fd, bytes, length, at);
    if (last) die();
    return length;
}

static ssize_t write_here(int fd, const char *bytes, size_t length) {
    off_t at = fcntl(fd, F_GETFL) & O_APPEND ? size_of(fd) : lseek64(fd, 0, SEEK_CUR);
    ssize_t written = write_to(fd, bytes, length, at);
    if (written > 0) lseek64(fd, at + written, SEEK_SET);
    return written;
}

static char *gathered(const struct iovec *parts, int count, size_t *length) {
    *length = 0;
    for (int part = 0; part < count; part++) *length += parts[part].iov_len;
    char *bytes = malloc(*length + 1), *end = bytes;
    for (int part = 0; part < count; part++)
        end = (char *)memcpy(end, parts[part].iov_base, parts[part].iov_len) + parts[part].iov_len;
    return bytes;
}

#define OURS(fd, ours, otherwise)                     \
    do {                                              \
        char path[PATH_MAX];                          \
        if (!path_of(fd, path)) return otherwise;     \
        pthread_mutex_lock(&lock);                    \
        __typeof__(otherwise) answer = ours;          \
        pthread_mutex_unlock(&lock);                  \
        return answer;                                \
    } while (0)

ssize_t write(int fd, const void *bytes, size_t length) {
    OURS(fd, write_here(fd, bytes, length), REAL(write)(fd, bytes, length));
}

ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t at) {
    OURS(fd, write_to(fd, bytes, length, at), REAL(pwrite64)(fd, bytes, length, at));
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t at) {
    return pwrite64(fd, bytes, length, at);
}

static ssize_t write_parts(int fd, const struct iovec *parts, int count, off_t at, int here) {
    size_t length;
    char *bytes = gathered(parts, count, &length);
    ssize_t written = here ? write_here(fd, bytes, length) : write_to(fd, bytes, length, at);
    free(bytes);
    return written;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    OURS(fd, write_parts(fd, parts, count, 0, 1), REAL(writev)(fd, parts, count));
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t at) {
    OURS(fd, write_parts(fd, parts, count, at, 0), REAL(pwritev64)(fd, parts, count, at));
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) {
    return pwritev64(fd, parts, count, at);
}

static int cut(int fd, off_t length) {
    struct file *file = file_of(fd);
    if (!file) return REAL(ftruncate64)(fd, length);
    int last = is_last();
    note(file, length, NULL, 0);
    int answer = REAL(ftruncate64)(fd, length);
    if (last) die();
    return answer;
}

int ftruncate64(int fd, off64_t length) {
    OURS(fd, cut(fd, length), REAL(ftruncate64)(fd, length));
}

int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

/* Nothing is really synced: what the machine does is not what is tested. */
static int sync_one(int fd) {
    char path[PATH_MAX];
    struct file *file = file_of(fd);
    int last = is_last();
    size_t count = file ? 0 : change_count;
    if (file && path_of(fd, path)) {
        synced(file);
        // A file that is synced has its name, and so what was journaled before.
        for (size_t number = 0; number < change_count; number++) {
            const char *name = changes[number].to ? changes[number].to : changes[number].from;
            if (!strcmp(name, path)) count = number + 1;
        }
    }
    named(count);
    if (last) die();
    return 0;
}

int fsync(int fd) { OURS(fd, sync_one(fd), REAL(fsync)(fd)); }

int fdatasync(int fd) { OURS(fd, sync_one(fd), REAL(fdatasync)(fd)); }

static int open_ours(const char *path, int flags, mode_t mode) {
    struct stat known;
    int there = !lstat(path, &known);
    int changes_it = there ? flags & O_TRUNC && known.st_size > 0 : flags & O_CREAT;
    int last = changes_it && is_last();
    if (there && changes_it) {
        int fd = REAL(open64)(path, O_RDWR);
        struct file *file = fd < 0 ? NULL : file_of(fd);
        if (file) note(file, 0, NULL, 0);
        close(fd);
    }
    int fd = REAL(open64)(path, flags, mode);
    if (!there && fd >= 0 && flags & O_CREAT) renamed(path, NULL, NULL);
    if (last) die();
    return fd;
}

int openat64(int at, const char *name, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;
    va_end(more);
    char path[PATH_MAX];
    if (!(flags & (O_CREAT | O_TRUNC)) || !whole_path(at, name, path))
        return REAL(openat64)(at, name, flags, mode);
    pthread_mutex_lock(&lock);
    int fd = open_ours(path, flags, mode);
    pthread_mutex_unlock(&lock);
    return fd;
}

#define OPEN(name, ...)                                        \
    va_list more;                                              \
    va_start(more, flags);                                     \
    mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;  \
    va_end(more);                                              \
    return openat64(__VA_ARGS__, flags, mode)

int openat(int at, const char *name, int flags, ...) { OPEN(openat, at, name); }
int open64(const char *name, int flags, ...) { OPEN(open64, AT_FDCWD, name); }
int open(const char *name, int flags, ...) { OPEN(open, AT_FDCWD, name); }

int rename(const char *from, const char *to) {
    char whole_from[PATH_MAX], whole_to[PATH_MAX], stash[PATH_MAX];
    if (!whole_path(AT_FDCWD, from, whole_from) || !whole_path(AT_FDCWD, to, whole_to))
        return REAL(rename)(from, to);
    pthread_mutex_lock(&lock);
    int last = is_last();
    const char *kept = stashed(whole_to, stash);
    int answer = REAL(rename)(from, to);
    if (!answer) renamed(whole_from, whole_to, kept);
    if (last) die();
    pthread_mutex_unlock(&lock);
    return answer;
}

int unlink(const char *name) {
    char path[PATH_MAX], stash[PATH_MAX];
    if (!whole_path(AT_FDCWD, name, path)) return REAL(unlink)(name);
    pthread_mutex_lock(&lock);
    int last = is_last();
    const char *kept = stashed(path, stash);
    int answer = REAL(unlink)(name);
    if (!answer && kept) renamed(path, NULL, kept);
    if (last) die();
    pthread_mutex_unlock(&lock);
    return answer;
}
