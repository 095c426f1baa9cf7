/*
 * sqlfunc_watch.c
 *	  SQL functions that make tables watched.
 *
 * Whoever owns a table may have it watched; what they need of ours is written
 * as the extension's owner.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "compat.h"
#include "errors.h"
#include "ident.h"
#include "plan.h"
#include "target.h"
#include "watch.h"

PG_FUNCTION_INFO_V1(sopflow_watch);
PG_FUNCTION_INFO_V1(sopflow_unwatch);
PG_FUNCTION_INFO_V1(sopflow_watch_condition);
PG_FUNCTION_INFO_V1(sopflow_watch_needs_rows);
PG_FUNCTION_INFO_V1(sopflow_place_watch);

/* only its owner may make others wait for the table, so look before locking too */
static Relation
open_watched(Oid relid)
{
	sf_target_demand_owner(relid);
	return sf_target_open(relid, ShareRowExclusiveLock, "watched",
						  "Watch the tables that rows are inserted into.");
}

/* a partition has the trigger of a watched parent already */
static void
refuse_clone(Relation rel)
{
	for (int i = 0; rel->trigdesc != NULL && i < rel->trigdesc->numtriggers; i++)
	{
		Trigger    *trigger = &rel->trigdesc->triggers[i];

		if (trigger->tgisclone && strcmp(trigger->tgname, "sopflow_watch") == 0)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("table \"%s\" is watched through its parent",
							RelationGetRelationName(rel)),
					 errhint("Watch the parent for this event too, with a condition if need be.")));
	}
}

static void
take_left(HeapTuple tuple, TupleDesc desc, void *arg)
{
	*(bool *) arg = sf_row_bool(tuple, desc, 1);
}

/*
 * Give the table the trigger that it needs now: none, one a statement, or one
 * a row where it is or has a partition, parent or child.
 */
static void
place_trigger(Oid relid)
{
	Datum		values[1] = {ObjectIdGetDatum(relid)};
	bool		on_replica = false;
	bool		watched = sf_plan_run(SF_PLAN_WATCH_LEFT, values, NULL, take_left, &on_replica) > 0;
	char	   *name = quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)),
												  get_rel_name(relid));
	/* the apply worker of a subscription fires row triggers only */
	bool		by_row = on_replica || sf_watch_needs_rows(relid);

	if (OidIsValid(get_trigger_oid(relid, "sopflow_watch", true)))
		sf_plan_command(psprintf("DROP TRIGGER sopflow_watch ON %s", name), NULL, NULL);
	if (!watched)
		return;
	sf_plan_command(psprintf("CREATE TRIGGER sopflow_watch AFTER INSERT ON %s %s"
							 " EXECUTE FUNCTION sopflow.intake()", name,
							 by_row ? "FOR EACH ROW" :
							 "REFERENCING NEW TABLE AS sopflow_new FOR EACH STATEMENT"), NULL, NULL);
	if (on_replica)
		sf_plan_command(psprintf("ALTER TABLE %s ENABLE ALWAYS TRIGGER sopflow_watch", name), NULL, NULL);
}

static char **
name_array(ArrayType *array, int *n)
{
	Datum	   *elems;
	bool	   *nulls;
	char	  **names;

	deconstruct_array(array, NAMEOID, NAMEDATALEN, false, TYPALIGN_CHAR, &elems, &nulls, n);
	names = palloc(Max(*n, 1) * sizeof(char *));
	for (int i = 0; i < *n; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("context must not contain null")));
		names[i] = pstrdup(NameStr(*DatumGetName(elems[i])));
	}
	return names;
}

/*
 * watch(relation, event, subject_key, context, condition, time_column,
 *		 on_error, on_replica)
 */
Datum
sopflow_watch(PG_FUNCTION_ARGS)
{
	Oid			relid;
	Relation	rel;
	char	  **context;
	int			ncontext;
	char	   *condition = PG_ARGISNULL(4) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(4));
	char	   *time_column = PG_ARGISNULL(5) ? NULL : NameStr(*PG_GETARG_NAME(5));
	char	   *on_error = PG_ARGISNULL(6) ? "fail" : text_to_cstring(PG_GETARG_TEXT_PP(6));
	char	   *tree;
	Datum	   *texts;
	Datum		values[10];
	char		nulls[11] = "          ";

	for (int i = 0; i < 3; i++)
		if (PG_ARGISNULL(i))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("relation, event and subject_key must not be null")));
	if (VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(1)) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("event must not be empty")));
	if (strcmp(on_error, "fail") != 0 && strcmp(on_error, "skip") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" is not a value of on_error; it is fail or skip", on_error)));
	relid = PG_GETARG_OID(0);
	rel = open_watched(relid);
	refuse_clone(rel);
	context = name_array(PG_ARGISNULL(3) ?
						 construct_empty_array(NAMEOID) : PG_GETARG_ARRAYTYPE_P(3), &ncontext);
	tree = sf_watch_check(rel, NameStr(*PG_GETARG_NAME(2)), time_column, ncontext, context,
						  condition);
	texts = palloc(Max(ncontext, 1) * sizeof(Datum));
	for (int i = 0; i < ncontext; i++)
		texts[i] = CStringGetTextDatum(context[i]);

	values[0] = ObjectIdGetDatum(relid);
	values[1] = PG_GETARG_DATUM(1);
	values[2] = PG_GETARG_DATUM(2);
	values[3] = PointerGetDatum(construct_array(texts, ncontext, TEXTOID, -1, false, TYPALIGN_INT));
	values[4] = condition ? CStringGetTextDatum(condition) : (Datum) 0;
	nulls[4] = condition ? ' ' : 'n';
	values[5] = time_column ? PG_GETARG_DATUM(5) : (Datum) 0;
	nulls[5] = time_column ? ' ' : 'n';
	values[6] = CStringGetTextDatum(on_error);
	values[7] = BoolGetDatum(!PG_ARGISNULL(7) && PG_GETARG_BOOL(7));
	values[8] = CStringGetTextDatum(GetConfigOption("search_path", false, false));
	values[9] = tree ? CStringGetTextDatum(tree) : (Datum) 0;
	nulls[9] = tree ? ' ' : 'n';
	sf_plan_run(SF_PLAN_WATCH_SET, values, nulls, NULL, NULL);
	table_close(rel, NoLock);
	place_trigger(relid);
	CacheInvalidateRelcacheByRelid(relid);
	PG_RETURN_VOID();
}

Datum
sopflow_unwatch(PG_FUNCTION_ARGS)
{
	Oid			relid = PG_GETARG_OID(0);
	Relation	rel = open_watched(relid);
	Datum		values[2] = {PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)};
	bool		found = sf_plan_run(SF_PLAN_WATCH_DELETE, values, NULL, NULL, NULL) > 0;

	table_close(rel, NoLock);
	if (found)
	{
		place_trigger(relid);
		CacheInvalidateRelcacheByRelid(relid);
	}
	PG_RETURN_BOOL(found);
}

/* the condition of a watch as it reads today; for the DDL event trigger */
Datum
sopflow_watch_condition(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(sf_watch_deparse(PG_GETARG_OID(0),
													  text_to_cstring(PG_GETARG_TEXT_PP(1)))));
}

Datum
sopflow_watch_needs_rows(PG_FUNCTION_ARGS)
{
	Datum		values[1] = {PG_GETARG_DATUM(0)};
	bool		on_replica = false;

	sf_plan_run(SF_PLAN_WATCH_LEFT, values, NULL, take_left, &on_replica);
	PG_RETURN_BOOL(on_replica || sf_watch_needs_rows(PG_GETARG_OID(0)));
}

/* for the DDL event trigger: a table became a partition, parent or child, or none */
Datum
sopflow_place_watch(PG_FUNCTION_ARGS)
{
	/* it may have been dropped since the caller read of it */
	if (get_rel_name(PG_GETARG_OID(0)) == NULL)
		PG_RETURN_VOID();
	place_trigger(PG_GETARG_OID(0));
	CacheInvalidateRelcacheByRelid(PG_GETARG_OID(0));
	PG_RETURN_VOID();
}
