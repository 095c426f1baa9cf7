/*
 * act.c
 *	  What rules do when they fire.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/typcache.h"

#include "clock.h"
#include "errors.h"
#include "fire.h"
#include "flow.h"
#include "ident.h"

void
sf_act_result(SfFiring *firing, Jsonb *object)
{
	SfVerdict  *verdict = firing->verdict;

	if (firing->collect)
		firing->collecting = lappend(firing->collecting, object);
	else if (verdict->result == NULL)
		verdict->result = object;
	else
		verdict->result = DatumGetJsonbP(DirectFunctionCall2(jsonb_concat,
															 JsonbPGetDatum(verdict->result),
															 JsonbPGetDatum(object)));
}

static Jsonb *
facts_object(SfRuleSet *set)
{
	JsonbParseState *state = NULL;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	sf_frame_push_json(set->frame, &state, false);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

static void
say(SfFiring *firing, SfRule *rule, SfRuleAction *action)
{
	SfMessage  *message = palloc0(sizeof(SfMessage));

	message->text = sf_ruleset_text(firing->set, action->text);
	message->code = action->code;
	message->rule = rule;
	message->denies = action->kind == SF_DO_DENY;
	if (firing->options->describe)
		message->values = sf_frame_describe(firing->set->frame, rule->reads);
	firing->verdict->messages = lappend(firing->verdict->messages, message);
	if (!message->denies)
		return;
	firing->verdict->allowed = false;
	rule->denied++;
	if (!firing->set->all_denials)
		firing->stop = true;
}

void
sf_act_assign(SfRuleSet *set, SfRuleAction *action, const char **object, Bitmapset **changed)
{
	Datum	   *values = palloc(Max(action->nassigns, 1) * sizeof(Datum));
	bool	   *nulls = palloc(Max(action->nassigns, 1) * sizeof(bool));
	Bitmapset  *slots = NULL;
	int			slot = -1;

	for (int i = 0; i < action->nassigns; i++)
	{
		*object = set->frame->slots[action->targets[i]].name;
		values[i] = sf_ruleset_value(set, action->values[i], &nulls[i]);
	}
	for (int i = 0; i < action->nassigns; i++)
	{
		SfSlot	   *s = &set->frame->slots[action->targets[i]];

		/* a field of a looked-up fact: the fact first */
		if (s->kind != SF_SLOT_WHOLE && s->lazy && !set->frame->facts[s->index].given &&
			set->frame->facts[s->index].query != NULL)
			sf_ruleset_fill(set, bms_make_singleton(action->targets[i]));
		if (s->kind == SF_SLOT_PATH)
		{
			Jsonb	   *json = sf_output_json(&action->values[i]->output,
											  action->values[i]->type, values[i], nulls[i]);

			sf_frame_set(set->frame, action->targets[i], JsonbPGetDatum(json), false, &slots);
		}
		else
			sf_frame_set(set->frame, action->targets[i], values[i], nulls[i], &slots);
	}
	while ((slot = bms_next_member(slots, slot)) >= 0)
		sf_match_changed(set, slot);
	if (slots != NULL)
		sf_ruleset_forget(set, slots);
	if (changed != NULL)
		*changed = bms_add_members(*changed, slots);
}

static Datum
event_value(SfRuleSet *set, SfRuleAction *action, SfValue *value, const char *what)
{
	bool		isnull;
	Datum		result = sf_ruleset_value(set, value, &isnull);

	if (isnull)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s of event \"%s\" is null", what, action->event)));
	return result;
}

static void
emit(SfFiring *firing, SfRuleAction *action)
{
	SfRuleSet  *set = firing->set;
	SfEmission *emission = palloc0(sizeof(SfEmission));
	SfEvent    *event = &emission->event;

	firing->object = action->event;
	emission->name = action->event;
	event->subject_id = TextDatumGetCString(event_value(set, action, action->subject, "subject"));
	event->occurred_at = action->at == NULL ? sf_clock_transaction() :
		DatumGetTimestampTz(event_value(set, action, action->at, "time"));
	/* here, where the error is the rule's, though it may be emitted later */
	sf_flow_check_event(event);
	event->context = action->event_context ? sf_ruleset_json(set, action->event_context) : NULL;
	if (firing->options->emits_wait)
		firing->verdict->emissions = lappend(firing->verdict->emissions, emission);
	else
		(void) sf_flow_events(emission->name, event, 1);
}

/* f(rule_set text, rule text, facts jsonb) returns jsonb */
static void
call(SfFiring *firing, SfRule *rule, SfRuleAction *action)
{
	LOCAL_FCINFO(fcinfo, 3);
	Datum		value;
	Jsonb	   *result;

	firing->object = action->function;
	InitFunctionCallInfoData(*fcinfo, &action->function_fn, 3, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = CStringGetTextDatum(firing->set->name);
	fcinfo->args[1].value = CStringGetTextDatum(rule->name);
	fcinfo->args[2].value = JsonbPGetDatum(facts_object(firing->set));
	fcinfo->args[0].isnull = fcinfo->args[1].isnull = fcinfo->args[2].isnull = false;
	PushActiveSnapshot(GetTransactionSnapshot());
	value = FunctionCallInvoke(fcinfo);
	PopActiveSnapshot();
	if (fcinfo->isnull)
		return;
	result = DatumGetJsonbPCopy(value);
	if (JB_ROOT_IS_OBJECT(result))
		sf_act_result(firing, result);
}

void
sf_act(SfFiring *firing, SfRule *rule)
{
	static const char *const doing[] = {
		[SF_DO_DENY] = "writing its text",
		[SF_DO_MESSAGE] = "writing its text",
		[SF_DO_SET] = "setting",
		[SF_DO_RESULT] = "making its result",
		[SF_DO_EMIT] = "emitting",
		[SF_DO_CALL] = "calling",
	};

	for (int i = 0; i < rule->nactions && !firing->stop; i++)
	{
		SfRuleAction *action = &rule->actions[i];

		firing->doing = doing[action->kind];
		firing->object = NULL;
		switch (action->kind)
		{
			case SF_DO_DENY:
			case SF_DO_MESSAGE:
				say(firing, rule, action);
				break;
			case SF_DO_SET:
				sf_act_assign(firing->set, action, &firing->object, NULL);
				break;
			case SF_DO_RESULT:
				sf_act_result(firing, sf_ruleset_json(firing->set, action->result));
				break;
			case SF_DO_EMIT:
				emit(firing, action);
				break;
			case SF_DO_CALL:
				call(firing, rule, action);
				break;
		}
	}
}

bool
sf_act_hook(SfFiring *firing, SfHook hook, const SfRule *rule, SfTruth triggered,
			const char *error)
{
	static const char *const names[] = {
		[SF_HOOK_BEFORE_FIRE] = "before_fire",
		[SF_HOOK_AFTER_FIRE] = "after_fire",
		[SF_HOOK_BEFORE_EVALUATE] = "before_evaluate",
		[SF_HOOK_AFTER_EVALUATE] = "after_evaluate",
		[SF_HOOK_ON_SUCCESS] = "on_success",
		[SF_HOOK_ON_FAILURE] = "on_failure",
	};
	LOCAL_FCINFO(fcinfo, 1);
	SfRuleSet  *set = firing->set;
	TupleDesc	desc;
	Datum		values[6] = {0};
	bool		nulls[6] = {false, true, false, true, false, true};
	Datum		result;

	if (set->hooks[hook] == NULL)
		return true;
	firing->doing = "calling hook";
	firing->object = names[hook];
	values[0] = CStringGetTextDatum(set->name);
	if (rule != NULL)
	{
		values[1] = CStringGetTextDatum(rule->name);
		nulls[1] = false;
	}
	values[2] = CStringGetTextDatum(names[hook]);
	if (triggered == SF_TRUE || triggered == SF_FALSE)
	{
		values[3] = BoolGetDatum(triggered == SF_TRUE);
		nulls[3] = false;
	}
	values[4] = JsonbPGetDatum(facts_object(set));
	if (error != NULL)
	{
		values[5] = CStringGetTextDatum(error);
		nulls[5] = false;
	}
	desc = lookup_rowtype_tupdesc(sf_ident_rule_event_type(), -1);
	InitFunctionCallInfoData(*fcinfo, &set->hook_fns[hook], 1, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = HeapTupleGetDatum(heap_form_tuple(desc, values, nulls));
	fcinfo->args[0].isnull = false;
	ReleaseTupleDesc(desc);
	PushActiveSnapshot(GetTransactionSnapshot());
	result = FunctionCallInvoke(fcinfo);
	PopActiveSnapshot();
	return fcinfo->isnull || DatumGetBool(result);
}
