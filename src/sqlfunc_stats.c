/*
 * sqlfunc_stats.c
 *	  SQL-callable functions behind the views of what the workers do.
 *
 * They read shared memory as it is at the moment; without it they return no
 * row and a NOTICE that says why.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "guc.h"
#include "shm.h"
#include "stats.h"

PG_FUNCTION_INFO_V1(sopflow_stats_values);
PG_FUNCTION_INFO_V1(sopflow_action_stats_values);
PG_FUNCTION_INFO_V1(sopflow_rule_stats_values);
PG_FUNCTION_INFO_V1(sopflow_worker_status_values);
PG_FUNCTION_INFO_V1(sopflow_dispatcher);
PG_FUNCTION_INFO_V1(sopflow_reset_stats);

static const char *const worker_state_names[] = {
	[SF_WORKER_STARTING] = "starting",
	[SF_WORKER_WORKING] = "working",
	[SF_WORKER_WAITING] = "waiting",
	[SF_WORKER_HELD] = "held",
	[SF_WORKER_LOCKED] = "locked",
	[SF_WORKER_BACKOFF] = "backoff",
};

StaticAssertDecl(lengthof(worker_state_names) == SF_WORKER_STATES,
				 "every state of a worker needs a name");

/* Whether there is shared memory to show; if not, say why there is nothing. */
static bool
available(void)
{
	if (sf_shm_available())
		return true;
	ereport(NOTICE,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("sopflow keeps no statistics, because it is not preloaded"),
			 errhint("Add sopflow to shared_preload_libraries and restart the server.")));
	return false;
}

static float8
milliseconds(float8 usec)
{
	return usec / 1000.0;
}

static void
put_value(ReturnSetInfo *rsinfo, const char *name, float8 value)
{
	Datum		values[2] = {CStringGetTextDatum(name), Float8GetDatum(value)};
	bool		nulls[2] = {false, false};

	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

/* stats_values() returns table (name text, value float8) */
Datum
sopflow_stats_values(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	int64		counters[SF_COUNTERS];
	SfDelays	delays;

	InitMaterializedSRF(fcinfo, 0);
	if (!available() || !sf_stats_read(counters, &delays))
		return (Datum) 0;

	for (int i = 0; i < SF_COUNTERS; i++)
		put_value(rsinfo, sf_stats_counter_name(i), (float8) counters[i]);
	put_value(rsinfo, "dispatch_delay_count", (float8) delays.count);
	put_value(rsinfo, "dispatch_delay_sum_ms", milliseconds(delays.sum));
	put_value(rsinfo, "dispatch_delay_p50_ms", milliseconds(delays.p50));
	put_value(rsinfo, "dispatch_delay_p99_ms", milliseconds(delays.p99));
	put_value(rsinfo, "dispatch_delay_max_ms", milliseconds(delays.max));
	return (Datum) 0;
}

/*
 * action_stats_values() returns table (action_id int, done bigint, failed
 * bigint, dead bigint, timed bigint, total_ms, p50_ms, p99_ms float8)
 */
Datum
sopflow_action_stats_values(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	SfActionStats stats;
	int			cursor = 0;

	InitMaterializedSRF(fcinfo, 0);
	if (!available())
		return (Datum) 0;

	while (sf_stats_next_action(&cursor, &stats))
	{
		bool		untimed = stats.times.count == 0;
		Datum		values[8] = {
			Int32GetDatum(stats.action_id),
			Int64GetDatum(stats.done),
			Int64GetDatum(stats.failed),
			Int64GetDatum(stats.dead),
			Int64GetDatum(stats.times.count),
			Float8GetDatum(milliseconds(stats.times.sum)),
			Float8GetDatum(milliseconds(stats.times.p50)),
			Float8GetDatum(milliseconds(stats.times.p99)),
		};
		bool		nulls[8] = {false, false, false, false, false, untimed, untimed, untimed};

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/*
 * rule_stats_values() returns table (rule_id int, evaluated bigint, fired
 * bigint, denied bigint, failed bigint)
 */
Datum
sopflow_rule_stats_values(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	SfRuleStats stats;
	int			cursor = 0;

	InitMaterializedSRF(fcinfo, 0);
	if (!available())
		return (Datum) 0;

	while (sf_stats_next_rule(&cursor, &stats))
	{
		Datum		values[5] = {
			Int32GetDatum(stats.rule_id),
			Int64GetDatum(stats.evaluated),
			Int64GetDatum(stats.fired),
			Int64GetDatum(stats.denied),
			Int64GetDatum(stats.failed),
		};
		bool		nulls[5] = {false};

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/*
 * worker_status_values() returns table (dboid oid, worker int, pid int, state
 * text, started_at, next_wakeup, low_water timestamptz, passes, tasks bigint,
 * last_error text, last_error_at timestamptz)
 */
Datum
sopflow_worker_status_values(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	SfWorkerStatus status;

	InitMaterializedSRF(fcinfo, 0);
	if (!available())
		return (Datum) 0;

	for (int i = 0; i < sf_shm_slots(); i++)
	{
		for (int worker = 0; worker < SF_MAX_WORKERS; worker++)
		{
			Datum		values[11];
			bool		nulls[11] = {false};

			if (!sf_shm_worker_status(i, worker, &status))
				continue;
			values[0] = ObjectIdGetDatum(status.dboid);
			values[1] = Int32GetDatum(status.worker);
			values[2] = Int32GetDatum(status.pid);
			values[3] = CStringGetTextDatum(worker_state_names[status.state]);
			values[4] = TimestampTzGetDatum(status.started);
			values[5] = TimestampTzGetDatum(status.wakeup);
			values[6] = TimestampTzGetDatum(status.low_water);
			values[7] = Int64GetDatum(status.passes);
			values[8] = Int64GetDatum(status.tasks);
			values[9] = CStringGetTextDatum(status.error);
			values[10] = TimestampTzGetDatum(status.error_at);
			nulls[5] = status.wakeup == SF_NEVER;
			nulls[6] = status.low_water == PG_INT64_MIN;
			nulls[9] = nulls[10] = status.error_at == PG_INT64_MIN;
			tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
		}
	}
	return (Datum) 0;
}

/*
 * dispatcher() returns record (preloaded bool, launcher_pid int, workers int,
 * workers_wanted int, worker_shortage bool, database_shortage bool)
 */
Datum
sopflow_dispatcher(PG_FUNCTION_ARGS)
{
	TupleDesc	desc;
	SfShmStatus status = {0};
	Datum		values[6];
	bool		nulls[6] = {false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (sf_shm_available())
		sf_shm_status(&status);
	values[0] = BoolGetDatum(sf_shm_available());
	values[1] = Int32GetDatum(status.launcher_pid);
	values[2] = Int32GetDatum(status.workers);
	values[3] = Int32GetDatum(sf_guc_workers);
	values[4] = BoolGetDatum(status.worker_shortage);
	values[5] = BoolGetDatum(status.database_shortage);
	nulls[1] = status.launcher_pid == 0;
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/* reset_stats() returns void */
Datum
sopflow_reset_stats(PG_FUNCTION_ARGS)
{
	int			slot;

	if (available() && (slot = sf_shm_database_slot()) >= 0)
		sf_stats_reset(slot, MyDatabaseId);
	PG_RETURN_VOID();
}
