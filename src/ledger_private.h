/*
 * ledger_private.h
 *	  What ledger.c and ending.c share.
 */
#ifndef SF_LEDGER_PRIVATE_H
#define SF_LEDGER_PRIVATE_H

#include "ledger.h"
#include "utils/hsearch.h"

struct SfLedger
{
	MemoryContext context;
	SfIdentity	saved;
	Snapshot	snapshot;
	TimestampTz now;
	SfScan	   *scans[SF_REL_COUNT];	/* by index */
	SfWriter   *writers[SF_REL_COUNT];
	HTAB	   *runs;			/* of SfRun, those locked */
	int64		first_run;		/* least and greatest of them */
	int64		last_run;
	bool		unused[SF_REL_COUNT];	/* by index: it had no entry of them */
	List	   *touched;		/* of SfRun * */
	HTAB	   *streaks;		/* of SfStreak */
	int64		cancelled;
	bool		hurry;			/* wait for nobody */
	uint64		ends;			/* sf_runs_ended, less what others ended since */
	struct SfLedger *outer;		/* of a call that this one is part of */
	LocalTransactionId lxid;
	SubTransactionId subid;
	MemoryContextCallback forget;
};

/* runs that this session has ended */
extern uint64 sf_runs_ended;

/*
 * The run as a call around this one has it, or NULL.  That call may have tasks
 * of it in hand, which stand in no table: whether the run has ended is up to it.
 */
extern SfRun *sf_ledger_outer(SfLedger *ledger, int64 run_id, SfLedger **of);

/* tasks of the run in the table of this index */
extern SfScan *sf_ledger_tasks(SfLedger *ledger, SfRel index, int64 run_id);

/* ---- in ending.c ---- */

/* end a run whose state says how, and those that carry out tasks of it */
extern void sf_ending_whole(SfLedger *ledger, SfRun *run);

/* see which of the touched runs have ended */
extern void sf_ending_settle(SfLedger *ledger);

#endif							/* SF_LEDGER_PRIVATE_H */
