/*
 * flow.c
 *	  Event -> runs -> tasks: starts, ends, and waits that are answered.
 *
 * Everything an event leads to is written in the transaction of the event.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "errors.h"
#include "expr.h"
#include "flow.h"
#include "hold.h"
#include "memory.h"
#include "plan.h"
#include "stats.h"
#include "token.h"

#define MAX_SUBJECT_LENGTH	1000
/* longest delay of a node: a hundred years each in months, days and time */
#define MAX_DELAY	(301 * 366 * USECS_PER_DAY)

static void
check_subject(const char *subject_id)
{
	if (*subject_id == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("subject id must not be empty")));
	if (strlen(subject_id) > MAX_SUBJECT_LENGTH)
		ereport(ERROR,
				(errcode(ERRCODE_STRING_DATA_RIGHT_TRUNCATION),
				 errmsg("subject id is longer than %d bytes", MAX_SUBJECT_LENGTH)));
}

void
sf_flow_check_event(const SfEvent *event)
{
	check_subject(event->subject_id);
	if (TIMESTAMP_NOT_FINITE(event->occurred_at))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("time of an event must be finite")));
	/* a due time that cannot be had later on would stop the dispatch */
	if (event->occurred_at > END_TIMESTAMP - MAX_DELAY)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("due time is out of range")));
}

/* the run's id, and whether it is new */
static int64
start_run(SfLedger *ledger, SfVersion *version, const SfEvent *event, bool *started)
{
	int64		active = 0;
	SfRun	   *run = sf_ledger_start(ledger, version, event->subject_id, event->occurred_at,
									  event->context, 0, &active);

	*started = run != NULL;
	if (run == NULL)
		return active;
	sf_token_start(ledger, run, sf_shard(event->subject_id));
	return run->run_id;
}

typedef struct SfRunIds
{
	int64	   *ids;
	int			nids;
	int			allocated;
} SfRunIds;

static void
add_run(SfRunIds *runs, int64 run_id)
{
	if (runs->nids == runs->allocated)
	{
		runs->allocated = Max(64, runs->allocated * 2);
		runs->ids = runs->ids == NULL ? palloc(runs->allocated * sizeof(int64)) :
			repalloc(runs->ids, runs->allocated * sizeof(int64));
	}
	runs->ids[runs->nids++] = run_id;
}

static bool
has_run(const SfRunIds *runs, int64 run_id)
{
	for (int i = 0; i < runs->nids; i++)
		if (runs->ids[i] == run_id)
			return true;
	return false;
}

static SfScan *
scan_runs(SfLedger *ledger, const char *subject_id)
{
	SfScan	   *scan = sf_ledger_scan(ledger, SF_REL_RUN_SUBJECT);
	ScanKeyData key;

	ScanKeyEntryInitialize(&key, 0, 1, BTEqualStrategyNumber, InvalidOid,
						   scan->index->rd_indcollation[0], F_TEXTEQ,
						   CStringGetTextDatum(subject_id));
	sf_scan_start(scan, &key, 1);
	return scan;
}

/* add the subject's active runs of these SOPs; true: some runs are parts of others */
static bool
find_runs(SfLedger *ledger, const char *subject_id, List *sop_ids, SfRunIds *runs)
{
	SfScan	   *scan = scan_runs(ledger, subject_id);
	bool		parts = false;
	ListCell   *lc;

	while (sf_scan_next(scan))
	{
		char	   *sop_id = sf_run_read_sop(scan->slot);

		parts |= sf_run_read_parent(scan->slot) != 0;
		foreach(lc, sop_ids)
			if (strcmp(lfirst(lc), sop_id) == 0)
			{
				add_run(runs, sf_run_read_id(scan->slot));
				break;
			}
	}
	return parts;
}

/* add the runs that carry out tasks of those that are there: they end together */
static void
find_parts(SfLedger *ledger, const char *subject_id, SfRunIds *runs)
{
	int			before;

	do
	{
		SfScan	   *scan = scan_runs(ledger, subject_id);

		before = runs->nids;
		while (sf_scan_next(scan))
		{
			int64		parent = sf_run_read_parent(scan->slot);
			int64		run_id = sf_run_read_id(scan->slot);

			if (parent != 0 && has_run(runs, sf_task_run(parent)) && !has_run(runs, run_id))
				add_run(runs, run_id);
		}
	} while (runs->nids > before);
}

/*
 * Lock all runs that the events may end, in the order of their ids, before any
 * of them is touched in the order of the rows.
 */
static void
lock_runs(SfLedger *ledger, const SfEvent *events, int nevents, List *sop_ids)
{
	SfRunIds	runs = {0};
	bool		busy;

	for (int i = 0; i < nevents; i++)
		if (find_runs(ledger, events[i].subject_id, sop_ids, &runs))
			find_parts(ledger, events[i].subject_id, &runs);
	if (runs.nids == 0)
		return;
	qsort(runs.ids, runs.nids, sizeof(int64), sf_compare_int64);
	for (int i = 0; i < runs.nids; i++)
	{
		CHECK_FOR_INTERRUPTS();
		(void) sf_ledger_run(ledger, runs.ids[i], true, &busy);
	}
	sf_ledger_renew(ledger);
}

/* end the subject's active runs of these SOPs whose version says so */
static int64
exit_runs(SfLedger *ledger, const char *event, const char *subject_id, List *sop_ids)
{
	SfRunIds	runs = {0};
	int64		ended = 0;

	(void) find_runs(ledger, subject_id, sop_ids, &runs);
	if (runs.nids > 1)
		qsort(runs.ids, runs.nids, sizeof(int64), sf_compare_int64);
	for (int i = 0; i < runs.nids; i++)
	{
		bool		busy;
		SfRun	   *run = sf_ledger_run(ledger, runs.ids[i], true, &busy);
		ListCell   *lc;

		if (run == NULL)
			continue;
		foreach(lc, run->version->exit_events)
			if (strcmp(lfirst(lc), event) == 0)
			{
				sf_ledger_end(ledger, run, SF_RUN_EXITED, psprintf("event \"%s\"", event));
				ended++;
				break;
			}
	}
	return ended;
}

/* --- events that are waited for --- */

typedef struct SfWaits
{
	SfTask	   *tasks;
	SfRel	   *tables;			/* where they stand */
	int			n;
	int			allocated;
} SfWaits;

static void
find_waits(SfLedger *ledger, SfRun *run, const char *event, const SfMemory *memory,
		   SfArrival *arrival, SfWaits *waits)
{
	static const SfRel where[][2] = {
		{SF_REL_TASK_PKEY, SF_REL_TASK},
		{SF_REL_HELD_PKEY, SF_REL_HELD},
	};

	for (int i = 0; i < lengthof(where); i++)
	{
		SfScan	   *scan = sf_ledger_scan(ledger, where[i][0]);

		sf_scan_int8_range(scan, sf_task_id(run->run_id, 0), sf_task_id(run->run_id + 1, 0) - 1);
		while (sf_scan_next(scan))
		{
			SfTask		task;
			SfNode	   *node;

			sf_task_read(scan->slot, &task);
			node = &run->version->nodes[task.node];
			if (node->type != SF_NODE_WAIT || strcmp(node->wait_event, event) != 0)
				continue;
			/* answered by the one before and not carried out yet: the last one counts */
			if (bms_is_member(sf_task_step(task.task_id), memory->answered))
				arrival->answered = bms_add_member(arrival->answered, task.node);
			if (task.due_at <= sf_ledger_now(ledger) ||
				(where[i][1] == SF_REL_HELD && strcmp(sf_held_read_by(scan->slot), "join") == 0))
				continue;
			if (waits->n == waits->allocated)
			{
				waits->allocated = Max(8, waits->allocated * 2);
				waits->tasks = waits->n == 0 ? palloc(waits->allocated * sizeof(SfTask)) :
					repalloc(waits->tasks, waits->allocated * sizeof(SfTask));
				waits->tables = waits->n == 0 ? palloc(waits->allocated * sizeof(SfRel)) :
					repalloc(waits->tables, waits->allocated * sizeof(SfRel));
			}
			waits->tables[waits->n] = where[i][1];
			waits->tasks[waits->n++] = task;
		}
	}
}

static void
push_string(JsonbParseState **state, JsonbIteratorToken token, const char *string)
{
	JsonbValue	v;

	v.type = string ? jbvString : jbvNull;
	if (string != NULL)
	{
		v.val.string.val = unconstify(char *, string);
		v.val.string.len = strlen(string);
	}
	pushJsonbValue(state, token, &v);
}

/* not by way of text: to read it takes more stack than the context was made with */
Jsonb *
sf_flow_wait_result(const char *event, Jsonb *context)
{
	JsonbParseState *state = NULL;
	JsonbValue	v;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_string(&state, WJB_KEY, "event");
	push_string(&state, WJB_VALUE, event);
	if (event != NULL)
	{
		push_string(&state, WJB_KEY, "context");
		if (context != NULL)
		{
			sf_json_value(context, &v);
			pushJsonbValue(&state, WJB_VALUE, &v);
		}
		else
		{
			pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
			pushJsonbValue(&state, WJB_END_OBJECT, NULL);
		}
	}
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/* whether some node of the version waits for the event */
static bool
version_waits(const SfVersion *version, const char *event)
{
	for (int i = 0; version->waits && i < version->nnodes; i++)
		if (version->nodes[i].type == SF_NODE_WAIT &&
			strcmp(version->nodes[i].wait_event, event) == 0)
			return true;
	return false;
}

/*
 * The event comes to a run: it answers the waits that are open and is
 * remembered for those that the run has yet to come to.
 */
static int64
answer_run(SfLedger *ledger, SfRun *run, const char *event, Jsonb *context)
{
	TimestampTz now = sf_ledger_now(ledger);
	SfMemory   *memory = sf_memory_read(run->run_id);
	SfArrival  *arrival = sf_memory_arrival(memory, event);
	SfWaits		waits = {0};

	if (arrival == NULL)
	{
		arrival = palloc0(sizeof(SfArrival));
		arrival->event = pstrdup(event);
		memory->arrivals = lappend(memory->arrivals, arrival);
	}
	arrival->context = context;
	arrival->answered = NULL;
	sf_ledger_renew(ledger);
	find_waits(ledger, run, event, memory, arrival, &waits);
	/* before any of them moves on: it may come to another wait for this event */
	for (int i = 0; i < waits.n; i++)
		arrival->answered = bms_add_member(arrival->answered, waits.tasks[i].node);
	for (int i = 0; i < waits.n; i++)
	{
		SfTask	   *task = &waits.tasks[i];
		SfMove		move;
		int			next = run->version->nodes[task->node].next;

		if (sf_ledger_remove(ledger, waits.tables[i], &task->tid, true) != SF_LOCK_OK)
			elog(ERROR, "task " INT64_FORMAT " vanished under the lock of its run", task->task_id);
		sf_ledger_record(ledger, task, 'd', sf_flow_wait_result(event, context));
		sf_move_begin(&move, ledger, run, task, now);
		move.memory = memory;
		if (next >= 0 && run->state == SF_RUN_ACTIVE)
			sf_move_to(&move, next);
		sf_ledger_touch(ledger, run);
	}
	sf_memory_write(run->run_id, memory);
	return waits.n;
}

static int64
answer_waits(SfLedger *ledger, const char *event, const SfEvent *e, List *sop_ids)
{
	SfRunIds	runs = {0};
	int64		answered = 0;

	(void) find_runs(ledger, e->subject_id, sop_ids, &runs);
	if (runs.nids > 1)
		qsort(runs.ids, runs.nids, sizeof(int64), sf_compare_int64);
	for (int i = 0; i < runs.nids; i++)
	{
		bool		busy;
		SfRun	   *run = sf_ledger_run(ledger, runs.ids[i], true, &busy);

		if (run != NULL && run->state == SF_RUN_ACTIVE && version_waits(run->version, event))
			answered += answer_run(ledger, run, event, e->context);
	}
	return answered;
}

/*
 * Where the event leads; the SOPs that it starts stay until we commit.  Read
 * again after the locks: one may have been deleted meanwhile.
 */
static SfEventUse
find_sops(const char *event)
{
	const SfEventUse *use;
	ListCell   *lc;

	for (int i = 0; i < 2; i++)
	{
		use = sf_definition_event(event);
		foreach(lc, use->starts)
			sf_hold_start(((SfSop *) lfirst(lc))->sop_id);
	}
	return *use;
}

static void
reopen(SfLedger **ledger)
{
	sf_ledger_close(*ledger);
	*ledger = sf_ledger_open(true);
}

/* what one event of the statement leads to */
static int64
take_event(SfLedger **ledger, const char *name, const SfEvent *event, const SfEventUse *use)
{
	int64		ended = 0;
	int64		answered = 0;
	int64		count = 0;
	ListCell   *lc;

	/* what ends takes along others that wait, and makes room for what starts */
	if (use->exits != NIL)
		ended = exit_runs(*ledger, name, event->subject_id, use->exits);
	if (ended > 0)
		reopen(ledger);
	if (use->waits != NIL)
		answered = answer_waits(*ledger, name, event, use->waits);
	if (answered > 0)
		reopen(ledger);
	foreach(lc, use->starts)
	{
		SfSop	   *sop = lfirst(lc);
		bool		started;

		(void) start_run(*ledger, sf_definition_version(sop->version_id), event, &started);
		count += started;
	}
	if ((use->exits != NIL || use->waits != NIL) && use->starts != NIL)
		sf_ledger_renew(*ledger);	/* the next event may end what this one started */
	return count + ended + answered;
}

int64
sf_flow_events(const char *event, const SfEvent *events, int nevents)
{
	SfEventUse	use;
	List	   *touched;		/* SOPs runs of which may end or go on */
	SfLedger   *ledger;
	int64		count = 0;
	ListCell   *lc;

	for (int i = 0; i < nevents; i++)
		sf_flow_check_event(&events[i]);
	sf_stats_count(SF_COUNT_EVENTS, nevents);
	use = find_sops(event);
	if (use.starts == NIL && use.exits == NIL && use.waits == NIL)
		return 0;
	touched = list_concat_copy(use.exits, use.waits);
	foreach(lc, use.starts)
	{
		SfSop	   *sop = lfirst(lc);

		if (sf_definition_version(sop->version_id)->reentry == SF_REENTRY_RESTART)
			touched = lappend(touched, sop->sop_id);
	}
	ledger = sf_ledger_open(touched != NIL);
	if (touched != NIL)
		lock_runs(ledger, events, nevents, touched);
	for (int i = 0; i < nevents; i++)
	{
		CHECK_FOR_INTERRUPTS();
		count += take_event(&ledger, event, &events[i], &use);
	}
	sf_ledger_close(ledger);
	return count;
}

int64
sf_flow_start(const char *sop_id, const SfEvent *event)
{
	SfSop	   *sop;
	SfVersion  *version;
	SfLedger   *ledger;
	bool		started;
	int64		run_id;

	sf_flow_check_event(event);
	sf_hold_start(sop_id);
	sop = sf_definition_sop(sop_id);
	if (sop == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("SOP \"%s\" does not exist", sop_id)));
	if (!sop->enabled || sop->version_id == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("SOP \"%s\" is not enabled", sop_id),
				 errhint("UPDATE sopflow.sop SET enabled = true WHERE sop_id = %s.",
						 quote_literal_cstr(sop_id))));
	version = sf_definition_version(sop->version_id);
	ledger = sf_ledger_open(version->reentry == SF_REENTRY_RESTART);
	run_id = start_run(ledger, version, event, &started);
	sf_ledger_close(ledger);
	return run_id;
}
