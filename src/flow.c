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
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/timestamp.h"

#include "attempt.h"
#include "clock.h"
#include "delivery.h"
#include "errors.h"
#include "fire.h"
#include "flow.h"
#include "hold.h"
#include "memory.h"
#include "plan.h"
#include "script.h"
#include "stats.h"
#include "token.h"

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

/* --- events that are waited for --- */

typedef struct SfWaits
{
	SfTask	   *tasks;
	SfRel	   *tables;			/* where they stand */
	int			n;
	int			allocated;
} SfWaits;

static void
find_waits(SfLedger *ledger, SfRun *run, const char *event, SfWaits *waits)
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
			if (node->type != SF_NODE_WAIT || strcmp(node->wait_event, event) != 0 ||
				task.due_at <= sf_ledger_now(ledger) ||
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

static Jsonb *
wait_result(const char *event, Jsonb *context)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoString(&buf, "{\"event\": ");
	if (event == NULL)
		appendStringInfoString(&buf, "null");
	else
	{
		escape_json(&buf, event);
		appendStringInfoString(&buf, ", \"context\": ");
		if (context != NULL)
			JsonbToCString(&buf, &context->root, VARSIZE(context));
		else
			appendStringInfoString(&buf, "{}");
	}
	appendStringInfoChar(&buf, '}');
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(buf.data)));
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
	find_waits(ledger, run, event, &waits);
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
		sf_ledger_record(ledger, task, 'd', wait_result(event, context));
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

	find_runs(ledger, e->subject_id, sop_ids, &runs);
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

/* what one event of the statement leads to */
static int64
take_event(SfLedger **ledger, const char *name, const SfEvent *event, const SfEventUse *use)
{
	int64		ended = 0;
	int64		answered = 0;
	int64		count = 0;
	ListCell   *lc;

	if (use->exits != NIL)
		ended = exit_runs(*ledger, name, event->subject_id, use->exits);
	if (use->waits != NIL)
		answered = answer_waits(*ledger, name, event, use->waits);
	if (ended > 0 || answered > 0)
	{
		/* what ends makes room for what starts */
		sf_ledger_close(*ledger);
		*ledger = sf_ledger_open(true);
	}
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

/* --- what follows --- */

static bool
is_written(int64 task_id)
{
	Datum		values[1] = {Int64GetDatum(task_id)};

	return sf_plan_run(SF_PLAN_TASK_OF, values, NULL, NULL, NULL) > 0;
}

/*
 * Whether the task was dead, the run went on without it, and it was redriven:
 * what follows is there already.
 */
static bool
was_passed(SfMove *move, const SfTask *task)
{
	SfRun	   *run = move->run;

	if (!task->retried || !run->version->nodes[task->node].go_on)
		return false;
	if (run->version->branches)
		return bms_is_member(move->step, sf_move_memory(move)->passed);
	/* what this call took is in no table yet */
	return move->step + 1 <= run->last_step ||
		is_written(sf_task_id(run->run_id, move->step + 1));
}

typedef struct SfLinksCall
{
	const SfRun *run;
	int			node;
	bool		first;
	int		   *to;
	int			n;
} SfLinksCall;

static void
call_links(void *arg)
{
	SfLinksCall *call = arg;

	call->n = sf_script_links(call->run, call->node, call->first, call->to);
}

/* the ways out of a delay or sop node that is complete */
static void
leave_node(SfMove *move, int at)
{
	SfRun	   *run = move->run;
	SfNode	   *node = &run->version->nodes[at];
	SfLinksCall call = {run, at, false};
	ErrorData  *error;

	if (node->next >= 0)
		sf_move_to(move, node->next);
	if (node->nlinks == 0)
		return;
	call.to = palloc(node->nlinks * sizeof(int));
	error = sf_attempt(call_links, &call);
	if (error != NULL)
	{
		/* the task is done and cannot be tried again for it */
		char	   *reason = psprintf("a link of node \"%s\": %s", node->node_id, sf_error_text(error));

		sf_ledger_alert(move->ledger, "run", node->action, run->sop_id, 0,
						psprintf("run " INT64_FORMAT " (SOP \"%s\", subject \"%s\") failed: %s",
								 run->run_id, run->sop_id, run->subject_id, reason));
		sf_ledger_end(move->ledger, run, SF_RUN_FAILED, reason);
		return;
	}
	for (int i = 0; i < call.n && run->state == SF_RUN_ACTIVE; i++)
		sf_move_to(move, call.to[i]);
	if (call.n == 0 && node->otherwise >= 0)
		sf_move_to(move, node->otherwise);
}

/*
 * The node of the task is complete: write what follows, at one node (`to`, -1:
 * nothing does) or, for SF_LEAVE, where its next and its links lead.
 */
#define SF_LEAVE	(-2)

static void
advance(SfLedger *ledger, SfRun *run, const SfTask *task, TimestampTz completed_at, int to)
{
	SfVersion  *version = run->version;
	SfMove		move;

	if (run->state != SF_RUN_ACTIVE)
		return;
	/* a run of one node has no other task, held, offered or pending */
	run->finished = version->nnodes == 1 && to < 0;
	sf_move_begin(&move, ledger, run, task, completed_at);
	sf_ledger_touch(ledger, run);
	if (version->parallel || was_passed(&move, task))
		return;
	if (to == SF_LEAVE)
		leave_node(&move, task->node);
	else if (to >= 0)
		sf_move_to(&move, to);
	sf_move_end(&move);
}

void
sf_flow_done(SfLedger *ledger, SfRun *run, const SfTask *task, Jsonb *result,
			 TimestampTz completed_at)
{
	sf_ledger_record(ledger, task, 'd', result);
	advance(ledger, run, task, completed_at, SF_LEAVE);
}

bool
sf_flow_too_late(const SfRun *run, const SfTask *task, TimestampTz now)
{
	return run->version->can_skip && task->attempt == 0 &&
		run->version->nodes[task->node].type == SF_NODE_DELAY &&
		sf_definition_due(task->due_at, &run->version->skip_late_after) < now;
}

void
sf_flow_skip(SfLedger *ledger, SfRun *run, const SfTask *task)
{
	sf_ledger_record(ledger, task, 's', NULL);
	advance(ledger, run, task, sf_ledger_now(ledger), SF_LEAVE);
}

/* --- nodes that dispatch carries out by itself --- */

void
sf_flow_wait_over(SfLedger *ledger, SfRun *run, const SfTask *task, TimestampTz now)
{
	SfNode	   *node = &run->version->nodes[task->node];
	SfMemory   *memory = sf_memory_read(run->run_id);
	int			step = sf_task_step(task->task_id);
	bool		answered = bms_is_member(step, memory->answered);

	if (answered)
	{
		SfArrival  *arrival = sf_memory_arrival(memory, node->wait_event);

		memory->answered = bms_del_member(memory->answered, step);
		sf_memory_write(run->run_id, memory);
		sf_ledger_record(ledger, task, 'd',
						 wait_result(node->wait_event, arrival ? arrival->context : NULL));
	}
	else
		sf_ledger_record(ledger, task, 'd', wait_result(NULL, NULL));
	advance(ledger, run, task, now, answered ? node->next : node->otherwise);
}

typedef struct SfDecideCall
{
	SfRun	   *run;
	int			node;
	int			to;
	StringInfoData result;
} SfDecideCall;

/* the facts that the rule set declares, from what conditions see */
static bool
rules_allow(SfRun *run, const SfNode *node)
{
	SfRuleSet  *set = sf_ruleset_get(node->condition_rules, sf_definition_sop(run->sop_id)->owner);
	SfFireOptions options = {0};
	SfVerdict	verdict = {0};
	SfRuleScope scope;
	List	   *names = NIL;
	Jsonb	   *facts;
	bool		allowed;

	for (int i = 0; set->enabled && i < set->frame->nfacts; i++)
		if (set->frame->facts[i].query == NULL)
			names = lappend(names, pstrdup(set->frame->facts[i].name));
	facts = sf_script_facts(run, names);
	/* reading the subject may have brought news of it */
	set = sf_ruleset_get(node->condition_rules, InvalidOid);
	sf_fire_begin(set);
	sf_ruleset_enter(set, &scope);
	sf_fire_give_object(set, facts, false);
	sf_fire_run(set, &options, &verdict);
	allowed = verdict.allowed;
	sf_ruleset_leave(&scope);
	sf_fire_end(set);
	return allowed;
}

static void
decide(void *arg)
{
	SfDecideCall *call = arg;
	SfNode	   *node = &call->run->version->nodes[call->node];
	SfVerdictOf verdict;
	int			to;

	if (node->nlinks > 0)
	{
		int			n = sf_script_links(call->run, call->node, true, &to);

		call->to = n > 0 ? to : node->otherwise;
		appendStringInfoString(&call->result, "{\"to\": ");
		if (call->to >= 0)
			escape_json(&call->result, call->run->version->nodes[call->to].node_id);
		else
			appendStringInfoString(&call->result, "null");
		appendStringInfoChar(&call->result, '}');
		return;
	}
	if (node->condition_rules != NULL)
		verdict = rules_allow(call->run, node) ? SF_IS_TRUE : SF_IS_FALSE;
	else
		verdict = sf_script_condition(call->run, call->node);
	call->to = verdict == SF_IS_TRUE ? node->next : node->otherwise;
	appendStringInfo(&call->result, "{\"condition\": %s}",
					 verdict == SF_IS_TRUE ? "true" : verdict == SF_IS_FALSE ? "false" : "null");
}

char *
sf_flow_decide(SfLedger *ledger, SfRun *run, const SfTask *task, TimestampTz now)
{
	SfDecideCall call = {run, task->node};
	ErrorData  *error;

	initStringInfo(&call.result);
	error = sf_attempt(decide, &call);
	if (error != NULL)
		return sf_error_text(error);
	/* a rule set may emit events */
	if (run->version->nodes[task->node].condition_rules != NULL)
		sf_ledger_reread(ledger);
	sf_ledger_record(ledger, task, 'd',
					 DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
														CStringGetDatum(call.result.data))));
	advance(ledger, run, task, now, call.to);
	return NULL;
}

char *
sf_flow_call_sop(SfLedger *ledger, SfRun *run, const SfTask *task, TimestampTz now)
{
	SfNode	   *node = &run->version->nodes[task->node];
	SfSop	   *sop;
	SfRun	   *child;
	int64		active;

	sf_hold_start(node->sop_ref);
	sop = sf_definition_sop(node->sop_ref);
	if (sop == NULL)
		return psprintf("SOP \"%s\" does not exist", node->sop_ref);
	if (!sop->enabled || sop->version_id == 0)
		return psprintf("SOP \"%s\" is not enabled", node->sop_ref);
	child = sf_ledger_start(ledger, sf_definition_version(sop->version_id), run->subject_id, now,
							run->context, task->task_id, &active);
	sf_token_start(ledger, child, task->shard);
	sf_ledger_hold(ledger, task, "child");
	/* others of the run may have waited for this one */
	sf_ledger_touch(ledger, run);
	return NULL;
}

bool
sf_flow_is_message(const SfTask *task, const SfNode *node)
{
	return node->type == SF_NODE_SOP && task->error != NULL && task->error[0] == '{';
}

static char *
string_of(Jsonb *object, const char *key)
{
	JsonbValue *v = getKeyJsonValueFromContainer(&object->root, key, strlen(key), NULL);

	return v == NULL || v->type != jbvString ? NULL : pnstrdup(v->val.string.val, v->val.string.len);
}

void
sf_flow_sop_over(SfLedger *ledger, SfRun *run, SfTask *task, TimestampTz now)
{
	SfScan	   *scan = sf_ledger_scan(ledger, SF_REL_HELD_PKEY);
	Jsonb	   *result = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(task->error)));
	char	   *state = string_of(result, "state");
	char	   *reason = string_of(result, "reason");
	SfTask		held;

	if (!sf_scan_int8(scan, task->task_id))
		return;					/* cancelled meanwhile */
	sf_task_read(scan->slot, &held);
	if (sf_ledger_remove(ledger, SF_REL_HELD, &held.tid, true) != SF_LOCK_OK)
		elog(ERROR, "task " INT64_FORMAT " vanished under the lock of its run", task->task_id);
	*task = held;
	task->attempt++;
	if (state != NULL && strcmp(state, "failed") == 0)
	{
		sf_flow_fail(ledger, run, task, NULL,
					 psprintf("SOP \"%s\" failed: %s", run->version->nodes[task->node].sop_ref,
							  reason ? reason : "for no known reason"), false, 0);
		return;
	}
	task->error = NULL;
	sf_flow_done(ledger, run, task, result, now);
}

/* --- failures --- */

/* attempts of nodes that have no action, as the defaults of sopflow.action */
static const SfAction no_action = {
	.max_attempts = 5,
	.backoff_base = 30 * USECS_PER_SEC,
	.backoff_factor = 2,
	.backoff_cap = USECS_PER_HOUR,
	.jitter = 0.2,
};

/* where a dead task leads when the run is to go on */
static int
way_on(const SfNode *node)
{
	return node->type == SF_NODE_CONDITION ? node->otherwise : SF_LEAVE;
}

static void
note_passed(SfLedger *ledger, SfRun *run, const SfTask *task)
{
	SfMemory   *memory;

	if (!run->version->branches)
		return;
	memory = sf_memory_read(run->run_id);
	if (memory->last_step < 0)
		memory->last_step = Max(sf_memory_last_step(run->run_id), sf_task_step(task->task_id));
	memory->passed = bms_add_member(memory->passed, sf_task_step(task->task_id));
	sf_memory_write(run->run_id, memory);
}

SfOutcome
sf_flow_fail(SfLedger *ledger, SfRun *run, SfTask *task, const SfAction *action,
			 const char *error, bool retry, TimestampTz retry_at)
{
	const SfNode *node = &run->version->nodes[task->node];
	int			max_attempts = node->max_attempts > 0 ? node->max_attempts :
		action != NULL ? action->max_attempts : no_action.max_attempts;

	task->error = pnstrdup(error, pg_mbcliplen(error, strlen(error), MAX_ERROR_LENGTH));
	sf_stats_count(SF_COUNT_ATTEMPTS_FAILED, 1);
	if (action != NULL)
		sf_ledger_outcome(ledger, action, true);
	if (retry && task->attempt < max_attempts)
	{
		task->due_at = retry_at != 0 ? retry_at :
			sf_ledger_now(ledger) + sf_action_backoff(action ? action : &no_action, task->attempt);
		sf_ledger_pend(ledger, task);
		sf_ledger_touch(ledger, run);
		return SF_OUTCOME_FAILED;
	}
	sf_ledger_bury(ledger, task);
	sf_ledger_alert(ledger, "dead", node->action, run->sop_id, task->task_id,
					psprintf("task " INT64_FORMAT " (SOP \"%s\", node \"%s\", subject \"%s\") is dead after attempt %d: %s",
							 task->task_id, run->sop_id, node->node_id, run->subject_id,
							 task->attempt, error));
	if (node->go_on && run->state == SF_RUN_ACTIVE)
	{
		SfTask		passed = *task;

		/* one that was redriven and is dead again has gone on already */
		advance(ledger, run, &passed, sf_ledger_now(ledger), way_on(node));
		note_passed(ledger, run, task);
	}
	else
		sf_ledger_end(ledger, run, SF_RUN_FAILED,
					  psprintf("node \"%s\": %s", node->node_id, error));
	return SF_OUTCOME_DEAD;
}
