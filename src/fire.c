/*
 * fire.c
 *	  A rule set over facts -> verdict.
 *
 * Rules go in their order; what one changes the next one sees.  An error in a
 * rule ends the statement, unless the set says on_error = 'false': then the
 * rule is as if it had not triggered, or what it did is undone.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "attempt.h"
#include "clock.h"
#include "deparse.h"
#include "errors.h"
#include "fire.h"

static bool evaluate_item(SfFiring *firing, SfItem *item);
static bool execute_item(SfFiring *firing, SfItem *item);

void
sf_fire_begin(SfRuleSet *set)
{
	sf_ruleset_use(set);
	if (!set->enabled)
		return;
	MemoryContextReset(set->work);
	ResetExprContext(set->econtext);
	sf_frame_begin(set->frame, set->work);
	sf_match_begin(set->match);
}

void
sf_fire_end(SfRuleSet *set)
{
	sf_ruleset_unuse(set);
}

/* facts that were not given and have no query: errors, or noted for the rules that read them */
static void
note_missing_facts(SfRuleSet *set, bool lenient)
{
	for (int i = 0; i < set->frame->nfacts; i++)
	{
		SfFact	   *fact = &set->frame->facts[i];

		if (fact->given || fact->query != NULL)
			continue;
		set->frame->incomplete = true;
		if (!lenient)
			ereport(ERROR,
					(errcode(ERRCODE_SF_MISSING_FACT),
					 errmsg("fact \"%s\" of rule set \"%s\" was not given", fact->name, set->name),
					 errdetail("The rule set wants: %s.", sf_frame_fact_names(set->frame))));
	}
}

void
sf_fire_demand_facts(SfRuleSet *set)
{
	note_missing_facts(set, !set->abort_on_error);
}

void
sf_fire_give_object(SfRuleSet *set, Jsonb *facts, bool lenient)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	v;
	MemoryContext old;

	if (!JB_ROOT_IS_OBJECT(facts))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("facts must be a JSON object with one key for each fact")));
	if (!set->enabled)
		return;
	old = MemoryContextSwitchTo(set->work);
	it = JsonbIteratorInit(&facts->root);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		char	   *name;
		SfFact	   *fact;

		if (token != WJB_KEY)
			continue;
		name = pnstrdup(v.val.string.val, v.val.string.len);
		fact = sf_frame_fact(set->frame, name);
		if (fact == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("rule set \"%s\" has no fact \"%s\"", set->name, name),
					 errdetail("The rule set wants: %s.", sf_frame_fact_names(set->frame))));
		(void) JsonbIteratorNext(&it, &v, true);
		sf_frame_give_json(set->frame, fact, JsonbValueToJsonb(&v));
	}
	note_missing_facts(set, lenient || !set->abort_on_error);
	MemoryContextSwitchTo(old);
}

bool
sf_fire_in_force(const SfRule *rule)
{
	TypeCacheEntry *type;

	if (rule->valid == NULL)
		return true;
	type = lookup_type_cache(TSTZRANGEOID, TYPECACHE_RANGE_INFO);
	return range_contains_elem_internal(type, rule->valid,
										TimestampTzGetDatum(sf_clock_transaction()));
}

SfTruth
sf_fire_condition(SfRuleSet *set, SfRule *rule)
{
	for (int i = 0; i < rule->natoms; i++)
	{
		SfTruth		truth = sf_match_atom(set, rule->atoms[i]);

		if (truth != SF_TRUE)
			return truth;
	}
	return SF_TRUE;
}

typedef struct SfConditionAttempt
{
	SfRuleSet  *set;
	SfRule	   *rule;
	SfTruth		truth;
} SfConditionAttempt;

static void
attempt_condition(void *arg)
{
	SfConditionAttempt *attempt = arg;

	attempt->truth = sf_fire_condition(attempt->set, attempt->rule);
}

SfTruth
sf_fire_attempt_condition(SfRuleSet *set, SfRule *rule, ErrorData **error)
{
	SfConditionAttempt attempt = {.set = set, .rule = rule, .truth = SF_UNKNOWN};
	Bitmapset  *counted = sf_ruleset_counted(set);

	*error = sf_attempt(attempt_condition, &attempt);
	/* the locks that it took on keys went with it */
	if (*error != NULL)
		sf_ruleset_keep_counted(set, counted);
	return *error ? SF_UNKNOWN : attempt.truth;
}

/* --- trace --- */

static void
push_string(JsonbParseState **state, JsonbIteratorToken token, const char *string)
{
	JsonbValue	v;

	v.type = jbvString;
	v.val.string.val = (char *) string;
	v.val.string.len = strlen(string);
	pushJsonbValue(state, token, &v);
}

static void
push_truth(JsonbParseState **state, SfTruth truth)
{
	JsonbValue	v;

	if (truth == SF_TRUE || truth == SF_FALSE)
	{
		v.type = jbvBool;
		v.val.boolean = truth == SF_TRUE;
	}
	else
		v.type = jbvNull;
	pushJsonbValue(state, WJB_VALUE, &v);
}

/* the tests of a condition as far as they were made, and the values they read */
static void
push_tests(SfFiring *firing, SfRule *rule, JsonbParseState **state)
{
	SfRuleSet  *set = firing->set;
	int			slot = -1;
	JsonbValue	v;

	push_string(state, WJB_KEY, "tests");
	pushJsonbValue(state, WJB_BEGIN_ARRAY, NULL);
	for (int i = 0; i < rule->natoms; i++)
	{
		SfAtom	   *atom = &set->match->atoms[rule->atoms[i]];

		if (atom->epoch != set->match->epoch)
			break;
		pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
		push_string(state, WJB_KEY, "test");
		push_string(state, WJB_VALUE, sf_deparse(set->frame, (Node *) atom->expr));
		push_string(state, WJB_KEY, "value");
		push_truth(state, atom->value);
		pushJsonbValue(state, WJB_END_OBJECT, NULL);
		if (atom->value != SF_TRUE)
			break;
	}
	pushJsonbValue(state, WJB_END_ARRAY, NULL);
	push_string(state, WJB_KEY, "values");
	pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	while ((slot = bms_next_member(rule->reads, slot)) >= 0)
	{
		SfSlot	   *s = &set->frame->slots[slot];

		if (!s->filled)
			continue;
		push_string(state, WJB_KEY, s->name);
		sf_json_value(sf_output_json(&s->output, s->type, set->frame->row->tts_values[slot],
									 set->frame->row->tts_isnull[slot]), &v);
		pushJsonbValue(state, WJB_VALUE, &v);
	}
	pushJsonbValue(state, WJB_END_OBJECT, NULL);
}

static void
trace(SfFiring *firing, SfRule *rule, SfTruth truth, const char *error)
{
	JsonbParseState *state = NULL;
	Jsonb	   *entry;

	if (firing->set->trace == SF_TRACE_OFF ||
		(firing->set->trace == SF_TRACE_FIRED && truth != SF_TRUE && error == NULL))
		return;
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_string(&state, WJB_KEY, "rule");
	push_string(&state, WJB_VALUE, rule->name);
	push_string(&state, WJB_KEY, "triggered");
	push_truth(&state, truth);
	if (error != NULL)
	{
		push_string(&state, WJB_KEY, "error");
		push_string(&state, WJB_VALUE, error);
	}
	push_tests(firing, rule, &state);
	entry = JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
	firing->verdict->trace = lappend(firing->verdict->trace, entry);
}

/* --- one rule --- */

static void
warn_of_failure(SfFiring *firing, SfRule *rule, const char *what, ErrorData *error)
{
	rule->failed++;
	sf_ruleset_count(firing->set, rule);
	ereport(WARNING,
			(errcode(error->sqlerrcode),
			 errmsg("rule \"%s\" of rule set \"%s\" %s: %s", rule->name, firing->set->name, what,
					error->message),
			 error->detail ? errdetail_internal("%s", error->detail) : 0));
}

/* a condition that cannot fail needs no subtransaction */
static bool
is_safe(SfRuleSet *set, SfRule *rule)
{
	for (int i = 0; i < rule->natoms; i++)
	{
		SfAtom	   *atom = &set->match->atoms[rule->atoms[i]];

		if (!atom->safe || atom->lazy || set->frame->incomplete)
			return false;
	}
	return true;
}

static bool
evaluate_rule(SfFiring *firing, SfRule *rule)
{
	SfRuleSet  *set = firing->set;
	ErrorData  *error = NULL;
	SfTruth		truth;

	firing->rule = rule;
	if (set->has_hooks && !sf_act_hook(firing, SF_HOOK_BEFORE_EVALUATE, rule, SF_UNKNOWN, NULL))
	{
		firing->rule = NULL;
		firing->left_out = rule;
		return false;
	}
	firing->doing = NULL;
	rule->evaluated++;
	if (!rule->counted)
		sf_ruleset_count(set, rule);
	if (set->abort_on_error || is_safe(set, rule))
		truth = sf_fire_condition(set, rule);
	else
	{
		truth = sf_fire_attempt_condition(set, rule, &error);
		/* a firing that goes on has no half-filled slots: they were filled or not */
		if (error != NULL)
			warn_of_failure(firing, rule, "could not be evaluated", error);
	}
	if (set->trace != SF_TRACE_OFF)
		trace(firing, rule, truth, error ? error->message : NULL);
	if (set->has_hooks)
		(void) sf_act_hook(firing, SF_HOOK_AFTER_EVALUATE, rule, truth, NULL);
	firing->rule = NULL;
	return truth == SF_TRUE;
}

/*
 * With inference a rule fires once for the values that it has seen.  A group
 * has news for one of the members that it chose.
 */
static bool
has_news(SfFiring *firing, SfItem *item)
{
	SfRule	   *rule = item->rule;
	int			slot = -1;

	if (!firing->set->inference || (rule != NULL && !rule->fired))
		return true;
	if (rule != NULL)
	{
		while ((slot = bms_next_member(rule->reads, slot)) >= 0)
			if (firing->set->frame->slots[slot].changed_at > rule->fired_at)
				return true;
		return false;
	}
	for (int i = 0; i < item->group->nchosen; i++)
		if (has_news(firing, item->group->chosen[i]))
			return true;
	return false;
}

/* --- carrying out, and undoing --- */

typedef struct SfUndo
{
	SfFrameState *frame;
	SfVerdict	verdict;
	bool		stop;
	int			ncollecting;
} SfUndo;

static SfUndo *
keep(SfFiring *firing)
{
	SfUndo	   *undo = palloc(sizeof(SfUndo));

	undo->frame = sf_frame_save(firing->set->frame);
	undo->verdict = *firing->verdict;
	undo->verdict.fired = list_copy(firing->verdict->fired);
	undo->verdict.messages = list_copy(firing->verdict->messages);
	undo->verdict.emissions = list_copy(firing->verdict->emissions);
	undo->verdict.trace = list_copy(firing->verdict->trace);
	undo->stop = firing->stop;
	undo->ncollecting = list_length(firing->collecting);
	return undo;
}

static void
put_back(SfFiring *firing, SfUndo *undo)
{
	SfVerdict  *verdict = firing->verdict;

	for (int i = list_length(undo->verdict.fired); i < list_length(verdict->fired); i++)
		((SfRule *) list_nth(verdict->fired, i))->triggered--;
	for (int i = list_length(undo->verdict.messages); i < list_length(verdict->messages); i++)
	{
		SfMessage  *message = list_nth(verdict->messages, i);

		if (message->denies)
			message->rule->denied--;
	}
	sf_frame_restore(firing->set->frame, undo->frame);
	*firing->verdict = undo->verdict;
	firing->stop = undo->stop;
	firing->collecting = list_truncate(firing->collecting, undo->ncollecting);
	/* atoms over what was put back are evaluated again */
	sf_match_begin(firing->set->match);
	sf_walk_start(firing->set, firing->set->walk);
}

static void
carry_out(SfFiring *firing, SfRule *rule)
{
	SfRuleSet  *set = firing->set;

	CHECK_FOR_INTERRUPTS();
	if (set->inference && ++firing->steps > set->max_steps)
		ereport(ERROR,
				(errcode(ERRCODE_SF_TOO_MANY_STEPS),
				 errmsg("rule set \"%s\" fired more than max_steps = %d rules", set->name,
						set->max_steps),
				 errdetail("The last one was rule \"%s\".", rule->name),
				 errhint("Look for rules that change what they or each other read, without end.")));
	firing->rule = rule;
	rule->fired = true;
	rule->fired_at = set->frame->changes;
	sf_act(firing, rule);
	rule->triggered++;
	firing->verdict->fired = lappend(firing->verdict->fired, rule);
	if (set->has_hooks)
		(void) sf_act_hook(firing, SF_HOOK_ON_SUCCESS, rule, SF_TRUE, NULL);
	firing->rule = NULL;
}

typedef struct SfCarry
{
	SfFiring   *firing;
	SfRule	   *rule;
} SfCarry;

static void
carry_out_rule(void *arg)
{
	SfCarry    *carry = arg;

	carry_out(carry->firing, carry->rule);
}

/* false: its actions failed, and nothing of them is left */
static bool
execute_rule(SfFiring *firing, SfRule *rule)
{
	SfCarry		carry = {firing, rule};
	ErrorData  *error;
	SfUndo	   *undo;

	if (firing->set->abort_on_error)
	{
		carry_out(firing, rule);
		return true;
	}
	undo = keep(firing);
	error = sf_attempt(carry_out_rule, &carry);
	if (error == NULL)
		return true;
	/* the limit is on the whole firing */
	if (error->sqlerrcode == ERRCODE_SF_TOO_MANY_STEPS)
		ReThrowError(error);
	put_back(firing, undo);
	warn_of_failure(firing, rule, "could not be carried out", error);
	firing->rule = rule;
	(void) sf_act_hook(firing, SF_HOOK_ON_FAILURE, rule, SF_TRUE, error->message);
	firing->rule = NULL;
	return false;
}

/* --- groups --- */

static bool
in_force(SfFiring *firing, const SfItem *item)
{
	return item->rule == NULL || !firing->set->has_ranges || sf_fire_in_force(item->rule);
}

static void
refuse_hits(SfFiring *firing, SfGroup *group, SfItem *first, SfItem *second, const char *why)
{
	ereport(ERROR,
			(errcode(ERRCODE_SF_SEVERAL_HITS),
			 errmsg("rules \"%s\" and \"%s\" of group \"%s\" both trigger%s", first->name,
					second->name, group->name, why),
			 errdetail("They are of rule set \"%s\".", firing->set->name),
			 errhint("Look at the rows of the decision table that they were made from.")));
}

static bool
same_actions(const SfItem *a, const SfItem *b)
{
	return a->rule != NULL && b->rule != NULL &&
		compareJsonbContainers(&a->rule->action_json->root, &b->rule->action_json->root) == 0;
}

/* whether the group triggers; notes which members are to be carried out */
static bool
evaluate_group(SfFiring *firing, SfGroup *group)
{
	SfItem	   *hit = NULL;
	bool		all = true;

	group->nchosen = 0;
	sf_walk_start(firing->set, group->walk);
	for (int i = sf_walk_next(group->walk, -1); i >= 0; i = sf_walk_next(group->walk, i))
	{
		SfItem	   *item = &group->items[i];
		bool		triggered;

		if (!in_force(firing, item))
			continue;
		triggered = evaluate_item(firing, item);
		all &= triggered;
		if (group->kind == SF_GROUP_UNIT && !triggered)
			return false;
		if (group->kind == SF_GROUP_CONDITIONAL && hit == NULL && !triggered)
			return false;
		if (!triggered)
			continue;
		if (hit != NULL && group->kind == SF_GROUP_UNIQUE)
			refuse_hits(firing, group, hit, item, "");
		if (hit != NULL && group->kind == SF_GROUP_ANY && !same_actions(hit, item))
			refuse_hits(firing, group, hit, item, " and say different things");
		if (hit == NULL || group->kind != SF_GROUP_ANY)
			group->chosen[group->nchosen++] = item;
		if (hit == NULL)
			hit = item;
		if (group->kind == SF_GROUP_ACTIVATION)
			break;
	}
	return hit != NULL && (group->kind != SF_GROUP_UNIT || all);
}

/* results of the members of a collect group: lists by key */
static void
push_collected(SfFiring *firing, List *objects)
{
	JsonbParseState *state = NULL;
	List	   *keys = NIL;
	ListCell   *lc;
	ListCell   *lk;

	foreach(lc, objects)
	{
		JsonbIterator *it = JsonbIteratorInit(&((Jsonb *) lfirst(lc))->root);
		JsonbIteratorToken token;
		JsonbValue	v;

		while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
		{
			char	   *key;
			bool		known = false;

			if (token != WJB_KEY)
				continue;
			key = pnstrdup(v.val.string.val, v.val.string.len);
			foreach(lk, keys)
				known |= strcmp(lfirst(lk), key) == 0;
			if (!known)
				keys = lappend(keys, key);
		}
	}
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	foreach(lk, keys)
	{
		push_string(&state, WJB_KEY, lfirst(lk));
		pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
		foreach(lc, objects)
		{
			JsonbValue *v = getKeyJsonValueFromContainer(&((Jsonb *) lfirst(lc))->root,
														 lfirst(lk), strlen(lfirst(lk)), NULL);

			if (v != NULL)
				pushJsonbValue(&state, WJB_ELEM, v);
		}
		pushJsonbValue(&state, WJB_END_ARRAY, NULL);
	}
	sf_act_result(firing, JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL)));
}

static bool
execute_members(SfFiring *firing, SfGroup *group)
{
	bool		ok = true;

	for (int i = 0; i < group->nchosen && !firing->stop; i++)
		if ((group->kind == SF_GROUP_UNIT || has_news(firing, group->chosen[i])) &&
			!execute_item(firing, group->chosen[i]))
		{
			ok = false;
			if (group->kind == SF_GROUP_UNIT)
				break;
		}
	return ok;
}

typedef struct SfUnit
{
	SfFiring   *firing;
	SfGroup    *group;
	bool		ok;
} SfUnit;

/* a member that failed takes the others along */
static void
execute_unit(void *arg)
{
	SfUnit	   *unit = arg;

	if (!execute_members(unit->firing, unit->group))
		ereport(ERROR,
				(errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
				 errmsg("a member of unit group \"%s\" failed", unit->group->name)));
}

static bool
execute_group(SfFiring *firing, SfGroup *group)
{
	List	   *outer = firing->collecting;
	bool		outer_collect = firing->collect;
	bool		ok;

	if (group->kind == SF_GROUP_UNIT && !firing->set->abort_on_error)
	{
		SfUnit		unit = {firing, group, true};
		SfUndo	   *undo = keep(firing);
		ErrorData  *error = sf_attempt(execute_unit, &unit);

		if (error == NULL)
			return true;
		if (error->sqlerrcode == ERRCODE_SF_TOO_MANY_STEPS)
			ReThrowError(error);
		put_back(firing, undo);
		firing->rule = NULL;
		return false;
	}
	if (group->kind != SF_GROUP_COLLECT)
		return execute_members(firing, group);
	firing->collect = true;
	firing->collecting = NIL;
	ok = execute_members(firing, group);
	firing->collect = outer_collect;
	if (firing->collecting != NIL)
	{
		List	   *objects = firing->collecting;

		firing->collecting = outer;
		push_collected(firing, objects);
	}
	else
		firing->collecting = outer;
	return ok;
}

static bool
evaluate_item(SfFiring *firing, SfItem *item)
{
	return item->rule ? evaluate_rule(firing, item->rule) : evaluate_group(firing, item->group);
}

static bool
execute_item(SfFiring *firing, SfItem *item)
{
	return item->rule ? execute_rule(firing, item->rule) : execute_group(firing, item->group);
}

/* --- the firing --- */

/* one pass over the rules; whether any fired */
static bool
pass(SfFiring *firing)
{
	SfRuleSet  *set = firing->set;
	bool		fired = false;

	sf_walk_start(set, set->walk);
	for (int i = sf_walk_next(set->walk, -1); i >= 0; i = sf_walk_next(set->walk, i))
	{
		SfItem	   *item = &set->items[i];

		if (item->priority > set->threshold || !in_force(firing, item))
			continue;
		firing->left_out = NULL;
		if (!evaluate_item(firing, item))
		{
			/* a rule that a hook left out has not failed to trigger */
			if (set->skip_non_triggered && (item->rule == NULL || firing->left_out != item->rule))
				break;
			continue;
		}
		if (!has_news(firing, item))
			continue;
		fired = true;
		if (!execute_item(firing, item))
		{
			if (set->skip_failed)
				break;
			continue;
		}
		if (firing->stop || set->skip_applied)
			break;
	}
	return fired;
}

static void
run(SfFiring *firing)
{
	SfRuleSet  *set = firing->set;

	if (set->has_hooks)
		(void) sf_act_hook(firing, SF_HOOK_BEFORE_FIRE, NULL, SF_UNKNOWN, NULL);
	if (set->inference)
	{
		for (int i = 0; i < set->nrules; i++)
			set->rules[i].fired = false;
		while (pass(firing) && !firing->stop)
			;
	}
	else
		(void) pass(firing);
	if (set->has_hooks)
		(void) sf_act_hook(firing, SF_HOOK_AFTER_FIRE, NULL, SF_UNKNOWN, NULL);
}

/* say which rule, and what it read */
static void
rethrow(SfFiring *firing, MemoryContext context)
{
	ErrorData  *edata;
	StringInfoData buf;
	char	   *values;

	MemoryContextSwitchTo(context);
	edata = CopyErrorData();
	FlushErrorState();
	if (firing->rule == NULL || sf_error_is_fatal_to_statement(edata->sqlerrcode))
		ReThrowError(edata);
	initStringInfo(&buf);
	if (edata->detail != NULL)
		appendStringInfo(&buf, "%s\n", edata->detail);
	appendStringInfo(&buf, "Rule \"%s\" of rule set \"%s\"", firing->rule->name, firing->set->name);
	if (firing->doing != NULL)
		appendStringInfo(&buf, ", %s", firing->doing);
	if (firing->doing != NULL && firing->object != NULL)
		appendStringInfo(&buf, " \"%s\"", firing->object);
	values = sf_frame_describe_plain(firing->set->frame, firing->rule->reads);
	if (values[0] != '\0')
		appendStringInfo(&buf, ", with %s", values);
	appendStringInfoChar(&buf, '.');
	edata->detail = buf.data;
	ReThrowError(edata);
}

void
sf_fire_run(SfRuleSet *set, const SfFireOptions *options, SfVerdict *verdict)
{
	SfFiring	firing = {0};
	MemoryContext caller = CurrentMemoryContext;

	memset(verdict, 0, sizeof(*verdict));
	verdict->allowed = true;
	if (!set->enabled)
		return;
	firing.set = set;
	firing.options = options;
	firing.verdict = verdict;
	MemoryContextSwitchTo(set->work);
	PG_TRY();
	{
		run(&firing);
	}
	PG_CATCH();
	{
		rethrow(&firing, caller);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
}
