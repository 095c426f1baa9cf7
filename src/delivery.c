/*
 * delivery.c
 *	  Calling a handler, and the row that handlers and consumers are given.
 *
 * A handler is a user's code inside our transaction.  It runs in a
 * subtransaction, as the action's owner in a security-restricted context, with
 * the search_path saved with the action; settings that it changes are put back,
 * and constraints that could be checked later are checked at once.
 */
#include "postgres.h"

#include <signal.h>

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timeout.h"
#include "utils/typcache.h"

#include "clock.h"
#include "delivery.h"
#include "errors.h"
#include "plan.h"
#include "script.h"

static TimeoutId handler_timeout = MAX_TIMEOUTS;
static volatile sig_atomic_t timed_out = false;

/* as a statement timeout does; the cancel is taken at the next interrupt check */
static void
handler_timed_out(void)
{
	timed_out = true;
	kill(MyProcPid, SIGINT);
}

void
sf_work_fill(const SfRun *run, const SfNode *node, const SfTask *task, Jsonb *params,
			 int64 lease_token, TimestampTz lease_until, Datum *values, bool *nulls)
{
	static Jsonb *empty = NULL;

	if (empty == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		empty = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum("{}")));
		MemoryContextSwitchTo(old);
	}
	memset(nulls, 0, SF_WORK_COLUMNS * sizeof(bool));
	values[0] = Int64GetDatum(task->task_id);
	values[1] = Int64GetDatum(lease_token);
	nulls[1] = lease_token == 0;
	values[2] = Int64GetDatum(run->run_id);
	values[3] = CStringGetTextDatum(run->sop_id);
	values[4] = CStringGetTextDatum(node->node_id);
	values[5] = CStringGetTextDatum(run->subject_id);
	values[6] = CStringGetTextDatum(node->action);
	values[7] = JsonbPGetDatum(params);
	values[8] = JsonbPGetDatum(run->context ? run->context : empty);
	values[9] = Int32GetDatum(task->attempt);
	values[10] = TimestampTzGetDatum(task->due_at);
	values[11] = TimestampTzGetDatum(lease_until);
	nulls[11] = lease_token == 0;
}

static Datum
work_datum(const SfRun *run, const SfNode *node, const SfTask *task)
{
	TupleDesc	desc = lookup_rowtype_tupdesc(sf_ident_work_type(), -1);
	Datum		values[SF_WORK_COLUMNS];
	bool		nulls[SF_WORK_COLUMNS];
	HeapTuple	tuple;

	sf_work_fill(run, node, task, sf_script_params(run, task->node), 0, 0, values, nulls);
	tuple = heap_form_tuple(desc, values, nulls);
	ReleaseTupleDesc(desc);
	return HeapTupleGetDatum(tuple);
}

char *
sf_error_text(const ErrorData *edata)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfo(&buf, "%s (SQLSTATE %s)", edata->message ? edata->message : "unknown error",
					 unpack_sql_state(edata->sqlerrcode));
	if (edata->detail != NULL)
		appendStringInfo(&buf, " DETAIL: %s", edata->detail);
	return buf.data;
}

/*
 * In a security-restricted operation nothing may be deferred, so a handler has
 * all constraints checked at once.  What the caller had before is not to be
 * found out; deferred lets him write an SOP.
 */
void
sf_delivery_defer_constraints(bool deferred)
{
	ConstraintsSetStmt *stmt = makeNode(ConstraintsSetStmt);

	stmt->constraints = NIL;
	stmt->deferred = deferred;
	AfterTriggerSetState(stmt);
}

static Datum
call_handler(SfAction *action, const SfRun *run, const SfNode *node, const SfTask *task)
{
	LOCAL_FCINFO(fcinfo, 1);
	FmgrInfo   *handler = sf_action_handler(action);
	int			nest = NewGUCNestLevel();
	Datum		value;
	Datum		work;

	/* as the SOP's owner, and under his path */
	work = work_datum(run, node, task);
	sf_path_set(&action->path);
	SetUserIdAndSecContext(action->owner,
						   SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
	PushActiveSnapshot(GetTransactionSnapshot());
	sf_delivery_defer_constraints(false);

	if (handler_timeout == MAX_TIMEOUTS)
		handler_timeout = RegisterTimeout(USER_TIMEOUT, handler_timed_out);
	/* again and again: a handler may catch the cancel */
	enable_timeout_every(handler_timeout, sf_clock_real() + action->timeout,
						 (int) Min(Max(action->timeout / 1000, 1), INT_MAX));
	InitFunctionCallInfoData(*fcinfo, handler, 1, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = work;
	fcinfo->args[0].isnull = false;
	value = FunctionCallInvoke(fcinfo);
	disable_timeout(handler_timeout, false);
	if (timed_out)
		ereport(ERROR,
				(errcode(ERRCODE_QUERY_CANCELED),
				 errmsg("handler %s ran longer than its timeout", action->handler)));

	if (fcinfo->isnull)
		ereport(ERROR,
				(errcode(ERRCODE_SF_HANDLER_FAILED),
				 errmsg("handler %s returned null", action->handler),
				 errhint("Return a jsonb value, '{}' when there is nothing to say.")));
	PopActiveSnapshot();
	sf_delivery_defer_constraints(true);
	/* not as at a commit: what it set for the session is put back too */
	AtEOXact_GUC(false, nest);
	return value;
}

static void
describe_task(void *arg)
{
	const SfTask *task = arg;

	errcontext("task " INT64_FORMAT, task->task_id);
}

bool
sf_delivery_call(SfAction *action, const SfRun *run, const SfNode *node,
				 const SfTask *task, Jsonb **result, char **error)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorContextCallback callback;
	SfIdentity	saved;
	volatile bool ok = true;

	timed_out = false;
	GetUserIdAndSecContext(&saved.userid, &saved.sec_context);
	callback.callback = describe_task;
	callback.arg = (void *) task;
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	BeginInternalSubTransaction(NULL);
	/* what is in a subtransaction's own context stays until the whole commits */
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		Datum		value = call_handler(action, run, node, task);

		MemoryContextSwitchTo(context);
		*result = (Jsonb *) PG_DETOAST_DATUM_COPY(value);
		sf_ident_leave(saved);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		/* it may have failed before the first timeout of this session */
		if (handler_timeout != MAX_TIMEOUTS)
			disable_timeout(handler_timeout, false);
		MemoryContextSwitchTo(context);
		edata = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		error_context_stack = callback.previous;

		/* a cancel that is not our timeout is meant for the whole call */
		if (edata->sqlerrcode == ERRCODE_QUERY_CANCELED && !timed_out)
			ReThrowError(edata);
		if (timed_out && edata->sqlerrcode == ERRCODE_QUERY_CANCELED)
			*error = psprintf("handler %s ran longer than its timeout of " INT64_FORMAT " ms",
							  action->handler, action->timeout / 1000);
		else
			*error = sf_error_text(edata);
		QueryCancelPending = QueryCancelPending && !timed_out;
		FreeErrorData(edata);
		ok = false;
	}
	PG_END_TRY();
	error_context_stack = callback.previous;
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return ok;
}

static void
note_row(HeapTuple tuple, TupleDesc desc, void *arg)
{
	*(bool *) arg = true;
}

bool
sf_delivery_subject_exists(const SfSop *sop, const SfRun *run, char **error)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	bool		found = false;

	*error = NULL;
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		char	   *relation = get_rel_name(sop->subject_relation);
		AttrNumber	attnum;
		char	   *schema;
		Oid			type;
		Oid			types[1] = {TEXTOID};
		Datum		values[1];

		if (relation == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_TABLE),
					 errmsg("subject_relation of SOP \"%s\" does not exist any more", sop->sop_id)));
		attnum = get_attnum(sop->subject_relation, sop->subject_key);
		if (attnum == InvalidAttrNumber)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("subject_key \"%s\" of SOP \"%s\" is no column of its subject_relation",
							sop->subject_key, sop->sop_id)));
		schema = get_namespace_name(get_rel_namespace(sop->subject_relation));
		type = get_atttype(sop->subject_relation, attnum);
		values[0] = CStringGetTextDatum(run->subject_id);
		/*
		 * compared in the column's own type, so that its index serves; of many
		 * partitions only the subject's is locked
		 */
		sf_plan_query_as(sop->owner,
						 get_rel_relkind(sop->subject_relation) == RELKIND_RELATION,
						 psprintf("SELECT FROM %s WHERE %s = $1::%s LIMIT 1",
								  quote_qualified_identifier(schema, relation),
								  quote_identifier(sop->subject_key),
								  sf_plan_type_name(type)),
						 1, types, values, note_row, &found);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(context);
		edata = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		if (edata->sqlerrcode == ERRCODE_QUERY_CANCELED)
			ReThrowError(edata);
		*error = sf_error_text(edata);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return found;
}

/* --- params of a task that may be over --- */

typedef struct SfTaskOf
{
	int32		version_id;
	int			node;
	SfRun		run;
} SfTaskOf;

static void
take_task(HeapTuple tuple, TupleDesc desc, void *arg)
{
	SfTaskOf   *task = arg;

	task->version_id = sf_row_int32(tuple, desc, 1, 0);
	task->node = sf_row_int32(tuple, desc, 2, 0);
}

static void
take_run(HeapTuple tuple, TupleDesc desc, void *arg)
{
	SfRun	   *run = &((SfTaskOf *) arg)->run;
	bool		isnull;
	Datum		context;

	run->event_at = DatumGetTimestampTz(heap_getattr(tuple, 1, desc, &isnull));
	run->started_at = DatumGetTimestampTz(heap_getattr(tuple, 2, desc, &isnull));
	run->sop_id = sf_row_text(tuple, desc, 3);
	run->subject_id = sf_row_text(tuple, desc, 4);
	context = heap_getattr(tuple, 5, desc, &isnull);
	if (!isnull)
		run->context = (Jsonb *) PG_DETOAST_DATUM_COPY(context);
	context = heap_getattr(tuple, 6, desc, &isnull);
	if (!isnull)
		run->events = (Jsonb *) PG_DETOAST_DATUM_COPY(context);
}

Jsonb *
sf_delivery_params(int64 task_id)
{
	SfTaskOf	task = {0};
	Datum		values[1] = {Int64GetDatum(task_id)};

	if (sf_plan_run(SF_PLAN_TASK_OF, values, NULL, take_task, &task) == 0)
		return NULL;
	task.run.run_id = sf_task_run(task_id);
	task.run.version_id = task.version_id;
	task.run.version = sf_definition_version(task.version_id);
	values[0] = Int64GetDatum(task.run.run_id);
	if (sf_plan_run(SF_PLAN_ENDED_RUN, values, NULL, take_run, &task) == 0)
		return NULL;
	return sf_script_params(&task.run, task.node);
}
