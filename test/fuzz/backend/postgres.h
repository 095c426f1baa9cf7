/*
 * postgres.h
 *	  As much of the server as src/template.c needs, for fuzz_splitter.c: memory,
 *	  strings, lists, and errors that end the call.
 */
#ifndef FUZZ_POSTGRES_H
#define FUZZ_POSTGRES_H

#include <ctype.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern jmp_buf fuzz_error;
extern void *fuzz_alloc(size_t size);
extern char *fuzz_copy(const char *text, size_t len);

#define palloc0(size)			fuzz_alloc(size)
#define pfree(pointer)			((void) (pointer))	/* all goes with the call */
#define pstrdup(text)			fuzz_copy(text, strlen(text))
#define pnstrdup(text, len)		fuzz_copy(text, len)

#define ERROR					21
#define ERRCODE_SYNTAX_ERROR	0
#define errcode(code)			((void) 0)
#define errmsg(...)				((void) snprintf(NULL, 0, __VA_ARGS__))
#define errhint(...)			((void) snprintf(NULL, 0, __VA_ARGS__))
#define ereport(level, rest)	do { rest; longjmp(fuzz_error, 1); } while (0)

#endif							/* FUZZ_POSTGRES_H */
