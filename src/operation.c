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

static const SfOperation *announced = NULL;
static int	announced_depth;

static int
trigger_depth(void)
{
	return DatumGetInt32(DirectFunctionCall1(pg_trigger_depth, (Datum) 0));
}

void
sf_operation_begin(const SfOperation *operation, int levels)
{
	announced = operation;
	announced_depth = trigger_depth() + levels;
}

void
sf_operation_end(void)
{
	announced = NULL;
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

SfOperation
sf_operation_of(TriggerData *trigger, SfOwner before, SfOwner after)
{
	SfRowWrite *row = trigger == NULL ? current_row() : NULL;
	SfOperation operation = {.event = "sql"};

	if (announced != NULL && trigger_depth() == announced_depth)
	{
		operation = *announced;
		operation.event = "function";
		return operation;
	}
	if (row != NULL)
		trigger = row->trigger;
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
