/*
 * sqlfunc_queue.c
 *	  The consumer protocol as SQL functions.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "delivery.h"
#include "dispatch.h"
#include "errors.h"
#include "guc.h"
#include "ident.h"
#include "lease.h"
#include "plan.h"
#include "shm.h"

#define MAX_FETCH		100000
#define BUSY_RETRIES	20
#define BUSY_WAIT_US	1000

PG_FUNCTION_INFO_V1(sopflow_fetch);
PG_FUNCTION_INFO_V1(sopflow_ack);
PG_FUNCTION_INFO_V1(sopflow_ack_many);
PG_FUNCTION_INFO_V1(sopflow_nack);
PG_FUNCTION_INFO_V1(sopflow_nack_many);
PG_FUNCTION_INFO_V1(sopflow_extend);
PG_FUNCTION_INFO_V1(sopflow_task_params);

/* microseconds of an interval argument that must be positive, -1 where it is null */
static int64
positive_interval(FunctionCallInfo fcinfo, int arg, const char *what)
{
	int64		usec;

	if (PG_ARGISNULL(arg))
		return -1;
	usec = sf_interval_usec(PG_GETARG_INTERVAL_P(arg));
	if (usec <= 0 || usec > 100 * 366 * USECS_PER_DAY)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be positive and at most 100 years", what)));
	return usec;
}

/*
 * No worker: promote what is due, and take back leases that ended.  The sweep
 * goes on where the last fetch of this session left it.
 */
static void
promote(int max_tasks)
{
	static BlockNumber block = 0;
	TimestampTz next_expiry = SF_NEVER;
	SfPass		pass = {0};

	sf_dispatch_expire(&block, &next_expiry);
	pass.by_hand = true;
	pass.offers_only = true;
	pass.nworkers = 1;
	pass.max_tasks = Max(max_tasks, 100);
	pass.from = SF_POSITION_START;
	sf_dispatch_pass(&pass);
}

static const SfAction **
actions_of(ArrayType *names, int *nactions)
{
	Datum	   *elems;
	bool	   *nulls;
	int			n;
	const SfAction **actions;

	deconstruct_array(names, TEXTOID, -1, false, TYPALIGN_INT, &elems, &nulls, &n);
	actions = palloc(Max(n, 1) * sizeof(SfAction *));
	*nactions = 0;
	for (int i = 0; i < n; i++)
	{
		char	   *name = nulls[i] ? NULL : TextDatumGetCString(elems[i]);
		SfAction   *action;
		bool		twice = false;

		if (name == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("actions must not contain null")));
		action = sf_action_named(name);
		if (action == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_OBJECT),
					 errmsg("action \"%s\" does not exist", name)));
		if (!sf_action_allows(action, GetUserId(), SF_ACTION_CONSUME))
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("permission denied for tasks of action \"%s\"", name),
					 errhint("SELECT sopflow.grant_consumer(%s, %s) grants it.",
							 quote_literal_cstr(name),
							 quote_literal_cstr(GetUserNameFromId(GetUserId(), false)))));
		if (action->delivery != SF_DELIVERY_QUEUE)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("action \"%s\" is not delivered by queue", name)));
		for (int j = 0; j < *nactions; j++)
			twice |= actions[j] == action;
		if (!twice)
			actions[(*nactions)++] = action;
	}
	return actions;
}

Datum
sopflow_fetch(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	const SfAction **actions;
	int			nactions;
	int32		max_tasks = PG_ARGISNULL(1) ? 10 : PG_GETARG_INT32(1);
	int64		lease = positive_interval(fcinfo, 2, "lease");

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("actions must not be null")));
	if (max_tasks < 1 || max_tasks > MAX_FETCH)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_tasks must be from 1 to %d", MAX_FETCH)));
	actions = actions_of(PG_GETARG_ARRAYTYPE_P(0), &nactions);
	InitMaterializedSRF(fcinfo, 0);
	if (nactions == 0 || sf_ident_held())
		return (Datum) 0;
	if (!sf_shm_worker_attached(MyDatabaseId, 0))
	{
		promote(max_tasks);
		/* its commands may have brought invalidations */
		actions = actions_of(PG_GETARG_ARRAYTYPE_P(0), &nactions);
	}

	/*
	 * A run is locked for the moment that somebody works on it, and the
	 * consumer that finds nothing for it would wait for the next doorbell: so
	 * look again for a little while.
	 */
	for (int i = 0; i < BUSY_RETRIES; i++)
	{
		bool		passed_by = false;

		if (sf_lease_fetch(actions, nactions, max_tasks, lease, rsinfo->setResult,
						   rsinfo->setDesc, &passed_by) > 0 || !passed_by)
			break;
		CHECK_FOR_INTERRUPTS();
		pg_usleep(BUSY_WAIT_US);
	}
	return (Datum) 0;
}

Datum
sopflow_ack(PG_FUNCTION_ARGS)
{
	SfAck		ack = {0};

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_BOOL(false);
	ack.task_id = PG_GETARG_INT64(0);
	ack.lease_token = PG_GETARG_INT64(1);
	ack.success = true;
	ack.result = PG_ARGISNULL(2) ? NULL : PG_GETARG_JSONB_P(2);
	sf_lease_settle(&ack, 1);
	PG_RETURN_BOOL(ack.accepted);
}

static void
check_retry_in(int64 usec)
{
	if (usec < 0 || usec > 100 * 366 * USECS_PER_DAY)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("retry_in must not be negative or longer than 100 years")));
}

Datum
sopflow_nack(PG_FUNCTION_ARGS)
{
	SfAck		ack = {0};

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_BOOL(false);
	ack.task_id = PG_GETARG_INT64(0);
	ack.lease_token = PG_GETARG_INT64(1);
	ack.error = PG_ARGISNULL(2) ? "no reason given" : text_to_cstring(PG_GETARG_TEXT_PP(2));
	ack.retry_in = -1;
	if (!PG_ARGISNULL(3))
	{
		ack.retry_in = sf_interval_usec(PG_GETARG_INTERVAL_P(3));
		check_retry_in(ack.retry_in);
	}
	ack.retry = PG_ARGISNULL(4) || PG_GETARG_BOOL(4);
	sf_lease_settle(&ack, 1);
	PG_RETURN_BOOL(ack.accepted);
}

/* an array argument of a given length; NULL datums where the argument is null */
typedef struct SfColumn
{
	Datum	   *values;
	bool	   *nulls;
	int			n;
} SfColumn;

static SfColumn
array_argument(FunctionCallInfo fcinfo, int arg, Oid type, int16 len, bool byval, char align)
{
	SfColumn	column = {NULL, NULL, -1};

	if (!PG_ARGISNULL(arg))
		deconstruct_array(PG_GETARG_ARRAYTYPE_P(arg), type, len, byval, align,
						  &column.values, &column.nulls, &column.n);
	return column;
}

static void
check_length(SfColumn column, int n, const char *name)
{
	if (column.n >= 0 && column.n != n)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("array \"%s\" has %d elements, not %d as \"task_ids\"", name, column.n, n)));
}

/* ids and tokens; a null element is refused later like an unknown task */
static SfAck *
acks_of(FunctionCallInfo fcinfo, int *n)
{
	SfColumn	ids = array_argument(fcinfo, 0, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE);
	SfColumn	tokens = array_argument(fcinfo, 1, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE);
	SfAck	   *acks;

	if (ids.n < 0 || tokens.n < 0)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("task_ids and lease_tokens must not be null")));
	check_length(tokens, ids.n, "lease_tokens");
	acks = palloc0(Max(ids.n, 1) * sizeof(SfAck));
	for (int i = 0; i < ids.n; i++)
	{
		bool		absent = ids.nulls[i] || tokens.nulls[i];

		acks[i].task_id = absent ? 0 : DatumGetInt64(ids.values[i]);
		acks[i].lease_token = absent ? 0 : DatumGetInt64(tokens.values[i]);
		acks[i].number = i;
		acks[i].retry_in = -1;
		acks[i].retry = true;
	}
	*n = ids.n;
	return acks;
}

static int
by_number(const void *a, const void *b)
{
	return ((const SfAck *) a)->number - ((const SfAck *) b)->number;
}

/* the ids that were accepted, in the caller's order */
static Datum
return_accepted(FunctionCallInfo fcinfo, SfAck *acks, int nacks)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	sf_lease_settle(acks, nacks);
	qsort(acks, nacks, sizeof(SfAck), by_number);
	for (int i = 0; i < nacks; i++)
		if (acks[i].accepted)
		{
			Datum		value = Int64GetDatum(acks[i].task_id);
			bool		isnull = false;

			tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, &value, &isnull);
		}
	return (Datum) 0;
}

Datum
sopflow_ack_many(PG_FUNCTION_ARGS)
{
	int			n;
	SfAck	   *acks = acks_of(fcinfo, &n);
	SfColumn	results = array_argument(fcinfo, 2, JSONBOID, -1, false, TYPALIGN_INT);

	check_length(results, n, "results");
	for (int i = 0; i < n; i++)
	{
		acks[i].success = true;
		acks[i].result = results.n < 0 || results.nulls[i] ?
			NULL : DatumGetJsonbP(results.values[i]);
	}
	return return_accepted(fcinfo, acks, n);
}

Datum
sopflow_nack_many(PG_FUNCTION_ARGS)
{
	int			n;
	SfAck	   *acks = acks_of(fcinfo, &n);
	SfColumn	errors = array_argument(fcinfo, 2, TEXTOID, -1, false, TYPALIGN_INT);
	SfColumn	retry_in = array_argument(fcinfo, 3, INTERVALOID, sizeof(Interval), false,
										  TYPALIGN_DOUBLE);
	SfColumn	retry = array_argument(fcinfo, 4, BOOLOID, 1, true, TYPALIGN_CHAR);

	check_length(errors, n, "errors");
	check_length(retry_in, n, "retry_in");
	check_length(retry, n, "retry");
	for (int i = 0; i < n; i++)
	{
		acks[i].error = errors.n < 0 || errors.nulls[i] ? "no reason given" :
			TextDatumGetCString(errors.values[i]);
		if (retry_in.n >= 0 && !retry_in.nulls[i])
		{
			acks[i].retry_in = sf_interval_usec(DatumGetIntervalP(retry_in.values[i]));
			check_retry_in(acks[i].retry_in);
		}
		acks[i].retry = retry.n < 0 || retry.nulls[i] || DatumGetBool(retry.values[i]);
	}
	return return_accepted(fcinfo, acks, n);
}

Datum
sopflow_extend(PG_FUNCTION_ARGS)
{
	int64		lease = positive_interval(fcinfo, 2, "lease");
	TimestampTz until;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	if (lease < 0)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("lease must not be null")));
	until = sf_lease_extend(PG_GETARG_INT64(0), PG_GETARG_INT64(1), lease);
	if (until == 0)
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(until);
}

Datum
sopflow_task_params(PG_FUNCTION_ARGS)
{
	Jsonb	   *params = sf_delivery_params(PG_GETARG_INT64(0));

	if (params == NULL)
		PG_RETURN_NULL();
	PG_RETURN_JSONB_P(params);
}
