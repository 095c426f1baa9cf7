/*
 * sqlfunc_definition.c
 *	  The triggers of the definition tables, and functions about definitions.
 *
 * An author's rights are checked by the immediate row trigger, as the role that
 * writes.  The deferred trigger only validates: before PostgreSQL 18 it runs as
 * whoever happens to commit.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "action.h"
#include "check.h"
#include "control.h"
#include "definition.h"
#include "edit.h"
#include "errors.h"
#include "hold.h"
#include "ident.h"
#include "pending.h"
#include "plan.h"
#include "shm.h"

PG_FUNCTION_INFO_V1(sopflow_definition_row);
PG_FUNCTION_INFO_V1(sopflow_definition_after);
PG_FUNCTION_INFO_V1(sopflow_definition_check);
PG_FUNCTION_INFO_V1(sopflow_storage_restored);
PG_FUNCTION_INFO_V1(sopflow_validate);
PG_FUNCTION_INFO_V1(sopflow_check_sop);
PG_FUNCTION_INFO_V1(sopflow_hold_changed);
PG_FUNCTION_INFO_V1(sopflow_grant_consumer);
PG_FUNCTION_INFO_V1(sopflow_wake);

typedef enum SfTable
{
	TABLE_ACTION,
	TABLE_SOP,
	TABLE_NODE,
	TABLE_LINK,
	TABLE_GRANT
} SfTable;

static SfTable
table_of(Relation rel)
{
	const char *name = RelationGetRelationName(rel);

	if (strcmp(name, "action") == 0)
		return TABLE_ACTION;
	if (strcmp(name, "sop") == 0)
		return TABLE_SOP;
	if (strcmp(name, "sop_node") == 0)
		return TABLE_NODE;
	if (strcmp(name, "sop_link") == 0)
		return TABLE_LINK;
	return TABLE_GRANT;
}

typedef struct SfTouched
{
	Oid			owner;
	char	   *path;
} SfTouched;

static void
take_touched(HeapTuple tuple, TupleDesc desc, void *arg)
{
	SfTouched  *touched = arg;

	touched->owner = sf_row_oid(tuple, desc, 1);
	touched->path = sf_row_text(tuple, desc, 2);
}

/*
 * Lock the SOP, raise its revision, demand that the writer may change it.  What
 * is written is read under his search_path from now on; NULL: he writes nothing.
 * An SOP that this transaction has locked and raised is not once more for each
 * of its nodes, until it is checked.
 */
static void
touch_sop(const char *sop_id, const char *path)
{
	Datum		values[2] = {CStringGetTextDatum(sop_id), path ? CStringGetTextDatum(path) : 0};
	char		nulls[2] = {' ', path ? ' ' : 'n'};
	SfTouched	touched = {InvalidOid, NULL};
	bool		first = sf_pending_first(SF_PENDING_SOP, sop_id, 0);
	uint64		found = 1;

	if (!first)
		found = sf_plan_run(SF_PLAN_SOP_TOUCHED, values, NULL, take_touched, &touched);
	if (first || (path != NULL && (touched.path == NULL || strcmp(path, touched.path) != 0)))
		found = sf_plan_run(SF_PLAN_SOP_TOUCH, values, nulls, take_touched, &touched);
	/* none: demand_parent says so, or the SOP is being deleted with its nodes */
	if (found > 0)
		sf_edit_demand_member(touched.owner, "SOP", sop_id);
	sf_check_later(sop_id);
}

static Datum
next_revision(Relation rel, HeapTuple old)
{
	bool		isnull;

	return Int64GetDatum(DatumGetInt64(sf_edit_column(rel, old, "revision", &isnull)) + 1);
}

/* --- actions --- */

static void
check_interval(Relation rel, HeapTuple row, const char *action, const char *name, bool positive)
{
	bool		isnull;
	Interval   *i = DatumGetIntervalP(sf_edit_column(rel, row, name, &isnull));
	int64		usec;

	if (isnull)
		return;					/* NOT NULL says so */
	usec = i->month < 0 || i->day < 0 || i->time < 0 || i->month > 1200 || i->day > 36600 ||
		i->time > 36600 * USECS_PER_DAY ? -1 : sf_interval_usec(i);
	if (usec < 0 || (positive && usec == 0))
		ereport(ERROR,
				(errcode(ERRCODE_SF_INVALID_DEFINITION),
				 errmsg("action \"%s\" is not valid: column \"%s\": must %s and at most 100 years",
						action, name, positive ? "be positive" : "not be negative"),
				 err_generic_string(PG_DIAG_SCHEMA_NAME, "sopflow"),
				 err_generic_string(PG_DIAG_TABLE_NAME, "action"),
				 err_generic_string(PG_DIAG_COLUMN_NAME, name)));
}

static HeapTuple
action_row(Relation rel, HeapTuple old, HeapTuple new)
{
	char	   *name;
	char	   *handler;
	Oid			owner;

	if (old != NULL)
		sf_edit_demand_member(sf_edit_oid(rel, old, "owner"), "action",
							  sf_edit_text(rel, old, "action"));
	if (new == NULL)
		return old;
	name = sf_edit_text(rel, new, "action");
	if (name == NULL)
		return new;
	owner = sf_edit_oid(rel, new, "owner");
	sf_edit_demand_member(owner, "action", name);
	if (old != NULL && strcmp(name, sf_edit_text(rel, old, "action")) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("action \"%s\" cannot be renamed", sf_edit_text(rel, old, "action")),
				 errhint("Insert another one, and delete this when no SOP uses it.")));
	check_interval(rel, new, name, "lease", true);
	check_interval(rel, new, name, "timeout", true);
	check_interval(rel, new, name, "backoff_base", true);
	check_interval(rel, new, name, "backoff_cap", true);
	handler = sf_edit_text(rel, new, "handler");
	/* not on every edit: an action whose function is gone can still be paused */
	if (handler != NULL && OidIsValid(owner) &&
		(old == NULL || sf_edit_oid(rel, old, "owner") != owner ||
		 sf_edit_text(rel, old, "handler") == NULL ||
		 strcmp(handler, sf_edit_text(rel, old, "handler")) != 0))
		new = sf_edit_set(rel, new, "handler",
						  CStringGetTextDatum(sf_action_resolve(handler, owner, name)), false);
	/* resuming by an operator is no edit: the path stays that of the author */
	if (old == NULL || handler == NULL || sf_edit_text(rel, old, "handler") == NULL ||
		strcmp(handler, sf_edit_text(rel, old, "handler")) != 0)
		new = sf_edit_set(rel, new, "search_path",
						  CStringGetTextDatum(GetConfigOption("search_path", false, false)), false);
	if (old != NULL)
		new = sf_edit_set(rel, new, "revision", next_revision(rel, old), false);
	return new;
}

/* --- SOPs --- */

static void
refuse_active(const char *sop_id)
{
	Datum		values[1] = {CStringGetTextDatum(sop_id)};

	if (!sf_hold_delete(sop_id))
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("SOP \"%s\" cannot be deleted: runs of it are being started", sop_id),
				 errhint("Set enabled = false first, and try again when open transactions have ended.")));
	if (sf_plan_run(SF_PLAN_SOP_RUNS, values, NULL, NULL, NULL) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("SOP \"%s\" cannot be deleted: it has active runs", sop_id),
				 errhint("Set enabled = false to let them end, or end them with sopflow.cancel(sop_id => %s).",
						 quote_literal_cstr(sop_id))));
}

/* What no file could say is refused at once, and of drafts too. */
static void
check_exits(Relation rel, HeapTuple row, const char *sop_id)
{
	bool		isnull;
	Datum		value = sf_edit_column(rel, row, "exit_events", &isnull);
	ArrayType  *exits = isnull ? NULL : DatumGetArrayTypeP(value);
	const char *fault = NULL;

	if (exits != NULL && ARR_NDIM(exits) > 1)
		fault = "must have one dimension";
	else if (exits != NULL && array_contains_nulls(exits))
		fault = "must not contain a null or an empty name";
	if (fault != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_SF_INVALID_DEFINITION),
				 errmsg("SOP \"%s\" is not valid: column \"exit_events\": %s", sop_id, fault),
				 err_generic_string(PG_DIAG_SCHEMA_NAME, "sopflow"),
				 err_generic_string(PG_DIAG_TABLE_NAME, "sop"),
				 err_generic_string(PG_DIAG_COLUMN_NAME, "exit_events")));
}

static HeapTuple
sop_row(Relation rel, HeapTuple old, HeapTuple new)
{
	char	   *sop_id;

	if (old != NULL)
	{
		sop_id = sf_edit_text(rel, old, "sop_id");
		sf_edit_demand_member(sf_edit_oid(rel, old, "owner"), "SOP", sop_id);
		if (new == NULL)
		{
			refuse_active(sop_id);
			sf_check_later(sop_id);
			return old;
		}
	}
	sop_id = sf_edit_text(rel, new, "sop_id");
	if (sop_id == NULL)
		return new;
	sf_edit_demand_member(sf_edit_oid(rel, new, "owner"), "SOP", sop_id);
	check_exits(rel, new, sop_id);
	if (old != NULL)
	{
		if (strcmp(sop_id, sf_edit_text(rel, old, "sop_id")) != 0)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("SOP \"%s\" cannot be renamed", sf_edit_text(rel, old, "sop_id")),
					 errhint("Its name column can change; for another id, insert another SOP.")));
		new = sf_edit_set(rel, new, "revision", next_revision(rel, old), false);
	}
	else
	{
		bool		isnull;

		(void) sf_edit_column(rel, new, "search_path", &isnull);
		if (isnull)
			new = sf_edit_set(rel, new, "search_path",
							  CStringGetTextDatum(GetConfigOption("search_path", false, false)),
							  false);
	}
	sf_check_later(sop_id);
	return new;
}

static HeapTuple
node_row(Relation rel, HeapTuple old, HeapTuple new)
{
	char	   *before = old ? sf_edit_text(rel, old, "sop_id") : NULL;
	char	   *after = new ? sf_edit_text(rel, new, "sop_id") : NULL;

	if (after != NULL)
		touch_sop(after, GetConfigOption("search_path", false, false));
	if (before != NULL && (after == NULL || strcmp(before, after) != 0))
		touch_sop(before, NULL);
	return new ? new : old;
}

static HeapTuple
grant_row(Relation rel, HeapTuple old, HeapTuple new)
{
	HeapTuple	rows[] = {old, new};

	for (int i = 0; i < lengthof(rows); i++)
	{
		char	   *name = rows[i] ? sf_edit_text(rel, rows[i], "action") : NULL;
		SfAction   *action = name ? sf_action_named(name) : NULL;

		if (action != NULL)
			sf_edit_demand_member(action->owner, "action", name);
	}
	return new ? new : old;
}

/* BEFORE INSERT OR UPDATE OR DELETE FOR EACH ROW */
Datum
sopflow_definition_row(PG_FUNCTION_ARGS)
{
	SfEdit		edit = sf_edit_of(fcinfo->context, "definition_row");
	Relation	rel = edit.rel;
	HeapTuple	old = edit.old;
	HeapTuple	new = edit.new;

	if (sf_ident_restoring())
	{
		sf_edit_hold();
		return PointerGetDatum(new ? new : old);
	}
	switch (table_of(rel))
	{
		case TABLE_ACTION:
			return PointerGetDatum(action_row(rel, old, new));
		case TABLE_SOP:
			return PointerGetDatum(sop_row(rel, old, new));
		case TABLE_NODE:
		case TABLE_LINK:
			return PointerGetDatum(node_row(rel, old, new));
		case TABLE_GRANT:
			return PointerGetDatum(grant_row(rel, old, new));
	}
	return PointerGetDatum(NULL);
}

/*
 * Nodes belong to an SOP and grants to an action.  These are no foreign keys
 * because pg_restore --jobs loads the tables of extensions in any order.  The
 * parent is locked, so that nobody deletes it before we commit.
 */
static void
demand_parent(Relation rel, HeapTuple row)
{
	bool		node = table_of(rel) == TABLE_NODE || table_of(rel) == TABLE_LINK;
	const char *column_name = node ? "sop_id" : "action";
	char	   *parent = sf_edit_text(rel, row, column_name);
	Datum		names[1] = {CStringGetTextDatum(parent)};
	Datum		values[1] = {PointerGetDatum(construct_array(names, 1, TEXTOID, -1, false,
															 TYPALIGN_INT))};

	if (sf_plan_run(node ? SF_PLAN_SOP_LOCK : SF_PLAN_ACTION_LOCK, values, NULL, NULL, NULL) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
				 node ? errmsg("SOP \"%s\" does not exist", parent) :
				 errmsg("action \"%s\" does not exist", parent),
				 errtablecol(rel, get_attnum(RelationGetRelid(rel), column_name))));
}

static void
delete_children(Relation rel, HeapTuple row)
{
	bool		sop = table_of(rel) == TABLE_SOP;
	Datum		values[1] = {CStringGetTextDatum(sf_edit_text(rel, row, sop ? "sop_id" : "action"))};

	sf_plan_run(sop ? SF_PLAN_SOP_NODES_DELETE : SF_PLAN_ACTION_GRANTS_DELETE, values, NULL,
				NULL, NULL);
}

/*
 * AFTER INSERT OR UPDATE OR DELETE FOR EACH ROW: tell all sessions, take back
 * what is held from now on, and let go what is no longer held.
 */
Datum
sopflow_definition_after(PG_FUNCTION_ARGS)
{
	SfEdit		edit = sf_edit_of(fcinfo->context, "definition_after");
	Relation	rel = edit.rel;
	HeapTuple	old = edit.old;
	HeapTuple	new = edit.new;

	if (table_of(rel) == TABLE_SOP || table_of(rel) == TABLE_NODE || table_of(rel) == TABLE_LINK)
		sf_definition_changed();
	else
		sf_action_changed();
	if (table_of(rel) == TABLE_SOP || table_of(rel) == TABLE_ACTION)
	{
		if (new == NULL)
			delete_children(rel, old);
	}
	else if (new != NULL && !sf_ident_restoring())
		demand_parent(rel, new);
	if (old == NULL || new == NULL || sf_ident_restoring())
		return PointerGetDatum(NULL);
	if (table_of(rel) == TABLE_ACTION)
	{
		bool		was_held = sf_edit_bool(rel, old, "paused") || !sf_edit_bool(rel, old, "enabled");
		bool		is_held = sf_edit_bool(rel, new, "paused") || !sf_edit_bool(rel, new, "enabled");

		if (was_held && !is_held)
			sf_control_release_action(sf_edit_text(rel, new, "action"));
		if (is_held && !was_held)
			sf_control_hold_action(sf_edit_text(rel, new, "action"));
	}
	if (table_of(rel) == TABLE_SOP)
	{
		bool		was_held = sf_edit_bool(rel, old, "paused");
		bool		is_held = sf_edit_bool(rel, new, "paused");

		if (!is_held &&
			(was_held || sf_edit_oid(rel, old, "owner") != sf_edit_oid(rel, new, "owner")))
			sf_control_release_sop(sf_edit_text(rel, new, "sop_id"));
		if (is_held && !was_held)
			sf_control_hold_sop(sf_edit_text(rel, new, "sop_id"));
	}
	return PointerGetDatum(NULL);
}

static void
report_user(HeapTuple tuple, TupleDesc desc, void *arg)
{
	const char *action = arg;

	ereport(ERROR,
			(errcode(ERRCODE_SF_INVALID_DEFINITION),
			 errmsg("action \"%s\" cannot be deleted: SOP \"%s\", node \"%s\", column \"action\" names it",
					action, sf_row_text(tuple, desc, 1), sf_row_text(tuple, desc, 2)),
			 err_generic_string(PG_DIAG_SCHEMA_NAME, "sopflow"),
			 err_generic_string(PG_DIAG_TABLE_NAME, "sop_node"),
			 err_generic_string(PG_DIAG_COLUMN_NAME, "action")));
}

/* deferred constraint trigger on the same events: the whole must be sound at commit */
Datum
sopflow_definition_check(PG_FUNCTION_ARGS)
{
	SfEdit		edit = sf_edit_of(fcinfo->context, "definition_check");
	Relation	rel = edit.rel;
	HeapTuple	rows[] = {edit.old, edit.new};

	if (sf_ident_restoring())
		return PointerGetDatum(NULL);
	/* at commit nothing else has yet made our own invalidations take effect */
	CommandCounterIncrement();
	if (table_of(rel) == TABLE_ACTION)
	{
		if (edit.new == NULL)
		{
			char	   *action = sf_edit_text(rel, rows[0], "action");
			Datum		values[1] = {CStringGetTextDatum(action)};

			if (sf_action_named(action) == NULL)
				sf_plan_run(SF_PLAN_ACTION_USERS, values, NULL, report_user, action);
		}
		return PointerGetDatum(NULL);
	}
	for (int i = 0; i < lengthof(rows); i++)
	{
		char	   *sop_id = rows[i] ? sf_edit_text(rel, rows[i], "sop_id") : NULL;

		if (sop_id != NULL)
			sf_check_one(sop_id);
	}
	return PointerGetDatum(NULL);
}

/*
 * BEFORE INSERT FOR EACH STATEMENT on the storage tables.  The module writes
 * them without firing triggers, so this is a restore, save for a few moves.
 */
Datum
sopflow_storage_restored(PG_FUNCTION_ARGS)
{
	if (sf_ident_restoring())
		sf_edit_hold();
	return PointerGetDatum(NULL);
}

/* --- functions --- */

Datum
sopflow_validate(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	char	   *sop_id = text_to_cstring(PG_GETARG_TEXT_PP(0));
	List	   *faults;
	ListCell   *lc;
	Oid			owner;

	InitMaterializedSRF(fcinfo, 0);
	faults = sf_check_faults(sop_id, &owner);
	sf_edit_demand_member(owner, "SOP", sop_id);
	foreach(lc, faults)
	{
		SfFault    *fault = lfirst(lc);
		Datum		values[3];
		bool		nulls[3] = {fault->node_id == NULL, false, false};

		values[0] = fault->node_id ? CStringGetTextDatum(fault->node_id) : (Datum) 0;
		values[1] = CStringGetTextDatum(fault->column);
		values[2] = CStringGetTextDatum(fault->message);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* check an SOP now and make its version; for restored() */
Datum
sopflow_check_sop(PG_FUNCTION_ARGS)
{
	char	   *sop_id = text_to_cstring(PG_GETARG_TEXT_PP(0));

	sf_check_later(sop_id);
	sf_check_one(sop_id);
	PG_RETURN_VOID();
}

/* tell all sessions that sopflow.hold was changed; for restored() */
Datum
sopflow_hold_changed(PG_FUNCTION_ARGS)
{
	CacheInvalidateRelcacheByRelid(sf_ident_rel(SF_REL_HOLD));
	PG_RETURN_VOID();
}

Datum
sopflow_grant_consumer(PG_FUNCTION_ARGS)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	Oid			role = PG_GETARG_OID(1);
	SfAction   *action = sf_action_named(name);
	const char *grantee;

	if (action == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("action \"%s\" does not exist", name)));
	sf_edit_demand_member(action->owner, "action", name);
	grantee = quote_identifier(GetUserNameFromId(role, false));
	sf_plan_command(psprintf("INSERT INTO sopflow.action_grant (action, grantee, privilege)"
							 " VALUES (%s, %u, 'consume') ON CONFLICT DO NOTHING",
							 quote_literal_cstr(name), role), NULL, NULL);
	sf_plan_command(psprintf("GRANT USAGE ON SCHEMA sopflow TO %s", grantee), NULL, NULL);
	sf_plan_command(psprintf("GRANT EXECUTE ON FUNCTION sopflow.fetch, sopflow.ack, sopflow.ack_many,"
							 " sopflow.nack, sopflow.nack_many, sopflow.extend, sopflow.now TO %s", grantee),
					NULL, NULL);
	PG_RETURN_VOID();
}

Datum
sopflow_wake(PG_FUNCTION_ARGS)
{
	/* rows that no callback announced may lie anywhere before now */
	sf_shm_note_due(DT_NOBEGIN);
	PG_RETURN_VOID();
}
