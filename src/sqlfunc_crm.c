/*
 * sqlfunc_crm.c
 *	  SQL functions of the CRM pack.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/catcache.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "compat.h"
#include "crm.h"
#include "ident.h"
#include "leadlog.h"

PG_FUNCTION_INFO_V1(sopflow_crm_operation);
PG_FUNCTION_INFO_V1(sopflow_crm_log);
PG_FUNCTION_INFO_V1(sopflow_crm_claim);
PG_FUNCTION_INFO_V1(sopflow_crm_assign);
PG_FUNCTION_INFO_V1(sopflow_crm_auto_assign);
PG_FUNCTION_INFO_V1(sopflow_crm_transfer);
PG_FUNCTION_INFO_V1(sopflow_crm_hand_over);
PG_FUNCTION_INFO_V1(sopflow_crm_release);
PG_FUNCTION_INFO_V1(sopflow_crm_log_contact);
PG_FUNCTION_INFO_V1(sopflow_crm_freeze);
PG_FUNCTION_INFO_V1(sopflow_crm_unfreeze);
PG_FUNCTION_INFO_V1(sopflow_crm_convert);
PG_FUNCTION_INFO_V1(sopflow_crm_lose);
PG_FUNCTION_INFO_V1(sopflow_crm_recycle);

/* --- arguments --- */

static void
demand(FunctionCallInfo fcinfo, int arg, const char *what)
{
	if (PG_ARGISNULL(arg))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", what)));
}

static char *
text_arg(FunctionCallInfo fcinfo, int arg)
{
	return PG_ARGISNULL(arg) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(arg));
}

static SfOwner
rep_arg(FunctionCallInfo fcinfo, int arg)
{
	SfOwner		owner = {PG_ARGISNULL(arg), 0};

	if (!owner.isnull)
		owner.rep_id = PG_GETARG_INT64(arg);
	return owner;
}

static SfCrmIds
ids_arg(FunctionCallInfo fcinfo, int arg)
{
	SfCrmIds	ids;
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(arg);
	Datum	   *values;

	deconstruct_array(array, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE,
					  &values, &ids.nulls, &ids.n);
	ids.ids = palloc(Max(ids.n, 1) * sizeof(int64));
	for (int i = 0; i < ids.n; i++)
		ids.ids[i] = ids.nulls[i] ? 0 : DatumGetInt64(values[i]);
	return ids;
}

/*
 * Whoever may not execute the function in the schema that stands for this one
 * may not go round it.  Where there is none, leads are moved by who owns them.
 */
static void
demand_right(FunctionCallInfo fcinfo, const char *schema)
{
	Oid			namespace = get_namespace_oid(schema, false);
	char	   *name = get_func_name(fcinfo->flinfo->fn_oid) + strlen("crm_");
	Oid			leads = get_relname_relid("opportunities", namespace);
	CatCList   *list = SearchSysCacheList1(PROCNAMEARGSNSP, CStringGetDatum(name));
	bool		found = false;
	bool		denied = false;

	for (int i = 0; i < list->n_members; i++)
	{
		Form_pg_proc proc = (Form_pg_proc) GETSTRUCT(&list->members[i]->tuple);

		if (proc->pronamespace != namespace)
			continue;
		found = true;
		denied = denied || sf_proc_aclcheck(proc->oid, GetUserId(), ACL_EXECUTE) != ACLCHECK_OK;
	}
	ReleaseSysCacheList(list);
	if (!found)
		denied = OidIsValid(leads) && !sf_relation_ownercheck(leads, GetUserId());
	if (denied)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for function %s",
						quote_qualified_identifier(schema, name))));
}

/* the arguments that all have */
static SfCrmCall
call_of(FunctionCallInfo fcinfo, SfCrmKind kind)
{
	SfCrmCall	call = {.kind = kind, .rep = {true, 0}};

	demand(fcinfo, 0, "schema");
	call.schema = pstrdup(NameStr(*PG_GETARG_NAME(0)));
	demand_right(fcinfo, call.schema);
	call.at = sf_clock_transaction();
	return call;
}

/* and those that take leads */
static SfCrmCall
call_for_leads(FunctionCallInfo fcinfo, SfCrmKind kind)
{
	SfCrmCall	call = call_of(fcinfo, kind);

	demand(fcinfo, 1, "opportunity_ids");
	call.ids = ids_arg(fcinfo, 1);
	return call;
}

/* --- results --- */

static Datum
give(FunctionCallInfo fcinfo, List *results)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	ListCell   *lc;

	InitMaterializedSRF(fcinfo, 0);
	foreach(lc, results)
	{
		SfCrmResult *result = lfirst(lc);
		Datum		values[6];
		bool		nulls[6];

		nulls[0] = !result->has_id;
		values[0] = Int64GetDatum(result->opportunity_id);
		nulls[1] = false;
		values[1] = BoolGetDatum(result->ok);
		nulls[2] = result->code == NULL;
		values[2] = result->code ? CStringGetTextDatum(result->code) : (Datum) 0;
		nulls[3] = result->message == NULL;
		values[3] = result->message ? CStringGetTextDatum(result->message) : (Datum) 0;
		nulls[4] = result->from.isnull;
		values[4] = Int64GetDatum(result->from.rep_id);
		nulls[5] = result->to.isnull;
		values[5] = Int64GetDatum(result->to.rep_id);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* --- operations --- */

/* f(schema, opportunity_ids, rep_id, operator) */
static Datum
give_to_rep(FunctionCallInfo fcinfo, SfCrmKind kind, const char *rep_name)
{
	SfCrmCall	call = call_for_leads(fcinfo, kind);

	demand(fcinfo, 2, rep_name);
	call.rep = rep_arg(fcinfo, 2);
	call.actor = text_arg(fcinfo, 3);
	return give(fcinfo, sf_crm_run(&call));
}

Datum
sopflow_crm_claim(PG_FUNCTION_ARGS)
{
	return give_to_rep(fcinfo, SF_CRM_CLAIM, "rep_id");
}

Datum
sopflow_crm_assign(PG_FUNCTION_ARGS)
{
	return give_to_rep(fcinfo, SF_CRM_ASSIGN, "rep_id");
}

Datum
sopflow_crm_transfer(PG_FUNCTION_ARGS)
{
	return give_to_rep(fcinfo, SF_CRM_TRANSFER, "to_rep");
}

/* auto_assign(schema, opportunity_ids, method, operator); null ids: there are none */
Datum
sopflow_crm_auto_assign(PG_FUNCTION_ARGS)
{
	SfCrmCall	call = call_of(fcinfo, SF_CRM_ASSIGN);
	char	   *method = text_arg(fcinfo, 2);

	if (method != NULL && strcmp(method, "least_loaded") != 0 && strcmp(method, "round_robin") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("there is no method of assignment \"%s\"", method),
				 errhint("Use least_loaded or round_robin.")));
	call.actor = text_arg(fcinfo, 3);
	if (!PG_ARGISNULL(1))
		call.ids = ids_arg(fcinfo, 1);
	return give(fcinfo, call.ids.n == 0 ? NIL : sf_crm_auto_assign(&call, method));
}

/* hand_over(schema, from_rep, to_rep, operator) */
Datum
sopflow_crm_hand_over(PG_FUNCTION_ARGS)
{
	SfCrmCall	call = call_of(fcinfo, SF_CRM_HAND_OVER);

	demand(fcinfo, 1, "from_rep");
	call.rep = rep_arg(fcinfo, 2);
	call.actor = text_arg(fcinfo, 3);
	return give(fcinfo, sf_crm_hand_over(&call, PG_GETARG_INT64(1)));
}

/* release(schema, opportunity_ids, reason_type, reason, operation_type, operator) */
Datum
sopflow_crm_release(PG_FUNCTION_ARGS)
{
	SfCrmCall	call = call_for_leads(fcinfo, SF_CRM_RELEASE);

	call.reason_type = text_arg(fcinfo, 2);
	call.reason = text_arg(fcinfo, 3);
	call.operation_type = text_arg(fcinfo, 4);
	call.actor = text_arg(fcinfo, 5);
	return give(fcinfo, sf_crm_run(&call));
}

/* log_contact(schema, opportunity_id, rep_id, kind, note) */
Datum
sopflow_crm_log_contact(PG_FUNCTION_ARGS)
{
	SfCrmCall	call = call_of(fcinfo, SF_CRM_LOG_CONTACT);
	int64		id;
	bool		isnull = false;

	demand(fcinfo, 1, "opportunity_id");
	demand(fcinfo, 2, "rep_id");
	demand(fcinfo, 3, "kind");
	id = PG_GETARG_INT64(1);
	call.ids.n = 1;
	call.ids.ids = &id;
	call.ids.nulls = &isnull;
	call.rep = rep_arg(fcinfo, 2);
	call.kind_of_contact = text_arg(fcinfo, 3);
	call.note = text_arg(fcinfo, 4);
	return give(fcinfo, sf_crm_run(&call));
}

/* freeze(schema, opportunity_ids, until, operator) */
Datum
sopflow_crm_freeze(PG_FUNCTION_ARGS)
{
	SfCrmCall	call = call_for_leads(fcinfo, SF_CRM_FREEZE);

	demand(fcinfo, 2, "until");
	call.at = PG_GETARG_TIMESTAMPTZ(2);
	if (call.at <= sf_clock_transaction())
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("until must be in the future")));
	call.actor = text_arg(fcinfo, 3);
	return give(fcinfo, sf_crm_run(&call));
}

/* unfreeze(schema, opportunity_ids, operator) */
Datum
sopflow_crm_unfreeze(PG_FUNCTION_ARGS)
{
	SfCrmCall	call = call_for_leads(fcinfo, SF_CRM_UNFREEZE);

	call.actor = text_arg(fcinfo, 2);
	return give(fcinfo, sf_crm_run(&call));
}

/* convert(schema, opportunity_ids, operator) */
Datum
sopflow_crm_convert(PG_FUNCTION_ARGS)
{
	SfCrmCall	call = call_for_leads(fcinfo, SF_CRM_CONVERT);

	call.actor = text_arg(fcinfo, 2);
	return give(fcinfo, sf_crm_run(&call));
}

/* lose(schema, opportunity_ids, reason, operator) */
Datum
sopflow_crm_lose(PG_FUNCTION_ARGS)
{
	SfCrmCall	call = call_for_leads(fcinfo, SF_CRM_LOSE);

	call.note = call.reason = text_arg(fcinfo, 2);
	call.actor = text_arg(fcinfo, 3);
	return give(fcinfo, sf_crm_run(&call));
}

/* recycle(schema, max, dry_run, opportunity_ids) */
Datum
sopflow_crm_recycle(PG_FUNCTION_ARGS)
{
	SfCrmCall	call = call_of(fcinfo, SF_CRM_RECYCLE);

	demand(fcinfo, 1, "max");
	demand(fcinfo, 2, "dry_run");
	if (PG_GETARG_INT32(1) <= 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max must be positive")));
	call.ids.n = -1;
	if (!PG_ARGISNULL(3))
		call.ids = ids_arg(fcinfo, 3);
	/* the worker is here at the time of the task, its transaction began earlier */
	call.at = sf_clock_now();
	return give(fcinfo, sf_crm_recycle(&call, PG_GETARG_INT32(1), PG_GETARG_BOOL(2)));
}

/* --- triggers and rules --- */

Datum
sopflow_crm_log(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_AFTER(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigger->tg_event) || trigger->tg_trigger->tgnargs != 1)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" must be fired AFTER INSERT, UPDATE or DELETE, for each row, with the schema of the log as its argument",
						"sopflow.crm_log")));
	/* what is restored has its log in the same dump */
	if (!sf_ident_restoring())
		sf_leadlog_trigger(trigger, trigger->tg_trigger->tgargs[0]);
	return PointerGetDatum(NULL);
}

static Datum
optional_text(const char *text, bool *isnull)
{
	*isnull = text == NULL;
	return text == NULL ? (Datum) 0 : CStringGetTextDatum(text);
}

/* crm_operation(old_owner, new_owner) */
Datum
sopflow_crm_operation(PG_FUNCTION_ARGS)
{
	SfOperation operation = sf_operation_of(NULL, rep_arg(fcinfo, 0), rep_arg(fcinfo, 1));
	TupleDesc	desc;
	Datum		values[6];
	bool		nulls[6];

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[0] = optional_text(operation.operation, &nulls[0]);
	values[1] = optional_text(operation.operation_type, &nulls[1]);
	values[2] = optional_text(operation.actor, &nulls[2]);
	values[3] = optional_text(operation.reason_type, &nulls[3]);
	values[4] = optional_text(operation.reason, &nulls[4]);
	values[5] = optional_text(operation.event, &nulls[5]);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
