/*
 * memory.h
 *	  What a run remembers beside its tasks: a row of sopflow.run_state.
 *
 * Read and written under the lock of the run, whole, at each step: whatever a
 * handler does to the run in between is there.
 */
#ifndef SF_MEMORY_H
#define SF_MEMORY_H

#include "postgres.h"
#include "datatype/timestamp.h"
#include "nodes/bitmapset.h"
#include "nodes/pg_list.h"
#include "utils/jsonb.h"

/* the last event of a name that came while the run was active */
typedef struct SfArrival
{
	char	   *event;
	Jsonb	   *context;		/* NULL: {} */
	Bitmapset  *answered;		/* nodes that it answered */
} SfArrival;

typedef struct SfMemory
{
	bool		found;			/* there was a row */
	int			last_step;		/* greatest one given to a task; -1: not known */
	List	   *arrivals;		/* of SfArrival * */
	Bitmapset  *answered;		/* steps of waits that an event answered before they began */
	Bitmapset  *passed;			/* steps that were dead and that the run went on without */
} SfMemory;

extern SfMemory *sf_memory_read(int64 run_id);
extern void sf_memory_write(int64 run_id, const SfMemory *memory);
extern void sf_memory_delete(int64 run_id);

/* the arrival of that event, or NULL */
extern SfArrival *sf_memory_arrival(const SfMemory *memory, const char *event);

/* contexts of the remembered events, an object by name */
extern Jsonb *sf_memory_events(const SfMemory *memory);

/* greatest step of all tasks of the run that are kept; -1: there is none */
extern int	sf_memory_last_step(int64 run_id);

#endif							/* SF_MEMORY_H */
