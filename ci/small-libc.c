// SPDX-License-Identifier: GPL-2.0-only
/* Linked before the C library and libunwind, in place of what is large there and of which little is used. */
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

/* 5 KB for any length, elsewhere. Here getaddrinfo() sorts at most 48 addresses with it. */
void qsort(void *base, size_t count, size_t width, int (*compare)(const void *, const void *))
{
	unsigned char *items = base;

	for (size_t sorted = 1; sorted < count; sorted++)
		for (unsigned char *item = items + sorted * width; item > items && compare(item - width, item) > 0; item -= width)
			for (size_t i = 0; i < width; i++) {
				unsigned char byte = item[i];
				item[i] = item[i - width];
				item[i - width] = byte;
			}
}

/* getaddrinfo() asks whether a name is text at all, before it looks at each character. */
size_t mbstowcs(wchar_t *to, const char *from, size_t count)
{
	(void)to;
	(void)count;
	return strlen(from);
}

/* The allocator asks for the size of a page. There is no other question, and no answer to one. */
long sysconf(int name)
{
	if (name == _SC_PAGESIZE)
		return (long)getauxval(AT_PAGESZ);
	errno = EINVAL;
	return -1;
}

/* In place of libunwind, which is 37 KB and brings printf() along: where a panic has a message, as in the tests, Rust's
 * std asks it for a backtrace, and with panic = "abort" for nothing else. There is none, then; the message stays. */
typedef struct context context;

int _Unwind_Backtrace(int (*each)(context *, void *), void *argument)
{
	(void)each;
	(void)argument;
	return 5; /* _URC_END_OF_STACK */
}

unsigned long _Unwind_GetIP(context *frame)
{
	(void)frame;
	return 0;
}

unsigned long _Unwind_GetIPInfo(context *frame, int *before)
{
	(void)frame;
	*before = 0;
	return 0;
}

unsigned long _Unwind_GetCFA(context *frame)
{
	(void)frame;
	return 0;
}

void *_Unwind_FindEnclosingFunction(void *address)
{
	(void)address;
	return 0;
}

#ifdef __arm__
/* Where the others have functions of their own for a register. */
int _Unwind_VRS_Get(context *frame, int class, unsigned int which, int kind, unsigned long *value)
{
	(void)frame;
	(void)class;
	(void)which;
	(void)kind;
	*value = 0;
	return 0;
}
#endif
