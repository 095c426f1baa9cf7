/*
 * plan_private.h
 *	  What plan.c and statements.c share.
 */
#ifndef SF_PLAN_PRIVATE_H
#define SF_PLAN_PRIVATE_H

#include "plan.h"

#define SF_PLAN_MAX_ARGS	10

typedef struct SfStatement
{
	const char *sql;
	bool		read_only;		/* run under the newest snapshot */
	int			nargs;
	Oid			types[SF_PLAN_MAX_ARGS];
} SfStatement;

extern const SfStatement sf_statements[SF_PLAN_COUNT];

#endif							/* SF_PLAN_PRIVATE_H */
