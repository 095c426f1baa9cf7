/*
 * value.c
 *	  Values of a rule set's expressions, and of the slots that they read.
 *
 * Looked-up facts, quotas and overridden parameters are found out here, when an
 * expression that reads them is reached, once a firing.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rls.h"
#include "utils/typcache.h"

#include "errors.h"
#include "plan.h"
#include "quota.h"
#include "ruleset.h"

/* --- whose rights --- */

void
sf_ruleset_enter(SfRuleSet *set, SfRuleScope *scope)
{
	GetUserIdAndSecContext(&scope->saved.userid, &scope->saved.sec_context);
	SetUserIdAndSecContext(set->owner, scope->saved.sec_context |
						   SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
	/* what the owner's code sets ends here, too */
	scope->nest = NewGUCNestLevel();
	if (!set->needs_path)
		return;
	sf_path_set(&set->path);
	/* else a caller could let the queries fail */
	if (!row_security)
		(void) set_config_option("row_security", "on", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
}

void
sf_ruleset_leave(SfRuleScope *scope)
{
	AtEOXact_GUC(false, scope->nest);
	sf_ident_leave(scope->saved);
}

/* --- values --- */

Datum
sf_ruleset_value(SfRuleSet *set, SfValue *value, bool *isnull)
{
	if (value->lazy || set->frame->incomplete)
		sf_ruleset_fill(set, value->reads);
	if (value->state == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(set->context);

		value->state = ExecInitExpr(value->expr, NULL);
		MemoryContextSwitchTo(old);
	}
	return ExecEvalExprSwitchContext(value->state, set->econtext, isnull);
}

/* NULL for a null */
static char *
text_value(SfRuleSet *set, SfValue *value)
{
	bool		isnull;
	Datum		datum = sf_ruleset_value(set, value, &isnull);

	if (isnull)
		return NULL;
	if (value->type == JSONBOID)
	{
		JsonbValue	v;

		/* a string is shown without its quotes */
		sf_json_value(DatumGetJsonbP(datum), &v);
		if (v.type == jbvNull)
			return NULL;
		if (v.type == jbvString)
			return pnstrdup(v.val.string.val, v.val.string.len);
	}
	return sf_output_text(&value->output, value->type, datum);
}

/* what stands for a null in a text */
static const char *
text_of_null(SfRuleSet *set, const SfTextPart *part)
{
	if (part->otherwise == NULL && set->null_is_error)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("\"{{%s}}\" is null", part->value->text),
				 errhint("A default stands after a bar: {{%s|...}}.", part->value->text)));
	return part->otherwise;
}

char *
sf_ruleset_text(SfRuleSet *set, SfText *text)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (int i = 0; i < text->nparts; i++)
	{
		const char *part = text->parts[i].literal;

		if (part == NULL)
			part = text_value(set, text->parts[i].value);
		if (part == NULL)
			part = text_of_null(set, &text->parts[i]);
		if (part != NULL)
			appendStringInfoString(&buf, part);
	}
	return buf.data;
}

/* one expression and nothing else keeps its type */
static void
push_text(SfRuleSet *set, SfText *text, JsonbParseState **state, JsonbIteratorToken token)
{
	JsonbValue	v;

	if (text->nparts == 1 && text->parts[0].value != NULL)
	{
		SfValue    *value = text->parts[0].value;
		bool		isnull;
		Datum		datum = sf_ruleset_value(set, value, &isnull);

		sf_json_value(sf_output_json(&value->output, value->type, datum, isnull), &v);
		if (v.type != jbvNull || text_of_null(set, &text->parts[0]) == NULL)
		{
			pushJsonbValue(state, token, &v);
			return;
		}
	}
	v.type = jbvString;
	v.val.string.val = sf_ruleset_text(set, text);
	v.val.string.len = strlen(v.val.string.val);
	pushJsonbValue(state, token, &v);
}

Jsonb *
sf_ruleset_json(SfRuleSet *set, SfJsonText *text)
{
	JsonbParseState *state = NULL;
	JsonbIterator *it = JsonbIteratorInit(&text->json->root);
	JsonbIteratorToken token;
	JsonbValue	v;
	JsonbValue *result = NULL;
	int			n = 0;

	while ((token = JsonbIteratorNext(&it, &v, false)) != WJB_DONE)
	{
		bool		is_value = token == WJB_VALUE || token == WJB_ELEM;

		if (is_value && v.type == jbvString && text->texts[n++] != NULL)
			push_text(set, text->texts[n - 1], &state, token);
		else
			result = pushJsonbValue(&state, token, is_value || token == WJB_KEY ? &v : NULL);
	}
	return JsonbValueToJsonb(result);
}

/* --- slots that are filled when reached --- */

typedef struct SfTaken
{
	SfRuleSet  *set;
	SfFact	   *fact;
	SfQuota    *quota;
	int			nrows;
	Datum		value;
	bool		isnull;
} SfTaken;

/* a table was altered in this very statement; the next one compiles the set anew */
static void
refuse_other_type(const char *kind, const char *name, const SfRuleSet *set)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 errmsg("query of %s \"%s\" of rule set \"%s\" no longer gives what it gave", kind, name,
					set->name)));
}

static bool
has_layout(const SfFact *fact)
{
	TupleDesc	now;
	bool		same;

	if (fact->desc == NULL)
		return true;
	now = lookup_rowtype_tupdesc(fact->type, -1);
	same = equalTupleDescs(now, fact->desc);
	ReleaseTupleDesc(now);
	return same;
}

/* the row of a looked-up fact: one column of its type, or its columns */
static void
take_fact(HeapTuple tuple, TupleDesc desc, void *arg)
{
	SfTaken    *taken = arg;
	SfFact	   *fact = taken->fact;

	if (++taken->nrows > 1)
		return;
	if (!sf_frame_fits(fact, desc) || !has_layout(fact))
		refuse_other_type("fact", fact->name, taken->set);
	if (desc->natts == 1 && TupleDescAttr(desc, 0)->atttypid == fact->type)
	{
		Datum		value = heap_getattr(tuple, 1, desc, &taken->isnull);

		if (!taken->isnull)
			taken->value = fact->desc != NULL ?
				PointerGetDatum(DatumGetHeapTupleHeaderCopy(value)) :
				datumCopy(value, get_typbyval(fact->type), get_typlen(fact->type));
		return;
	}
	heap_deform_tuple(tuple, desc, fact->values, fact->nulls);
	/* the columns of the query are those of the type, save for dropped ones */
	for (int to = fact->desc->natts - 1, from = desc->natts - 1; to >= 0; to--)
	{
		bool		dropped = TupleDescAttr(fact->desc, to)->attisdropped;

		fact->nulls[to] = dropped || fact->nulls[from];
		if (!dropped)
			fact->values[to] = fact->values[from--];
	}
	taken->value = heap_copy_tuple_as_datum(heap_form_tuple(fact->desc, fact->values, fact->nulls),
											fact->desc);
	taken->isnull = false;
}

static void
look_up(SfRuleSet *set, SfFact *fact)
{
	SfTaken    *taken;
	MemoryContext old = MemoryContextSwitchTo(set->work);

	if (fact->query == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_SF_MISSING_FACT),
				 errmsg("fact \"%s\" of rule set \"%s\" was not given", fact->name, set->name),
				 errdetail("The rule set wants: %s.", sf_frame_fact_names(set->frame))));
	sf_ruleset_fill(set, fact->lookup->reader.reads);
	taken = palloc0(sizeof(SfTaken));
	taken->set = set;
	taken->fact = fact;
	taken->isnull = true;
	sf_plan_execute(fact->lookup->plan, sf_frame_params(set->frame), false, 2, take_fact, taken);
	if (taken->nrows > 1)
		ereport(ERROR,
				(errcode(ERRCODE_CARDINALITY_VIOLATION),
				 errmsg("query of fact \"%s\" of rule set \"%s\" gave more than one row",
						fact->name, set->name)));
	sf_frame_give_value(set->frame, fact, taken->value, taken->isnull);
	MemoryContextSwitchTo(old);
}

static void
take_number(HeapTuple tuple, TupleDesc desc, void *arg)
{
	SfTaken    *taken = arg;
	Datum		value;

	if (++taken->nrows > 1)
		return;
	if (desc->natts != 1 || TupleDescAttr(desc, 0)->atttypid != taken->quota->type)
		refuse_other_type("quota", taken->quota->name, taken->set);
	value = heap_getattr(tuple, 1, desc, &taken->isnull);
	if (!taken->isnull)
		taken->value = datumCopy(value, TupleDescAttr(desc, 0)->attbyval,
								 TupleDescAttr(desc, 0)->attlen);
}

static SfTaken *
count(SfRuleSet *set, SfQuota *quota, bool newest)
{
	SfTaken    *taken = palloc0(sizeof(SfTaken));

	taken->set = set;
	taken->quota = quota;
	taken->isnull = true;
	sf_plan_execute(quota->plan->plan, sf_frame_params(set->frame), newest, 2, take_number, taken);
	if (taken->nrows > 1)
		ereport(ERROR,
				(errcode(ERRCODE_CARDINALITY_VIOLATION),
				 errmsg("query of quota \"%s\" of rule set \"%s\" gave more than one row",
						quota->name, set->name)));
	return taken;
}

/*
 * The key is locked, so nobody else changes the count until we end.  A
 * transaction with one snapshot would not see what changed since it was taken:
 * it counts what is true now, but if that differs from what it can see, it must
 * be tried again as any such transaction that comes upon a changed row.
 */
static void
count_quota(SfRuleSet *set, SfQuota *quota, const char *key)
{
	SfTaken    *now = count(set, quota, true);

	if (IsolationUsesXactSnapshot())
	{
		SfTaken    *seen = count(set, quota, false);
		SfSlot	   *slot = &set->frame->slots[quota->slot];

		if (now->isnull != seen->isnull ||
			(!now->isnull && !datumIsEqual(now->value, seen->value, slot->typbyval, slot->typlen)))
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("could not serialize access due to a concurrent change of quota \"%s\"",
							quota->name),
					 errdetail("Rows of key \"%s\" have changed since the transaction began.", key),
					 errhint("The transaction might succeed if retried.")));
	}
	sf_frame_fill(set->frame, quota->slot, now->value, now->isnull);
}

/* all quotas that an expression reads: their keys are locked in one order */
static void
count_quotas(SfRuleSet *set, const Bitmapset *slots)
{
	char	  **keys = palloc(set->nquotas * sizeof(char *));
	char	  **locked = palloc(set->nquotas * sizeof(char *));
	int			n = 0;
	MemoryContext old = MemoryContextSwitchTo(set->work);

	for (int i = 0; i < set->nquotas; i++)
	{
		SfQuota    *quota = &set->quotas[i];

		keys[i] = NULL;
		if (quota->slot < 0 || !bms_is_member(quota->slot, slots) ||
			set->frame->slots[quota->slot].filled)
			continue;
		sf_ruleset_fill(set, quota->plan->reader.reads);
		keys[i] = text_value(set, quota->key);
		if (keys[i] == NULL)
			sf_frame_fill(set->frame, quota->slot, (Datum) 0, true);	/* nobody's */
		else
			locked[n++] = keys[i];
	}
	sf_quota_lock(locked, n);
	for (int i = 0; i < set->nquotas; i++)
		if (keys[i] != NULL)
			count_quota(set, &set->quotas[i], keys[i]);
	MemoryContextSwitchTo(old);
}

/* a parameter with overrides: the most specific scope that has one */
static void
choose_param(SfRuleSet *set, int slot, SfParam *param)
{
	for (int i = 0; param->noverrides > 0 && i < set->nscopes; i++)
	{
		char	   *scope = text_value(set, set->scopes[i]);

		for (int k = 0; scope != NULL && k < param->noverrides; k++)
			if (strcmp(param->overrides[k].scope, scope) == 0)
			{
				sf_frame_fill(set->frame, slot, param->overrides[k].value,
							  param->overrides[k].isnull);
				return;
			}
	}
	sf_frame_fill(set->frame, slot, param->value, param->isnull);
}

void
sf_ruleset_fill(SfRuleSet *set, const Bitmapset *slots)
{
	SfFrame    *frame = set->frame;
	int			i = -1;
	bool		quotas = false;

	while ((i = bms_next_member(slots, i)) >= 0)
	{
		SfSlot	   *slot = &frame->slots[i];

		if (slot->filled)
			continue;
		switch (slot->kind)
		{
			case SF_SLOT_PARAM:
				choose_param(set, i, &set->params[slot->index]);
				break;
			case SF_SLOT_QUOTA:
				quotas = true;
				break;
			default:
				if (!frame->facts[slot->index].given)
					look_up(set, &frame->facts[slot->index]);
				if (slot->kind == SF_SLOT_PATH && !slot->filled)
					sf_frame_fill_path(frame, i);
				break;
		}
	}
	if (quotas)
		count_quotas(set, slots);
}

/* --- and forgotten --- */

static void
forget(SfRuleSet *set, int slot)
{
	if (!set->frame->slots[slot].filled)
		return;
	set->frame->slots[slot].filled = false;
	set->frame->row->tts_isnull[slot] = true;
	sf_match_changed(set, slot);
}

void
sf_ruleset_forget(SfRuleSet *set, const Bitmapset *changed)
{
	SfFrame    *frame = set->frame;
	bool		scopes = false;

	for (int i = 0; i < set->nscopes; i++)
		scopes |= bms_overlap(set->scopes[i]->reads, changed);
	for (int i = 0; scopes && i < set->nparams; i++)
	{
		int			slot = set->params[i].slot;

		if (slot < 0 || !frame->slots[slot].lazy)
			continue;
		forget(set, slot);
		frame->slots[slot].changed_at = frame->changes;
	}
	for (int i = 0; i < set->nquotas; i++)
	{
		SfQuota    *quota = &set->quotas[i];

		if (quota->slot < 0 || (!bms_overlap(quota->key->reads, changed) &&
								!bms_overlap(quota->plan->reader.reads, changed)))
			continue;
		forget(set, quota->slot);
		frame->slots[quota->slot].changed_at = frame->changes;
	}
}

Bitmapset *
sf_ruleset_counted(SfRuleSet *set)
{
	Bitmapset  *counted = NULL;

	for (int i = 0; i < set->nquotas; i++)
	{
		int			slot = set->quotas[i].slot;

		if (slot >= 0 && set->frame->slots[slot].filled)
			counted = bms_add_member(counted, slot);
	}
	return counted;
}

void
sf_ruleset_keep_counted(SfRuleSet *set, const Bitmapset *counted)
{
	for (int i = 0; i < set->nquotas; i++)
		if (set->quotas[i].slot >= 0 && !bms_is_member(set->quotas[i].slot, counted))
			forget(set, set->quotas[i].slot);
}
