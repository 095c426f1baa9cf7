/*
 * token.c
 *	  Where a run is in its graph: each token is a task of the node that it is at.
 *
 * A token that comes to a join is parked, as a task held by 'join', and merges
 * with one that is there.  It goes on when no other token of the run can come
 * there any more: that is found out by whoever ended a task, when all that
 * follows is written, under the lock of the run.  So of two branches that end
 * at the same time in two sessions one sees the other, and the join is neither
 * missed nor passed twice.
 */
#include "postgres.h"

#include "attempt.h"
#include "calendar.h"
#include "script.h"
#include "stats.h"
#include "token.h"

/* --- due times --- */

TimestampTz
sf_token_due(const SfRun *run, int node, TimestampTz at)
{
	const SfNode *n = &run->version->nodes[node];

	if (n->type == SF_NODE_WAIT && n->delay.month == 0 && n->delay.day == 0 && n->delay.time == 0)
		return DT_NOEND;
	return sf_definition_due(run->version->from_previous ? at : run->event_at, &n->delay);
}

typedef struct SfZoneCall
{
	const SfRun *run;
	char	   *zone;
} SfZoneCall;

static void
read_zone(void *arg)
{
	SfZoneCall *call = arg;

	call->zone = sf_script_zone(call->run);
}

TimestampTz
sf_token_open(const SfRun *run, int node, TimestampTz at)
{
	SfVersion  *version = run->version;
	SfZoneCall	call = {run, NULL};

	if (version->calendar == NULL || version->nodes[node].action == NULL ||
		sf_calendar_named(version->calendar) == NULL)
		return at;
	/* a zone that cannot be read stops no INSERT of a client */
	if (version->zone_column != NULL && sf_attempt(read_zone, &call) != NULL)
		call.zone = NULL;
	/* reading may have brought news of it */
	return sf_calendar_named(version->calendar) == NULL ? at :
		sf_calendar_open(sf_calendar_named(version->calendar), call.zone, at);
}

/* --- moves --- */

void
sf_move_begin(SfMove *move, SfLedger *ledger, SfRun *run, const SfTask *task, TimestampTz at)
{
	memset(move, 0, sizeof(*move));
	move->ledger = ledger;
	move->run = run;
	move->step = sf_task_step(task->task_id);
	move->retried = task->retried;
	move->shard = task->shard;
	move->at = at;
	run->moved_at = Max(run->moved_at, at);
}

SfMemory *
sf_move_memory(SfMove *move)
{
	if (move->memory == NULL)
		move->memory = sf_memory_read(move->run->run_id);
	return move->memory;
}

void
sf_move_end(SfMove *move)
{
	if (move->changed)
		sf_memory_write(move->run->run_id, move->memory);
}

static int
next_step(SfMove *move)
{
	SfMemory   *memory;

	if (!move->run->version->branches)
		return move->step + 1;
	memory = sf_move_memory(move);
	if (memory->last_step < 0)
	{
		/* only the first task of a run that was never at an end needs no look */
		if (move->step > 0 || move->retried)
		{
			sf_ledger_renew(move->ledger);
			memory->last_step = sf_memory_last_step(move->run->run_id);
		}
		memory->last_step = Max(memory->last_step, move->step);
	}
	move->changed = true;
	return ++memory->last_step;
}

/* the token is a task of the node from now on */
static void
place(SfMove *move, SfTask *task)
{
	SfRun	   *run = move->run;
	const SfNode *node = &run->version->nodes[task->node];
	SfArrival  *arrival = NULL;

	if (node->type == SF_NODE_WAIT)
		arrival = sf_memory_arrival(sf_move_memory(move), node->wait_event);
	if (arrival != NULL && !bms_is_member(task->node, arrival->answered))
	{
		/* it came before the node was reached: dispatch carries the answer out */
		arrival->answered = bms_add_member(arrival->answered, task->node);
		move->memory->answered = bms_add_member(move->memory->answered,
												sf_task_step(task->task_id));
		move->changed = true;
		task->due_at = move->at;
	}
	else
		task->due_at = sf_token_open(run, task->node, sf_token_due(run, task->node, move->at));
	sf_ledger_pend(move->ledger, task);
	move->placed = true;
}

static SfScan *
held_tasks(SfLedger *ledger, const SfRun *run)
{
	SfScan	   *scan = sf_ledger_scan(ledger, SF_REL_HELD_PKEY);

	sf_scan_int8_range(scan, sf_task_id(run->run_id, 0), sf_task_id(run->run_id + 1, 0) - 1);
	return scan;
}

/* whether a token is parked at the node */
static bool
is_parked(SfLedger *ledger, SfRun *run, int node)
{
	SfScan	   *scan;

	sf_ledger_renew(ledger);
	scan = held_tasks(ledger, run);
	while (sf_scan_next(scan))
	{
		SfTask		task;

		sf_task_read(scan->slot, &task);
		if (task.node == node && strcmp(sf_held_read_by(scan->slot), "join") == 0)
			return true;
	}
	return false;
}

void
sf_move_to(SfMove *move, int node)
{
	SfRun	   *run = move->run;
	SfVersion  *version = run->version;
	bool		join = version->joins && version->nodes[node].nins > 1;
	SfTask		task = {0};
	int			step;

	if (version->nodes[node].type == SF_NODE_END)
	{
		sf_ledger_end(move->ledger, run, SF_RUN_COMPLETED, NULL);
		return;
	}
	if (join && is_parked(move->ledger, run, node))
		return;
	step = next_step(move);
	if (step >= version->max_steps)
	{
		sf_ledger_end(move->ledger, run, SF_RUN_FAILED,
					  psprintf("more than max_steps = %d tasks", version->max_steps));
		return;
	}
	task.task_id = sf_task_id(run->run_id, step);
	task.version_id = run->version_id;
	task.node = node;
	task.shard = move->shard;
	sf_stats_count(SF_COUNT_TASKS_CREATED, 1);
	if (join)
	{
		task.due_at = move->at;
		sf_ledger_hold(move->ledger, &task, "join");
		sf_ledger_touch(move->ledger, run);
	}
	else
		place(move, &task);
}

void
sf_token_start(SfLedger *ledger, SfRun *run, int16 shard)
{
	SfVersion  *version = run->version;

	for (int i = 0; i < (version->parallel ? version->nnodes : 1); i++)
	{
		SfTask		task = {0};

		task.task_id = sf_task_id(run->run_id, i);
		task.version_id = run->version_id;
		task.node = i;
		task.shard = shard;
		task.due_at = sf_token_open(run, i, sf_token_due(run, i, run->event_at));
		sf_ledger_pend(ledger, &task);
		sf_stats_count(SF_COUNT_TASKS_CREATED, 1);
	}
}

/* --- joins --- */

int
sf_token_release(SfVersion *version, const int *nodes, const bool *parked, int n)
{
	int			first = -1;
	bool		moving = false;

	for (int i = 0; i < n; i++)
	{
		bool		awaited = false;

		moving |= !parked[i];
		if (!parked[i])
			continue;
		if (first < 0)
			first = i;
		for (int k = 0; k < n && !awaited; k++)
			awaited = k != i && sf_definition_reaches(version, nodes[k], nodes[i]);
		if (!awaited)
			return i;
	}
	/* joins that wait for each other round a cycle */
	return moving ? -1 : first;
}

typedef struct SfTokens
{
	int			n;
	int			allocated;
	SfTask	   *tasks;
	int		   *nodes;
	bool	   *parked;
} SfTokens;

static void
add_token(SfTokens *tokens, const SfTask *task, bool parked)
{
	int			at = tokens->n;

	if (tokens->n == tokens->allocated)
	{
		tokens->allocated = Max(16, tokens->allocated * 2);
		tokens->tasks = tokens->n == 0 ? palloc(tokens->allocated * sizeof(SfTask)) :
			repalloc(tokens->tasks, tokens->allocated * sizeof(SfTask));
		tokens->nodes = tokens->n == 0 ? palloc(tokens->allocated * sizeof(int)) :
			repalloc(tokens->nodes, tokens->allocated * sizeof(int));
		tokens->parked = tokens->n == 0 ? palloc(tokens->allocated * sizeof(bool)) :
			repalloc(tokens->parked, tokens->allocated * sizeof(bool));
	}
	/* in the order of their steps: those of each table are */
	while (at > 0 && tokens->tasks[at - 1].task_id > task->task_id)
	{
		tokens->tasks[at] = tokens->tasks[at - 1];
		tokens->nodes[at] = tokens->nodes[at - 1];
		tokens->parked[at] = tokens->parked[at - 1];
		at--;
	}
	tokens->tasks[at] = *task;
	tokens->nodes[at] = task->node;
	tokens->parked[at] = parked;
	tokens->n++;
}

static void
collect_tokens(SfLedger *ledger, SfRun *run, SfTokens *tokens)
{
	static const SfRel indexes[] = {SF_REL_TASK_PKEY, SF_REL_HELD_PKEY, SF_REL_OFFER_PKEY};

	for (int i = 0; i < lengthof(indexes); i++)
	{
		SfScan	   *scan = sf_ledger_scan(ledger, indexes[i]);

		sf_scan_int8_range(scan, sf_task_id(run->run_id, 0), sf_task_id(run->run_id + 1, 0) - 1);
		while (sf_scan_next(scan))
		{
			SfOffer		offer;

			if (indexes[i] == SF_REL_OFFER_PKEY)
				sf_offer_read(scan->slot, &offer);
			else
				sf_task_read(scan->slot, &offer.task);
			add_token(tokens, &offer.task, indexes[i] == SF_REL_HELD_PKEY &&
					  strcmp(sf_held_read_by(scan->slot), "join") == 0);
		}
	}
}

void
sf_token_settle(SfLedger *ledger, SfRun *run)
{
	SfTokens	tokens = {0};
	bool		released = false;
	int			i;

	collect_tokens(ledger, run, &tokens);
	while ((i = sf_token_release(run->version, tokens.nodes, tokens.parked, tokens.n)) >= 0)
	{
		SfTask	   *task = &tokens.tasks[i];
		SfMove		move;

		if (sf_ledger_remove(ledger, SF_REL_HELD, &task->tid, true) != SF_LOCK_OK)
			elog(ERROR, "task " INT64_FORMAT " vanished under the lock of its run", task->task_id);
		sf_move_begin(&move, ledger, run, task,
					  run->moved_at != 0 ? run->moved_at : sf_ledger_now(ledger));
		place(&move, task);
		sf_move_end(&move);
		tokens.parked[i] = false;
		released = true;
	}
	if (released)
		sf_ledger_renew(ledger);
}
