/*
 * sqlfunc_rule.c
 *	  Firing rule sets from SQL: fire, fire_rows, and the trigger enforce.
 */
#include "postgres.h"

#include "access/attmap.h"
#include "access/htup_details.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "compat.h"
#include "errors.h"
#include "fire.h"
#include "flow.h"
#include "ident.h"
#include "operation.h"
#include "plan.h"

PG_FUNCTION_INFO_V1(sopflow_fire);
PG_FUNCTION_INFO_V1(sopflow_fire_rows);
PG_FUNCTION_INFO_V1(sopflow_enforce);

#define VERDICT_COLUMNS	6

/*
 * What a call site keeps: the rule set that the call names, so that a statement
 * that fires once a row looks it up once, and how its verdict is formed.
 */
typedef struct SfCallSite
{
	SfRuleSet  *set;
	LocalTransactionId lxid;	/* in which it was found */
	uint64		forgotten;		/* sf_ruleset_forgotten() then */
	Oid			role;			/* whose right to fire it was checked */
	TupleDesc	desc;			/* of sopflow.verdict */
	Datum		no_texts;		/* {} */
	Datum		no_facts;		/* '{}' */
} SfCallSite;

static SfCallSite *
site_of_call(FunctionCallInfo fcinfo)
{
	SfCallSite *site = fcinfo->flinfo->fn_extra;
	MemoryContext old;
	TupleDesc	desc;

	if (site != NULL)
		return site;
	old = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
	site = palloc0(sizeof(SfCallSite));
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "sopflow.verdict is no row type");
	site->desc = BlessTupleDesc(desc);
	site->no_texts = PointerGetDatum(construct_empty_array(TEXTOID));
	site->no_facts = DirectFunctionCall1(jsonb_in, CStringGetDatum("{}"));
	MemoryContextSwitchTo(old);
	fcinfo->flinfo->fn_extra = site;
	return site;
}

/* --- the verdict as a row --- */

static Datum
text_array(SfCallSite *site, const List *strings)
{
	int			n = list_length(strings);
	int			lower = 1;
	Datum	   *texts;
	bool	   *nulls;
	ListCell   *lc;
	int			i = 0;

	if (n == 0)
		return site->no_texts;
	texts = palloc(n * sizeof(Datum));
	nulls = palloc(n * sizeof(bool));
	foreach(lc, strings)
	{
		texts[i] = lfirst(lc) ? CStringGetTextDatum(lfirst(lc)) : (Datum) 0;
		nulls[i] = lfirst(lc) == NULL;
		i++;
	}
	return PointerGetDatum(construct_md_array(texts, nulls, 1, &n, &lower, TEXTOID, -1, false,
											  TYPALIGN_INT));
}

static Datum
facts_datum(SfCallSite *site, const SfVerdict *verdict, bool only_changed)
{
	SfRuleSet  *set = site->set;
	JsonbParseState *state = NULL;
	JsonbValue	v;

	if (!set->enabled || (only_changed && set->frame->changes == 0 && verdict->result == NULL))
		return site->no_facts;
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	sf_frame_push_json(set->frame, &state, only_changed);
	if (verdict->result != NULL)
	{
		v.type = jbvString;
		v.val.string.val = "result";
		v.val.string.len = strlen("result");
		pushJsonbValue(&state, WJB_KEY, &v);
		sf_json_value(verdict->result, &v);
		pushJsonbValue(&state, WJB_VALUE, &v);
	}
	return JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL)));
}

static Datum
trace_datum(const SfVerdict *verdict)
{
	JsonbParseState *state = NULL;
	ListCell   *lc;

	pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	foreach(lc, verdict->trace)
	{
		JsonbValue	v;

		sf_json_value(lfirst(lc), &v);
		pushJsonbValue(&state, WJB_ELEM, &v);
	}
	return JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_ARRAY, NULL)));
}

static Datum
verdict_datum(SfCallSite *site, const SfVerdict *verdict, bool only_changed)
{
	Datum		values[VERDICT_COLUMNS];
	bool		nulls[VERDICT_COLUMNS] = {0};
	List	   *names = NIL;
	List	   *texts = NIL;
	List	   *codes = NIL;
	ListCell   *lc;

	foreach(lc, verdict->fired)
		names = lappend(names, ((SfRule *) lfirst(lc))->name);
	foreach(lc, verdict->messages)
	{
		texts = lappend(texts, ((SfMessage *) lfirst(lc))->text);
		codes = lappend(codes, ((SfMessage *) lfirst(lc))->code);
	}
	values[0] = BoolGetDatum(verdict->allowed);
	values[1] = text_array(site, names);
	values[2] = text_array(site, texts);
	values[3] = text_array(site, codes);
	values[4] = facts_datum(site, verdict, only_changed);
	nulls[5] = site->set->trace == SF_TRACE_OFF;
	values[5] = nulls[5] ? (Datum) 0 : trace_datum(verdict);
	return HeapTupleGetDatum(heap_form_tuple(site->desc, values, nulls));
}

/* a call site may outlive the set that it found */
static bool
has_current_set(const SfCallSite *site)
{
	return site->set != NULL && site->lxid == sf_local_xid() &&
		site->forgotten == sf_ruleset_forgotten() && sf_ruleset_is_current(site->set);
}

static void
find_set(SfCallSite *site, const char *name, Oid role)
{
	site->set = NULL;
	site->set = sf_ruleset_get(name, role);
	site->role = role;
	site->lxid = sf_local_xid();
	site->forgotten = sf_ruleset_forgotten();
}

static SfRuleSet *
set_of_call(SfCallSite *site, text *name)
{
	int			len = VARSIZE_ANY_EXHDR(name);

	if (!has_current_set(site) ||
		strncmp(site->set->name, VARDATA_ANY(name), len) != 0 || site->set->name[len] != '\0')
		find_set(site, text_to_cstring(name), GetUserId());
	if (site->role != GetUserId())
	{
		sf_ruleset_demand_right(site->set, GetUserId());
		site->role = GetUserId();
	}
	return site->set;
}

/* --- fire --- */

Datum
sopflow_fire(PG_FUNCTION_ARGS)
{
	static const SfFireOptions options = {false, false};
	SfCallSite *site = site_of_call(fcinfo);
	SfRuleSet  *set = set_of_call(site, PG_GETARG_TEXT_PP(0));
	SfVerdict	verdict;
	SfRuleScope scope;
	Datum		result;

	sf_fire_begin(set);
	sf_ruleset_enter(set, &scope);
	sf_fire_give_object(set, PG_GETARG_JSONB_P(1), false);
	sf_fire_run(set, &options, &verdict);
	result = verdict_datum(site, &verdict, false);
	sf_ruleset_leave(&scope);
	sf_fire_end(set);
	PG_RETURN_DATUM(result);
}

static void
wrong_facts(SfRuleSet *set, const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 errmsg("%s for rule set \"%s\"", what, set->name),
			 errdetail("The rule set wants: %s.", sf_frame_fact_names(set->frame))));
}

/* the facts in the order of the arguments: those without a query, or all of them */
static void
give_arguments(FunctionCallInfo fcinfo, SfRuleSet *set)
{
	SfFrame    *frame = set->frame;
	int			nargs = PG_NARGS() - 1;
	int			nwanted = 0;
	int			arg = 1;
	bool		all = nargs == frame->nfacts;

	for (int i = 0; i < frame->nfacts; i++)
		nwanted += frame->facts[i].query == NULL;
	if (nargs != nwanted && !all)
		wrong_facts(set, psprintf("wrong number of facts (%d)", nargs));
	for (int i = 0; i < frame->nfacts; i++)
	{
		SfFact	   *fact = &frame->facts[i];
		Oid			type;

		if (fact->query != NULL && !all)
			continue;
		type = get_fn_expr_argtype(fcinfo->flinfo, arg);
		if (PG_ARGISNULL(arg) && type == UNKNOWNOID)
			type = fact->type;
		if (type != fact->type && getBaseType(type) != fact->type)
			wrong_facts(set, psprintf("fact \"%s\" is of type %s", fact->name,
									  format_type_be(type)));
		sf_frame_give_value(frame, fact, PG_ARGISNULL(arg) ? (Datum) 0 : PG_GETARG_DATUM(arg),
							PG_ARGISNULL(arg));
		arg++;
	}
}

Datum
sopflow_fire_rows(PG_FUNCTION_ARGS)
{
	static const SfFireOptions options = {false, false};
	SfCallSite *site;
	SfRuleSet  *set;
	SfVerdict	verdict;
	SfRuleScope scope;
	Datum		result;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("rule_set must not be null")));
	if (get_fn_expr_variadic(fcinfo->flinfo))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("facts cannot be given as a VARIADIC array")));
	site = site_of_call(fcinfo);
	set = set_of_call(site, PG_GETARG_TEXT_PP(0));
	sf_fire_begin(set);
	sf_ruleset_enter(set, &scope);
	if (set->enabled)
		give_arguments(fcinfo, set);
	sf_fire_run(set, &options, &verdict);
	result = verdict_datum(site, &verdict, true);
	sf_ruleset_leave(&scope);
	sf_fire_end(set);
	PG_RETURN_DATUM(result);
}

/* --- enforce --- */

/* what a rule set and the relation of a trigger have to do with each other */
typedef struct SfBinding
{
	Oid			relid;
	SfFact	   *new;			/* NULL: the rules do not look at it */
	SfFact	   *old;
	AttrNumber *new_map;		/* NULL: columns have the same numbers */
	AttrNumber *old_map;
	uint64		moves;			/* at the time it was made */
} SfBinding;

/*
 * The set is made anew when the relation of a fact changes.  The one that the
 * trigger is on may be another, a partition, and change by itself.
 */
static List *bound = NIL;		/* OIDs of relations with a binding */
static uint64 moves = 0;

static void
bound_relation_invalidated(Datum arg, Oid relid)
{
	if (relid == InvalidOid || list_member_oid(bound, relid))
		moves++;
}

static void
watch_bound_relation(Oid relid)
{
	static bool registered = false;
	MemoryContext old;

	if (!registered)
		CacheRegisterRelcacheCallback(bound_relation_invalidated, (Datum) 0);
	registered = true;
	old = MemoryContextSwitchTo(TopMemoryContext);
	bound = list_append_unique_oid(bound, relid);
	MemoryContextSwitchTo(old);
}

/* columns of the relation by those of the fact, by name; NULL: the same numbers */
static AttrNumber *
map_columns(SfRuleSet *set, SfFact *fact, Relation rel)
{
	TupleDesc	desc = RelationGetDescr(rel);
	AttrNumber *map = palloc0(Max(fact->desc->natts, 1) * sizeof(AttrNumber));
	bool		same = true;

	for (int i = 0; i < fact->desc->natts; i++)
	{
		Form_pg_attribute want = TupleDescAttr(fact->desc, i);

		if (want->attisdropped)
			continue;
		for (int k = 0; k < desc->natts; k++)
		{
			Form_pg_attribute have = TupleDescAttr(desc, k);

			if (!have->attisdropped && have->atttypid == want->atttypid &&
				strcmp(NameStr(have->attname), NameStr(want->attname)) == 0)
				map[i] = k + 1;
		}
		if (map[i] == 0)
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("table \"%s\" has no column \"%s\" of type %s",
							RelationGetRelationName(rel), NameStr(want->attname),
							format_type_be(want->atttypid)),
					 errdetail("Rule set \"%s\" wants it in fact \"%s\".", set->name, fact->name)));
		same = same && map[i] == i + 1;
	}
	if (!same)
		return map;
	pfree(map);
	return NULL;
}

static SfFact *
bind_fact(SfRuleSet *set, const char *name, Relation rel, AttrNumber **map)
{
	SfFact	   *fact = sf_frame_fact(set->frame, name);
	Oid			relid = RelationGetRelid(rel);

	*map = NULL;
	if (fact == NULL)
		return NULL;
	/* partitions and children have the columns of their parent */
	if (!OidIsValid(fact->relid) ||
		(relid != fact->relid && !typeInheritsFrom(rel->rd_rel->reltype, fact->type)))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("rule set \"%s\" cannot be enforced on table \"%s\"", set->name,
						RelationGetRelationName(rel)),
				 errdetail("Its fact \"%s\" is of type %s.", name, format_type_be(fact->type))));
	*map = map_columns(set, fact, rel);
	return fact;
}

/*
 * A trigger that somebody else made by hand does not lend him the rights of the
 * set's owner: either guard() was called by one who may, or the table's owner
 * could change the rules himself.
 */
static void
demand_right_to_enforce(SfRuleSet *set, Relation rel)
{
	Datum		values[2] = {ObjectIdGetDatum(RelationGetRelid(rel)),
	CStringGetTextDatum(set->name)};

	if (has_privs_of_role(rel->rd_rel->relowner, set->owner) ||
		sf_plan_run(SF_PLAN_RULE_GUARDED, values, NULL, NULL, NULL) > 0)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("rule set \"%s\" must not be enforced on table \"%s\"", set->name,
					RelationGetRelationName(rel)),
			 errdetail("The table's owner \"%s\" is not a member of the set's owner \"%s\".",
					   GetUserNameFromId(rel->rd_rel->relowner, true),
					   GetUserNameFromId(set->owner, true)),
			 errhint("Use sopflow.guard().")));
}

static void
forget_binding(SfBinding *binding)
{
	if (binding->new_map != NULL)
		pfree(binding->new_map);
	if (binding->old_map != NULL)
		pfree(binding->old_map);
	pfree(binding);
}

static SfBinding *
binding_for(SfRuleSet *set, Relation rel)
{
	MemoryContext old;
	SfBinding  *binding;
	uint64		moves_before;
	ListCell   *lc;

	foreach(lc, set->bindings)
	{
		binding = lfirst(lc);
		if (binding->relid != RelationGetRelid(rel))
			continue;
		if (binding->moves == moves)
			return binding;
		set->bindings = foreach_delete_current(set->bindings, lc);
		forget_binding(binding);
		break;
	}
	watch_bound_relation(RelationGetRelid(rel));
	moves_before = moves;
	demand_right_to_enforce(set, rel);
	for (int i = 0; i < set->frame->nfacts; i++)
	{
		SfFact	   *fact = &set->frame->facts[i];

		if (fact->query == NULL && strcmp(fact->name, "new") != 0 && strcmp(fact->name, "old") != 0)
			ereport(ERROR,
					(errcode(ERRCODE_SF_MISSING_FACT),
					 errmsg("rule set \"%s\" cannot be enforced by a trigger: it has nobody to give fact \"%s\"",
							set->name, fact->name),
					 errhint("Give the fact a query.")));
	}
	old = MemoryContextSwitchTo(set->context);
	binding = palloc0(sizeof(SfBinding));
	binding->relid = RelationGetRelid(rel);
	binding->moves = moves_before;
	binding->new = bind_fact(set, "new", rel, &binding->new_map);
	binding->old = bind_fact(set, "old", rel, &binding->old_map);
	set->bindings = lappend(set->bindings, binding);
	MemoryContextSwitchTo(old);
	return binding;
}

/* the statement fails with what the rules say */
static void
deny(SfRuleSet *set, const SfVerdict *verdict, Relation rel)
{
	const SfDenial *denial = sf_fire_keep_denial(set, verdict);
	SfMessage  *first = NULL;
	ListCell   *lc;

	foreach(lc, verdict->messages)
	{
		first = lfirst(lc);
		if (first->denies)
			break;
	}
	ereport(ERROR,
			(errcode(ERRCODE_SF_DENIED),
			 errmsg("%s", first->text),
			 errdetail_internal("%s", denial->detail),
			 err_generic_string(PG_DIAG_SCHEMA_NAME,
								get_namespace_name(RelationGetNamespace(rel))),
			 err_generic_string(PG_DIAG_TABLE_NAME, RelationGetRelationName(rel)),
			 err_generic_string(PG_DIAG_CONSTRAINT_NAME, denial->rule)));
}

/* the row with what rules have set */
static HeapTuple
changed_row(SfRuleSet *set, SfBinding *binding, HeapTuple row, TupleDesc desc)
{
	SfFrame    *frame = set->frame;
	SfFact	   *fact = binding->new;
	int			n = 0;
	int		   *columns;
	Datum	   *values;
	bool	   *nulls;

	if (fact == NULL || !fact->changed || row == NULL)
		return row;
	columns = palloc(frame->nslots * sizeof(int));
	values = palloc(frame->nslots * sizeof(Datum));
	nulls = palloc(frame->nslots * sizeof(bool));
	for (int i = 0; i < frame->nslots; i++)
	{
		SfSlot	   *slot = &frame->slots[i];

		if (slot->kind != SF_SLOT_FIELD || &frame->facts[slot->index] != fact ||
			slot->changed_at == 0)
			continue;
		columns[n] = binding->new_map ? binding->new_map[slot->attnum - 1] : slot->attnum;
		values[n] = frame->row->tts_values[i];
		nulls[n++] = frame->row->tts_isnull[i];
	}
	return n == 0 ? row : heap_modify_tuple_by_cols(row, desc, n, columns, values, nulls);
}

static SfRuleSet *
set_of_trigger(FunctionCallInfo fcinfo, const TriggerData *trigdata)
{
	SfCallSite *site = fcinfo->flinfo->fn_extra;

	if (site != NULL && has_current_set(site))
		return site->set;
	if (trigdata->tg_trigger->tgnargs != 1)
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" needs the name of a rule set as its argument",
						"sopflow.enforce")));
	if (site == NULL)
		site = fcinfo->flinfo->fn_extra = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt,
																 sizeof(SfCallSite));
	find_set(site, trigdata->tg_trigger->tgargs[0], InvalidOid);
	return site->set;
}

Datum
sopflow_enforce(PG_FUNCTION_ARGS)
{
	static const SfFireOptions options = {true, true};
	TriggerData *trigdata = (TriggerData *) fcinfo->context;
	SfRuleSet  *set;
	SfBinding  *binding;
	SfVerdict	verdict;
	SfRuleScope scope;
	SfRowWrite	write;
	TupleTableSlot *new = NULL;
	TupleTableSlot *old = NULL;
	HeapTuple	row;
	ListCell   *lc;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" was not called by trigger manager", "sopflow.enforce"),
				 errhint("Use sopflow.guard() to hold a table to a rule set.")));
	if (!TRIGGER_FIRED_BEFORE(trigdata->tg_event) || !TRIGGER_FIRED_FOR_ROW(trigdata->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" must be fired BEFORE INSERT, UPDATE or DELETE, for each row",
						"sopflow.enforce"),
				 errhint("Use sopflow.guard() to hold a table to a rule set.")));
	row = TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event) ? trigdata->tg_newtuple :
		trigdata->tg_trigtuple;
	/* the rows of a dump passed the rules when they were written */
	if (sf_ident_restoring())
		return PointerGetDatum(row);
	if (TRIGGER_FIRED_BY_INSERT(trigdata->tg_event))
		new = trigdata->tg_trigslot;
	else
		old = trigdata->tg_trigslot;
	if (TRIGGER_FIRED_BY_UPDATE(trigdata->tg_event))
		new = trigdata->tg_newslot;
	set = set_of_trigger(fcinfo, trigdata);
	if (!set->enabled)
		return PointerGetDatum(row);
	binding = binding_for(set, trigdata->tg_relation);

	sf_fire_begin(set);
	if (binding->new != NULL)
		sf_frame_give_row(set->frame, binding->new, new, binding->new_map);
	if (binding->old != NULL)
		sf_frame_give_row(set->frame, binding->old, old, binding->old_map);
	sf_operation_row_begin(&write, trigdata);
	sf_ruleset_enter(set, &scope);
	sf_fire_run(set, &options, &verdict);
	sf_ruleset_leave(&scope);
	sf_operation_row_end(&write);
	if (!verdict.allowed)
		deny(set, &verdict, trigdata->tg_relation);
	row = changed_row(set, binding, row, RelationGetDescr(trigdata->tg_relation));
	foreach(lc, verdict.emissions)
	{
		SfEmission *emission = lfirst(lc);

		(void) sf_flow_events(emission->name, &emission->event, 1);
	}
	sf_fire_end(set);
	return PointerGetDatum(row);
}
