/*
 * dispatch.c
 *	  One pass: take due tasks and carry them out.
 *
 * Which tasks are due is read from the index on (due_at, task_id), from the
 * low-water mark on, whatever the statistics say.  A task is taken by locking
 * its run and deleting its row; the effect, what follows and the history row
 * are written in the same transaction, so a crash leaves it pending or done.
 * A row that somebody has locked is passed by, and the mark stays before it.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "attempt.h"
#include "clock.h"
#include "delivery.h"
#include "dispatch.h"
#include "flow.h"
#include "guc.h"
#include "history.h"
#include "hold.h"
#include "marker.h"
#include "notify.h"
#include "plan.h"
#include "script.h"
#include "shm.h"
#include "stats.h"
#include "token.h"

#define PATROL_ENTRIES	5000	/* index entries that one pass looks at behind the mark */
#define SWEEP_BLOCKS	2000	/* blocks of sopflow.offer that one call looks through */

/* a task taken up */
typedef struct SfItem
{
	SfTask		task;
	SfRun	   *run;
	const SfNode *node;
	SfAction   *action;			/* NULL: the node has none, or it does not exist */
} SfItem;

typedef struct SfDoorbell
{
	int32		action_id;		/* hash key, must be first */
	const SfAction *action;
	int64		count;
} SfDoorbell;

typedef struct SfBatch
{
	SfPass	   *pass;
	SfLedger   *ledger;
	TimestampTz now;
	int			nitems;
	SfItem	   *items;
	bool		calls;			/* there is a task with a handler */
	int			nheld;			/* tasks held and not among the items */
	bool		offered;		/* since handlers last saw what this batch wrote */
	bool		notify_room;
	SfIdentity	caller;
	MemoryContext context;		/* for what lasts as long as the batch */
	HTAB	   *doorbells;
	Oid			marker;
} SfBatch;

/* --- taking --- */

static bool
is_mine(const SfPass *pass, const SfTask *task)
{
	return pass->nworkers <= 1 || task->shard % pass->nworkers == pass->worker;
}

static bool
sop_is_held(const char *sop_id)
{
	SfSop	   *sop = sf_definition_sop(sop_id);

	return sop == NULL || sop->paused ||
		!SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(sop->owner));
}

/*
 * What holds the task, or NULL.  False: that is being changed now, pass the
 * task by.
 */
static bool
pause_of(SfItem *item, const char **held_by)
{
	*held_by = NULL;
	if (sop_is_held(item->run->sop_id))
	{
		if (!sf_hold_begin(SF_REL_SOP, item->run->sop_id))
			return false;
		if (sop_is_held(item->run->sop_id))
			*held_by = "sop";
	}
	if (*held_by == NULL && item->action != NULL && item->action->held)
	{
		if (!sf_hold_begin(SF_REL_ACTION, item->action->name))
			return false;
		item->action = sf_action_named(item->node->action);
		if (item->action != NULL && item->action->held)
			*held_by = "action";
	}
	return true;
}

/*
 * Take the row that the scan stands on.  False: somebody has it, pass it by.
 */
static bool
take(SfBatch *batch, TupleTableSlot *slot)
{
	SfItem	   *item = &batch->items[batch->nitems];
	const char *held_by;
	bool		busy;

	sf_task_read(slot, &item->task);
	if (!is_mine(batch->pass, &item->task))
		return true;
	item->run = sf_ledger_run(batch->ledger, sf_task_run(item->task.task_id), false, &busy);
	if (busy)
		return false;
	item->node = NULL;
	item->action = NULL;
	held_by = NULL;
	if (item->run != NULL)
	{
		item->node = &item->run->version->nodes[item->task.node];
		if (item->node->action != NULL)
			item->action = sf_action_named(item->node->action);
		if (item->action != NULL && batch->pass->offers_only &&
			item->action->delivery != SF_DELIVERY_QUEUE)
			return false;
		if (item->action != NULL && item->action->delivery != SF_DELIVERY_CALL &&
			!batch->notify_room)
			return false;
		/* that another run has ended changes this one, paused or not */
		if (!sf_flow_is_message(&item->task, item->node) && !pause_of(item, &held_by))
			return false;
	}
	switch (sf_ledger_remove(batch->ledger, SF_REL_TASK, &item->task.tid, false))
	{
		case SF_LOCK_OK:
			break;
		case SF_LOCK_BUSY:
			return false;
		case SF_LOCK_GONE:
			return true;		/* cancelled or moved since our snapshot */
	}
	if (item->run != NULL)
		item->run->last_step = Max(item->run->last_step, sf_task_step(item->task.task_id));
	if (held_by != NULL)
	{
		sf_ledger_hold(batch->ledger, &item->task, held_by);
		/* what waited for this one may go */
		sf_ledger_touch(batch->ledger, item->run);
		batch->nheld++;
		return true;
	}
	if (item->action != NULL && item->action->delivery == SF_DELIVERY_CALL)
		batch->calls = true;
	batch->nitems++;
	return true;
}

/*
 * From the mark to now.  Afterwards pass->reached is the first position that
 * still matters and pass->next_due the time of the first task not yet due.
 */
static void
take_due(SfBatch *batch)
{
	SfPass	   *pass = batch->pass;
	SfScan	   *scan = sf_ledger_scan(batch->ledger, SF_REL_TASK_DUE);
	int			examined = 0;

	pass->reached = pass->from;
	sf_scan_from(scan, 0, pass->from, false);
	while (sf_scan_next(scan))
	{
		SfTask		task;

		CHECK_FOR_INTERRUPTS();
		sf_task_read(scan->slot, &task);
		if (task.due_at > batch->now)
		{
			/* another worker's: look on for the first of ours */
			if (!is_mine(pass, &task))
				continue;
			pass->next_due = task.due_at;
			return;
		}
		if (batch->nitems + batch->nheld == pass->max_tasks ||
			(pass->offers_only && ++examined > 10 * pass->max_tasks))
		{
			pass->more = true;
			return;
		}
		if (!take(batch, scan->slot))
			pass->skipped = true;
		else if (!pass->skipped)
			pass->reached = (SfPosition) {task.due_at, task.task_id + 1};
	}
}

/*
 * A slice of the entries behind the mark, for rows that no commit callback
 * announced: those of prepared transactions, or written by other means.
 */
static void
take_patrol(SfBatch *batch)
{
	SfPass	   *pass = batch->pass;
	SfScan	   *scan = sf_ledger_scan(batch->ledger, SF_REL_TASK_DUE);
	SfPosition	at;
	bool		visible;

	sf_scan_from(scan, 0, pass->patrol, true);
	for (int i = 0; i < PATROL_ENTRIES && batch->nitems + batch->nheld < pass->max_tasks; i++)
	{
		if (!sf_scan_next_entry(scan, &at, &visible) || at.due > batch->now ||
			at.due > pass->from.due ||
			(at.due == pass->from.due && at.task_id >= pass->from.task_id))
		{
			pass->patrolling = false;
			break;
		}
		if (visible && !take(batch, scan->slot))
			pass->skipped = true;
		pass->patrol = (SfPosition) {at.due, at.task_id + 1};
	}
}

/* --- carrying out --- */

static void
ring(SfBatch *batch, const SfAction *action)
{
	SfDoorbell *bell;
	bool		found;

	if (batch->doorbells == NULL)
	{
		HASHCTL		ctl = {0};

		ctl.keysize = sizeof(int32);
		ctl.entrysize = sizeof(SfDoorbell);
		ctl.hcxt = batch->context;
		batch->doorbells = hash_create("sopflow doorbells", 16, &ctl,
									   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	bell = hash_search(batch->doorbells, &action->action_id, HASH_ENTER, &found);
	if (!found)
	{
		bell->action = action;
		bell->count = 0;
	}
	bell->count++;
}

static void
carry_out_call(SfBatch *batch, SfItem *item)
{
	SfTask	   *task = &item->task;
	TimestampTz begin = sf_clock_real();
	Jsonb	   *result = NULL;
	char	   *error = NULL;
	SfOutcome	outcome = SF_OUTCOME_DONE;
	int64		usec;
	bool		ok;

	if (batch->pass->careful)
		sf_marker_set(batch->marker, task->task_id, true);
	/* a handler may end runs, and must see what they offer */
	if (batch->offered)
		sf_ledger_renew(batch->ledger);
	batch->offered = false;
	task->attempt++;
	ok = sf_delivery_call(item->action, item->run, item->node, task, &result, &error);
	usec = sf_clock_real() - begin;
	if (ok)
	{
		sf_ledger_reread(batch->ledger);
		task->error = NULL;
		sf_ledger_outcome(batch->ledger, item->action, false);
		sf_flow_done(batch->ledger, item->run, task, result, sf_clock_now());
	}
	else
		outcome = sf_flow_fail(batch->ledger, item->run, task, item->action, error, true, 0);
	sf_stats_attempt(item->action->action_id, outcome, usec);
}

/* whether the task is not to be carried out but held, skipped, cancelled or failed */
static bool
set_aside(SfBatch *batch, SfItem *item)
{
	SfLedger   *ledger = batch->ledger;
	SfTask	   *task = &item->task;
	SfRun	   *run = item->run;
	SfSop	   *sop;
	TimestampTz open;
	char	   *error;

	/* a task of this very batch ended what the run is part of */
	if (run != NULL && run->state == SF_RUN_ACTIVE && sf_ledger_whole_ends(ledger, run))
		sf_ledger_end(ledger, run, SF_RUN_CANCELLED, SF_REASON_PART);
	if ((run == NULL || run->state != SF_RUN_ACTIVE) &&
		sf_flow_is_message(task, &sf_definition_version(task->version_id)->nodes[task->node]))
	{
		/* the task itself has been cancelled */
		sf_flow_stop_child(ledger, task, batch->now);
		return true;
	}
	if (run == NULL)
	{
		task->error = "its run has ended";
		sf_ledger_record(ledger, task, 'c', NULL);
		return true;
	}
	if (run->state != SF_RUN_ACTIVE)
	{
		/* ended by a task of this very batch */
		sf_ledger_record(ledger, task, 'c', NULL);
		return true;
	}
	if (sf_flow_is_message(task, item->node))
	{
		sf_flow_sop_over(ledger, run, task, batch->now);
		return true;
	}
	/* of what is carried out elsewhere, one task of a run at a time */
	if (item->node->action != NULL &&
		(run->offered || (run->version->nnodes > 1 && sf_ledger_in_flight(ledger, run->run_id))))
	{
		sf_ledger_hold(ledger, task, "run");
		return true;
	}
	if (sf_flow_too_late(run, task, batch->now))
	{
		sf_flow_skip(ledger, run, task);
		return true;
	}
	open = sf_token_open(run, task->node, batch->now);
	if (open > batch->now)
	{
		task->due_at = open;
		sf_ledger_pend(ledger, task);
		sf_ledger_touch(ledger, run);
		return true;
	}
	sop = sf_definition_sop(run->sop_id);
	if (sop != NULL && OidIsValid(sop->subject_relation) &&
		!sf_delivery_subject_exists(sop, run, &error))
	{
		if (error != NULL)
		{
			task->attempt++;
			sf_flow_fail(ledger, run, task, item->action, error, true, 0);
		}
		else
		{
			sf_ledger_record(ledger, task, 'c', NULL);
			sf_ledger_end(ledger, run, SF_RUN_CANCELLED, "its subject is gone");
		}
		return true;
	}
	return false;
}

typedef struct SfParamsCall
{
	const SfItem *item;
	Jsonb	   *params;
} SfParamsCall;

static void
fill_params(void *arg)
{
	SfParamsCall *call = arg;

	call->params = sf_script_params(call->item->run, call->item->task.node);
}

static void
carry_out_broadcast(SfBatch *batch, SfItem *item)
{
	SfTask	   *task = &item->task;
	SfParamsCall call = {item, item->node->params};
	ErrorData  *error = item->node->templated ? sf_attempt(fill_params, &call) : NULL;
	SfOutcome	outcome = SF_OUTCOME_DONE;

	task->attempt++;
	if (error != NULL)
		outcome = sf_flow_fail(batch->ledger, item->run, task, item->action, sf_error_text(error),
							   true, 0);
	else
	{
		task->error = NULL;
		sf_notify_task(item->action, item->run, item->node, task, task->attempt, call.params);
		sf_ledger_outcome(batch->ledger, item->action, false);
		sf_flow_done(batch->ledger, item->run, task, NULL, batch->now);
	}
	sf_stats_attempt(item->action->action_id, outcome, -1);
}

/* a node without an action */
static void
carry_out_here(SfBatch *batch, SfItem *item)
{
	SfLedger   *ledger = batch->ledger;
	SfTask	   *task = &item->task;
	char	   *error = NULL;

	switch (item->node->type)
	{
		case SF_NODE_CONDITION:
			/* a rule set may emit events, which must see what this batch offered */
			if (batch->offered && item->node->condition_rules != NULL)
				sf_ledger_renew(ledger);
			task->attempt++;
			error = sf_flow_decide(ledger, item->run, task, batch->now);
			break;
		case SF_NODE_WAIT:
			sf_flow_wait_over(ledger, item->run, task, batch->now);
			break;
		case SF_NODE_SOP:
			error = sf_flow_call_sop(ledger, item->run, task, batch->now);
			if (error != NULL)
				task->attempt++;
			break;
		default:
			sf_flow_done(ledger, item->run, task, NULL, batch->now);
			break;
	}
	if (error != NULL)
		sf_flow_fail(ledger, item->run, task, NULL, error, true, 0);
}

static void
carry_out(SfBatch *batch, SfItem *item)
{
	SfLedger   *ledger = batch->ledger;
	SfTask	   *task = &item->task;

	if (set_aside(batch, item))
		return;
	sf_stats_delay(batch->now - task->due_at);
	if (item->node->action == NULL)
	{
		carry_out_here(batch, item);
		return;
	}
	if (item->action == NULL)
	{
		task->attempt++;
		sf_flow_fail(ledger, item->run, task, NULL,
					 psprintf("action \"%s\" does not exist", item->node->action), false, 0);
		return;
	}
	switch (item->action->delivery)
	{
		case SF_DELIVERY_QUEUE:
			sf_ledger_offer(ledger, task, item->action->action_id);
			item->run->offered = true;
			batch->offered = true;
			ring(batch, item->action);
			break;
		case SF_DELIVERY_BROADCAST:
			carry_out_broadcast(batch, item);
			break;
		case SF_DELIVERY_CALL:
			carry_out_call(batch, item);
			break;
	}
}

/*
 * The pass before this one died while it called handlers: go one at a time
 * from now on.  If it went one at a time already, it was that task's handler.
 */
static void
read_marker(SfBatch *batch)
{
	SfPass	   *pass = batch->pass;
	int64		value;

	batch->marker = sf_marker_take(pass->by_hand ? -1 : pass->worker);
	if (!pass->careful && !pass->by_hand)
		return;
	value = sf_marker_read(batch->marker);
	pass->careful = value != SF_MARKER_IDLE;
	if (value <= SF_MARKER_BATCH)
		return;
	for (int i = 0; i < batch->nitems; i++)
	{
		SfItem	   *item = &batch->items[i];
		SfOutcome	outcome;

		if (item->task.task_id != value || item->run == NULL)
			continue;
		item->task.attempt++;
		outcome = sf_flow_fail(batch->ledger, item->run, &item->task, item->action,
							   "the handler ended its backend", true, 0);
		if (item->action != NULL)
			sf_stats_attempt(item->action->action_id, outcome, -1);
		memmove(item, item + 1, (batch->nitems - i - 1) * sizeof(SfItem));
		batch->nitems--;
		break;
	}
}

/*
 * Handlers have taken their time: leave the rest of the batch for the next
 * pass, as it was.
 */
static void
give_back(SfBatch *batch, int first)
{
	SfPass	   *pass = batch->pass;

	for (int i = first; i < batch->nitems; i++)
	{
		SfItem	   *item = &batch->items[i];

		if (item->run == NULL)
			carry_out(batch, item);
		else
			sf_ledger_pend(batch->ledger, &item->task);
	}
	pass->done -= batch->nitems - first;
	pass->more = true;
}

/* What the caller has deferred must not fire as the owner of an action. */
static void
check_constraints(SfBatch *batch)
{
	SfIdentity	self;

	GetUserIdAndSecContext(&self.userid, &self.sec_context);
	sf_ident_leave(batch->caller);
	sf_delivery_defer_constraints(false);
	sf_ident_leave(self);
	/* his triggers may have ended runs */
	sf_ledger_reread(batch->ledger);
}

static void
carry_out_all(SfBatch *batch)
{
	MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "sopflow task",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(scratch);
	TimestampTz begin = sf_clock_real();
	bool		calls_for_caller = batch->calls && batch->pass->by_hand;

	if (calls_for_caller)
		check_constraints(batch);
	sf_ledger_look(batch->ledger);
	if (batch->calls)
	{
		/* a handler may end a pause and must see what this batch held */
		if (batch->nheld > 0)
			sf_ledger_renew(batch->ledger);
		read_marker(batch);
		if (!batch->pass->careful)
			sf_marker_set(batch->marker, SF_MARKER_BATCH, true);
	}
	for (int i = 0; i < batch->nitems; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (batch->calls && i > 0 && batch->pass->max_usec > 0 &&
			sf_clock_real() - begin >= batch->pass->max_usec)
		{
			give_back(batch, i);
			break;
		}
		carry_out(batch, &batch->items[i]);
		MemoryContextReset(scratch);
	}
	if (batch->calls)
	{
		sf_marker_set(batch->marker, SF_MARKER_IDLE, false);
		batch->pass->careful = false;
	}
	if (calls_for_caller)
		sf_delivery_defer_constraints(true);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(scratch);
}

static void
ring_doorbells(SfBatch *batch)
{
	HASH_SEQ_STATUS seq;
	SfDoorbell *bell;

	if (batch->doorbells == NULL)
		return;
	hash_seq_init(&seq, batch->doorbells);
	while ((bell = hash_seq_search(&seq)) != NULL)
		sf_notify_ready(bell->action, bell->count);
}

void
sf_dispatch_pass(SfPass *pass)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "sopflow pass",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	SfBatch		batch = {0};

	pass->done = 0;
	pass->more = pass->skipped = false;
	pass->next_due = SF_NEVER;
	pass->reached = pass->from;
	batch.pass = pass;
	batch.context = context;
	batch.items = palloc(pass->max_tasks * sizeof(SfItem));
	batch.notify_room = sf_notify_has_room();
	GetUserIdAndSecContext(&batch.caller.userid, &batch.caller.sec_context);
	batch.ledger = sf_ledger_open(true);
	sf_ledger_hurry(batch.ledger);
	batch.now = sf_ledger_now(batch.ledger);

	take_due(&batch);
	if (pass->patrolling)
		take_patrol(&batch);
	pass->done = batch.nitems + batch.nheld;
	if (batch.nitems > 0)
		carry_out_all(&batch);
	ring_doorbells(&batch);
	sf_ledger_close(batch.ledger);
	sf_stats_count(SF_COUNT_PASSES, 1);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

/* --- leases that ended --- */

/* false: somebody has the run now, come back */
static bool
expire_offer(SfLedger *ledger, const SfOffer *seen)
{
	bool		busy;
	SfRun	   *run = sf_ledger_run(ledger, sf_task_run(seen->task.task_id), false, &busy);
	SfOffer		offer = *seen;
	SfAction   *action;
	SfOutcome	outcome;

	if (busy)
		return false;
	if (run == NULL || sf_ledger_remove(ledger, SF_REL_OFFER, &offer.task.tid, false) != SF_LOCK_OK)
		return true;			/* acknowledged or extended since our snapshot */
	action = sf_action_numbered(offer.action_id);
	sf_stats_count(SF_COUNT_LEASES_EXPIRED, 1);
	outcome = sf_flow_fail(ledger, run, &offer.task, action, "lease expired", true, 0);
	if (action != NULL)
		sf_stats_attempt(action->action_id, outcome, -1);
	return true;
}

int64
sf_dispatch_expire(BlockNumber *block, TimestampTz *next_expiry)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "sopflow expiry",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	SfLedger   *ledger = sf_ledger_open(true);
	TimestampTz now = sf_ledger_now(ledger);
	Relation	rel = sf_writer_rel(sf_ledger_writer(ledger, SF_REL_OFFER));
	BlockNumber nblocks = RelationGetNumberOfBlocks(rel);
	BlockNumber last = Min((uint64) *block + SWEEP_BLOCKS, nblocks);
	int64		expired = 0;

	sf_ledger_hurry(ledger);
	if (*block < last)
	{
		ItemPointerData low;
		ItemPointerData high;
		TupleTableSlot *slot = table_slot_create(rel, NULL);
		TableScanDesc scan;
		SfOffer    *offers = NULL;
		int			noffers = 0;

		ItemPointerSet(&low, *block, 1);
		ItemPointerSet(&high, last - 1, MaxOffsetNumber);
		scan = table_beginscan_tidrange(rel, sf_ledger_snapshot(ledger), &low, &high);
		while (table_scan_getnextslot_tidrange(scan, ForwardScanDirection, slot))
		{
			SfOffer		offer;

			CHECK_FOR_INTERRUPTS();
			slot_getallattrs(slot);
			sf_offer_read(slot, &offer);
			if (offer.lease_token == 0)
				continue;
			if (offer.lease_until > now)
			{
				*next_expiry = Min(*next_expiry, offer.lease_until);
				continue;
			}
			offers = offers == NULL ? palloc(sizeof(SfOffer)) :
				repalloc_huge(offers, (noffers + 1) * sizeof(SfOffer));
			offers[noffers++] = offer;
		}
		table_endscan(scan);
		ExecDropSingleTupleTableSlot(slot);
		qsort(offers, noffers, sizeof(SfOffer), sf_compare_int64);
		for (int i = 0; i < noffers; i++)
		{
			if (expire_offer(ledger, &offers[i]))
				expired++;
			else
				*next_expiry = Min(*next_expiry, now + USECS_PER_SEC / 50);
		}
	}
	*block = last < nblocks ? last : 0;
	sf_ledger_close(ledger);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return expired;
}

/* --- alerts, partitions --- */

/* of one pass, as SF_PLAN_ALERTS_UNSENT has it */
#define SF_ALERT_BATCH	1000

typedef struct SfAlerts
{
	ArrayBuildState *ids;
} SfAlerts;

static void
send_alert(HeapTuple tuple, TupleDesc desc, void *arg)
{
	SfAlerts   *alerts = arg;

	sf_notify_alert(sf_row_text(tuple, desc, 2));
	alerts->ids = accumArrayResult(alerts->ids, Int64GetDatum(sf_row_int64(tuple, desc, 1, 0)),
								   false, INT8OID, CurrentMemoryContext);
}

bool
sf_dispatch_alerts(void)
{
	SfAlerts	alerts = {NULL};
	Datum		values[2];
	SfScan	   *scan;
	bool		unsent;
	uint64		sent = 0;

	/* there is none at the end of almost every pass */
	scan = sf_scan_open(SF_REL_ALERT, SF_REL_ALERT_UNSENT, sf_snapshot_push(), 0);
	sf_scan_start(scan, NULL, 0);
	unsent = sf_scan_next(scan);
	sf_scan_close(scan);
	if (unsent && sf_notify_has_room())
		sent = sf_plan_run(SF_PLAN_ALERTS_UNSENT, NULL, NULL, send_alert, &alerts);
	if (sent > 0)
	{
		values[0] = TimestampTzGetDatum(sf_clock_now());
		values[1] = makeArrayResult(alerts.ids, CurrentMemoryContext);
		sf_plan_run(SF_PLAN_ALERTS_SENT, values, NULL, NULL, NULL);
	}
	sf_snapshot_pop();
	return sent == SF_ALERT_BATCH;
}

void
sf_dispatch_retention(void)
{
	int			nest = NewGUCNestLevel();

	/* whoever reads the history holds a lock that we would wait for */
	(void) set_config_option("lock_timeout", "100ms", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	sf_history_maintain(sf_clock_now());
	AtEOXact_GUC(true, nest);
}
