/*
 * history.h
 *	  Partitions of finished tasks and ended runs, one a week.
 */
#ifndef SF_HISTORY_H
#define SF_HISTORY_H

#include "postgres.h"
#include "datatype/timestamp.h"

#include "ident.h"

/* the partition of sopflow.history or run_history for a time, made if absent */
extern Oid	sf_history_partition(SfRel parent, TimestampTz at);

/*
 * Have the partitions of a time, before any row is locked.  Cheap where they
 * were there before.
 */
extern void sf_history_ensure(TimestampTz at);

/* make this week's and next week's, drop what is older than the retention */
extern void sf_history_maintain(TimestampTz now);

#endif							/* SF_HISTORY_H */
