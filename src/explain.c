/*
 * explain.c
 *	  What a compiled rule set is, and why its rules do or do not trigger.
 *
 * Conditions are evaluated on the facts as they were given: no action is
 * carried out, so no rule sees what another one would have set.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "attempt.h"
#include "deparse.h"
#include "explain.h"
#include "fire.h"
#include "network.h"

typedef struct SfExplaining
{
	SfRuleSet  *set;
	bool		with_facts;
	List	   *lines;
	SfNetwork  *network;
	const char *join;			/* sign of a join */
	bool	   *served;			/* by atom: an index answers it */
	ErrorData **errors;			/* with facts, by rule of set->rules: of its condition */
	bool	   *failed;			/* with facts, by atom */
} SfExplaining;

static void line(SfExplaining *e, const char *fmt,...) pg_attribute_printf(2, 3);

static void
line(SfExplaining *e, const char *fmt,...)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (;;)
	{
		va_list		args;
		int			needed;

		va_start(args, fmt);
		needed = appendStringInfoVA(&buf, fmt, args);
		va_end(args);
		if (needed == 0)
			break;
		enlargeStringInfo(&buf, needed);
	}
	e->lines = lappend(e->lines, buf.data);
}

static const char *
on_off(bool value)
{
	return value ? "true" : "false";
}

static const char *
count_of(int n, const char *what)
{
	return psprintf("%d %s%s", n, what, n == 1 ? "" : "s");
}

static const char *
value_text(Oid type, Datum value, bool isnull)
{
	SfOutput	output = {.owner = palloc(1)};

	return isnull ? "NULL" : sf_output_text(&output, type, value);
}

/* --- what the set consists of --- */

static void
explain_set(SfExplaining *e)
{
	static const char *const traces[] = {
		[SF_TRACE_OFF] = "off",
		[SF_TRACE_FIRED] = "fired",
		[SF_TRACE_FULL] = "full",
	};
	static const char *const hooks[] = {
		[SF_HOOK_BEFORE_FIRE] = "before_fire",
		[SF_HOOK_AFTER_FIRE] = "after_fire",
		[SF_HOOK_BEFORE_EVALUATE] = "before_evaluate",
		[SF_HOOK_AFTER_EVALUATE] = "after_evaluate",
		[SF_HOOK_ON_SUCCESS] = "on_success",
		[SF_HOOK_ON_FAILURE] = "on_failure",
	};
	SfRuleSet  *set = e->set;

	line(e, "rule set \"%s\"", set->name);
	line(e, "  owner: %s", GetUserNameFromId(set->owner, false));
	line(e, "  order_by = %s", set->order_by);
	line(e, "  skip_on_first_applied = %s, skip_on_first_failed = %s, skip_on_first_non_triggered = %s",
		 on_off(set->skip_applied), on_off(set->skip_failed), on_off(set->skip_non_triggered));
	line(e, "  priority_threshold = %d, denials = %s, on_error = %s", set->threshold,
		 set->all_denials ? "all" : "first", set->abort_on_error ? "abort" : "false");
	line(e, "  inference = %s, max_steps = %d, trace = %s", on_off(set->inference), set->max_steps,
		 traces[set->trace]);
	for (int i = 0; i < SF_HOOKS; i++)
		if (set->hooks[i] != NULL)
			line(e, "  %s = %s", hooks[i], set->hooks[i]);
}

static void
explain_facts(SfExplaining *e)
{
	SfFrame    *frame = e->set->frame;

	if (frame->nfacts > 0)
		line(e, "facts");
	for (int i = 0; i < frame->nfacts; i++)
	{
		SfFact	   *fact = &frame->facts[i];
		const char *note = "";

		if (fact->query != NULL)
			note = psprintf(", looked up by: %s", fact->query);
		else if (fact->is_json)
			note = fact->null_missing ? ", a missing key is NULL" : ", a missing key is an error";
		line(e, "  %s: %s%s", fact->name, format_type_be(fact->type), note);
	}
}

typedef struct SfFill
{
	SfRuleSet  *set;
	int			slot;
} SfFill;

static void
fill(void *arg)
{
	SfFill	   *f = arg;

	sf_ruleset_fill(f->set, bms_make_singleton(f->slot));
}

static void
explain_param(SfExplaining *e, SfParam *param)
{
	TupleTableSlot *row = e->set->frame->row;
	const char *base = value_text(param->type, param->value, param->isnull);
	const char *value = base;
	const char *note = "";

	if (param->slot < 0)
		note = ", not read";
	else if (e->with_facts)
	{
		SfFill		f = {e->set, param->slot};
		ErrorData  *error = sf_attempt(fill, &f);

		if (error != NULL)
			note = psprintf(", whether it is overridden is not known: %s", error->message);
		else
			value = value_text(param->type, row->tts_values[param->slot],
							   row->tts_isnull[param->slot]);
		if (strcmp(value, base) != 0)
			note = psprintf(", overrides %s", base);
	}
	line(e, "  %s: %s = %s%s", param->name, format_type_be(param->type), value, note);
	for (int n = 0; n < param->noverrides; n++)
		line(e, "    for %s: %s", param->overrides[n].scope,
			 value_text(param->type, param->overrides[n].value, param->overrides[n].isnull));
}

static void
explain_params(SfExplaining *e)
{
	SfRuleSet  *set = e->set;

	if (set->nparams > 0)
		line(e, "parameters");
	for (int i = 0; i < set->nparams; i++)
		explain_param(e, &set->params[i]);
	for (int i = 0; i < set->nscopes; i++)
		line(e, "  scope %d: %s", i + 1, set->scopes[i]->text);
}

static void
explain_quotas(SfExplaining *e)
{
	SfRuleSet  *set = e->set;

	if (set->nquotas > 0)
		line(e, "quotas");
	for (int i = 0; i < set->nquotas; i++)
	{
		line(e, "  %s: %s, counted by: %s", set->quotas[i].name,
			 format_type_be(set->quotas[i].type), set->quotas[i].query);
		line(e, "    under the lock of: %s", set->quotas[i].key->text);
	}
}

/* --- the network --- */

static SfTruth
atom_value(SfMatch *match, int n)
{
	SfAtom	   *atom = &match->atoms[n];

	return atom->epoch == match->epoch ? atom->value : SF_UNKNOWN;
}

static const char *
truth_name(SfTruth truth)
{
	static const char *const names[] = {
		[SF_UNKNOWN] = "not evaluated",
		[SF_FALSE] = "false",
		[SF_NULL] = "NULL",
		[SF_TRUE] = "true",
	};

	return names[truth];
}

/* " (name = value, ...)", or nothing where an expression reads nothing */
static const char *
values_read(SfExplaining *e, const Bitmapset *reads)
{
	const char *values = sf_frame_describe(e->set->frame, reads);

	return values == NULL || values[0] == '\0' ? "" : psprintf(" (%s)", values);
}

/* of what reaches a join: true when all of its atoms are */
static SfTruth
node_value(SfExplaining *e, int n)
{
	SfNode	   *node = &e->network->nodes[n];
	SfTruth		left;

	if (node->atom >= 0)
		return atom_value(e->set->match, node->atom);
	check_stack_depth();
	left = node_value(e, node->left);
	return left == SF_TRUE ? node_value(e, node->right) : left;
}

static void
explain_network(SfExplaining *e)
{
	SfMatch    *match = e->set->match;

	if (e->network->nnodes > 0)
		line(e, "network");
	for (int i = 0; i < e->network->nnodes; i++)
	{
		SfNode	   *node = &e->network->nodes[i];
		const char *name = sf_network_letters(i);
		const char *value = "";
		SfAtom	   *atom;

		if (node->atom < 0)
		{
			if (e->with_facts)
				value = psprintf("; %s", truth_name(node_value(e, i)));
			line(e, "  %s = %s %s %s  -- %s%s", name, sf_network_letters(node->left), e->join,
				 sf_network_letters(node->right), count_of(node->nrules, "rule"), value);
			continue;
		}
		atom = &match->atoms[node->atom];
		if (e->with_facts)
		{
			SfTruth		truth = atom_value(match, node->atom);

			value = psprintf("; %s%s", e->failed[node->atom] ? "failed" : truth_name(truth),
							 truth == SF_UNKNOWN && !e->failed[node->atom] ? "" :
							 values_read(e, atom->reads));
		}
		line(e, "  %s: %s  -- %s%s%s", name, sf_deparse(e->set->frame, (Node *) atom->expr),
			 count_of(node->nrules, "rule"), e->served[node->atom] ? ", indexed" : "",
			 value);
	}
}

/* which atoms the indexes of a walk answer, for some rule at least */
static void
note_served(SfExplaining *e, const SfWalk *walk)
{
	for (int i = 0; i < walk->nitems; i++)
	{
		SfRule	   *rule = walk->items[i].rule;
		SfIndex    *index;

		if (walk->indexed_by[i] < 0)
			continue;
		index = &walk->indexes[walk->indexed_by[i]];
		for (int n = 0; n < rule->natoms; n++)
			for (int k = 0; k < index->nslots; k++)
				if (e->set->match->atoms[rule->atoms[n]].key_slot == index->slots[k])
					e->served[rule->atoms[n]] = true;
	}
}

static void
find_served(SfExplaining *e)
{
	e->served = palloc0((e->set->match->natoms + 1) * sizeof(bool));
	note_served(e, e->set->walk);
	for (int i = 0; i < e->set->ngroups; i++)
		note_served(e, e->set->groups[i].walk);
}

static void
explain_walk(SfExplaining *e, const SfWalk *walk)
{
	for (int i = 0; i < walk->nindexes; i++)
	{
		SfIndex    *index = &walk->indexes[i];
		StringInfoData names;

		initStringInfo(&names);
		for (int k = 0; k < index->nslots; k++)
			appendStringInfo(&names, "%s%s", k > 0 ? ", " : "",
							 e->set->frame->slots[index->slots[k]].name);
		line(e, "  %s: %d different value%s to %s", names.data, index->nentries,
			 index->nentries == 1 ? " leads" : "s lead", count_of(index->nrules, "rule"));
	}
	if (walk->nothers == 0)
		line(e, "  nothing is walked besides");
	else if (walk->nothers == 1)
		line(e, "  1 other is walked always");
	else
		line(e, "  %d others are walked always", walk->nothers);
}

static void
explain_index(SfExplaining *e)
{
	bool		any = e->set->walk->nindexes > 0;

	for (int i = 0; i < e->set->ngroups; i++)
		any |= e->set->groups[i].walk->nindexes > 0;
	if (!any)
		line(e, "index: none, all rules are walked");
	if (e->set->walk->nindexes > 0)
	{
		line(e, "index");
		explain_walk(e, e->set->walk);
	}
	for (int i = 0; i < e->set->ngroups; i++)
	{
		SfGroup    *group = &e->set->groups[i];

		if (group->walk->nindexes == 0)
			continue;
		line(e, "index of group %s", group->name);
		explain_walk(e, group->walk);
	}
}

/* --- the rules --- */

static const char *
chain_of(SfExplaining *e, SfRule *rule)
{
	int			terminal = e->network->terminals[rule - e->set->rules];
	StringInfoData buf;
	List	   *alphas = NIL;
	ListCell   *lc;

	if (terminal < 0)
		return "always";
	for (int n = terminal; n >= 0; n = e->network->nodes[n].left)
		alphas = lcons_int(e->network->nodes[n].atom >= 0 ? n : e->network->nodes[n].right, alphas);
	initStringInfo(&buf);
	foreach(lc, alphas)
		appendStringInfo(&buf, "%s%s%s%s", buf.len > 0 ? " " : "", buf.len > 0 ? e->join : "",
						 buf.len > 0 ? " " : "", sf_network_letters(lfirst_int(lc)));
	if (e->network->nodes[terminal].atom < 0)
		appendStringInfo(&buf, " = %s", sf_network_letters(terminal));
	return buf.data;
}

/* why a rule would not even be looked at; NULL: it would be */
static const char *
left_out(SfRuleSet *set, const SfItem *item)
{
	if (item->priority > set->threshold)
		return "over the priority threshold";
	if (item->rule != NULL && !sf_fire_in_force(item->rule))
		return "not in force";
	return NULL;
}

/* the first atom of a rule that is not true; -1: all are */
static int
stopped_at(SfExplaining *e, const SfRule *rule)
{
	for (int i = 0; i < rule->natoms; i++)
		if (atom_value(e->set->match, rule->atoms[i]) != SF_TRUE)
			return rule->atoms[i];
	return -1;
}

static void
evaluate_items(SfExplaining *e, const SfItem *items, int nitems)
{
	for (int i = 0; i < nitems; i++)
	{
		SfRule	   *rule = items[i].rule;
		ErrorData **error;

		CHECK_FOR_INTERRUPTS();
		if (left_out(e->set, &items[i]) != NULL)
			continue;
		if (rule == NULL)
		{
			evaluate_items(e, items[i].group->items, items[i].group->nitems);
			continue;
		}
		error = &e->errors[rule - e->set->rules];
		(void) sf_fire_attempt_condition(e->set, rule, error);
		if (*error != NULL && stopped_at(e, rule) >= 0)
			e->failed[stopped_at(e, rule)] = true;
	}
}

static const char *
outcome_of(SfExplaining *e, SfRule *rule)
{
	ErrorData  *error = e->errors[rule - e->set->rules];
	int			number = stopped_at(e, rule);
	SfAtom	   *atom;
	const char *name;
	const char *text;

	if (number < 0)
		return error ? psprintf("does not trigger because the evaluation failed: %s", error->message) :
			"triggers";
	atom = &e->set->match->atoms[number];
	name = sf_network_letters(e->network->node_of_atom[number]);
	text = sf_deparse(e->set->frame, (Node *) atom->expr);
	if (error != NULL)
		return psprintf("does not trigger because the evaluation of %s failed: %s: %s%s", name,
						error->message, text, values_read(e, atom->reads));
	return psprintf("does not trigger because %s is %s: %s%s", name,
					truth_name(atom_value(e->set->match, number)), text,
					values_read(e, atom->reads));
}

static const char *
group_kind(SfGroupKind kind)
{
	static const char *const names[] = {
		[SF_GROUP_UNIT] = "unit",
		[SF_GROUP_ACTIVATION] = "activation",
		[SF_GROUP_CONDITIONAL] = "conditional",
		[SF_GROUP_UNIQUE] = "unique",
		[SF_GROUP_ANY] = "any",
		[SF_GROUP_COLLECT] = "collect",
	};

	return names[kind];
}

static void
explain_items(SfExplaining *e, const SfItem *items, int nitems, int depth, const char *outer)
{
	for (int i = 0; i < nitems; i++)
	{
		SfRule	   *rule = items[i].rule;
		const char *out = e->with_facts ? left_out(e->set, &items[i]) : NULL;
		int			indent = depth * 2;

		if (outer != NULL)
			out = outer;
		if (rule == NULL)
		{
			line(e, "%*s%s, %s group, priority %d", indent, "", items[i].name,
				 group_kind(items[i].group->kind), items[i].priority);
			explain_items(e, items[i].group->items, items[i].group->nitems, depth + 1, out);
			continue;
		}
		line(e, "%*s%s, priority %d%s: %s", indent, "", rule->name, rule->priority,
			 rule->valid == NULL ? "" :
			 psprintf(", in force %s", value_text(TSTZRANGEOID, RangeTypePGetDatum(rule->valid),
												  false)),
			 chain_of(e, rule));
		if (out != NULL)
			line(e, "%*s-> left out: %s", indent + 2, "", out);
		else if (e->with_facts)
			line(e, "%*s-> %s", indent + 2, "", outcome_of(e, rule));
	}
}

List *
sf_explain(SfRuleSet *set, bool with_facts)
{
	SfExplaining e = {.set = set, .with_facts = with_facts};

	if (!set->enabled)
	{
		line(&e, "rule set \"%s\"", set->name);
		line(&e, "  enabled = false: it is a draft and fires nothing");
		return e.lines;
	}
	e.network = sf_network_make(set);
	find_served(&e);
	e.join = GetDatabaseEncoding() == PG_UTF8 ? "\xe2\x8b\x88" : "&";
	if (with_facts)
	{
		e.errors = palloc0((set->nrules + 1) * sizeof(ErrorData *));
		e.failed = palloc0((set->match->natoms + 1) * sizeof(bool));
		evaluate_items(&e, set->items, set->nitems);
	}
	explain_set(&e);
	explain_facts(&e);
	explain_params(&e);
	explain_quotas(&e);
	explain_network(&e);
	explain_index(&e);
	line(&e, "rules");
	explain_items(&e, set->items, set->nitems, 1, NULL);
	return e.lines;
}
