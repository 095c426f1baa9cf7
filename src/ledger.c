/*
 * ledger.c
 *	  The books of one call: runs that it has locked, rows that it moves.
 *
 * Nothing can be lost or doubled: a task leaves one table and enters another in
 * the same transaction, and only under the lock of its run.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "commands/sequence.h"
#include "miscadmin.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "clock.h"
#include "compat.h"
#include "errors.h"
#include "history.h"
#include "ledger.h"
#include "memory.h"
#include "plan.h"
#include "shm.h"
#include "stats.h"
#include "streak.h"
#include "token.h"

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
	uint64		ends;			/* runs_ended, less what others ended since */
	struct SfLedger *outer;		/* of a call that this one is part of */
	LocalTransactionId lxid;
	SubTransactionId subid;
	MemoryContextCallback forget;
};

/* that of the innermost call; those of calls that failed go with their memory */
static SfLedger *innermost = NULL;

/* by this session; what a handler ended is told from what its caller did */
static uint64 runs_ended = 0;

static const char *const run_states[] = {
	[SF_RUN_ACTIVE] = "active",
	[SF_RUN_COMPLETED] = "completed",
	[SF_RUN_FAILED] = "failed",
	[SF_RUN_CANCELLED] = "cancelled",
	[SF_RUN_EXITED] = "exited",
};

/* the table that each index belongs to, and the scan keys used on it */
static const struct
{
	SfRel		table;
	int			nkeys;
}			index_use[SF_REL_COUNT] = {
	[SF_REL_RUN_PKEY] = {SF_REL_RUN, 2},
	[SF_REL_RUN_SUBJECT] = {SF_REL_RUN, 1},
	[SF_REL_TASK_PKEY] = {SF_REL_TASK, 2},
	[SF_REL_TASK_DUE] = {SF_REL_TASK, 1},
	[SF_REL_HELD_PKEY] = {SF_REL_HELD, 2},
	[SF_REL_OFFER_PKEY] = {SF_REL_OFFER, 2},
	[SF_REL_DEAD_PKEY] = {SF_REL_DEAD, 2},
	[SF_REL_ACTION_STATE_PKEY] = {SF_REL_ACTION_STATE, 1},
};

/*
 * FNV-1a, folded: our own, so that a shard survives pg_upgrade and a change
 * of the server's hash functions.
 */
int16
sf_shard(const char *subject_id)
{
	uint32		hash = 2166136261u;

	for (const char *p = subject_id; *p; p++)
		hash = (hash ^ (unsigned char) *p) * 16777619u;
	return (int16) ((hash ^ (hash >> 16)) % SF_SHARDS);
}

int
sf_compare_int64(const void *a, const void *b)
{
	int64		x = *(const int64 *) a;
	int64		y = *(const int64 *) b;

	return (x > y) - (x < y);
}

static void
forget_ledger(void *arg)
{
	SfLedger  **link = &innermost;

	while (*link != NULL && *link != arg)
		link = &(*link)->outer;
	if (*link != NULL)
		*link = (*link)->outer;
}

/*
 * The run as a call around this one has it, or NULL.  That call may have tasks
 * of it in hand, which stand in no table: whether the run has ended is up to it.
 */
static SfRun *
run_of_outer(SfLedger *ledger, int64 run_id, SfLedger **of)
{
	for (SfLedger *outer = ledger->outer; outer != NULL; outer = outer->outer)
	{
		SfRun	   *run;

		/* one that failed may still be there */
		if (outer->lxid != sf_local_xid() || !SubTransactionIsActive(outer->subid))
			continue;
		run = hash_search(outer->runs, &run_id, HASH_FIND, NULL);
		*of = outer;
		if (run != NULL && !run->ended)
			return run;
	}
	return NULL;
}

SfLedger *
sf_ledger_open(bool ends)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "sopflow ledger",
												  ALLOCSET_DEFAULT_SIZES);
	SfLedger   *ledger = MemoryContextAllocZero(context, sizeof(SfLedger));
	HASHCTL		ctl = {0};

	/* we write without the executor, which would say so */
	PreventCommandIfReadOnly("sopflow");
	PreventCommandIfParallelMode("sopflow");
	PreventCommandDuringRecovery("sopflow");
	ledger->context = context;
	ctl.keysize = sizeof(int64);
	ctl.entrysize = sizeof(SfRun);
	ctl.hcxt = context;
	ledger->runs = hash_create("sopflow runs", 256, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	ledger->saved = sf_ident_enter();
	ledger->now = sf_clock_now();
	if (ends)
		sf_history_ensure(ledger->now);
	ledger->snapshot = sf_snapshot_push();
	ledger->ends = runs_ended;
	ledger->lxid = sf_local_xid();
	ledger->subid = GetCurrentSubTransactionId();
	ledger->outer = innermost;
	ledger->forget.func = forget_ledger;
	ledger->forget.arg = ledger;
	MemoryContextRegisterResetCallback(context, &ledger->forget);
	innermost = ledger;
	return ledger;
}

void
sf_ledger_hurry(SfLedger *ledger)
{
	ledger->hurry = true;
}

MemoryContext
sf_ledger_context(SfLedger *ledger)
{
	return ledger->context;
}

HTAB	  **
sf_ledger_streaks(SfLedger *ledger)
{
	return &ledger->streaks;
}

bool
sf_ledger_hurries(SfLedger *ledger)
{
	return ledger->hurry;
}

Snapshot
sf_ledger_snapshot(SfLedger *ledger)
{
	return ledger->snapshot;
}

TimestampTz
sf_ledger_now(SfLedger *ledger)
{
	return ledger->now;
}

static void
close_scans(SfLedger *ledger)
{
	for (int i = 0; i < SF_REL_COUNT; i++)
	{
		if (ledger->scans[i] != NULL)
			sf_scan_close(ledger->scans[i]);
		ledger->scans[i] = NULL;
	}
}

void
sf_ledger_renew(SfLedger *ledger)
{
	for (int i = 0; i < SF_REL_COUNT; i++)
		if (ledger->writers[i] != NULL)
			sf_writer_flush(ledger->writers[i]);
	close_scans(ledger);
	sf_snapshot_pop();
	ledger->snapshot = sf_snapshot_push();
}

/*
 * Offers and holds are rare, save where consumers are slow: one look for the
 * whole batch usually spares one for each run.  Nobody else adds entries of
 * runs that are locked.
 */
void
sf_ledger_look(SfLedger *ledger)
{
	static const SfRel indexes[] = {SF_REL_OFFER_PKEY, SF_REL_HELD_PKEY};

	sf_ledger_renew(ledger);
	for (int i = 0; i < lengthof(indexes) && ledger->last_run > 0; i++)
	{
		SfScan	   *scan = sf_ledger_scan(ledger, indexes[i]);

		sf_scan_int8_range(scan, sf_task_id(ledger->first_run, 0),
						   sf_task_id(ledger->last_run + 1, 0) - 1);
		ledger->unused[indexes[i]] = !sf_scan_any(scan);
	}
}

void
sf_ledger_reread(SfLedger *ledger)
{
	HASH_SEQ_STATUS seq;
	SfRun	   *run;

	if (ledger->ends == runs_ended)
		return;
	ledger->ends = runs_ended;
	sf_ledger_renew(ledger);
	hash_seq_init(&seq, ledger->runs);
	while ((run = hash_seq_search(&seq)) != NULL)
		if (!run->ended && !sf_scan_int8(sf_ledger_scan(ledger, SF_REL_RUN_PKEY), run->run_id))
		{
			run->state = SF_RUN_CANCELLED;
			run->ended = true;
		}
}

SfScan *
sf_ledger_scan(SfLedger *ledger, SfRel index)
{
	if (ledger->scans[index] == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(ledger->context);

		ledger->scans[index] = sf_scan_open(index_use[index].table, index, ledger->snapshot,
											index_use[index].nkeys);
		MemoryContextSwitchTo(old);
	}
	return ledger->scans[index];
}

SfWriter *
sf_ledger_writer(SfLedger *ledger, SfRel rel)
{
	if (ledger->writers[rel] == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(ledger->context);
		Oid			relid;

		if (rel == SF_REL_HISTORY || rel == SF_REL_RUN_HISTORY)
			relid = sf_history_partition(rel, ledger->now);
		else
			relid = sf_ident_rel(rel);
		ledger->writers[rel] = sf_writer_open(relid);
		MemoryContextSwitchTo(old);
	}
	return ledger->writers[rel];
}

/* --- runs --- */

enum
{
	RUN_ID, RUN_EVENT_AT, RUN_STARTED_AT, RUN_SLOT, RUN_VERSION, RUN_SOP, RUN_SUBJECT, RUN_CONTEXT
};

static void
read_run(SfLedger *ledger, TupleTableSlot *slot, SfRun *run)
{
	MemoryContext old = MemoryContextSwitchTo(ledger->context);
	Datum	   *values = slot->tts_values;
	int64		run_id = DatumGetInt64(values[RUN_ID]);

	memset(run, 0, sizeof(SfRun));
	run->run_id = run_id;
	run->event_at = DatumGetTimestampTz(values[RUN_EVENT_AT]);
	run->started_at = DatumGetTimestampTz(values[RUN_STARTED_AT]);
	run->version_id = DatumGetInt32(values[RUN_VERSION]);
	run->sop_id = TextDatumGetCString(values[RUN_SOP]);
	run->subject_id = TextDatumGetCString(values[RUN_SUBJECT]);
	if (!slot->tts_isnull[RUN_CONTEXT])
		run->context = (Jsonb *) PG_DETOAST_DATUM_COPY(values[RUN_CONTEXT]);
	run->parent_task = sf_run_read_parent(slot);
	run->tid = slot->tts_tid;
	run->version = sf_definition_version(run->version_id);
	MemoryContextSwitchTo(old);
}

int64
sf_run_read_id(TupleTableSlot *slot)
{
	return DatumGetInt64(slot->tts_values[RUN_ID]);
}

int64
sf_run_read_parent(TupleTableSlot *slot)
{
	/* a slot below 0 is a task of another run */
	return Max(-DatumGetInt64(slot->tts_values[RUN_SLOT]), 0);
}

char *
sf_run_read_sop(TupleTableSlot *slot)
{
	return TextDatumGetCString(slot->tts_values[RUN_SOP]);
}

SfRun *
sf_ledger_run(SfLedger *ledger, int64 run_id, bool wait, bool *busy)
{
	SfRun	   *run = hash_search(ledger->runs, &run_id, HASH_FIND, NULL);
	SfScan	   *scan;
	SfLock		outcome;

	*busy = false;
	if (run != NULL)
		return run->ended ? NULL : run;
	scan = sf_ledger_scan(ledger, SF_REL_RUN_PKEY);
	if (!sf_scan_int8(scan, run_id))
		return NULL;
	outcome = sf_row_lock(scan, ledger->snapshot, wait);
	if (outcome != SF_LOCK_OK)
	{
		*busy = outcome == SF_LOCK_BUSY;
		return NULL;
	}
	sf_shm_note_locked();
	ledger->first_run = ledger->last_run > 0 ? Min(ledger->first_run, run_id) : run_id;
	ledger->last_run = Max(ledger->last_run, run_id);
	memset(ledger->unused, 0, sizeof(ledger->unused));
	run = hash_search(ledger->runs, &run_id, HASH_ENTER, NULL);
	read_run(ledger, scan->slot, run);
	return run;
}

/* id of the active run that stands in the way of a new one, 0 when it is gone */
static int64
conflicting_run(SfLedger *ledger, ItemPointer tid)
{
	SfScan	   *scan = sf_ledger_scan(ledger, SF_REL_RUN_PKEY);

	if (!table_tuple_fetch_row_version(scan->heap, tid, SnapshotAny, scan->slot))
		return 0;
	slot_getallattrs(scan->slot);
	return DatumGetInt64(scan->slot->tts_values[RUN_ID]);
}

static void end_whole(SfLedger *ledger, SfRun *run);

SfRun *
sf_ledger_start(SfLedger *ledger, SfVersion *version, const char *subject_id,
				TimestampTz event_at, Jsonb *context, int64 parent_task, int64 *active)
{
	SfWriter   *writer = sf_ledger_writer(ledger, SF_REL_RUN);
	Oid			sequence = sf_ident_rel(SF_REL_RUN_ID_SEQ);
	int64		run_id = nextval_internal(sequence, false);
	bool		alone = version->reentry != SF_REENTRY_ALLOW && parent_task == 0;
	SfRun	   *run;

	for (;;)
	{
		TupleTableSlot *row = sf_writer_row(writer);
		Datum	   *values = row->tts_values;
		ItemPointerData conflict;
		SfRun	   *other;
		int64		other_id;
		bool		busy;

		values[RUN_ID] = Int64GetDatum(run_id);
		values[RUN_EVENT_AT] = TimestampTzGetDatum(event_at);
		values[RUN_STARTED_AT] = TimestampTzGetDatum(ledger->now);
		values[RUN_SLOT] = Int64GetDatum(alone ? 0 : parent_task != 0 ? -parent_task : run_id);
		values[RUN_VERSION] = Int32GetDatum(version->version_id);
		values[RUN_SOP] = CStringGetTextDatum(version->sop_id);
		values[RUN_SUBJECT] = CStringGetTextDatum(subject_id);
		values[RUN_CONTEXT] = PointerGetDatum(context);
		row->tts_isnull[RUN_CONTEXT] = context == NULL;
		if (!alone)
		{
			sf_writer_add(writer, row);
			break;
		}
		if (sf_writer_insert_unless(writer, row, SF_REL_RUN_SUBJECT, &conflict))
			break;
		other_id = conflicting_run(ledger, &conflict);
		if (other_id == 0)
			continue;			/* it ended meanwhile */
		if (version->reentry == SF_REENTRY_IGNORE)
		{
			*active = other_id;
			return NULL;
		}
		sf_ledger_renew(ledger);
		other = sf_ledger_run(ledger, other_id, true, &busy);
		if (other == NULL)
			continue;
		other->state = SF_RUN_CANCELLED;
		other->reason = "restarted by a new event";
		end_whole(ledger, other);
		sf_ledger_renew(ledger);
	}
	run = MemoryContextAllocZero(ledger->context, sizeof(SfRun));
	run->run_id = run_id;
	run->event_at = event_at;
	run->started_at = ledger->now;
	run->version_id = version->version_id;
	run->sop_id = version->sop_id;
	run->subject_id = unconstify(char *, subject_id);
	run->context = context;
	run->parent_task = parent_task;
	run->version = version;
	sf_stats_count(SF_COUNT_RUNS_STARTED, 1);
	return run;
}

/* --- rows --- */

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

void
sf_ledger_count_cancelled(SfLedger *ledger)
{
	ledger->cancelled++;
}

SfLock
sf_ledger_remove(SfLedger *ledger, SfRel rel, ItemPointer tid, bool wait)
{
	return sf_row_delete(sf_writer_rel(sf_ledger_writer(ledger, rel)), tid, ledger->snapshot, wait);
}

static SfScan *
run_tasks(SfLedger *ledger, SfRel index, int64 run_id)
{
	SfScan	   *scan = sf_ledger_scan(ledger, index);

	sf_scan_int8_range(scan, sf_task_id(run_id, 0), sf_task_id(run_id + 1, 0) - 1);
	return scan;
}

bool
sf_ledger_in_flight(SfLedger *ledger, int64 run_id)
{
	return !ledger->unused[SF_REL_OFFER_PKEY] &&
		sf_scan_next(run_tasks(ledger, SF_REL_OFFER_PKEY, run_id));
}

/* --- the end of runs --- */

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
		scan = run_tasks(ledger, where[i][0], run->run_id);
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
				scan = run_tasks(ledger, where[i][0], run->run_id);
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
	runs_ended++;
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
static void
end_whole(SfLedger *ledger, SfRun *run)
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
		end_whole(ledger, child);
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

	outer_run = run_of_outer(ledger, run->run_id, &outer);
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
			scan = run_tasks(ledger, SF_REL_HELD_PKEY, run->run_id);
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
		if (held || sf_scan_next(run_tasks(ledger, SF_REL_TASK_PKEY, run->run_id)))
			return;
	}
	run->state = SF_RUN_COMPLETED;
	end_run(ledger, run);
	if (run->parent_task != 0)
		tell_parent(ledger, run);
}

static void
settle_runs(SfLedger *ledger)
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
			end_whole(ledger, run);
		else
			settle_run(ledger, run);
	}
	ledger->touched = NIL;
}

int64
sf_ledger_settle(SfLedger *ledger)
{
	settle_runs(ledger);
	return ledger->cancelled;
}

void
sf_ledger_close(SfLedger *ledger)
{
	MemoryContext old = MemoryContextSwitchTo(ledger->context);

	settle_runs(ledger);
	sf_streak_settle(ledger, ledger->streaks);
	close_scans(ledger);
	for (int i = 0; i < SF_REL_COUNT; i++)
		if (ledger->writers[i] != NULL)
			sf_writer_close(ledger->writers[i]);
	sf_snapshot_pop();
	MemoryContextSwitchTo(old);
	sf_ident_leave(ledger->saved);
	MemoryContextDelete(ledger->context);
}
