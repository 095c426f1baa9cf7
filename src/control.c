/*
 * control.c
 *	  What operators do with runs and tasks.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "control.h"
#include "hold.h"
#include "ledger.h"
#include "plan.h"
#include "shm.h"

typedef struct SfIds
{
	int64	   *ids;
	int			nids;
	int			allocated;
} SfIds;

static void
collect_id(HeapTuple tuple, TupleDesc desc, void *arg)
{
	SfIds	   *ids = arg;

	if (ids->nids == ids->allocated)
	{
		ids->allocated = Max(64, ids->allocated * 2);
		ids->ids = ids->ids == NULL ? palloc(ids->allocated * sizeof(int64)) :
			repalloc_huge(ids->ids, ids->allocated * sizeof(int64));
	}
	ids->ids[ids->nids++] = sf_row_int64(tuple, desc, 1, 0);
}

int64
sf_control_cancel(const char *subject_id, const char *sop_id, int64 run_id)
{
	Datum		values[3];
	char		nulls[3];
	SfIds		runs = {0};
	SfLedger   *ledger;
	int64		cancelled;

	values[0] = subject_id ? CStringGetTextDatum(subject_id) : (Datum) 0;
	nulls[0] = subject_id ? ' ' : 'n';
	values[1] = sop_id ? CStringGetTextDatum(sop_id) : (Datum) 0;
	nulls[1] = sop_id ? ' ' : 'n';
	values[2] = Int64GetDatum(run_id);
	nulls[2] = run_id != 0 ? ' ' : 'n';
	sf_plan_run(SF_PLAN_RUNS_OF, values, nulls, collect_id, &runs);

	ledger = sf_ledger_open(true);
	for (int i = 0; i < runs.nids; i++)
	{
		bool		busy;
		SfRun	   *run = sf_ledger_run(ledger, runs.ids[i], true, &busy);

		CHECK_FOR_INTERRUPTS();
		if (run != NULL)
			sf_ledger_end(ledger, run, SF_RUN_CANCELLED, "cancelled by an operator");
	}
	cancelled = sf_ledger_settle(ledger);
	sf_ledger_close(ledger);
	return cancelled;
}

/* take the task out of one of the tables where it may wait */
static bool
take_waiting(SfLedger *ledger, SfRun *run, SfRel index, SfRel rel, int64 task_id, SfTask *task)
{
	SfScan	   *scan = sf_ledger_scan(ledger, index);
	SfOffer		offer = {0};
	const char *held_by = "";

	if (!sf_scan_int8(scan, task_id))
		return false;
	if (rel == SF_REL_OFFER)
		sf_offer_read(scan->slot, &offer);
	else
		sf_task_read(scan->slot, &offer.task);
	if (offer.lease_token != 0)
		return false;
	if (rel == SF_REL_HELD)
		held_by = sf_held_read_by(scan->slot);
	/* what waits for other branches, or another run, has no time of its own */
	if (strcmp(held_by, "join") == 0 || strcmp(held_by, "child") == 0 ||
		sf_ledger_is_message(run, &offer.task))
		return false;
	*task = offer.task;
	return sf_ledger_remove(ledger, rel, &task->tid, true) == SF_LOCK_OK;
}

bool
sf_control_reschedule(int64 task_id, TimestampTz due_at)
{
	SfLedger   *ledger = sf_ledger_open(true);
	SfRun	   *run;
	SfTask		task;
	bool		busy;
	bool		found = false;

	run = sf_ledger_run(ledger, sf_task_run(task_id), true, &busy);
	if (run != NULL)
	{
		sf_ledger_renew(ledger);
		found = take_waiting(ledger, run, SF_REL_TASK_PKEY, SF_REL_TASK, task_id, &task) ||
			take_waiting(ledger, run, SF_REL_HELD_PKEY, SF_REL_HELD, task_id, &task) ||
			take_waiting(ledger, run, SF_REL_OFFER_PKEY, SF_REL_OFFER, task_id, &task);
		if (found)
		{
			/* one that is held still is, and dispatch holds it again when due */
			task.due_at = due_at;
			sf_ledger_pend(ledger, &task);
			sf_ledger_touch(ledger, run);
		}
	}
	sf_ledger_close(ledger);
	return found;
}

/* the run of a dead task, active again if it has ended; NULL when it is gone */
static SfRun *
revive(SfLedger *ledger, int64 run_id)
{
	bool		busy;
	Datum		values[1] = {Int64GetDatum(run_id)};
	SfRun	   *run = sf_ledger_run(ledger, run_id, true, &busy);

	if (run == NULL)
	{
		if (sf_plan_run(SF_PLAN_RUN_REVIVE, values, NULL, NULL, NULL) == 0)
			return NULL;
		sf_ledger_renew(ledger);
		run = sf_ledger_run(ledger, run_id, true, &busy);
	}
	return run;
}

/*
 * The run of a redriven task is part of another one, whose task is dead since
 * it failed: that task is held until the run ends, as before.
 */
static void
attach(SfLedger *ledger, int64 parent_task)
{
	SfScan	   *scan = sf_ledger_scan(ledger, SF_REL_DEAD_PKEY);
	SfTask		task;
	SfRun	   *parent;

	if (!sf_scan_int8(scan, parent_task))
		return;
	parent = revive(ledger, sf_task_run(parent_task));
	if (parent == NULL)
		return;
	scan = sf_ledger_scan(ledger, SF_REL_DEAD_PKEY);
	if (!sf_scan_int8(scan, parent_task))
		return;
	sf_dead_read(scan->slot, &task);
	if (sf_ledger_remove(ledger, SF_REL_DEAD, &task.tid, true) != SF_LOCK_OK)
		return;
	task.attempt = 0;
	sf_ledger_hold(ledger, &task, "child");
	sf_ledger_touch(ledger, parent);
	if (parent->parent_task != 0)
		attach(ledger, parent->parent_task);
}

int64
sf_control_redrive(const char *action, ArrayType *task_ids)
{
	Datum		values[2];
	char		nulls[2];
	SfIds		tasks = {0};
	SfLedger   *ledger;
	int64		redriven = 0;

	values[0] = action ? CStringGetTextDatum(action) : (Datum) 0;
	nulls[0] = action ? ' ' : 'n';
	values[1] = PointerGetDatum(task_ids);
	nulls[1] = task_ids ? ' ' : 'n';
	sf_plan_run(SF_PLAN_DEAD_IDS, values, nulls, collect_id, &tasks);

	ledger = sf_ledger_open(true);
	for (int i = 0; i < tasks.nids; i++)
	{
		SfScan	   *scan;
		SfTask		task;
		SfRun	   *run = revive(ledger, sf_task_run(tasks.ids[i]));

		CHECK_FOR_INTERRUPTS();
		if (run == NULL)
		{
			ereport(WARNING,
					(errcode(ERRCODE_NO_DATA_FOUND),
					 errmsg("task " INT64_FORMAT " cannot be redriven: its run is no longer kept",
							tasks.ids[i])));
			continue;
		}
		/* if somebody else took the task meanwhile, the run may have nothing left */
		sf_ledger_touch(ledger, run);
		scan = sf_ledger_scan(ledger, SF_REL_DEAD_PKEY);
		if (!sf_scan_int8(scan, tasks.ids[i]))
			continue;
		sf_dead_read(scan->slot, &task);
		if (sf_ledger_remove(ledger, SF_REL_DEAD, &task.tid, true) != SF_LOCK_OK)
			continue;
		task.attempt = 0;
		task.due_at = sf_ledger_now(ledger);
		sf_ledger_pend(ledger, &task);
		if (run->parent_task != 0)
			attach(ledger, run->parent_task);
		redriven++;
	}
	sf_ledger_close(ledger);
	return redriven;
}

/* --- pauses --- */

/*
 * Take what is offered and not leased back, or let what is held go, under the
 * locks of the runs and in their order.
 */
static void
move_tasks(SfPlan which, const char *name, const char *held_by)
{
	Datum		values[1] = {CStringGetTextDatum(name)};
	SfIds		tasks = {0};
	SfRun	  **runs;
	SfLedger   *ledger;

	sf_plan_run(which, values, NULL, collect_id, &tasks);
	if (tasks.nids == 0)
		return;
	runs = MemoryContextAllocHuge(CurrentMemoryContext, tasks.nids * sizeof(SfRun *));
	ledger = sf_ledger_open(true);
	for (int i = 0; i < tasks.nids; i++)
	{
		bool		busy;

		CHECK_FOR_INTERRUPTS();
		runs[i] = sf_ledger_run(ledger, sf_task_run(tasks.ids[i]), true, &busy);
	}
	sf_ledger_renew(ledger);
	for (int i = 0; i < tasks.nids; i++)
	{
		SfTask		task;

		if (runs[i] == NULL)
			continue;
		if (held_by != NULL)
		{
			if (take_waiting(ledger, runs[i], SF_REL_OFFER_PKEY, SF_REL_OFFER, tasks.ids[i],
							 &task))
			{
				sf_ledger_hold(ledger, &task, held_by);
				/* others of the run may have waited for this one */
				sf_ledger_touch(ledger, runs[i]);
			}
		}
		else if (take_waiting(ledger, runs[i], SF_REL_HELD_PKEY, SF_REL_HELD, tasks.ids[i], &task))
			sf_ledger_pend(ledger, &task);
	}
	sf_ledger_close(ledger);
}

void
sf_control_release_sop(const char *sop_id)
{
	sf_hold_change(SF_REL_SOP, sop_id);
	move_tasks(SF_PLAN_HELD_BY_SOP, sop_id, NULL);
}

void
sf_control_release_action(const char *action)
{
	sf_hold_change(SF_REL_ACTION, action);
	move_tasks(SF_PLAN_HELD_BY_ACTION, action, NULL);
}

void
sf_control_hold_sop(const char *sop_id)
{
	move_tasks(SF_PLAN_OFFERED_OF_SOP, sop_id, "sop");
}

void
sf_control_hold_action(const char *action)
{
	move_tasks(SF_PLAN_OFFERED_OF_ACTION, action, "action");
}

/* The definition triggers see to the tasks; see sqlfunc_definition.c. */
void
sf_control_pause_sop(const char *sop_id, bool paused)
{
	Datum		values[2] = {CStringGetTextDatum(sop_id), BoolGetDatum(paused)};

	if (sf_plan_run(SF_PLAN_PAUSE_SOP, values, NULL, NULL, NULL) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("SOP \"%s\" does not exist", sop_id)));
}

void
sf_control_pause_action(const char *action, bool paused)
{
	Datum		values[2] = {CStringGetTextDatum(action), BoolGetDatum(paused)};

	if (sf_plan_run(SF_PLAN_PAUSE_ACTION, values, NULL, NULL, NULL) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("action \"%s\" does not exist", action)));
}
