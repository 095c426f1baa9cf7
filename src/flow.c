/*
 * flow.c
 *	  Event -> runs -> tasks; the end of a task -> what follows.
 *
 * Everything an event leads to is written in the transaction of the event, and
 * everything the end of a task leads to in the transaction of that end.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "errors.h"
#include "flow.h"
#include "hold.h"
#include "plan.h"
#include "stats.h"

#define MAX_SUBJECT_LENGTH	1000
/* longest delay of a node: a hundred years each in months, days and time */
#define MAX_DELAY	(301 * 366 * USECS_PER_DAY)
#define MAX_ERROR_LENGTH	4000	/* bytes of an error that are kept */

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

static void
write_task(SfLedger *ledger, const SfRun *run, int step, int node, int16 shard, TimestampTz due_at)
{
	SfTask		task = {0};

	task.task_id = sf_task_id(run->run_id, step);
	task.due_at = due_at;
	task.version_id = run->version_id;
	task.node = node;
	task.shard = shard;
	sf_ledger_pend(ledger, &task);
	sf_stats_count(SF_COUNT_TASKS_CREATED, 1);
}

/* the run's id, and whether it is new */
static int64
start_run(SfLedger *ledger, SfVersion *version, const SfEvent *event, bool *started)
{
	int64		active = 0;
	SfRun	   *run = sf_ledger_start(ledger, version, event->subject_id, event->occurred_at,
									  event->context, &active);
	int16		shard;

	*started = run != NULL;
	if (run == NULL)
		return active;
	shard = sf_shard(event->subject_id);
	for (int i = 0; i < (version->parallel ? version->nnodes : 1); i++)
		write_task(ledger, run, i, i, shard,
				   sf_definition_due(event->occurred_at, &version->nodes[i].delay));
	return run->run_id;
}

typedef struct SfRunIds
{
	int64	   *ids;
	int			nids;
	int			allocated;
} SfRunIds;

/* add the subject's active runs of these SOPs */
static void
find_runs(SfLedger *ledger, const char *subject_id, List *sop_ids, SfRunIds *runs)
{
	SfScan	   *scan = sf_ledger_scan(ledger, SF_REL_RUN_SUBJECT);
	ScanKeyData key;
	ListCell   *lc;

	ScanKeyEntryInitialize(&key, 0, 1, BTEqualStrategyNumber, InvalidOid,
						   scan->index->rd_indcollation[0], F_TEXTEQ,
						   CStringGetTextDatum(subject_id));
	sf_scan_start(scan, &key, 1);
	while (sf_scan_next(scan))
	{
		char	   *sop_id = sf_run_read_sop(scan->slot);

		foreach(lc, sop_ids)
		{
			if (strcmp(lfirst(lc), sop_id) != 0)
				continue;
			if (runs->nids == runs->allocated)
			{
				runs->allocated = Max(64, runs->allocated * 2);
				runs->ids = runs->ids == NULL ? palloc(runs->allocated * sizeof(int64)) :
					repalloc(runs->ids, runs->allocated * sizeof(int64));
			}
			runs->ids[runs->nids++] = sf_run_read_id(scan->slot);
			break;
		}
	}
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
		find_runs(ledger, events[i].subject_id, sop_ids, &runs);
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

	find_runs(ledger, subject_id, sop_ids, &runs);
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

/*
 * The SOPs that the event starts and ends; those that it starts stay until we
 * commit.  Read again after the locks: one may have been deleted meanwhile.
 */
static void
find_sops(const char *event, List **starts, List **exits)
{
	ListCell   *lc;

	for (int i = 0; i < 2; i++)
	{
		sf_definition_event(event, starts, exits);
		foreach(lc, *starts)
			sf_hold_start(((SfSop *) lfirst(lc))->sop_id);
	}
}

int64
sf_flow_events(const char *event, const SfEvent *events, int nevents)
{
	List	   *starts;
	List	   *exits;
	List	   *ending;			/* SOPs runs of which may end */
	SfLedger   *ledger;
	int64		count = 0;
	ListCell   *lc;

	for (int i = 0; i < nevents; i++)
		sf_flow_check_event(&events[i]);
	sf_stats_count(SF_COUNT_EVENTS, nevents);
	find_sops(event, &starts, &exits);
	if (starts == NIL && exits == NIL)
		return 0;
	ending = list_copy(exits);
	foreach(lc, starts)
	{
		SfSop	   *sop = lfirst(lc);

		if (sf_definition_version(sop->version_id)->reentry == SF_REENTRY_RESTART)
			ending = lappend(ending, sop->sop_id);
	}
	ledger = sf_ledger_open(ending != NIL);
	if (ending != NIL)
		lock_runs(ledger, events, nevents, ending);
	for (int i = 0; i < nevents; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (exits != NIL)
		{
			int64		ended = exit_runs(ledger, event, events[i].subject_id, exits);

			count += ended;
			if (ended > 0)
			{
				/* what ends makes room for what starts */
				sf_ledger_close(ledger);
				ledger = sf_ledger_open(true);
			}
		}
		foreach(lc, starts)
		{
			SfSop	   *sop = lfirst(lc);
			bool		started;

			(void) start_run(ledger, sf_definition_version(sop->version_id), &events[i], &started);
			count += started;
		}
		if (exits != NIL && starts != NIL)
			sf_ledger_renew(ledger);	/* the next event may end what this one started */
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

static bool
is_written(int64 task_id)
{
	Datum		values[1] = {Int64GetDatum(task_id)};

	return sf_plan_run(SF_PLAN_TASK_PARAMS, values, NULL, NULL, NULL) > 0;
}

/* the node of the task is complete: write what follows */
static void
advance(SfLedger *ledger, SfRun *run, const SfTask *task, TimestampTz completed_at)
{
	SfVersion  *version = run->version;
	const SfNode *next;
	int			step = sf_task_step(task->task_id) + 1;

	if (run->state != SF_RUN_ACTIVE)
		return;
	if (version->parallel || version->nodes[task->node].next < 0)
	{
		/* a run of one node has no other task, held, offered or pending */
		run->finished = version->nnodes == 1;
		sf_ledger_touch(ledger, run);
		return;
	}
	if (task->retried && version->nodes[task->node].go_on &&
		(step <= run->last_step || is_written(sf_task_id(run->run_id, step))))
	{
		/*
		 * It was dead, the run went on without it, and it was redriven.  What
		 * this call took is in no table yet.
		 */
		sf_ledger_touch(ledger, run);
		return;
	}
	next = &version->nodes[version->nodes[task->node].next];
	if (next->is_end)
		sf_ledger_end(ledger, run, SF_RUN_COMPLETED, NULL);
	else if (step >= version->max_steps)
		sf_ledger_end(ledger, run, SF_RUN_FAILED,
					  psprintf("more than max_steps = %d tasks", version->max_steps));
	else
		write_task(ledger, run, step, version->nodes[task->node].next, task->shard,
				   sf_definition_due(version->from_previous ? completed_at : run->event_at,
									 &next->delay));
}

void
sf_flow_done(SfLedger *ledger, SfRun *run, const SfTask *task, Jsonb *result,
			 TimestampTz completed_at)
{
	sf_ledger_record(ledger, task, 'd', result);
	advance(ledger, run, task, completed_at);
}

bool
sf_flow_too_late(const SfRun *run, const SfTask *task, TimestampTz now)
{
	return run->version->can_skip && task->attempt == 0 &&
		sf_definition_due(task->due_at, &run->version->skip_late_after) < now;
}

void
sf_flow_skip(SfLedger *ledger, SfRun *run, const SfTask *task)
{
	sf_ledger_record(ledger, task, 's', NULL);
	advance(ledger, run, task, sf_ledger_now(ledger));
}

SfOutcome
sf_flow_fail(SfLedger *ledger, SfRun *run, SfTask *task, const SfAction *action,
			 const char *error, bool retry, TimestampTz retry_at)
{
	const SfNode *node = &run->version->nodes[task->node];
	int			max_attempts = node->max_attempts > 0 ? node->max_attempts :
		action != NULL ? action->max_attempts : 1;

	task->error = pnstrdup(error, pg_mbcliplen(error, strlen(error), MAX_ERROR_LENGTH));
	sf_stats_count(SF_COUNT_ATTEMPTS_FAILED, 1);
	if (action != NULL)
		sf_ledger_outcome(ledger, action, true);
	if (retry && task->attempt < max_attempts)
	{
		task->due_at = retry_at != 0 ? retry_at :
			sf_ledger_now(ledger) + (action ? sf_action_backoff(action, task->attempt) : 0);
		sf_ledger_pend(ledger, task);
		sf_ledger_touch(ledger, run);
		return SF_OUTCOME_FAILED;
	}
	sf_ledger_bury(ledger, task);
	sf_ledger_alert(ledger, "dead", node->action, run->sop_id, task->task_id,
					psprintf("task " INT64_FORMAT " (SOP \"%s\", node \"%s\", subject \"%s\") is dead after attempt %d: %s",
							 task->task_id, run->sop_id, node->node_id, run->subject_id,
							 task->attempt, error));
	if (node->go_on)
		advance(ledger, run, task, sf_ledger_now(ledger));
	else
		sf_ledger_end(ledger, run, SF_RUN_FAILED,
					  psprintf("node \"%s\": %s", node->node_id, error));
	return SF_OUTCOME_DEAD;
}
