/*
 * ending.c
 *	  The end of runs: what is left of them is cancelled, those that are parts of
 *	  them end with them, and what they are part of hears of it.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/json.h"

#include "ledger_private.h"
#include "memory.h"
#include "stats.h"
#include "token.h"

/* by this session; what a handler ended is told from what its caller did */
uint64		sf_runs_ended = 0;

static const char *const run_states[] = {
	[SF_RUN_ACTIVE] = "active",
	[SF_RUN_COMPLETED] = "completed",
	[SF_RUN_FAILED] = "failed",
	[SF_RUN_CANCELLED] = "cancelled",
	[SF_RUN_EXITED] = "exited",
};

enum
{
	ENDED_ID, ENDED_EVENT_AT, ENDED_STARTED_AT, ENDED_AT, ENDED_VERSION, ENDED_STATE, ENDED_SOP,
	ENDED_SUBJECT, ENDED_CONTEXT, ENDED_REASON, ENDED_PARENT
};

static void
set_text(TupleTableSlot *row, int column, const char *value)
{
	row->tts_isnull[column] = value == NULL;
	if (value != NULL)
		row->tts_values[column] = CStringGetTextDatum(value);
}

/* A task of the run ended: look at the run when the ledger is closed. */
void
sf_ledger_touch(SfLedger *ledger, SfRun *run)
{
	MemoryContext old;

	if (run->touched)
		return;
	run->touched = true;
	old = MemoryContextSwitchTo(ledger->context);
	ledger->touched = lappend(ledger->touched, run);
	MemoryContextSwitchTo(old);
}

void
sf_ledger_end(SfLedger *ledger, SfRun *run, SfRunState state, const char *reason)
{
	if (run->state != SF_RUN_ACTIVE)
		return;					/* the first verdict stands */
	run->state = state;
	run->reason = reason ? MemoryContextStrdup(ledger->context, reason) : NULL;
	sf_ledger_touch(ledger, run);
}

bool
sf_ledger_is_message(const SfRun *run, const SfTask *task)
{
	return task->error != NULL && task->error[0] == '{' &&
		run->version->nodes[task->node].type == SF_NODE_SOP;
}

static void
cancel_tasks(SfLedger *ledger, SfRun *run)
{
	static const SfRel where[][2] = {
		{SF_REL_TASK_PKEY, SF_REL_TASK},
		{SF_REL_HELD_PKEY, SF_REL_HELD},
		{SF_REL_OFFER_PKEY, SF_REL_OFFER},
	};

	for (int i = 0; i < lengthof(where); i++)
	{
		SfScan	   *scan;

		if (ledger->unused[where[i][0]])
			continue;
		scan = sf_ledger_tasks(ledger, where[i][0], run->run_id);
		while (sf_scan_next(scan))
		{
			SfOffer		offer;

			if (where[i][1] == SF_REL_OFFER)
				sf_offer_read(scan->slot, &offer);
			else
				sf_task_read(scan->slot, &offer.task);

			/*
			 * An offer may be leased by a fetch that has not committed: wait
			 * for it and look again.
			 */
			if (sf_ledger_remove(ledger, where[i][1], &offer.task.tid, true) != SF_LOCK_OK)
			{
				sf_ledger_renew(ledger);
				scan = sf_ledger_tasks(ledger, where[i][0], run->run_id);
			}
			else if (!sf_ledger_is_message(run, &offer.task))
				sf_ledger_record(ledger, &offer.task, 'c', NULL);
		}
	}
}

static void
end_run(SfLedger *ledger, SfRun *run)
{
	SfWriter   *writer;
	TupleTableSlot *row;
	Datum	   *values;

	if (sf_ledger_remove(ledger, SF_REL_RUN, &run->tid, true) != SF_LOCK_OK)
		elog(ERROR, "run " INT64_FORMAT " vanished under its lock", run->run_id);
	writer = sf_ledger_writer(ledger, SF_REL_RUN_HISTORY);
	row = sf_writer_row(writer);
	values = row->tts_values;
	values[ENDED_ID] = Int64GetDatum(run->run_id);
	values[ENDED_EVENT_AT] = TimestampTzGetDatum(run->event_at);
	values[ENDED_STARTED_AT] = TimestampTzGetDatum(run->started_at);
	values[ENDED_AT] = TimestampTzGetDatum(ledger->now);
	values[ENDED_VERSION] = Int32GetDatum(run->version_id);
	values[ENDED_STATE] = CStringGetTextDatum(run_states[run->state]);
	values[ENDED_SOP] = CStringGetTextDatum(run->sop_id);
	values[ENDED_SUBJECT] = CStringGetTextDatum(run->subject_id);
	values[ENDED_CONTEXT] = PointerGetDatum(run->context);
	row->tts_isnull[ENDED_CONTEXT] = run->context == NULL;
	set_text(row, ENDED_REASON, run->reason);
	values[ENDED_PARENT] = Int64GetDatum(run->parent_task);
	row->tts_isnull[ENDED_PARENT] = run->parent_task == 0;
	sf_writer_add(writer, row);
	run->ended = true;
	sf_runs_ended++;
	ledger->ends++;
	if (run->version->branches || run->version->waits)
		sf_memory_delete(run->run_id);
	sf_stats_count(SF_COUNT_RUNS_ENDED, 1);
}

/*
 * The run carried out a task of another, which is held until then: let dispatch
 * take that up.  We have no lock on the other run and change nothing of it: what
 * we add is the task once more, as a message that names this run and how it
 * ended.  If the other run ends at the same time, dispatch drops the message.
 */
static void
tell_parent(SfLedger *ledger, SfRun *run)
{
	SfScan	   *scan;
	SfTask		task;
	StringInfoData message;

	sf_ledger_renew(ledger);
	scan = sf_ledger_scan(ledger, SF_REL_HELD_PKEY);
	if (!sf_scan_int8(scan, run->parent_task))
		return;
	sf_task_read(scan->slot, &task);
	initStringInfo(&message);
	appendStringInfo(&message, "{\"run_id\": " INT64_FORMAT ", \"state\": \"%s\"",
					 run->run_id, run_states[run->state]);
	if (run->reason != NULL)
	{
		appendStringInfoString(&message, ", \"reason\": ");
		escape_json(&message, run->reason);
	}
	appendStringInfoChar(&message, '}');
	task.error = message.data;
	task.due_at = ledger->now;
	sf_ledger_pend(ledger, &task);
}

/*
 * Somebody has a run that is to end with the one that it was part of: have
 * dispatch end it when that is over.  The row is a message in the range of the
 * run that has ended, past all steps, so that it is in nobody's way.
 */
static void
stop_later(SfLedger *ledger, const SfRun *run, int64 child, int number)
{
	SfTask		task = {0};

	task.task_id = sf_task_id(run->run_id, (1 << SF_STEP_BITS) - 1 - number);
	task.due_at = ledger->now + USECS_PER_SEC;
	task.version_id = run->version_id;
	while (run->version->nodes[task.node].type != SF_NODE_SOP)
		task.node++;
	task.shard = sf_shard(run->subject_id);
	task.error = psprintf("{\"stop\": " INT64_FORMAT "}", child);
	sf_ledger_pend(ledger, &task);
}

static void settle_run(SfLedger *ledger, SfRun *run);

/* end a run, and those that carry out tasks of it */
void
sf_ending_whole(SfLedger *ledger, SfRun *run)
{
	List	   *children = NIL;
	SfScan	   *scan;
	ScanKeyData key;
	ListCell   *lc;

	cancel_tasks(ledger, run);
	end_run(ledger, run);
	if (run->parent_task != 0)
		tell_parent(ledger, run);
	if (!run->version->calls_sops)
		return;
	sf_ledger_renew(ledger);
	scan = sf_ledger_scan(ledger, SF_REL_RUN_SUBJECT);
	ScanKeyEntryInitialize(&key, 0, 1, BTEqualStrategyNumber, InvalidOid,
						   scan->index->rd_indcollation[0], F_TEXTEQ,
						   CStringGetTextDatum(run->subject_id));
	sf_scan_start(scan, &key, 1);
	while (sf_scan_next(scan))
	{
		int64		parent = sf_run_read_parent(scan->slot);
		int64	   *run_id = palloc(sizeof(int64));

		*run_id = sf_run_read_id(scan->slot);
		if (parent != 0 && sf_task_run(parent) == run->run_id)
			children = lappend(children, run_id);
	}
	foreach(lc, children)
	{
		int64		child_id = *(int64 *) lfirst(lc);
		bool		busy;
		SfRun	   *child = sf_ledger_run(ledger, child_id, !ledger->hurry, &busy);

		if (busy)
			stop_later(ledger, run, child_id, foreach_current_index(lc));
		if (child == NULL)
			continue;
		/* its last task may have ended in this call, too */
		if (child->touched && child->state == SF_RUN_ACTIVE)
			settle_run(ledger, child);
		if (child->ended)
			continue;
		child->state = SF_RUN_CANCELLED;
		child->reason = SF_REASON_PART;
		sf_ledger_renew(ledger);
		sf_ending_whole(ledger, child);
	}
}

bool
sf_ledger_whole_ends(SfLedger *ledger, const SfRun *run)
{
	int64		task_id = run->parent_task;

	while (task_id != 0)
	{
		int64		run_id = sf_task_run(task_id);
		SfRun	   *whole = hash_search(ledger->runs, &run_id, HASH_FIND, NULL);
		SfScan	   *scan;

		if (whole != NULL && whole->state != SF_RUN_ACTIVE)
			return true;
		if (whole != NULL)
		{
			task_id = whole->parent_task;
			continue;
		}
		scan = sf_ledger_scan(ledger, SF_REL_RUN_PKEY);
		task_id = sf_scan_int8(scan, run_id) ? sf_run_read_parent(scan->slot) : 0;
	}
	return false;
}

/*
 * A task of the run ended and nothing has ended the run: it is complete when
 * no task is left.  If the rest is held since another was under way, let the
 * earliest of them go.
 */
static void
settle_run(SfLedger *ledger, SfRun *run)
{
	SfLedger   *outer;
	SfRun	   *outer_run;
	SfScan	   *scan = NULL;
	SfTask		first = {0};
	bool		held = false;

	outer_run = sf_ledger_outer(ledger, run->run_id, &outer);
	if (outer_run != NULL)
	{
		outer_run->moved_at = Max(outer_run->moved_at, run->moved_at);
		sf_ledger_touch(outer, outer_run);
		return;
	}
	if (!run->finished)
	{
		if (run->version->joins)
			sf_token_settle(ledger, run);
		if (sf_ledger_in_flight(ledger, run->run_id))
			return;
		if (!ledger->unused[SF_REL_HELD_PKEY])
			scan = sf_ledger_tasks(ledger, SF_REL_HELD_PKEY, run->run_id);
		while (scan != NULL && sf_scan_next(scan))
		{
			SfTask		task;

			sf_task_read(scan->slot, &task);
			if (strcmp(sf_held_read_by(scan->slot), "run") != 0)
				held = true;
			else if (first.task_id == 0 || task.due_at < first.due_at)
				first = task;
		}
		if (first.task_id != 0)
		{
			if (sf_ledger_remove(ledger, SF_REL_HELD, &first.tid, true) == SF_LOCK_OK)
				sf_ledger_pend(ledger, &first);
			return;
		}
		if (held || sf_scan_next(sf_ledger_tasks(ledger, SF_REL_TASK_PKEY, run->run_id)))
			return;
	}
	run->state = SF_RUN_COMPLETED;
	end_run(ledger, run);
	if (run->parent_task != 0)
		tell_parent(ledger, run);
}

void
sf_ending_settle(SfLedger *ledger)
{
	ListCell   *lc;

	if (ledger->touched == NIL)
		return;
	sf_ledger_reread(ledger);
	sf_ledger_look(ledger);
	foreach(lc, ledger->touched)
	{
		SfRun	   *run = lfirst(lc);

		CHECK_FOR_INTERRUPTS();
		run->touched = false;
		if (run->ended)
			continue;
		if (run->state != SF_RUN_ACTIVE)
			sf_ending_whole(ledger, run);
		else
			settle_run(ledger, run);
	}
	ledger->touched = NIL;
}
