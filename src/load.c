/*
 * load.c
 *	  Rule sets from their tables, compiled.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "parser/parse_coerce.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#include "attempt.h"
#include "errors.h"
#include "ident.h"
#include "load_private.h"
#include "plan.h"
#include "rule.h"

/* --- names of parameters and quotas --- */

static bool
resolve_name(SfFrame *frame, SfSlotKind kind, const char *name, int *index, Oid *type, bool *lazy)
{
	SfRuleSet  *set = frame->owner;

	if (kind == SF_SLOT_PARAM)
	{
		for (int i = 0; i < set->nparams; i++)
			if (strcmp(set->params[i].name, name) == 0)
			{
				*index = i;
				*type = set->params[i].type;
				/* overrides may come and go without a new compilation */
				*lazy = set->nscopes > 0;
				return true;
			}
		return false;
	}
	for (int i = 0; i < set->nquotas; i++)
		if (strcmp(set->quotas[i].name, name) == 0)
		{
			*index = i;
			*type = set->quotas[i].type;
			*lazy = true;
			return true;
		}
	return false;
}

/* --- compiling --- */

typedef struct SfStepCall
{
	SfLoad	   *load;
	SfStep		step;
	void	   *arg;
} SfStepCall;

static void
call_step(void *arg)
{
	SfStepCall *call = arg;

	call->step(call->load, call->arg);
}

void
sf_load_step(SfLoad *load, SfStep step, void *arg)
{
	SfStepCall	call = {load, step, arg};
	ErrorData  *error;
	SfRuleFault *fault;

	if (!load->collect)
	{
		step(load, arg);
		return;
	}
	error = sf_attempt(call_step, &call);
	if (error == NULL)
		return;
	fault = palloc0(sizeof(SfRuleFault));
	fault->rule = load->compile.rule ? pstrdup(load->compile.rule) : NULL;
	fault->column = load->compile.column;
	fault->message = load->prefix ? psprintf("%s%s", load->prefix, error->message) :
		error->message;
	fault->query = error->internalquery;
	fault->position = error->internalpos;
	load->faults = lappend(load->faults, fault);
}

void
sf_load_lookup(SfLoad *load, void *arg)
{
	int			number = *(int *) arg;
	SfFact	   *fact = &load->set->frame->facts[number];
	TupleDesc	columns;
	SfQuery    *query;

	sf_load_at(load, "rule_fact", fact->name, "query");
	query = sf_compile_query(&load->compile, fact->query, number, &columns);
	fact = &load->set->frame->facts[number];
	fact->lookup = query;
	if (!sf_frame_fits(fact, columns))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("query does not give a row of type %s", format_type_be(fact->type)),
				 errhint("Select one value of that type, as in: SELECT t FROM t WHERE ...")));
}

static void
compile_quota(SfLoad *load, void *arg)
{
	SfQuota    *quota = arg;
	const char *key = quota->key_text;
	TupleDesc	columns;

	sf_load_at(load, "rule_quota", quota->name, "query");
	quota->plan = sf_compile_query(&load->compile, quota->query, load->set->frame->nfacts,
								   &columns);
	if (columns->natts != 1 ||
		TypeCategory(TupleDescAttr(columns, 0)->atttypid) != TYPCATEGORY_NUMERIC)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("query of a quota must give one number")));
	quota->type = TupleDescAttr(columns, 0)->atttypid;
	load->compile.column = "lock_key";
	/* quotas are no part of a key: it is locked before they are counted */
	quota->key = sf_compile_value(&load->compile, key, TEXTOID, -1, false);
}

/* quotas and parameters that some expression reads */
static void
note_slots(SfRuleSet *set)
{
	for (int i = 0; i < set->frame->nslots; i++)
	{
		SfSlot	   *slot = &set->frame->slots[i];

		if (slot->kind == SF_SLOT_QUOTA)
			set->quotas[slot->index].slot = i;
		else if (slot->kind == SF_SLOT_PARAM)
		{
			SfParam    *param = &set->params[slot->index];

			param->slot = i;
			if (!slot->lazy)
				sf_frame_fill(set->frame, i, param->value, param->isnull);
		}
	}
}

static void
compile_hooks(SfLoad *load, void *arg)
{
	static const char *const columns[] = {
		"before_fire", "after_fire", "before_evaluate", "after_evaluate", "on_success", "on_failure"
	};
	SfRuleSet  *set = load->set;

	for (int i = 0; i < SF_HOOKS; i++)
	{
		Oid			type;

		if (set->hooks[i] == NULL)
			continue;
		type = sf_ident_rule_event_type();
		sf_load_at(load, "rule_set", NULL, columns[i]);
		set->hook_oids[i] = sf_compile_function(&load->compile, set->hooks[i], 1, &type, BOOLOID);
		fmgr_info(set->hook_oids[i], &set->hook_fns[i]);
		set->has_hooks = true;
	}
}

static void
compile_scopes(SfLoad *load, void *arg)
{
	ListCell   *lc;
	int			n = 0;

	sf_load_at(load, "rule_set", NULL, "param_scopes");
	foreach(lc, load->scopes)
		load->set->scopes[n++] = sf_compile_value(&load->compile, lfirst(lc), TEXTOID, -1, false);
}

static void
compile_condition(SfLoad *load, void *arg)
{
	SfRuleRow  *row = arg;

	sf_load_at(load, "rule", row->rule.name, "condition");
	sf_compile_condition(&load->compile, row->rule.condition, &row->planned);
}

static void
compile_actions(SfLoad *load, void *arg)
{
	SfRuleRow  *row = arg;

	sf_load_at(load, "rule", row->rule.name, "actions");
	sf_compile_actions(&load->compile, &row->rule);
}

static void
compile_texts(SfLoad *load)
{
	SfRuleSet  *set = load->set;
	ListCell   *lc;

	if (load->source != NULL)
	{
		load->source->texts(load, load->source_arg);
		return;
	}
	for (int i = 0; i < set->frame->nfacts; i++)
		if (set->frame->facts[i].query != NULL)
			sf_load_step(load, sf_load_lookup, &i);
	/* quotas are not in scope of their own queries and keys */
	foreach(lc, load->quotas)
		sf_load_step(load, compile_quota, lfirst(lc));
	set->quotas = palloc0(Max(list_length(load->quotas), 1) * sizeof(SfQuota));
	foreach(lc, load->quotas)
		set->quotas[set->nquotas++] = *(SfQuota *) lfirst(lc);
	sf_load_step(load, compile_scopes, NULL);
	sf_load_step(load, compile_hooks, NULL);
	foreach(lc, load->rules)
	{
		CHECK_FOR_INTERRUPTS();
		sf_load_step(load, compile_condition, lfirst(lc));
		sf_load_step(load, compile_actions, lfirst(lc));
	}
	if (load->goal != NULL)
	{
		sf_load_at(load, NULL, NULL, NULL);
		load->goal_value = sf_compile_value(&load->compile, load->goal, InvalidOid, -1, false);
	}
}

/* a condition that is planned -> its atoms */
static void
split_condition(SfRuleSet *set, SfRule *rule, Expr *planned)
{
	List	   *atoms = make_ands_implicit(planned);
	ListCell   *lc;

	rule->atoms = palloc(Max(list_length(atoms), 1) * sizeof(int));
	foreach(lc, atoms)
	{
		rule->atoms[rule->natoms++] = sf_match_add(set->match, lfirst(lc));
		rule->reads = bms_add_members(rule->reads, sf_frame_reads(lfirst(lc)));
	}
}

/* --- order and groups --- */

static int
by_priority(const SfItem *a, const SfItem *b)
{
	return a->priority != b->priority ? (a->priority < b->priority ? -1 : 1) :
		strcmp(a->name, b->name);
}

static int
compare_asc(const void *a, const void *b)
{
	return by_priority(a, b);
}

static int
compare_desc(const void *a, const void *b)
{
	const SfItem *x = a;
	const SfItem *y = b;

	return x->priority != y->priority ? (x->priority < y->priority ? 1 : -1) :
		strcmp(x->name, y->name);
}

static int
compare_seq(const void *a, const void *b)
{
	const SfItem *x = a;
	const SfItem *y = b;

	return x->seq != y->seq ? (x->seq < y->seq ? -1 : 1) : by_priority(x, y);
}

typedef int (*SfComparison)(const void *a, const void *b);

/* what gates the others of its group is known by its priority */
static SfComparison
comparison(const SfRuleSet *set, bool gated)
{
	if (strcmp(set->order_by, "desc") == 0)
		return compare_desc;
	return strcmp(set->order_by, "seq") == 0 && !gated ? compare_seq : compare_asc;
}

/* rules and groups that have this parent, in the order of firing */
static void
collect_items(SfLoad *load, const char *parent, bool gated, SfItem **items, int *nitems)
{
	SfRuleSet  *set = load->set;
	SfItem	   *result = palloc0((set->nrules + set->ngroups + 1) * sizeof(SfItem));
	ListCell   *lc;
	int			n = 0;
	int			i = 0;

	foreach(lc, load->rules)
	{
		SfRuleRow  *row = lfirst(lc);
		SfRule	   *rule = &set->rules[i++];

		if (parent == NULL ? row->group != NULL :
			row->group == NULL || strcmp(row->group, parent) != 0)
			continue;
		result[n].rule = rule;
		result[n].priority = rule->priority;
		result[n].name = rule->name;
		result[n++].seq = row->seq;
	}
	for (i = 0; i < set->ngroups; i++)
	{
		SfGroup    *group = &set->groups[i];

		if (parent == NULL ? group->parent != NULL :
			group->parent == NULL || strcmp(group->parent, parent) != 0)
			continue;
		result[n].group = group;
		result[n].priority = group->priority;
		result[n].name = group->name;
		/* where its first rule stands */
		result[n].seq = PG_INT64_MAX;
		foreach(lc, load->rules)
		{
			SfRuleRow  *row = lfirst(lc);

			if (row->group != NULL && strcmp(row->group, group->name) == 0)
				result[n].seq = Min(result[n].seq, row->seq);
		}
		n++;
	}
	qsort(result, n, sizeof(SfItem), comparison(set, gated));
	*items = result;
	*nitems = n;
}

static SfGroup *
find_group(SfRuleSet *set, const char *name)
{
	for (int i = 0; i < set->ngroups; i++)
		if (strcmp(set->groups[i].name, name) == 0)
			return &set->groups[i];
	return NULL;
}

static void
check_groups(SfLoad *load)
{
	SfRuleSet  *set = load->set;
	ListCell   *lc;

	foreach(lc, load->rules)
	{
		SfRuleRow  *row = lfirst(lc);

		sf_load_at(load, "rule", row->rule.name, "rule_group");
		if (row->group != NULL && find_group(set, row->group) == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_OBJECT),
					 errmsg("group \"%s\" does not exist", row->group)));
	}
	for (int i = 0; i < set->ngroups; i++)
	{
		SfGroup    *group = &set->groups[i];
		int			depth = 0;

		sf_load_at(load, "rule_group", group->name, "parent");
		for (SfGroup *g = group; g->parent != NULL;)
		{
			SfGroup    *up = find_group(set, g->parent);

			if (up == NULL)
				ereport(ERROR,
						(errcode(ERRCODE_UNDEFINED_OBJECT),
						 errmsg("group \"%s\" does not exist", g->parent)));
			if (++depth > set->ngroups)
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
						 errmsg("the group is a member of itself")));
			g = up;
		}
	}
}

static void
place_items(SfLoad *load, void *arg)
{
	SfRuleSet  *set = load->set;

	check_groups(load);
	collect_items(load, NULL, false, &set->items, &set->nitems);
	for (int i = 0; i < set->ngroups; i++)
	{
		SfGroup    *group = &set->groups[i];

		collect_items(load, group->name, group->kind == SF_GROUP_CONDITIONAL, &group->items,
					  &group->nitems);
		sf_load_at(load, "rule_group", group->name, "kind");
		if (group->kind == SF_GROUP_CONDITIONAL && group->nitems > 1 &&
			group->items[0].priority == group->items[1].priority)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
					 errmsg("a conditional group needs one member at its top priority, and \"%s\" and \"%s\" both have %d",
							group->items[0].name, group->items[1].name,
							group->items[0].priority)));
	}
}

/* --- the whole --- */

/* an index leaves out what cannot trigger; some have to see that it does not */
static void
make_walks(SfRuleSet *set)
{
	sf_index_find_keys(set);
	set->walk = sf_walk_make(set, set->items, set->nitems, !set->skip_non_triggered);
	for (int i = 0; i < set->ngroups; i++)
	{
		SfGroup    *group = &set->groups[i];

		group->walk = sf_walk_make(set, group->items, group->nitems,
								   group->kind != SF_GROUP_UNIT &&
								   group->kind != SF_GROUP_CONDITIONAL);
		group->chosen = palloc(Max(group->nitems, 1) * sizeof(SfItem *));
	}
}

static void
note_type(SfRuleSet *set, Oid type)
{
	set->type_hashes[set->ntype_hashes++] = GetSysCacheHashValue1(TYPEOID, ObjectIdGetDatum(type));
}

static void
demand_owner(SfLoad *load, void *arg)
{
	SfRuleSet  *set = load->set;

	sf_load_at(load, "rule_set", NULL, "owner");
	if (!SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(set->owner)))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("role %u, the owner of rule set \"%s\", does not exist",
						set->owner, set->name),
				 errhint("Give the rule set another owner.")));
}

static void
plan_all(SfLoad *load, void *arg)
{
	sf_load_at(load, "rule_set", NULL, NULL);
	sf_compile_plan(&load->compile);
}

/* whether finding out these slots comes by a parameter */
static bool
needs_param(SfRuleSet *set, const Bitmapset *slots)
{
	int			i = -1;

	while ((i = bms_next_member(slots, i)) >= 0)
	{
		SfSlot	   *slot = &set->frame->slots[i];
		SfQuery    *query = NULL;

		if (slot->kind == SF_SLOT_PARAM)
			return true;
		if (slot->kind != SF_SLOT_QUOTA)
			query = set->frame->facts[slot->index].lookup;
		else
		{
			SfQuota    *quota = &set->quotas[slot->index];

			query = quota->plan;
			if (quota->key != NULL && needs_param(set, quota->key->reads))
				return true;
		}
		if (query != NULL && needs_param(set, query->reader.reads))
			return true;
	}
	return false;
}

/* a parameter's value depends on the scopes */
static void
check_scopes(SfLoad *load, void *arg)
{
	SfRuleSet  *set = load->set;

	sf_load_at(load, "rule_set", NULL, "param_scopes");
	for (int i = 0; i < set->nscopes; i++)
		if (set->scopes[i] != NULL && needs_param(set, set->scopes[i]->reads))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
					 errmsg("scope %d needs the value of a parameter, which needs the scopes",
							i + 1)));
}

/* what makes and shows values of facts, parameters and paths is the code of users, too */
static void
note_types(SfLoad *load, void *arg)
{
	SfRuleSet  *set = load->set;

	for (int i = 0; i < set->frame->nfacts; i++)
	{
		sf_load_at(load, "rule_fact", set->frame->facts[i].name, "type");
		sf_compile_note_type(set, set->frame->facts[i].type);
	}
	for (int i = 0; i < set->nparams; i++)
	{
		sf_load_at(load, "rule_param", set->params[i].name, "type");
		sf_compile_note_type(set, set->params[i].type);
	}
	sf_load_at(load, "rule_set", NULL, NULL);
	for (int i = 0; i < set->frame->nslots; i++)
		sf_compile_note_type(set, set->frame->slots[i].type);
}

static void
read_tables(SfLoad *load, void *arg)
{
	if (load->source != NULL)
		load->source->facts(load, load->source_arg);
	else
		sf_load_read_tables(load);
}

static void
build(SfLoad *load)
{
	SfRuleSet  *set = load->set;
	ListCell   *lc;

	sf_load_step(load, read_tables, NULL);
	if (load->faults != NIL)
		return;
	compile_texts(load);
	sf_load_step(load, note_types, NULL);
	sf_frame_seal(set->frame);
	sf_load_step(load, plan_all, NULL);
	sf_load_step(load, check_scopes, NULL);
	set->match = sf_match_make();
	set->rules = palloc0(Max(list_length(load->rules), 1) * sizeof(SfRule));
	foreach(lc, load->rules)
	{
		SfRuleRow  *row = lfirst(lc);

		if (row->planned != NULL)
			split_condition(set, &row->rule, row->planned);
		set->rules[set->nrules++] = row->rule;
	}
	sf_load_step(load, place_items, NULL);
	if (load->faults != NIL)
		return;
	note_slots(set);
	sf_match_seal(set);
	make_walks(set);
	set->econtext = CreateStandaloneExprContext();
	set->econtext->ecxt_scantuple = set->frame->row;
	set->type_hashes = palloc((set->frame->nfacts + set->nparams + list_length(set->types) + 1) *
							  sizeof(uint32));
	for (int i = 0; i < set->frame->nfacts; i++)
		note_type(set, set->frame->facts[i].type);
	for (int i = 0; i < set->nparams; i++)
		note_type(set, set->params[i].type);
	foreach(lc, set->types)
		note_type(set, lfirst_oid(lc));
}

/* plans and cached expressions live elsewhere and go with their set */
static void
free_plans(void *arg)
{
	SfRuleSet  *set = arg;
	ListCell   *lc;

	if (set->expressions != NULL)
		FreeCachedExpression(set->expressions);
	foreach(lc, set->plans)
		sf_plan_forget(lfirst(lc));
}

static const char *
noun(const char *table)
{
	static const char *const nouns[][2] = {
		{"rule_fact", "fact"},
		{"rule_quota", "quota"},
		{"rule_param", "parameter"},
		{"rule_param_override", "override of parameter"},
		{"rule_group", "group"},
		{"rule", "rule"},
		{"sop_node", "node"},
		{"sop_link", "node"}};

	for (int i = 0; i < lengthof(nouns); i++)
		if (strcmp(nouns[i][0], table) == 0)
			return nouns[i][1];
	return "rule set";
}

/* which text is at fault, before what is wrong with it */
static void
rethrow(SfLoad *load, MemoryContext context)
{
	SfCompile  *compile = &load->compile;
	ErrorData  *edata;
	StringInfoData buf;

	MemoryContextSwitchTo(context);
	edata = CopyErrorData();
	FlushErrorState();
	if (sf_error_is_fatal_to_statement(edata->sqlerrcode) ||
		edata->sqlerrcode == ERRCODE_INTERNAL_ERROR || compile->table == NULL)
		ReThrowError(edata);
	initStringInfo(&buf);
	appendStringInfo(&buf, "%s \"%s\" is not valid: ",
					 load->source ? load->source->noun : "rule set", load->set->name);
	if (compile->rule != NULL)
		appendStringInfo(&buf, "%s \"%s\", ", noun(compile->table), compile->rule);
	if (compile->column != NULL)
		appendStringInfo(&buf, "column \"%s\": ", compile->column);
	if (load->prefix != NULL)
		appendStringInfoString(&buf, load->prefix);
	appendStringInfoString(&buf, edata->message);
	edata->message = buf.data;
	if (edata->sqlerrcode != ERRCODE_INSUFFICIENT_PRIVILEGE)
		edata->sqlerrcode = ERRCODE_SF_INVALID_DEFINITION;
	edata->schema_name = "sopflow";
	edata->table_name = pstrdup(compile->table);
	edata->column_name = compile->column ? pstrdup(compile->column) : NULL;
	ReThrowError(edata);
}

/* the set in a context of its own, under the current one */
static SfRuleSet *
load_set(SfLoad *load, const char *name)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext context = AllocSetContextCreate(caller, "sopflow rule set",
												  ALLOCSET_DEFAULT_SIZES);
	SfRuleSet  *set;
	SfRuleScope scope;
	bool		needed;

	MemoryContextSwitchTo(context);
	load->set = load->compile.set = set = palloc0(sizeof(SfRuleSet));
	set->name = pstrdup(name);
	set->context = context;
	MemoryContextCopyAndSetIdentifier(context, name);
	if (load->source != NULL)
		load->source->head(load, load->source_arg);
	else
		sf_load_read_set(load);
	set->frame = sf_frame_make(context, resolve_name, set);
	if (load->source != NULL)
		set->frame->noun = load->source->noun;
	set->work = AllocSetContextCreate(context, "sopflow firing", ALLOCSET_DEFAULT_SIZES);
	set->cleanup.func = free_plans;
	set->cleanup.arg = set;
	MemoryContextRegisterResetCallback(context, &set->cleanup);
	if (set->enabled || load->collect)
		sf_load_step(load, demand_owner, NULL);
	if ((set->enabled || load->collect) && load->faults == NIL)
	{
		/* names are looked up under the set's path, functions folded with its owner's rights */
		set->needs_path = true;
		sf_ruleset_enter(set, &scope);
		PG_TRY();
		{
			set->needs_path = false;
			build(load);
		}
		PG_CATCH();
		{
			rethrow(load, caller);
		}
		PG_END_TRY();
		needed = set->needs_path;
		sf_ruleset_leave(&scope);
		set->needs_path = needed;
	}
	MemoryContextSwitchTo(caller);
	return set;
}

SfRuleSet *
sf_load_made(SfLoad *load, const SfLoadSource *source, void *arg)
{
	load->source = source;
	load->source_arg = arg;
	return load_set(load, "");
}

SfRuleSet *
sf_load_set(const char *name, MemoryContext parent)
{
	SfLoad		load = {0};
	SfRuleSet  *set = load_set(&load, name);

	MemoryContextSetParent(set->context, parent);
	return set;
}

SfRuleSet *
sf_load_set_for(const char *name, const char *goal, SfValue **value, MemoryContext parent)
{
	SfLoad		load = {0};
	SfRuleSet  *set;

	load.goal = goal;
	set = load_set(&load, name);
	*value = load.goal_value;
	MemoryContextSetParent(set->context, parent);
	return set;
}

List *
sf_ruleset_faults(const char *name, Oid *owner)
{
	SfLoad		load = {0};
	SfRuleSet  *set;

	load.collect = true;
	set = load_set(&load, name);
	*owner = set->owner;
	/* they live in the context of the set, which goes with the caller's */
	return load.faults;
}

void
sf_load_params(SfRuleSet *set, int64 param_revision)
{
	SfLoad		load = {0};
	MemoryContext before = set->params_context;
	MemoryContext caller = CurrentMemoryContext;
	SfRuleScope scope;

	load.set = load.compile.set = set;
	if (!set->enabled)
		return;
	sf_ruleset_enter(set, &scope);
	PG_TRY();
	{
		sf_load_read_params(&load);
	}
	PG_CATCH();
	{
		rethrow(&load, caller);
	}
	PG_END_TRY();
	sf_ruleset_leave(&scope);
	note_slots(set);
	set->param_revision = param_revision;
	MemoryContextDelete(before);
}
