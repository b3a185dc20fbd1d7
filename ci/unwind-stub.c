// SPDX-License-Identifier: GPL-2.0-only
/* In place of libunwind, which is 37 KB and brings printf() along: Rust's std asks it for a backtrace when it panics, and
 * with panic = "abort" for nothing else. There is none, then; the panic's own message stays. */
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
