/*
 * sqlfunc_ruledef.c
 *	  The triggers of the tables of rule sets, and who may fire a set.
 *
 * The one hard fact: who edits anything of a set holds the lock of its row in
 * sopflow.rule_set, so what is compiled at commit is what will be there.  The
 * row's revisions come from a sequence: neither a rollback nor a set that was
 * deleted and made anew gives one a second time, and a set that was compiled
 * from a revision is up to date as long as that stands.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "parser/parse_func.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "compat.h"
#include "edit.h"
#include "errors.h"
#include "ident.h"
#include "pending.h"
#include "plan.h"
#include "ruleset.h"
#include "stats.h"

PG_FUNCTION_INFO_V1(sopflow_ruledef_row);
PG_FUNCTION_INFO_V1(sopflow_ruledef_after);
PG_FUNCTION_INFO_V1(sopflow_ruledef_check);
PG_FUNCTION_INFO_V1(sopflow_check_rule_set);
PG_FUNCTION_INFO_V1(sopflow_grant_rules);
PG_FUNCTION_INFO_V1(sopflow_revoke_rules);

/* what is done once for many edits of a set, see sf_pending_first */
typedef enum SfAspect
{
	ASPECT_RULES,				/* revision is raised */
	ASPECT_PARAMS,				/* param_revision is raised */
	ASPECT_TOLD					/* other sessions are told */
} SfAspect;

/* which revision an UPDATE of rule_set raises: by touch() alone the other one */
static SfAspect raising = ASPECT_RULES;

static const char *const hooks[] = {
	"before_fire", "after_fire", "before_evaluate", "after_evaluate", "on_success", "on_failure"
};

static bool
is_table(Relation rel, const char *name)
{
	return strcmp(RelationGetRelationName(rel), name) == 0;
}

static bool
same_value(SfEdit *edit, const char *column)
{
	bool		isnull[2];
	Datum		values[2];
	int			attnum = get_attnum(RelationGetRelid(edit->rel), column);
	Form_pg_attribute att = TupleDescAttr(RelationGetDescr(edit->rel), attnum - 1);

	values[0] = sf_edit_column(edit->rel, edit->old, column, &isnull[0]);
	values[1] = sf_edit_column(edit->rel, edit->new, column, &isnull[1]);
	if (isnull[0] || isnull[1])
		return isnull[0] && isnull[1];
	return datum_image_eq(values[0], values[1], att->attbyval, att->attlen);
}

/* --- the set --- */

static Datum
next_revision(void)
{
	return Int64GetDatum(nextval_internal(sf_ident_rel(SF_REL_RULE_SEQ), false));
}

static void
take_owner(HeapTuple tuple, TupleDesc desc, void *arg)
{
	*(Oid *) arg = sf_row_oid(tuple, desc, 1);
}

/*
 * Lock the set, raise its revision, demand that the writer may change it.  What
 * has been locked and raised is not once more, until somebody may have read it.
 */
static void
touch(const char *rule_set, SfAspect aspect)
{
	Datum		values[1] = {CStringGetTextDatum(rule_set)};
	Oid			owner = InvalidOid;
	uint64		found;

	if (!sf_pending_first(SF_PENDING_RULE_SET, rule_set, aspect))
		found = sf_plan_run(SF_PLAN_RULE_SET_OWNER, values, NULL, take_owner, &owner);
	else
	{
		raising = aspect;
		PG_TRY();
		{
			found = sf_plan_run(SF_PLAN_RULE_SET_TOUCH, values, NULL, take_owner, &owner);
		}
		PG_FINALLY();
		{
			raising = ASPECT_RULES;
		}
		PG_END_TRY();
	}
	/* none: demand_parent says so, or the set is being deleted with all of it */
	if (found > 0)
		sf_edit_demand_member(owner, "rule set", rule_set);
	else
		sf_pending_renew(SF_PENDING_RULE_SET, rule_set);
	sf_pending_add(SF_PENDING_RULE_SET, rule_set);
}

static void
report_guard(HeapTuple tuple, TupleDesc desc, void *arg)
{
	const char *rule_set = arg;
	const char *relation = sf_row_text(tuple, desc, 1);

	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_IN_USE),
			 errmsg("rule set \"%s\" cannot be deleted: it guards table %s", rule_set, relation),
			 errhint("Use sopflow.unguard(%s, %s) first.", quote_literal_cstr(relation),
					 quote_literal_cstr(rule_set))));
}

static int
hook_fault(const char *rule_set, const char *column)
{
	err_generic_string(PG_DIAG_SCHEMA_NAME, "sopflow");
	err_generic_string(PG_DIAG_TABLE_NAME, "rule_set");
	return err_generic_string(PG_DIAG_COLUMN_NAME, column);
}

/* the qualified name of the function that a hook names; an error if it is none such */
static char *
resolve_hook(const char *name, const char *column, Oid owner, const char *rule_set)
{
	Oid			argtype = sf_ident_rule_event_type();
	Oid			function = LookupFuncName(sf_qualified_name_list(name), 1, &argtype, true);
	HeapTuple	tuple;
	Form_pg_proc proc;

	if (!OidIsValid(function))
		ereport(ERROR,
				(errcode(ERRCODE_SF_INVALID_DEFINITION),
				 errmsg("rule set \"%s\" is not valid: column \"%s\": function %s(sopflow.rule_event) does not exist",
						rule_set, column, name),
				 errhint("A hook takes one argument of type sopflow.rule_event and returns bool."),
				 hook_fault(rule_set, column)));
	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function);
	proc = (Form_pg_proc) GETSTRUCT(tuple);
	if (proc->prorettype != BOOLOID || proc->proretset || proc->prokind != PROKIND_FUNCTION)
		ereport(ERROR,
				(errcode(ERRCODE_SF_INVALID_DEFINITION),
				 errmsg("rule set \"%s\" is not valid: column \"%s\": function \"%s\" must take sopflow.rule_event and return bool",
						rule_set, column, name),
				 hook_fault(rule_set, column)));
	if (superuser_arg(owner) && !superuser_arg(proc->proowner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("rule set \"%s\" is not valid: column \"%s\": function \"%s\" belongs to role \"%s\", which is not a superuser, and would run as superuser \"%s\"",
						rule_set, column, name, GetUserNameFromId(proc->proowner, true),
						GetUserNameFromId(owner, true)),
				 errhint("Give the rule set another owner, or the function one that is a superuser."),
				 hook_fault(rule_set, column)));
	ReleaseSysCache(tuple);
	if (sf_proc_aclcheck(function, owner, ACL_EXECUTE) != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("rule set \"%s\" is not valid: column \"%s\": the rule set's owner \"%s\" may not execute function \"%s\"",
						rule_set, column, GetUserNameFromId(owner, true), name),
				 hook_fault(rule_set, column)));
	return quote_qualified_identifier(get_namespace_name(get_func_namespace(function)),
									  get_func_name(function));
}

static HeapTuple
resolve_hooks(SfEdit *edit, HeapTuple new, const char *rule_set, Oid owner)
{
	/* not on every edit: a set whose function is gone can still be disabled */
	bool		all = edit->old == NULL || !same_value(edit, "owner");

	for (int i = 0; i < lengthof(hooks); i++)
	{
		char	   *name = sf_edit_text(edit->rel, new, hooks[i]);

		if (name != NULL && (all || !same_value(edit, hooks[i])))
			new = sf_edit_set(edit->rel, new, hooks[i],
							  CStringGetTextDatum(resolve_hook(name, hooks[i], owner, rule_set)),
							  false);
	}
	return new;
}

static HeapTuple
raise_revision(SfEdit *edit, HeapTuple new)
{
	Relation	rel = edit->rel;
	Datum		next = next_revision();
	bool		isnull;

	if (edit->old == NULL)
	{
		new = sf_edit_set(rel, new, "revision", next, false);
		return sf_edit_set(rel, new, "param_revision", next, false);
	}
	/* not what the writer says */
	new = sf_edit_set(rel, new, "revision", raising == ASPECT_RULES ? next :
					  sf_edit_column(rel, edit->old, "revision", &isnull), false);
	return sf_edit_set(rel, new, "param_revision", raising == ASPECT_PARAMS ? next :
					   sf_edit_column(rel, edit->old, "param_revision", &isnull), false);
}

static HeapTuple
set_row(SfEdit *edit)
{
	Relation	rel = edit->rel;
	HeapTuple	new = edit->new;
	char	   *name;
	Oid			owner;
	bool		isnull;

	if (edit->old != NULL)
	{
		name = sf_edit_text(rel, edit->old, "rule_set");
		sf_edit_demand_member(sf_edit_oid(rel, edit->old, "owner"), "rule set", name);
		if (new == NULL)
		{
			Datum		values[1] = {CStringGetTextDatum(name)};

			sf_plan_run(SF_PLAN_RULE_SET_GUARDS, values, NULL, report_guard, name);
			sf_pending_renew(SF_PENDING_RULE_SET, name);
			sf_pending_add(SF_PENDING_RULE_SET, name);
			return edit->old;
		}
		if (!same_value(edit, "rule_set"))
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("rule set \"%s\" cannot be renamed", name),
					 errhint("For another name, insert another rule set.")));
	}
	name = sf_edit_text(rel, new, "rule_set");
	owner = sf_edit_oid(rel, new, "owner");
	if (name == NULL || !OidIsValid(owner))
		return new;				/* NOT NULL says so */
	sf_edit_demand_member(owner, "rule set", name);
	new = resolve_hooks(edit, new, name, owner);
	(void) sf_edit_column(rel, new, "search_path", &isnull);
	if (isnull)
		new = sf_edit_set(rel, new, "search_path",
						  CStringGetTextDatum(GetConfigOption("search_path", false, false)), false);
	new = raise_revision(edit, new);
	sf_pending_add(SF_PENDING_RULE_SET, name);
	return new;
}

/* --- what belongs to it --- */

static SfAspect
aspect_of(SfEdit *edit)
{
	if (is_table(edit->rel, "rule_param_override"))
		return ASPECT_PARAMS;
	if (!is_table(edit->rel, "rule_param") || edit->old == NULL || edit->new == NULL)
		return ASPECT_RULES;
	return same_value(edit, "rule_set") && same_value(edit, "param") && same_value(edit, "type") ?
		ASPECT_PARAMS : ASPECT_RULES;
}

static HeapTuple
child_row(SfEdit *edit)
{
	char	   *before = edit->old ? sf_edit_text(edit->rel, edit->old, "rule_set") : NULL;
	char	   *after = edit->new ? sf_edit_text(edit->rel, edit->new, "rule_set") : NULL;
	SfAspect	aspect = aspect_of(edit);

	if (before != NULL)
		touch(before, aspect);
	if (after != NULL && (before == NULL || strcmp(before, after) != 0))
		touch(after, aspect);
	return edit->new ? edit->new : edit->old;
}

/* BEFORE INSERT OR UPDATE OR DELETE FOR EACH ROW */
Datum
sopflow_ruledef_row(PG_FUNCTION_ARGS)
{
	SfEdit		edit = sf_edit_of(fcinfo->context, "ruledef_row");

	if (sf_ident_restoring())
	{
		sf_edit_hold();
		return PointerGetDatum(edit.new ? edit.new : edit.old);
	}
	return PointerGetDatum(is_table(edit.rel, "rule_set") ? set_row(&edit) : child_row(&edit));
}

/*
 * No foreign keys, because pg_restore --jobs loads the tables of extensions in
 * any order.  The set is locked, so that nobody deletes it before we commit.
 */
static void
demand_parents(SfEdit *edit)
{
	Relation	rel = edit->rel;
	char	   *rule_set = sf_edit_text(rel, edit->new, "rule_set");
	Datum		values[2] = {CStringGetTextDatum(rule_set)};
	bool		isnull;

	if (sf_plan_run(SF_PLAN_RULE_SET_LOCK, values, NULL, NULL, NULL) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
				 errmsg("rule set \"%s\" does not exist", rule_set),
				 errtablecol(rel, get_attnum(RelationGetRelid(rel), "rule_set"))));
	if (!is_table(rel, "rule_param_override"))
		return;
	values[1] = sf_edit_column(rel, edit->new, "param", &isnull);
	if (sf_plan_run(SF_PLAN_RULE_PARAM_EXISTS, values, NULL, NULL, NULL) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
				 errmsg("parameter \"%s\" of rule set \"%s\" does not exist",
						NameStr(*DatumGetName(values[1])), rule_set),
				 errtablecol(rel, get_attnum(RelationGetRelid(rel), "param"))));
}

/* overrides go where their parameter goes */
static void
move_overrides(SfEdit *edit)
{
	bool		isnull;
	Datum		values[4];

	values[0] = sf_edit_column(edit->rel, edit->old, "rule_set", &isnull);
	values[1] = sf_edit_column(edit->rel, edit->old, "param", &isnull);
	if (edit->new == NULL)
	{
		sf_plan_run(SF_PLAN_RULE_OVERRIDES_DELETE, values, NULL, NULL, NULL);
		return;
	}
	if (same_value(edit, "rule_set") && same_value(edit, "param"))
		return;
	values[2] = sf_edit_column(edit->rel, edit->new, "rule_set", &isnull);
	values[3] = sf_edit_column(edit->rel, edit->new, "param", &isnull);
	sf_plan_run(SF_PLAN_RULE_OVERRIDES_MOVE, values, NULL, NULL, NULL);
}

static void
tell(const char *rule_set)
{
	/* once more: it may have been checked between the row trigger and the edit */
	sf_pending_add(SF_PENDING_RULE_SET, rule_set);
	if (sf_pending_first(SF_PENDING_RULE_SET, rule_set, ASPECT_TOLD))
		sf_ruleset_changed();
}

/* AFTER INSERT OR UPDATE OR DELETE FOR EACH ROW */
Datum
sopflow_ruledef_after(PG_FUNCTION_ARGS)
{
	SfEdit		edit = sf_edit_of(fcinfo->context, "ruledef_after");
	bool		is_set = is_table(edit.rel, "rule_set");

	if (sf_ident_restoring())
	{
		sf_ruleset_changed();
		return PointerGetDatum(NULL);
	}
	if (edit.old != NULL)
		tell(sf_edit_text(edit.rel, edit.old, "rule_set"));
	if (edit.new != NULL && (edit.old == NULL || !same_value(&edit, "rule_set")))
		tell(sf_edit_text(edit.rel, edit.new, "rule_set"));
	if (is_set && edit.new == NULL)
	{
		Datum		values[1] = {CStringGetTextDatum(sf_edit_text(edit.rel, edit.old, "rule_set"))};

		sf_plan_run(SF_PLAN_RULE_SET_CLEAR, values, NULL, NULL, NULL);
	}
	if (!is_set && edit.new != NULL)
		demand_parents(&edit);
	if (is_table(edit.rel, "rule_param") && edit.old != NULL)
		move_overrides(&edit);
	if (is_table(edit.rel, "rule") && edit.new == NULL)
	{
		bool		isnull;

		/* a rollback brings the rule back and not its counts */
		sf_stats_forget_rule(DatumGetInt32(sf_edit_column(edit.rel, edit.old, "rule_id", &isnull)));
	}
	return PointerGetDatum(NULL);
}

/* deferred constraint trigger on the same events: the whole must be sound at commit */
Datum
sopflow_ruledef_check(PG_FUNCTION_ARGS)
{
	SfEdit		edit = sf_edit_of(fcinfo->context, "ruledef_check");
	HeapTuple	rows[] = {edit.old, edit.new};

	if (sf_ident_restoring() || !sf_pending_any())
		return PointerGetDatum(NULL);
	/* at commit nothing else has yet made our own invalidations take effect */
	CommandCounterIncrement();
	for (int i = 0; i < lengthof(rows); i++)
	{
		char	   *name = rows[i] ? sf_edit_text(edit.rel, rows[i], "rule_set") : NULL;

		if (name != NULL)
			sf_pending_check(SF_PENDING_RULE_SET, name);
	}
	return PointerGetDatum(NULL);
}

/* --- functions --- */

/* check a set now, and not once more at commit; for restored() */
Datum
sopflow_check_rule_set(PG_FUNCTION_ARGS)
{
	sf_ruleset_check(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	PG_RETURN_VOID();
}

static void
demand_owner(const char *rule_set)
{
	Datum		values[1] = {CStringGetTextDatum(rule_set)};
	Oid			owner;

	if (sf_plan_run(SF_PLAN_RULE_SET_OWNER, values, NULL, take_owner, &owner) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("rule set \"%s\" does not exist", rule_set)));
	sf_edit_demand_member(owner, "rule set", rule_set);
}

Datum
sopflow_grant_rules(PG_FUNCTION_ARGS)
{
	char	   *rule_set = text_to_cstring(PG_GETARG_TEXT_PP(0));
	Oid			role = PG_GETARG_OID(1);
	const char *grantee;

	demand_owner(rule_set);
	grantee = quote_identifier(GetUserNameFromId(role, false));
	sf_plan_command(psprintf("INSERT INTO sopflow.rule_grant (rule_set, grantee) VALUES (%s, %u)"
							 " ON CONFLICT DO NOTHING", quote_literal_cstr(rule_set), role),
					NULL, NULL);
	sf_plan_command(psprintf("GRANT USAGE ON SCHEMA sopflow TO %s", grantee), NULL, NULL);
	sf_plan_command(psprintf("GRANT EXECUTE ON FUNCTION sopflow.fire, sopflow.fire_rows,"
							 " sopflow.check_rules, sopflow.explain, sopflow.prove TO %s", grantee),
					NULL, NULL);
	PG_RETURN_VOID();
}

/* the right to call fire and the like stays: other sets may have been granted */
Datum
sopflow_revoke_rules(PG_FUNCTION_ARGS)
{
	char	   *rule_set = text_to_cstring(PG_GETARG_TEXT_PP(0));
	uint64		found;

	demand_owner(rule_set);
	found = sf_plan_command(psprintf("DELETE FROM sopflow.rule_grant WHERE rule_set = %s AND grantee = %u",
									 quote_literal_cstr(rule_set), PG_GETARG_OID(1)), NULL, NULL);
	PG_RETURN_BOOL(found > 0);
}
