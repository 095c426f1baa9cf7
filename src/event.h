/*
 * event.h
 *	  A named thing that happened to a subject.
 */
#ifndef SF_EVENT_H
#define SF_EVENT_H

#include "postgres.h"
#include "datatype/timestamp.h"
#include "utils/jsonb.h"

/* one event of a statement */
typedef struct SfEvent
{
	const char *subject_id;
	TimestampTz occurred_at;
	Jsonb	   *context;		/* NULL: {} */
} SfEvent;

#endif							/* SF_EVENT_H */
