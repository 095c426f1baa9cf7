/*
 * operation.c
 *	  What is being done to a lead.
 *
 * The operation that a function announces holds for the row triggers of its own
 * UPDATE: they run one level of triggers deeper than the function.  What these
 * write in turn is deeper still, and derived like any other statement.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "utils/fmgrprotos.h"
#include "utils/snapmgr.h"

#include "operation.h"

static SfAnnouncement *announced = NULL;

static int
trigger_depth(void)
{
	return DatumGetInt32(DirectFunctionCall1(pg_trigger_depth, (Datum) 0));
}

void
sf_operation_begin(SfAnnouncement *announcement, const SfOperation *operation, int levels)
{
	announcement->operation = operation;
	announcement->depth = trigger_depth() + levels;
	announcement->logged = false;
	announcement->outer = announced;
	announced = announcement;
}

void
sf_operation_end(void)
{
	announced = announced->outer;
}

void
sf_operation_logged(void)
{
	if (announced != NULL && trigger_depth() == announced->depth)
		announced->logged = true;
}

/* marks a row's place among the error contexts, which errors unwind by themselves */
static void
row_at_hand(void *arg)
{
}

void
sf_operation_row_begin(SfRowWrite *row, TriggerData *trigger)
{
	row->trigger = trigger;
	row->snapshot = ActiveSnapshotSet() ? GetActiveSnapshot() : NULL;
	row->callback.callback = row_at_hand;
	row->callback.arg = row;
	row->callback.previous = error_context_stack;
	error_context_stack = &row->callback;
}

void
sf_operation_row_end(SfRowWrite *row)
{
	error_context_stack = row->callback.previous;
}

static SfRowWrite *
current_row(void)
{
	for (ErrorContextCallback *c = error_context_stack; c != NULL; c = c->previous)
		if (c->callback == row_at_hand)
			return c->arg;
	return NULL;
}

/*
 * Whether the statement has not seen the row that it is about to change: it
 * began before another session's change of it committed, and waited for that.
 */
static bool
is_unseen(const SfRowWrite *row)
{
	TransactionId xmin = HeapTupleHeaderGetXmin(row->trigger->tg_trigtuple->t_data);

	return row->snapshot != NULL && !TransactionIdIsCurrentTransactionId(xmin) &&
		XidInMVCCSnapshot(xmin, row->snapshot);
}

static bool
same_owner(SfOwner a, SfOwner b)
{
	return a.isnull || b.isnull ? a.isnull == b.isnull : a.rep_id == b.rep_id;
}

/*
 * Whether the row is written by the operation that was announced.  Being deep
 * enough is not all: the tables of the schema that it works on may be anybody's,
 * with triggers and rules that write other leads.
 */
static bool
is_announced(TriggerData *trigger, SfOwner before, SfOwner after)
{
	const SfOperation *operation;

	if (announced == NULL || trigger_depth() != announced->depth ||
		(trigger != NULL && !TRIGGER_FIRED_BY_UPDATE(trigger->tg_event)))
		return false;
	operation = announced->operation;
	/* a trigger may say that another rep gets it */
	return operation->moves ? after.isnull == operation->to_pool &&
		!(operation->of_owner && before.isnull) : same_owner(before, after);
}

SfOperation
sf_operation_of(TriggerData *trigger, SfOwner before, SfOwner after)
{
	SfRowWrite *row = trigger == NULL ? current_row() : NULL;
	SfOperation operation = {.event = "sql"};

	if (row != NULL)
		trigger = row->trigger;
	if (is_announced(trigger, before, after))
	{
		operation = *announced->operation;
		operation.event = "function";
		return operation;
	}
	if (trigger != NULL && TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
		operation.operation = "DELETE";
	else if (before.isnull && !after.isnull)
		operation.operation = "CLAIM";
	else if (!before.isnull && after.isnull)
		operation.operation = operation.operation_type = "RELEASE";
	else if (before.isnull || before.rep_id == after.rep_id)
		operation.operation = "EDIT";
	else if (row != NULL && TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) && is_unseen(row))
		operation.operation = "CLAIM";	/* he saw it public, or owned by another */
	else
		operation.operation = "TRANSFER";
	return operation;
}
