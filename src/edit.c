/*
 * edit.c
 *	  An edit of a row of a definition table, as the triggers of all of them see
 *	  it.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "edit.h"
#include "ident.h"
#include "plan.h"

SfEdit
sf_edit_of(Node *context, const char *function)
{
	TriggerData *trigdata = (TriggerData *) context;
	SfEdit		edit = {0};

	if (context == NULL || !IsA(context, TriggerData) ||
		!TRIGGER_FIRED_FOR_ROW(trigdata->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"sopflow.%s\" is a row trigger of sopflow's own tables",
						function)));
	edit.rel = trigdata->tg_relation;
	if (TRIGGER_FIRED_BY_INSERT(trigdata->tg_event))
		edit.new = trigdata->tg_trigtuple;
	else
		edit.old = trigdata->tg_trigtuple;
	if (TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event))
		edit.new = trigdata->tg_newtuple;
	return edit;
}

Datum
sf_edit_column(Relation rel, HeapTuple tuple, const char *name, bool *isnull)
{
	return heap_getattr(tuple, get_attnum(RelationGetRelid(rel), name), RelationGetDescr(rel),
						isnull);
}

char *
sf_edit_text(Relation rel, HeapTuple tuple, const char *name)
{
	bool		isnull;
	Datum		value = sf_edit_column(rel, tuple, name, &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}

bool
sf_edit_bool(Relation rel, HeapTuple tuple, const char *name)
{
	bool		isnull;
	Datum		value = sf_edit_column(rel, tuple, name, &isnull);

	return !isnull && DatumGetBool(value);
}

Oid
sf_edit_oid(Relation rel, HeapTuple tuple, const char *name)
{
	bool		isnull;
	Datum		value = sf_edit_column(rel, tuple, name, &isnull);

	return isnull ? InvalidOid : DatumGetObjectId(value);
}

HeapTuple
sf_edit_set(Relation rel, HeapTuple tuple, const char *name, Datum value, bool isnull)
{
	int			attnum = get_attnum(RelationGetRelid(rel), name);

	return heap_modify_tuple_by_cols(tuple, RelationGetDescr(rel), 1, &attnum, &value, &isnull);
}

void
sf_edit_demand_member(Oid owner, const char *kind, const char *name)
{
	if (!OidIsValid(owner) || has_privs_of_role(GetUserId(), owner))
		return;
	/* a row whose owner is gone can be taken over by a superuser only */
	if (!SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(owner)) && superuser())
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied for %s \"%s\"", kind, name),
			 errdetail("Role \"%s\" is not a member of its owner \"%s\".",
					   GetUserNameFromId(GetUserId(), false), GetUserNameFromId(owner, true))));
}

void
sf_edit_hold(void)
{
	Datum		values[1] = {TimestampTzGetDatum(sf_clock_now())};

	sf_plan_run(SF_PLAN_HOLD_SET, values, NULL, NULL, NULL);
	CacheInvalidateRelcacheByRelid(sf_ident_rel(SF_REL_HOLD));
}
