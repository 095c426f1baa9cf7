/*
 * simulate.h
 *	  What would happen when: a run in memory.
 */
#ifndef SF_SIMULATE_H
#define SF_SIMULATE_H

#include "postgres.h"

#include "definition.h"

/* one thing that would happen */
typedef struct SfForecast
{
	TimestampTz at;				/* SF_NEVER: it would wait without end */
	char	   *node_id;		/* NULL: the run itself */
	char	   *action;			/* NULL: none */
	Jsonb	   *params;			/* NULL: none */
	char	   *note;			/* NULL: nothing to say */
	int			number;			/* in the order in which they were found */
} SfForecast;

/*
 * Carry a run of the version out, with each task done at once when it is due,
 * no event coming, and conditions and templates evaluated on what is there
 * now.  Of SfForecast *, in the order of their times.  Whatever code of users
 * writes meanwhile is rolled back.
 */
extern List *sf_simulate(SfVersion *version, const char *subject_id, Jsonb *context,
						 TimestampTz from);

#endif							/* SF_SIMULATE_H */
