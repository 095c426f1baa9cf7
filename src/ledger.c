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
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "clock.h"
#include "compat.h"
#include "errors.h"
#include "history.h"
#include "ledger_private.h"
#include "plan.h"
#include "shm.h"
#include "stats.h"
#include "streak.h"

/* that of the innermost call; those of calls that failed go with their memory */
static SfLedger *innermost = NULL;

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

SfRun *
sf_ledger_outer(SfLedger *ledger, int64 run_id, SfLedger **of)
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
	ledger->ends = sf_runs_ended;
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

	if (ledger->ends == sf_runs_ended)
		return;
	ledger->ends = sf_runs_ended;
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
		sf_ending_whole(ledger, other);
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

SfScan *
sf_ledger_tasks(SfLedger *ledger, SfRel index, int64 run_id)
{
	SfScan	   *scan = sf_ledger_scan(ledger, index);

	sf_scan_int8_range(scan, sf_task_id(run_id, 0), sf_task_id(run_id + 1, 0) - 1);
	return scan;
}

bool
sf_ledger_in_flight(SfLedger *ledger, int64 run_id)
{
	return !ledger->unused[SF_REL_OFFER_PKEY] &&
		sf_scan_next(sf_ledger_tasks(ledger, SF_REL_OFFER_PKEY, run_id));
}

int64
sf_ledger_settle(SfLedger *ledger)
{
	sf_ending_settle(ledger);
	return ledger->cancelled;
}

void
sf_ledger_close(SfLedger *ledger)
{
	MemoryContext old = MemoryContextSwitchTo(ledger->context);

	sf_ending_settle(ledger);
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
