/*
 * dispatch.h
 *	  One pass: take due tasks and carry them out.
 */
#ifndef SF_DISPATCH_H
#define SF_DISPATCH_H

#include "postgres.h"
#include "datatype/timestamp.h"

#include "position.h"
#include "storage/block.h"

typedef struct SfPass
{
	/* in */
	bool		by_hand;		/* run_due() or fetch(), not a worker */
	bool		offers_only;	/* fetch(): leave call and broadcast alone */
	int			worker;			/* this worker's number */
	int			nworkers;		/* shards where shard % nworkers == worker */
	int			max_tasks;		/* tasks in this transaction */
	int64		max_usec;		/* calls no handler after this time; 0: no limit */
	SfPosition	from;			/* nothing pending lies before this */
	SfPosition	patrol;			/* where a reconcile scan goes on; see below */
	bool		patrolling;		/* whether one is under way */
	bool		careful;		/* in and out: run handlers one at a time behind
								 * the crash marker */
	/* out; to be believed only after the transaction has committed */
	int64		done;			/* tasks taken up */
	bool		more;			/* stopped at a limit, more may be due */
	bool		skipped;		/* passed by a row that somebody has locked */
	SfPosition	reached;		/* the next pass may start here */
	TimestampTz next_due;		/* due time of the next task of these shards */
} SfPass;

/*
 * One pass in the current transaction, which the caller starts and commits.
 * No active snapshot is needed.  Runs as the extension's owner.  Never raises
 * an error on a task's account.
 *
 * With patrolling set it also looks behind `from`, a bounded slice a pass from
 * `patrol` on, for rows that no commit callback announced, and moves `patrol`;
 * it clears patrolling when it has come to `from`.
 */
extern void sf_dispatch_pass(SfPass *pass);

/*
 * Take back leases that ended before now, a bounded slice of the table a
 * call.  *block is where to go on, 0 at the start and when a sweep is complete.
 * *next_expiry collects the earliest lease end that is still ahead: set it to
 * SF_NEVER before a sweep.  Needs a transaction.
 */
extern int64 sf_dispatch_expire(BlockNumber *block, TimestampTz *next_expiry);

/* Send alerts that are not sent yet.  Needs a transaction. */
/* true: there may be more of them */
extern bool sf_dispatch_alerts(void);

/*
 * Make history partitions for this week and the next, drop those older than
 * sopflow.history_retention.  Needs a transaction of its own; takes its locks
 * with a short lock_timeout and raises an error when it cannot have them.
 */
extern void sf_dispatch_retention(void);

#endif							/* SF_DISPATCH_H */
