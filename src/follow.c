/*
 * follow.c
 *	  The end of a task -> what follows in its run.
 *
 * Everything that the end of a task leads to is written in the transaction of
 * that end.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"

#include "attempt.h"
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

#define MAX_ERROR_LENGTH	4000	/* bytes of an error that are kept */

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
		char	   *reason = psprintf("a link of node \"%s\": %s", node->node_id,
									  sf_error_text(error));

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
	/* a run of one node that leads nowhere has no other task, held, offered or pending */
	run->finished = version->nnodes == 1 && to < 0 && version->nodes[0].next < 0 &&
		version->nodes[0].nlinks == 0;
	sf_move_begin(&move, ledger, run, task, completed_at);
	if (!version->parallel && !was_passed(&move, task))
	{
		if (to == SF_LEAVE)
			leave_node(&move, task->node);
		else if (to >= 0)
			sf_move_to(&move, to);
		sf_move_end(&move);
	}
	/* a chain that goes on is not at an end, and nothing in it waits for this task */
	if (!move.placed || version->branches)
		sf_ledger_touch(ledger, run);
}

void
sf_flow_done(SfLedger *ledger, SfRun *run, const SfTask *task, Jsonb *result,
			 TimestampTz completed_at)
{
	sf_ledger_record(ledger, task, 'd', result);
	advance(ledger, run, task, completed_at, SF_LEAVE);
}

bool
sf_flow_is_late(const SfRun *run, int node, TimestampTz due, TimestampTz now)
{
	return run->version->can_skip && run->version->nodes[node].type == SF_NODE_DELAY &&
		sf_definition_due(due, &run->version->skip_late_after) < now;
}

bool
sf_flow_too_late(const SfRun *run, const SfTask *task, TimestampTz now)
{
	return task->attempt == 0 && sf_flow_is_late(run, task->node, task->due_at, now);
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
						 sf_flow_wait_result(node->wait_event, arrival ? arrival->context : NULL));
	}
	else
		sf_ledger_record(ledger, task, 'd', sf_flow_wait_result(NULL, NULL));
	advance(ledger, run, task, now, answered ? node->next : node->otherwise);
}

/* the facts that the rule set declares, from what conditions see */
static bool
rules_allow(const SfRun *run, const SfNode *node, bool dry)
{
	SfRuleSet  *set = sf_ruleset_get(node->condition_rules, sf_definition_sop(run->sop_id)->owner);
	SfFireOptions options = {.emits_wait = dry};
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

char *
sf_flow_choose(const SfRun *run, int number, bool dry, int *to)
{
	SfNode	   *node = &run->version->nodes[number];
	SfVerdictOf verdict;
	StringInfoData result;

	if (node->nlinks > 0)
	{
		if (sf_script_links(run, number, true, to) == 0)
			*to = node->otherwise;
		initStringInfo(&result);
		appendStringInfoString(&result, "{\"to\": ");
		if (*to >= 0)
			escape_json(&result, run->version->nodes[*to].node_id);
		else
			appendStringInfoString(&result, "null");
		appendStringInfoChar(&result, '}');
		return result.data;
	}
	if (node->condition_rules != NULL)
		verdict = rules_allow(run, node, dry) ? SF_IS_TRUE : SF_IS_FALSE;
	else
		verdict = sf_script_condition(run, number);
	*to = verdict == SF_IS_TRUE ? node->next : node->otherwise;
	return psprintf("{\"condition\": %s}",
					verdict == SF_IS_TRUE ? "true" : verdict == SF_IS_FALSE ? "false" : "null");
}

typedef struct SfDecideCall
{
	SfRun	   *run;
	int			node;
	int			to;
	char	   *result;
} SfDecideCall;

static void
decide(void *arg)
{
	SfDecideCall *call = arg;

	call->result = sf_flow_choose(call->run, call->node, false, &call->to);
}

char *
sf_flow_decide(SfLedger *ledger, SfRun *run, const SfTask *task, TimestampTz now)
{
	SfDecideCall call = {run, task->node};
	ErrorData  *error;

	error = sf_attempt(decide, &call);
	if (error != NULL)
		return sf_error_text(error);
	/* a rule set may emit events */
	if (run->version->nodes[task->node].condition_rules != NULL)
		sf_ledger_reread(ledger);
	sf_ledger_record(ledger, task, 'd',
					 DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
														CStringGetDatum(call.result))));
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

	return v == NULL || v->type != jbvString ? NULL :
		pnstrdup(v->val.string.val, v->val.string.len);
}

void
sf_flow_stop_child(SfLedger *ledger, SfTask *task, TimestampTz now)
{
	int64		run_id;
	SfRun	   *run;
	bool		busy;

	if (sscanf(task->error, "{\"stop\": " INT64_FORMAT "}", &run_id) != 1)
		return;
	run = sf_ledger_run(ledger, run_id, false, &busy);
	if (run != NULL)
		sf_ledger_end(ledger, run, SF_RUN_CANCELLED, SF_REASON_PART);
	else if (busy)
	{
		task->due_at = now + USECS_PER_SEC;
		sf_ledger_pend(ledger, task);
	}
}

void
sf_flow_sop_over(SfLedger *ledger, SfRun *run, SfTask *task, TimestampTz now)
{
	SfNode	   *node = &run->version->nodes[task->node];
	SfScan	   *scan = sf_ledger_scan(ledger, SF_REL_HELD_PKEY);
	Jsonb	   *result = DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
															CStringGetDatum(task->error)));
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
					 psprintf("SOP \"%s\" failed: %s", node->sop_ref,
							  reason ? reason : "no reason is known"), false, 0);
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

	/* one that begins with a brace would be taken for a message */
	if (node->type == SF_NODE_SOP && error[0] == '{')
		error = psprintf("error: %s", error);
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
