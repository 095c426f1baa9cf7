/*
 * sqlfunc_event.c
 *	  SQL functions about events, runs and tasks.
 *
 * Whoever may execute one of these may do what it says; they write as the
 * extension's owner.
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "control.h"
#include "dispatch.h"
#include "errors.h"
#include "flow.h"
#include "guc.h"
#include "ident.h"

PG_FUNCTION_INFO_V1(sopflow_now);
PG_FUNCTION_INFO_V1(sopflow_emit);
PG_FUNCTION_INFO_V1(sopflow_emit_bigint);
PG_FUNCTION_INFO_V1(sopflow_start);
PG_FUNCTION_INFO_V1(sopflow_start_bigint);
PG_FUNCTION_INFO_V1(sopflow_cancel);
PG_FUNCTION_INFO_V1(sopflow_reschedule);
PG_FUNCTION_INFO_V1(sopflow_redrive);
PG_FUNCTION_INFO_V1(sopflow_pause);
PG_FUNCTION_INFO_V1(sopflow_resume);
PG_FUNCTION_INFO_V1(sopflow_pause_action);
PG_FUNCTION_INFO_V1(sopflow_resume_action);
PG_FUNCTION_INFO_V1(sopflow_run_due);

Datum
sopflow_now(PG_FUNCTION_ARGS)
{
	PG_RETURN_TIMESTAMPTZ(sf_clock_transaction());
}

/* an argument that must not be null, as a C string */
static char *
needed_text(FunctionCallInfo fcinfo, int arg, const char *what)
{
	if (PG_ARGISNULL(arg))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", what)));
	return text_to_cstring(PG_GETARG_TEXT_PP(arg));
}

static char *
optional_text(FunctionCallInfo fcinfo, int arg)
{
	return PG_ARGISNULL(arg) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(arg));
}

/* (name, subject, context, occurred_at); the subject is given */
static SfEvent
event_of(FunctionCallInfo fcinfo, char *subject_id)
{
	SfEvent		event = {0};

	event.subject_id = subject_id;
	if (!PG_ARGISNULL(2))
	{
		event.context = PG_GETARG_JSONB_P(2);
		if (!JB_ROOT_IS_OBJECT(event.context))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("context must be a JSON object")));
		if (JB_ROOT_COUNT(event.context) == 0)
			event.context = NULL;
	}
	event.occurred_at = PG_ARGISNULL(3) ? sf_clock_transaction() : PG_GETARG_TIMESTAMPTZ(3);
	return event;
}

static char *
bigint_subject(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("subject id must not be null")));
	return psprintf(INT64_FORMAT, PG_GETARG_INT64(1));
}

static Datum
emit(FunctionCallInfo fcinfo, char *subject_id)
{
	char	   *name = needed_text(fcinfo, 0, "event");
	SfEvent		event = event_of(fcinfo, subject_id);

	if (*name == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("event must not be empty")));
	PG_RETURN_INT32((int32) sf_flow_events(name, &event, 1));
}

Datum
sopflow_emit(PG_FUNCTION_ARGS)
{
	return emit(fcinfo, needed_text(fcinfo, 1, "subject id"));
}

Datum
sopflow_emit_bigint(PG_FUNCTION_ARGS)
{
	return emit(fcinfo, bigint_subject(fcinfo));
}

static Datum
start(FunctionCallInfo fcinfo, char *subject_id)
{
	char	   *sop_id = needed_text(fcinfo, 0, "SOP id");
	SfEvent		event = event_of(fcinfo, subject_id);

	PG_RETURN_INT64(sf_flow_start(sop_id, &event));
}

Datum
sopflow_start(PG_FUNCTION_ARGS)
{
	return start(fcinfo, needed_text(fcinfo, 1, "subject id"));
}

Datum
sopflow_start_bigint(PG_FUNCTION_ARGS)
{
	return start(fcinfo, bigint_subject(fcinfo));
}

Datum
sopflow_cancel(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0) && PG_ARGISNULL(1) && PG_ARGISNULL(2))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("cancel() needs a subject, an SOP or a run"),
				 errhint("What is given is combined by AND; to cancel all runs of an SOP, use sopflow.cancel(sop_id => ...).")));
	if (!PG_ARGISNULL(2) && PG_GETARG_INT64(2) <= 0)
		PG_RETURN_INT64(0);
	PG_RETURN_INT64(sf_control_cancel(optional_text(fcinfo, 0), optional_text(fcinfo, 1),
									  PG_ARGISNULL(2) ? 0 : PG_GETARG_INT64(2)));
}

Datum
sopflow_reschedule(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("task id and due time must not be null")));
	if (TIMESTAMP_NOT_FINITE(PG_GETARG_TIMESTAMPTZ(1)))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("due time must be finite")));
	PG_RETURN_BOOL(sf_control_reschedule(PG_GETARG_INT64(0), PG_GETARG_TIMESTAMPTZ(1)));
}

Datum
sopflow_redrive(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(sf_control_redrive(optional_text(fcinfo, 0),
									   PG_ARGISNULL(1) ? NULL : PG_GETARG_ARRAYTYPE_P(1)));
}

Datum
sopflow_pause(PG_FUNCTION_ARGS)
{
	sf_control_pause_sop(needed_text(fcinfo, 0, "SOP id"), true);
	PG_RETURN_VOID();
}

Datum
sopflow_resume(PG_FUNCTION_ARGS)
{
	sf_control_pause_sop(needed_text(fcinfo, 0, "SOP id"), false);
	PG_RETURN_VOID();
}

Datum
sopflow_pause_action(PG_FUNCTION_ARGS)
{
	sf_control_pause_action(needed_text(fcinfo, 0, "action"), true);
	PG_RETURN_VOID();
}

Datum
sopflow_resume_action(PG_FUNCTION_ARGS)
{
	sf_control_pause_action(needed_text(fcinfo, 0, "action"), false);
	PG_RETURN_VOID();
}

/*
 * The caller's transaction must not fail for a partition that cannot be had
 * now; the next pass tries again.
 */
static void
maintain_history(void)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;

	BeginInternalSubTransaction(NULL);
	PG_TRY();
	{
		sf_dispatch_retention();
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(context);
		edata = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		if (edata->sqlerrcode == ERRCODE_QUERY_CANCELED)
			ReThrowError(edata);
		ereport(WARNING,
				(errcode(edata->sqlerrcode),
				 errmsg("could not maintain the history partitions: %s", edata->message)));
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
}

/*
 * What the worker does, in the caller's transaction: leases that ended, due
 * tasks, alerts, partitions.
 */
static int64
run_due(int64 max_tasks, int64 max_usec)
{
	TimestampTz begin = sf_clock_real();
	BlockNumber block = 0;
	TimestampTz next_expiry = SF_NEVER;
	int64		done = 0;

	do
		sf_dispatch_expire(&block, &next_expiry);
	while (block != 0);
	for (;;)
	{
		SfPass		pass = {0};

		CHECK_FOR_INTERRUPTS();
		pass.by_hand = true;
		pass.nworkers = 1;
		pass.max_tasks = (int) Min(max_tasks - done, sf_guc_batch_size);
		pass.max_usec = Max(max_usec - (sf_clock_real() - begin), 1);
		pass.from = SF_POSITION_START;
		if (pass.max_tasks <= 0)
			break;
		sf_dispatch_pass(&pass);
		done += pass.done;
		/* a task that follows at once is due in the next pass */
		if (pass.done == 0 || sf_clock_real() - begin >= max_usec)
			break;
	}
	while (sf_dispatch_alerts() && sf_clock_real() - begin < max_usec)
		CHECK_FOR_INTERRUPTS();
	maintain_history();
	return done;
}

Datum
sopflow_run_due(PG_FUNCTION_ARGS)
{
	int32		max_tasks = PG_ARGISNULL(0) ? SF_DEFAULT_BATCH_SIZE : PG_GETARG_INT32(0);
	int64		max_usec = PG_ARGISNULL(1) ? 10 * USECS_PER_SEC :
		sf_interval_usec(PG_GETARG_INTERVAL_P(1));

	if (max_tasks < 0 || max_usec < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_tasks and max_time must not be negative")));
	if (sf_ident_held())
	{
		ereport(WARNING,
				(errcode(ERRCODE_SF_HELD),
				 errmsg("nothing is dispatched: the database is held after a restore"),
				 errhint("Call sopflow.restored() when the restore is complete.")));
		PG_RETURN_INT64(0);
	}
	if (!sf_ident_lock())
		PG_RETURN_INT64(0);
	PG_RETURN_INT64(run_due(max_tasks, max_usec));
}
