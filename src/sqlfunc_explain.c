/*
 * sqlfunc_explain.c
 *	  Functions that ask a rule set and carry nothing out: explain, check_rules,
 *	  prove, validate_rules.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "edit.h"
#include "explain.h"
#include "fire.h"
#include "load.h"
#include "network.h"
#include "plan.h"
#include "prove.h"
#include "ruleset.h"

PG_FUNCTION_INFO_V1(sopflow_explain);
PG_FUNCTION_INFO_V1(sopflow_check_rules);
PG_FUNCTION_INFO_V1(sopflow_prove);
PG_FUNCTION_INFO_V1(sopflow_validate_rules);

/* --- explain --- */

Datum
sopflow_explain(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Jsonb	   *facts = PG_ARGISNULL(1) ? NULL : PG_GETARG_JSONB_P(1);
	SfRuleSet  *set;
	SfRuleScope scope;
	List	   *lines;
	ListCell   *lc;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	set = sf_ruleset_get(text_to_cstring(PG_GETARG_TEXT_PP(0)), GetUserId());
	sf_fire_begin(set);
	sf_ruleset_enter(set, &scope);
	if (facts != NULL)
		sf_fire_give_object(set, facts, true);
	lines = sf_explain(set, facts != NULL);
	sf_ruleset_leave(&scope);
	sf_fire_end(set);
	foreach(lc, lines)
	{
		Datum		value = CStringGetTextDatum((char *) lfirst(lc));
		bool		isnull = false;

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, &value, &isnull);
	}
	return (Datum) 0;
}

/* --- check_rules --- */

static void
put_check(ReturnSetInfo *rsinfo, SfRule *rule, SfTruth truth, ErrorData *error)
{
	Datum		values[3];
	bool		nulls[3] = {false, truth != SF_TRUE && truth != SF_FALSE, error == NULL};

	values[0] = CStringGetTextDatum(rule->name);
	values[1] = BoolGetDatum(truth == SF_TRUE);
	values[2] = error ? CStringGetTextDatum(error->message) : (Datum) 0;
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

Datum
sopflow_check_rules(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Jsonb	   *facts = PG_GETARG_JSONB_P(1);
	SfRuleSet  *set = sf_ruleset_get(text_to_cstring(PG_GETARG_TEXT_PP(0)), GetUserId());
	SfRuleScope scope;
	SfRule	  **rules;
	int			nrules;

	InitMaterializedSRF(fcinfo, 0);
	sf_fire_begin(set);
	sf_ruleset_enter(set, &scope);
	sf_fire_give_object(set, facts, true);
	nrules = 0;
	rules = set->enabled ? sf_network_rules(set, &nrules) : NULL;
	for (int i = 0; i < nrules; i++)
	{
		ErrorData  *error;
		SfTruth		truth;

		CHECK_FOR_INTERRUPTS();
		truth = sf_fire_attempt_condition(set, rules[i], &error);
		put_check(rsinfo, rules[i], truth, error);
	}
	sf_ruleset_leave(&scope);
	sf_fire_end(set);
	return (Datum) 0;
}

/* --- prove --- */

/* the slot that some rule has for a field, in the form in which it is stored; -1: none */
static int
known_slot(SfRuleSet *set, const char *name)
{
	for (int i = 0; i < set->frame->nslots; i++)
	{
		SfSlot	   *slot = &set->frame->slots[i];

		if (strcmp(slot->name, name) == 0 && (slot->kind != SF_SLOT_PATH || slot->type == JSONBOID))
			return i;
	}
	return -1;
}

/*
 * The set, and the goal compiled over its facts.  A field that no rule has, or
 * an expression, makes a set of its own.  An expression runs as the set's
 * owner, so only a member of that role may give one.
 */
static SfRuleSet *
set_for_goal(const char *name, const char *goal, SfValue **value)
{
	SfRuleSet  *set = sf_ruleset_get(name, GetUserId());
	SfExprContext context;
	Node	   *raw;
	int			slot;

	if (!set->enabled)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("rule set \"%s\" is not enabled", name)));
	slot = known_slot(set, goal);
	if (slot >= 0)
	{
		SfSlot	   *s = &set->frame->slots[slot];

		*value = palloc0(sizeof(SfValue));
		(*value)->expr = (Expr *) makeVar(1, slot + 1, s->type, s->typmod, s->collation, 0);
		return set;
	}
	sf_expr_begin(&context, goal, NULL);
	raw = sf_expr_raw(goal);
	sf_expr_end(&context);
	if (!IsA(raw, ColumnRef) && !has_privs_of_role(GetUserId(), set->owner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to prove an expression over rule set \"%s\"", name),
				 errdetail("It would be evaluated with the rights of role \"%s\".",
						   GetUserNameFromId(set->owner, true)),
				 errhint("Ask for a field of a fact.")));
	return sf_load_set_for(name, goal, value, CurrentMemoryContext);
}

Datum
sopflow_prove(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Jsonb	   *facts = PG_GETARG_JSONB_P(2);
	SfRuleSet  *set;
	SfValue    *goal;
	SfRuleScope scope;
	SfProved	result;
	Datum		values[3];
	bool		nulls[3] = {false, false, false};

	InitMaterializedSRF(fcinfo, 0);
	set = set_for_goal(text_to_cstring(PG_GETARG_TEXT_PP(0)),
					   text_to_cstring(PG_GETARG_TEXT_PP(1)), &goal);
	sf_fire_begin(set);
	sf_ruleset_enter(set, &scope);
	sf_fire_give_object(set, facts, true);
	sf_prove(set, goal, &result);
	sf_ruleset_leave(&scope);
	sf_fire_end(set);
	values[0] = BoolGetDatum(result.proved);
	nulls[1] = result.value == NULL;
	values[1] = JsonbPGetDatum(result.value);
	values[2] = JsonbPGetDatum(result.proof);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	return (Datum) 0;
}

/* --- validate_rules --- */

static void
take_owner(HeapTuple tuple, TupleDesc desc, void *arg)
{
	*(Oid *) arg = sf_row_oid(tuple, desc, 1);
}

Datum
sopflow_validate_rules(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	List	   *faults;
	ListCell   *lc;
	Oid			owner;
	Datum		key[1] = {PG_GETARG_DATUM(0)};

	InitMaterializedSRF(fcinfo, 0);
	/* before it is compiled: what is wrong with it is its authors' business */
	if (sf_plan_run(SF_PLAN_RULE_SET_OWNER, key, NULL, take_owner, &owner) > 0)
		sf_edit_demand_member(owner, "rule set", name);
	faults = sf_ruleset_faults(name, &owner);
	foreach(lc, faults)
	{
		SfRuleFault *fault = lfirst(lc);
		Datum		values[3];
		bool		nulls[3] = {fault->rule == NULL, false, false};

		values[0] = fault->rule ? CStringGetTextDatum(fault->rule) : (Datum) 0;
		values[1] = CStringGetTextDatum(fault->column);
		values[2] = CStringGetTextDatum(fault->message);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}
