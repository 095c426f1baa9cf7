/*
 * sqlfunc_simulate.c
 *	  Looking ahead from SQL.
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "check.h"
#include "edit.h"
#include "errors.h"
#include "position.h"
#include "simulate.h"

PG_FUNCTION_INFO_V1(sopflow_simulate);

#define FORECAST_COLUMNS	5

Datum
sopflow_simulate(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	char	   *sop_id;
	Oid			owner;
	SfVersion  *version;
	List	   *forecasts;
	ListCell   *lc;

	for (int i = 0; i < 2; i++)
		if (PG_ARGISNULL(i))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("%s must not be null", i == 0 ? "sop_id" : "from_time")));
	if (TIMESTAMP_NOT_FINITE(PG_GETARG_TIMESTAMPTZ(1)))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("from_time must be finite")));
	if (!PG_ARGISNULL(2) && !JB_ROOT_IS_OBJECT(PG_GETARG_JSONB_P(2)))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("context must be a JSON object")));
	sop_id = text_to_cstring(PG_GETARG_TEXT_PP(0));
	InitMaterializedSRF(fcinfo, 0);
	version = sf_check_version(sop_id, &owner);
	/* conditions and templates read as the owner */
	sf_edit_demand_member(owner, "SOP", sop_id);
	forecasts = sf_simulate(version, PG_ARGISNULL(3) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(3)),
							PG_ARGISNULL(2) ? NULL : PG_GETARG_JSONB_P(2),
							PG_GETARG_TIMESTAMPTZ(1));
	foreach(lc, forecasts)
	{
		SfForecast *f = lfirst(lc);
		Datum		values[FORECAST_COLUMNS] = {0};
		bool		nulls[FORECAST_COLUMNS];

		nulls[0] = f->at == SF_NEVER;
		values[0] = TimestampTzGetDatum(f->at);
		nulls[1] = f->node_id == NULL;
		nulls[2] = f->action == NULL;
		nulls[3] = f->params == NULL;
		nulls[4] = f->note == NULL;
		if (!nulls[1])
			values[1] = CStringGetTextDatum(f->node_id);
		if (!nulls[2])
			values[2] = CStringGetTextDatum(f->action);
		values[3] = PointerGetDatum(f->params);
		if (!nulls[4])
			values[4] = CStringGetTextDatum(f->note);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}
