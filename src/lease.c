/*
 * lease.c
 *	  What consumers do with offered tasks.
 *
 * A lease is fenced by its token: whoever took the task back deleted the row,
 * and a later offer of the same task bears another token, so a consumer that
 * comes late changes nothing.  While a lease stands in the table it is good,
 * even past its time: it is lost when the worker has taken it back.
 */
#include "postgres.h"

#include "commands/sequence.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "attempt.h"
#include "clock.h"
#include "delivery.h"
#include "flow.h"
#include "lease.h"
#include "script.h"
#include "shm.h"
#include "stats.h"
#include "token.h"

/* offers of one action, in due order */
typedef struct SfLane
{
	const SfAction *action;
	SfPosition	from;			/* where we began */
	SfPosition	reached;		/* nothing to fetch before this */
	bool		stuck;			/* passed by something that may be fetched later */
	SfScan	   *scan;
	bool		ready;			/* `head` is to be leased */
	SfOffer		head;
} SfLane;

/* move to the next offered task of the lane; false at its end */
static bool
lane_next(SfLane *lane)
{
	lane->ready = false;
	while (sf_scan_next(lane->scan))
	{
		CHECK_FOR_INTERRUPTS();
		sf_offer_read(lane->scan->slot, &lane->head);
		if (lane->head.action_id != lane->action->action_id)
			return false;
		if (lane->head.lease_token == 0)
		{
			lane->ready = true;
			return true;
		}
		if (!lane->stuck)
			lane->reached = (SfPosition) {lane->head.task.due_at, lane->head.task.task_id + 1};
	}
	return false;
}

static SfLane *
earliest(SfLane *lanes, int nlanes)
{
	SfLane	   *best = NULL;

	for (int i = 0; i < nlanes; i++)
	{
		SfLane	   *lane = &lanes[i];

		if (lane->ready && (best == NULL || lane->head.task.due_at < best->head.task.due_at))
			best = lane;
	}
	return best;
}

typedef struct SfParamsCall
{
	const SfRun *run;
	const SfTask *task;
	Jsonb	   *params;
} SfParamsCall;

static void
fill_params(void *arg)
{
	SfParamsCall *call = arg;

	call->params = sf_script_params(call->run, call->task->node);
}

/*
 * Lease the head of the lane.  False: it is not to be had now, since somebody
 * has its run (*busy), its SOP is paused, another fetch was first, or it is too
 * late and was skipped.
 */
static bool
lease_head(SfLedger *ledger, SfLane *lane, int64 token, TimestampTz until,
		   Tuplestorestate *out, TupleDesc desc, bool *busy)
{
	SfWriter   *writer = sf_ledger_writer(ledger, SF_REL_OFFER);
	SfTask	   *task = &lane->head.task;
	SfRun	   *run = sf_ledger_run(ledger, sf_task_run(task->task_id), false, busy);
	SfParamsCall call = {run, task, NULL};
	SfSop	   *sop;
	TimestampTz open;
	TupleTableSlot *row;
	Datum		values[SF_WORK_COLUMNS];
	bool		nulls[SF_WORK_COLUMNS];

	if (run == NULL)
		return false;
	sop = sf_definition_sop(run->sop_id);
	if (sop == NULL || sop->paused)
		return false;
	if (sf_flow_too_late(run, task, sf_ledger_now(ledger)))
	{
		/* offered in time, but nobody came for it */
		if (sf_ledger_remove(ledger, SF_REL_OFFER, &task->tid, true) == SF_LOCK_OK)
		{
			sf_flow_skip(ledger, run, task);
			sf_ledger_touch(ledger, run);
		}
		return false;
	}
	open = sf_token_open(run, task->node, sf_ledger_now(ledger));
	if (open > sf_ledger_now(ledger))
	{
		/* offered while its calendar was open, but nobody came for it */
		if (sf_ledger_remove(ledger, SF_REL_OFFER, &task->tid, true) == SF_LOCK_OK)
		{
			task->due_at = open;
			sf_ledger_pend(ledger, task);
			sf_ledger_touch(ledger, run);
		}
		return false;
	}
	task->attempt++;
	call.params = run->version->nodes[task->node].params;
	if (run->version->nodes[task->node].templated)
	{
		ErrorData  *error = sf_attempt(fill_params, &call);

		if (error != NULL)
		{
			if (sf_ledger_remove(ledger, SF_REL_OFFER, &task->tid, true) == SF_LOCK_OK)
			{
				SfOutcome	outcome = sf_flow_fail(ledger, run, task, lane->action,
												   sf_error_text(error), true, 0);

				sf_stats_attempt(lane->action->action_id, outcome, -1);
				sf_ledger_touch(ledger, run);
			}
			return false;
		}
	}
	row = sf_writer_row(writer);
	sf_offer_fill(row, task, token, until, lane->head.action_id);
	if (sf_row_update(writer, &task->tid, row, sf_ledger_snapshot(ledger)) != SF_LOCK_OK)
		return false;
	sf_work_fill(run, &run->version->nodes[task->node], task, call.params, token, until, values,
				 nulls);
	tuplestore_putvalues(out, desc, values, nulls);
	return true;
}

int
sf_lease_fetch(const SfAction **actions, int nactions, int max_tasks, int64 lease,
			   Tuplestorestate *out, TupleDesc desc, bool *passed_by)
{
	MemoryContext scratch;
	MemoryContext old;
	SfLane	   *lanes = palloc0(nactions * sizeof(SfLane));
	SfLane	   *lane;
	SfLedger   *ledger;
	TimestampTz now;
	TimestampTz first_end = SF_NEVER;
	int64		token = 0;
	int			fetched = 0;

	/* marks before the snapshot: what is committed after it rewinds them again */
	for (int i = 0; i < nactions; i++)
	{
		lanes[i].action = actions[i];
		lanes[i].from = lanes[i].reached = sf_shm_offer_mark_begin(actions[i]->action_id);
	}
	ledger = sf_ledger_open(true);
	now = sf_ledger_now(ledger);
	for (int i = 0; i < nactions; i++)
	{
		lanes[i].scan = sf_scan_open(SF_REL_OFFER, SF_REL_OFFER_FETCH,
									 sf_ledger_snapshot(ledger), 2);
		sf_scan_from(lanes[i].scan, actions[i]->action_id, lanes[i].from, false);
		if (!actions[i]->held)
			(void) lane_next(&lanes[i]);
	}
	scratch = AllocSetContextCreate(CurrentMemoryContext, "sopflow fetch", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(scratch);
	while (fetched < max_tasks && (lane = earliest(lanes, nactions)) != NULL)
	{
		TimestampTz until = now + (lease >= 0 ? lease : lane->action->lease);
		bool		busy;

		if (token == 0)
			token = nextval_internal(sf_ident_rel(SF_REL_LEASE_TOKEN_SEQ), false);
		if (lease_head(ledger, lane, token, until, out, desc, &busy))
		{
			fetched++;
			first_end = Min(first_end, until);
			if (!lane->stuck)
				lane->reached = (SfPosition) {lane->head.task.due_at, lane->head.task.task_id + 1};
		}
		else
			lane->stuck = true;
		*passed_by |= busy;
		MemoryContextReset(scratch);
		(void) lane_next(lane);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(scratch);
	for (int i = 0; i < nactions; i++)
	{
		sf_scan_close(lanes[i].scan);
		if (!actions[i]->held)
			sf_shm_offer_mark_end(actions[i]->action_id, lanes[i].from, lanes[i].reached);
	}
	if (fetched > 0)
	{
		sf_shm_note_expiry(first_end);
		sf_stats_count(SF_COUNT_LEASES, fetched);
	}
	sf_ledger_close(ledger);
	return fetched;
}

/* find a leased task by its token; its run must be locked and the ledger renewed */
static bool
find_leased(SfLedger *ledger, int64 task_id, int64 lease_token, SfOffer *offer)
{
	SfScan	   *scan = sf_ledger_scan(ledger, SF_REL_OFFER_PKEY);

	if (lease_token == 0 || !sf_scan_int8(scan, task_id))
		return false;
	sf_offer_read(scan->slot, offer);
	return offer->lease_token == lease_token;
}

static void
demand_consumer(const SfAction *action, int32 action_id, Oid role)
{
	if (action == NULL)
	{
		if (!superuser_arg(role))
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_OBJECT),
					 errmsg("action %d does not exist", action_id)));
	}
	else if (!sf_action_allows(action, role, SF_ACTION_CONSUME))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for tasks of action \"%s\"", action->name),
				 errhint("SELECT sopflow.grant_consumer(%s, ...) grants it.",
						 quote_literal_cstr(action->name))));
}

static void
settle_one(SfLedger *ledger, SfAck *ack, SfRun *run, Oid role)
{
	SfOffer		offer;
	SfAction   *action;
	SfOutcome	outcome = SF_OUTCOME_DONE;

	if (!find_leased(ledger, ack->task_id, ack->lease_token, &offer))
		return;
	action = sf_action_numbered(offer.action_id);
	demand_consumer(action, offer.action_id, role);
	if (sf_ledger_remove(ledger, SF_REL_OFFER, &offer.task.tid, true) != SF_LOCK_OK)
		return;					/* twice in one array */
	ack->accepted = true;
	if (ack->success)
	{
		offer.task.error = NULL;
		if (action != NULL)
			sf_ledger_outcome(ledger, action, false);
		sf_flow_done(ledger, run, &offer.task, ack->result, sf_ledger_now(ledger));
	}
	else
		outcome = sf_flow_fail(ledger, run, &offer.task, action, ack->error, ack->retry,
							   ack->retry_in >= 0 ? sf_ledger_now(ledger) + ack->retry_in : 0);
	if (action != NULL)
		sf_stats_attempt(action->action_id, outcome, -1);
	/* what is left of the run may go on */
	sf_ledger_touch(ledger, run);
}

/* by task; of two for one task the caller's first comes first */
static int
compare_acks(const void *a, const void *b)
{
	int			result = sf_compare_int64(a, b);

	return result != 0 ? result : ((const SfAck *) a)->number - ((const SfAck *) b)->number;
}

void
sf_lease_settle(SfAck *acks, int nacks)
{
	Oid			role = GetUserId();
	SfLedger   *ledger = sf_ledger_open(true);
	SfRun	  **runs = palloc(nacks * sizeof(SfRun *));
	bool		busy;

	/* all locks first, in the order of runs, then look: see ledger.h */
	qsort(acks, nacks, sizeof(SfAck), compare_acks);
	for (int i = 0; i < nacks; i++)
	{
		CHECK_FOR_INTERRUPTS();
		runs[i] = sf_ledger_run(ledger, sf_task_run(acks[i].task_id), true, &busy);
	}
	sf_ledger_renew(ledger);
	for (int i = 0; i < nacks; i++)
		if (runs[i] != NULL)
			settle_one(ledger, &acks[i], runs[i], role);
	sf_ledger_close(ledger);
}

TimestampTz
sf_lease_extend(int64 task_id, int64 lease_token, int64 lease)
{
	Oid			role = GetUserId();
	SfLedger   *ledger = sf_ledger_open(true);
	bool		busy;
	SfOffer		offer;
	TimestampTz until = 0;

	if (sf_ledger_run(ledger, sf_task_run(task_id), true, &busy) != NULL)
	{
		sf_ledger_renew(ledger);
		if (find_leased(ledger, task_id, lease_token, &offer))
		{
			SfWriter   *writer = sf_ledger_writer(ledger, SF_REL_OFFER);
			TupleTableSlot *row = sf_writer_row(writer);

			demand_consumer(sf_action_numbered(offer.action_id), offer.action_id, role);
			until = sf_ledger_now(ledger) + lease;
			sf_offer_fill(row, &offer.task, lease_token, until, offer.action_id);
			if (sf_row_update(writer, &offer.task.tid, row,
							  sf_ledger_snapshot(ledger)) != SF_LOCK_OK)
				until = 0;
			else
				sf_shm_note_expiry(until);
		}
	}
	sf_ledger_close(ledger);
	return until;
}
