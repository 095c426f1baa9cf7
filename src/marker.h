/*
 * marker.h
 *	  Crash markers: which handlers ran when a backend died.
 */
#ifndef SF_MARKER_H
#define SF_MARKER_H

#include "postgres.h"

#define SF_MARKER_IDLE	1
#define SF_MARKER_BATCH	2		/* handlers of a batch run */
/* any greater value is the id of the one task whose handler runs */

/*
 * The marker of worker `worker`, or, below 0, one of those for passes by hand
 * that no other session has now; kept until the transaction ends.
 */
extern Oid	sf_marker_take(int worker);
extern int64 sf_marker_read(Oid marker);

/* durable before it returns if `flush`; not undone by a rollback */
extern void sf_marker_set(Oid marker, int64 value, bool flush);

#endif							/* SF_MARKER_H */
