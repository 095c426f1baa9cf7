/*
 * lease.h
 *	  What consumers do with offered tasks.
 */
#ifndef SF_LEASE_H
#define SF_LEASE_H

#include "postgres.h"
#include "utils/tuplestore.h"

#include "ledger.h"

/*
 * Lease up to max_tasks offered tasks of the actions, earliest due first, to
 * the current user; put a sopflow.work row for each into `out`.  lease < 0:
 * that of the action.  Returns how many; sets *passed_by when it passed by
 * tasks whose runs somebody has locked.
 */
extern int	sf_lease_fetch(const SfAction **actions, int nactions, int max_tasks, int64 lease,
						   Tuplestorestate *out, TupleDesc desc, bool *passed_by);

/* one acknowledgement */
typedef struct SfAck
{
	int64		task_id;		/* must be first, for sorting */
	int64		lease_token;
	int			number;			/* its place in the caller's array */
	bool		success;
	Jsonb	   *result;			/* success: or NULL */
	char	   *error;			/* failure */
	int64		retry_in;		/* failure: microseconds, -1: by the action's backoff */
	bool		retry;			/* failure: false makes the task dead */
	bool		accepted;		/* out */
} SfAck;

/* sorts acks by task id; one that is not accepted changes nothing */
extern void sf_lease_settle(SfAck *acks, int nacks);

/* the new end of the lease, or 0 when it was lost */
extern TimestampTz sf_lease_extend(int64 task_id, int64 lease_token, int64 lease);

#endif							/* SF_LEASE_H */
