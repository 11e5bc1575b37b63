/* For tests: the real hv_kvp_daemon finds the other end of a socket, its standard input, where the kernel's device
 * would be. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int is_device(const char *path) { return strcmp(path, "/dev/vmbus/hv_kvp") == 0; }

static int other(const char *name, const char *path, int flags, mode_t mode)
{
	int (*real)(const char *, int, ...) = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, name);
	return is_device(path) ? dup(0) : real(path, flags, mode);
}

int open(const char *path, int flags, ...)
{
	va_list rest;
	va_start(rest, flags);
	mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;
	va_end(rest);
	return other("open", path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
	va_list rest;
	va_start(rest, flags);
	mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;
	va_end(rest);
	return other("open64", path, flags, mode);
}

int __open_2(const char *path, int flags) { return other("open", path, flags, 0); }
int __open64_2(const char *path, int flags) { return other("open64", path, flags, 0); }
