/*
 * position.h
 *	  A place in an order of tasks by due time, and the time that never comes.
 */
#ifndef SF_POSITION_H
#define SF_POSITION_H

#include "postgres.h"
#include "datatype/timestamp.h"

/* no time: later than any */
#define SF_NEVER	PG_INT64_MAX

/* position in an index on (due_at, task_id) */
typedef struct SfPosition
{
	TimestampTz due;
	int64		task_id;
} SfPosition;

#define SF_POSITION_START	((SfPosition) {PG_INT64_MIN, PG_INT64_MIN})

#endif							/* SF_POSITION_H */
