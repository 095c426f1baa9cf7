/*
 * ledger.h
 *	  The books of one call: runs that it has locked, rows that it moves.
 *
 * LOCK ORDER: runs by run_id, then everything else.  The row lock of a run
 * guards its tasks wherever they are: whoever deletes, moves or changes a task
 * of a run holds that lock.  So after the runs are locked and the snapshot is
 * renewed, what the ledger reads of them cannot change.
 */
#ifndef SF_LEDGER_H
#define SF_LEDGER_H

#include "postgres.h"
#include "utils/jsonb.h"

#include "action.h"
#include "definition.h"
#include "store.h"

#define SF_STEP_BITS	16
#define SF_SHARDS		64
#define sf_task_id(run_id, step)	(((run_id) << SF_STEP_BITS) + (step))
#define sf_task_run(task_id)		((task_id) >> SF_STEP_BITS)
#define sf_task_step(task_id)		((int) ((task_id) & ((1 << SF_STEP_BITS) - 1)))

typedef struct SfTask
{
	int64		task_id;
	TimestampTz due_at;
	int32		version_id;
	int16		node;
	int16		shard;
	int16		attempt;		/* attempts begun */
	char	   *error;			/* of the last attempt, or NULL */
	bool		retried;		/* read with an error: it failed before */
	ItemPointerData tid;		/* where the row stands */
} SfTask;

typedef struct SfOffer
{
	SfTask		task;
	int64		lease_token;	/* 0: offered */
	TimestampTz lease_until;
	int32		action_id;
} SfOffer;

typedef enum SfRunState
{
	SF_RUN_ACTIVE,
	SF_RUN_COMPLETED,
	SF_RUN_FAILED,
	SF_RUN_CANCELLED,
	SF_RUN_EXITED
} SfRunState;

/* a run that this call has locked */
typedef struct SfRun
{
	int64		run_id;			/* hash key, must be first */
	TimestampTz event_at;
	TimestampTz started_at;
	int32		version_id;
	char	   *sop_id;
	char	   *subject_id;
	Jsonb	   *context;		/* NULL: {} */
	int64		parent_task;	/* task of another run that this one carries out; 0: none */
	Jsonb	   *events;			/* remembered ones, where there is no row of them; else NULL */
	ItemPointerData tid;
	SfVersion  *version;
	bool		touched;		/* a task of it ended: see whether it has */
	bool		offered;		/* this call offered one of its tasks */
	int			last_step;		/* greatest one of the tasks that this call took */
	TimestampTz moved_at;		/* when the last of its tasks that this call ended did */
	bool		finished;		/* its only task ended: nothing is left to look for */
	SfRunState	state;			/* what it is to become */
	char	   *reason;
	bool		ended;			/* written down as such */
} SfRun;

typedef struct SfLedger SfLedger;

/*
 * Become the extension's owner, take a snapshot.  ends: tasks or runs may end
 * in this call, so that their history is needed.
 */
extern SfLedger *sf_ledger_open(bool ends);

/* write everything, end runs that have ended, become oneself again */
extern void sf_ledger_close(SfLedger *ledger);

/* a dispatcher's: what others hold is put off and not waited for */
extern void sf_ledger_hurry(SfLedger *ledger);

extern Snapshot sf_ledger_snapshot(SfLedger *ledger);
extern TimestampTz sf_ledger_now(SfLedger *ledger);

/* write what is kept, and see everything that is committed by now */
extern void sf_ledger_renew(SfLedger *ledger);

/* the same, once all runs of the call are locked and before looking at their tasks */
extern void sf_ledger_look(SfLedger *ledger);

/*
 * A handler ran: runs of ours that it ended, by cancel() or an event, are no
 * longer active.
 */
extern void sf_ledger_reread(SfLedger *ledger);

/* a scan or a writer of the ledger, opened on demand */
extern SfScan *sf_ledger_scan(SfLedger *ledger, SfRel index);
extern SfWriter *sf_ledger_writer(SfLedger *ledger, SfRel rel);

/*
 * Lock a run.  NULL when it is not active any more, or, with wait false, when
 * somebody else holds it (then *busy).
 */
extern SfRun *sf_ledger_run(SfLedger *ledger, int64 run_id, bool wait, bool *busy);

/* rows of the tables that share the shape of sopflow.task */
extern void sf_task_read(TupleTableSlot *slot, SfTask *task);
extern int64 sf_run_read_id(TupleTableSlot *slot);
extern char *sf_run_read_sop(TupleTableSlot *slot);
extern int64 sf_run_read_parent(TupleTableSlot *slot);	/* task of another run, or 0 */
extern char *sf_held_read_by(TupleTableSlot *slot);
extern void sf_dead_read(TupleTableSlot *slot, SfTask *task);
extern void sf_offer_read(TupleTableSlot *slot, SfOffer *offer);
extern void sf_ledger_pend(SfLedger *ledger, const SfTask *task);
extern void sf_ledger_hold(SfLedger *ledger, const SfTask *task, const char *held_by);
extern void sf_ledger_offer(SfLedger *ledger, const SfTask *task, int32 action_id);
extern void sf_ledger_bury(SfLedger *ledger, const SfTask *task);
extern void sf_ledger_record(SfLedger *ledger, const SfTask *task, char status, Jsonb *result);

/* fill a row of sopflow.offer */
extern void sf_offer_fill(TupleTableSlot *row, const SfTask *task, int64 token,
						  TimestampTz until, int32 action_id);

/* delete a row of sopflow.task, held, offer or dead */
extern SfLock sf_ledger_remove(SfLedger *ledger, SfRel rel, ItemPointer tid, bool wait);

/* whether a task of the run is offered or leased */
extern bool sf_ledger_in_flight(SfLedger *ledger, int64 run_id);

/*
 * Write a new run of the version; NULL when reentry = 'ignore' and one is
 * active (then *active is its id).  One that carries out a task of another run
 * (parent_task, else 0) is there beside any other.  The first tasks are up to
 * the caller.
 */
extern SfRun *sf_ledger_start(SfLedger *ledger, SfVersion *version, const char *subject_id,
							  TimestampTz event_at, Jsonb *context, int64 parent_task,
							  int64 *active);

/* a task of the run ended: when the ledger is closed, see whether the run has */
extern void sf_ledger_touch(SfLedger *ledger, SfRun *run);

/* why a run ends that carried out a task of another */
#define SF_REASON_PART	"the run that it was part of has ended"

/* whether the row is no task but says that the run it has started is over */
extern bool sf_ledger_is_message(const SfRun *run, const SfTask *task);

/* end the run when the ledger is closed; its other tasks are cancelled */
extern void sf_ledger_end(SfLedger *ledger, SfRun *run, SfRunState state, const char *reason);

/* whether this call ends the run that this one is part of, or one above */
extern bool sf_ledger_whole_ends(SfLedger *ledger, const SfRun *run);

/* count an outcome towards the action's failures in a row */
extern void sf_ledger_outcome(SfLedger *ledger, const SfAction *action, bool failed);

/* write an alert */
extern void sf_ledger_alert(SfLedger *ledger, const char *kind, const char *action,
							const char *sop_id, int64 task_id, const char *message);

/* end runs that have ended, now rather than at the close; tasks cancelled so far */
extern int64 sf_ledger_settle(SfLedger *ledger);

/* for qsort of ids: runs are locked in this order */
extern int	sf_compare_int64(const void *a, const void *b);

/* one more task was cancelled; for taskrow.c */
extern void sf_ledger_count_cancelled(SfLedger *ledger);

extern int16 sf_shard(const char *subject_id);

#endif							/* SF_LEDGER_H */
