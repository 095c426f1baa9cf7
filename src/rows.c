/*
 * rows.c
 *	  A rule set's rows, as they are stored now.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "load_private.h"
#include "plan.h"

void
sf_load_at(SfLoad *load, const char *table, const char *rule, const char *column)
{
	load->compile.table = table;
	load->compile.rule = rule;
	load->compile.column = column;
	load->prefix = NULL;
}

static void
take_set(HeapTuple tuple, TupleDesc desc, void *arg)
{
	SfLoad	   *load = arg;
	SfRuleSet  *set = load->set;
	char	   *trace = sf_row_text(tuple, desc, 14);
	bool		isnull;
	Datum	   *scopes;
	int			nscopes;

	set->revision = sf_row_int64(tuple, desc, 1, 0);
	set->param_revision = sf_row_int64(tuple, desc, 2, 0);
	set->enabled = sf_row_bool(tuple, desc, 3);
	set->owner = sf_row_oid(tuple, desc, 4);
	set->path = sf_path_make(sf_row_text(tuple, desc, 5));
	set->skip_applied = sf_row_bool(tuple, desc, 6);
	set->skip_failed = sf_row_bool(tuple, desc, 7);
	set->skip_non_triggered = sf_row_bool(tuple, desc, 8);
	set->threshold = sf_row_int32(tuple, desc, 9, PG_INT32_MAX);
	set->all_denials = strcmp(sf_row_text(tuple, desc, 10), "all") == 0;
	set->abort_on_error = strcmp(sf_row_text(tuple, desc, 11), "abort") == 0;
	set->inference = sf_row_bool(tuple, desc, 12);
	set->max_steps = sf_row_int32(tuple, desc, 13, 1);
	set->trace = strcmp(trace, "full") == 0 ? SF_TRACE_FULL :
		strcmp(trace, "fired") == 0 ? SF_TRACE_FIRED : SF_TRACE_OFF;
	set->order_by = sf_row_text(tuple, desc, 15);
	deconstruct_array(DatumGetArrayTypeP(heap_getattr(tuple, 16, desc, &isnull)), TEXTOID, -1,
					  false, TYPALIGN_INT, &scopes, NULL, &nscopes);
	for (int i = 0; i < nscopes; i++)
		load->scopes = lappend(load->scopes, TextDatumGetCString(scopes[i]));
	for (int i = 0; i < SF_HOOKS; i++)
		set->hooks[i] = sf_row_text(tuple, desc, 17 + i);
}

static void
take_fact(HeapTuple tuple, TupleDesc desc, void *arg)
{
	SfLoad	   *load = arg;
	char	   *name = sf_row_text(tuple, desc, 1);

	sf_load_at(load, "rule_fact", name, "fact");
	if (strcmp(name, "param") == 0 || strcmp(name, "quota") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_RESERVED_NAME),
				 errmsg("a fact cannot be named \"%s\": %s.x is a %s", name, name,
						name[0] == 'p' ? "parameter" : "quota")));
	if (strcmp(name, "result") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_RESERVED_NAME),
				 errmsg("a fact cannot be named \"%s\": that is where verdicts have the results of rules",
						name)));
	load->compile.column = "type";
	(void) sf_frame_add_fact(load->set->frame, name, sf_row_oid(tuple, desc, 2),
							 sf_row_text(tuple, desc, 3),
							 strcmp(sf_row_text(tuple, desc, 4), "null") == 0);
}

static void
take_quota(HeapTuple tuple, TupleDesc desc, void *arg)
{
	SfLoad	   *load = arg;
	SfQuota    *quota = palloc0(sizeof(SfQuota));

	quota->name = sf_row_text(tuple, desc, 1);
	sf_load_at(load, "rule_quota", quota->name, "quota");
	if (sf_frame_fact(load->set->frame, quota->name) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("a fact has this name, too")));
	quota->query = sf_row_text(tuple, desc, 2);
	quota->slot = -1;
	quota->key_text = sf_row_text(tuple, desc, 3);
	load->quotas = lappend(load->quotas, quota);
}

/* a value of a parameter, in its type */
static Datum
param_value(SfParam *param, char *text)
{
	Oid			input;
	Oid			ioparam;

	getTypeInputInfo(param->type, &input, &ioparam);
	return OidInputFunctionCall(input, text, ioparam, -1);
}

static void
take_param(HeapTuple tuple, TupleDesc desc, void *arg)
{
	SfLoad	   *load = arg;
	SfParam    *param = palloc0(sizeof(SfParam));
	char	   *value = sf_row_text(tuple, desc, 3);
	int			n = sf_row_int32(tuple, desc, 4, 0);

	param->name = sf_row_text(tuple, desc, 1);
	param->type = sf_row_oid(tuple, desc, 2);
	sf_load_at(load, "rule_param", param->name, "type");
	if (get_typtype(param->type) == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("type with OID %u does not exist", param->type)));
	if (get_typtype(param->type) == TYPTYPE_PSEUDO)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("type %s cannot be the type of a parameter",
						format_type_be(param->type))));
	get_typlenbyval(param->type, &param->typlen, &param->typbyval);
	param->isnull = value == NULL;
	load->compile.column = "value";
	param->value = value ? param_value(param, value) : (Datum) 0;
	param->overrides = palloc0(Max(n, 1) * sizeof(SfOverride));
	param->slot = -1;
	load->params = lappend(load->params, param);
}

static void
take_override(HeapTuple tuple, TupleDesc desc, void *arg)
{
	SfLoad	   *load = arg;
	char	   *name = sf_row_text(tuple, desc, 1);
	char	   *value = sf_row_text(tuple, desc, 3);
	ListCell   *lc;

	foreach(lc, load->params)
	{
		SfParam    *param = lfirst(lc);
		SfOverride *override;

		if (strcmp(param->name, name) != 0)
			continue;
		sf_load_at(load, "rule_param_override", name, "value");
		override = &param->overrides[param->noverrides++];
		override->scope = sf_row_text(tuple, desc, 2);
		override->isnull = value == NULL;
		override->value = value ? param_value(param, value) : (Datum) 0;
	}
}

static const char *const group_kinds[] = {
	[SF_GROUP_UNIT] = "unit",
	[SF_GROUP_ACTIVATION] = "activation",
	[SF_GROUP_CONDITIONAL] = "conditional",
	[SF_GROUP_UNIQUE] = "unique",
	[SF_GROUP_ANY] = "any",
	[SF_GROUP_COLLECT] = "collect",
};

static void
take_group(HeapTuple tuple, TupleDesc desc, void *arg)
{
	SfLoad	   *load = arg;
	SfGroup    *group = palloc0(sizeof(SfGroup));
	char	   *kind = sf_row_text(tuple, desc, 2);

	group->name = sf_row_text(tuple, desc, 1);
	for (int i = 0; i < lengthof(group_kinds); i++)
		if (strcmp(group_kinds[i], kind) == 0)
			group->kind = i;
	group->priority = sf_row_int32(tuple, desc, 3, 0);
	group->parent = sf_row_text(tuple, desc, 4);
	load->groups = lappend(load->groups, group);
}

static void
take_rule(HeapTuple tuple, TupleDesc desc, void *arg)
{
	SfLoad	   *load = arg;
	SfRuleRow  *row = palloc0(sizeof(SfRuleRow));
	bool		isnull;
	Datum		value;

	row->rule.name = sf_row_text(tuple, desc, 1);
	row->rule.rule_id = sf_row_int32(tuple, desc, 2, 0);
	row->rule.priority = sf_row_int32(tuple, desc, 3, 0);
	row->rule.condition = sf_row_text(tuple, desc, 4);
	value = heap_getattr(tuple, 5, desc, &isnull);
	row->rule.action_json = (Jsonb *) PG_DETOAST_DATUM_COPY(value);
	row->group = sf_row_text(tuple, desc, 6);
	value = heap_getattr(tuple, 7, desc, &isnull);
	if (!isnull)
	{
		row->rule.valid = (RangeType *) PG_DETOAST_DATUM_COPY(value);
		load->set->has_ranges = true;
	}
	row->seq = sf_row_int64(tuple, desc, 8, 0);
	load->rules = lappend(load->rules, row);
}

static void
take_grant(HeapTuple tuple, TupleDesc desc, void *arg)
{
	SfLoad	   *load = arg;

	load->set->grantees = lappend_oid(load->set->grantees, sf_row_oid(tuple, desc, 1));
}

void
sf_load_read_set(SfLoad *load)
{
	Datum		values[1] = {CStringGetTextDatum(load->set->name)};

	if (sf_plan_run(SF_PLAN_RULE_SET_ROW, values, NULL, take_set, load) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("rule set \"%s\" does not exist", load->set->name)));
}

void
sf_load_read_params(SfLoad *load)
{
	SfRuleSet  *set = load->set;
	Datum		values[1] = {CStringGetTextDatum(set->name)};
	MemoryContext old;
	ListCell   *lc;

	set->params_context = AllocSetContextCreate(set->context, "sopflow parameters",
												ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(set->params_context);
	sf_plan_run(SF_PLAN_RULE_PARAMS, values, NULL, take_param, load);
	sf_plan_run(SF_PLAN_RULE_OVERRIDES, values, NULL, take_override, load);
	set->nparams = 0;
	set->params = palloc0(Max(list_length(load->params), 1) * sizeof(SfParam));
	foreach(lc, load->params)
		set->params[set->nparams++] = *(SfParam *) lfirst(lc);
	MemoryContextSwitchTo(old);
}

void
sf_load_read_tables(SfLoad *load)
{
	SfRuleSet  *set = load->set;
	Datum		values[1] = {CStringGetTextDatum(set->name)};
	ListCell   *lc;

	sf_plan_run(SF_PLAN_RULE_FACTS, values, NULL, take_fact, load);
	/* before parameters are named: they are lazy where there are scopes */
	set->nscopes = list_length(load->scopes);
	set->scopes = palloc0(Max(set->nscopes, 1) * sizeof(SfValue *));
	sf_load_read_params(load);
	sf_plan_run(SF_PLAN_RULE_QUOTAS, values, NULL, take_quota, load);
	sf_plan_run(SF_PLAN_RULE_GROUPS, values, NULL, take_group, load);
	sf_plan_run(SF_PLAN_RULES, values, NULL, take_rule, load);
	sf_plan_run(SF_PLAN_RULE_GRANTS, values, NULL, take_grant, load);
	set->groups = palloc0(Max(list_length(load->groups), 1) * sizeof(SfGroup));
	foreach(lc, load->groups)
		set->groups[set->ngroups++] = *(SfGroup *) lfirst(lc);
}
