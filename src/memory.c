/*
 * memory.c
 *	  What a run remembers beside its tasks: a row of sopflow.run_state.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#include "expr.h"
#include "memory.h"
#include "plan.h"

/* --- jsonb -> memory --- */

static int
read_int(const JsonbValue *v)
{
	return DatumGetInt32(DirectFunctionCall1(numeric_int4, NumericGetDatum(v->val.numeric)));
}

static Bitmapset *
read_set(const JsonbValue *v)
{
	Bitmapset  *set = NULL;
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	elem;

	if (v == NULL || v->type != jbvBinary)
		return NULL;
	it = JsonbIteratorInit(v->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &elem, true)) != WJB_DONE)
		if (token == WJB_ELEM && elem.type == jbvNumeric)
			set = bms_add_member(set, read_int(&elem));
	return set;
}

static JsonbValue *
find(JsonbContainer *object, const char *key)
{
	return getKeyJsonValueFromContainer(object, key, strlen(key), NULL);
}

static void
read_arrivals(SfMemory *memory, const JsonbValue *v)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	key;
	JsonbValue	value;

	if (v == NULL || v->type != jbvBinary)
		return;
	it = JsonbIteratorInit(v->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &key, true)) != WJB_DONE)
	{
		SfArrival  *arrival;
		JsonbValue *context;

		if (token != WJB_KEY)
			continue;
		(void) JsonbIteratorNext(&it, &value, true);
		if (value.type != jbvBinary || !JsonContainerIsObject(value.val.binary.data))
			continue;			/* not written by us */
		arrival = palloc0(sizeof(SfArrival));
		arrival->event = pnstrdup(key.val.string.val, key.val.string.len);
		context = find(value.val.binary.data, "context");
		if (context != NULL)
			arrival->context = JsonbValueToJsonb(context);
		arrival->answered = read_set(find(value.val.binary.data, "answered"));
		memory->arrivals = lappend(memory->arrivals, arrival);
	}
}

static void
read_row(HeapTuple tuple, TupleDesc desc, void *arg)
{
	SfMemory   *memory = arg;
	bool		isnull;
	Jsonb	   *state = (Jsonb *) PG_DETOAST_DATUM_COPY(heap_getattr(tuple, 1, desc, &isnull));
	JsonbValue *step = find(&state->root, "last_step");

	memory->found = true;
	if (step != NULL && step->type == jbvNumeric)
		memory->last_step = read_int(step);
	read_arrivals(memory, find(&state->root, "events"));
	memory->answered = read_set(find(&state->root, "answered"));
	memory->passed = read_set(find(&state->root, "passed"));
}

SfMemory *
sf_memory_read(int64 run_id)
{
	SfMemory   *memory = palloc0(sizeof(SfMemory));
	Datum		values[1] = {Int64GetDatum(run_id)};

	memory->last_step = -1;
	sf_plan_run(SF_PLAN_STATE_READ, values, NULL, read_row, memory);
	return memory;
}

/* --- memory -> jsonb --- */

static void
push_key(JsonbParseState **state, const char *key)
{
	JsonbValue	v;

	v.type = jbvString;
	v.val.string.val = unconstify(char *, key);
	v.val.string.len = strlen(key);
	pushJsonbValue(state, WJB_KEY, &v);
}

static void
push_int(JsonbParseState **state, JsonbIteratorToken token, int n)
{
	JsonbValue	v;

	v.type = jbvNumeric;
	v.val.numeric = DatumGetNumeric(DirectFunctionCall1(int4_numeric, Int32GetDatum(n)));
	pushJsonbValue(state, token, &v);
}

static void
push_set(JsonbParseState **state, const char *key, const Bitmapset *set)
{
	int			i = -1;

	if (bms_is_empty(set))
		return;
	push_key(state, key);
	pushJsonbValue(state, WJB_BEGIN_ARRAY, NULL);
	while ((i = bms_next_member(set, i)) >= 0)
		push_int(state, WJB_ELEM, i);
	pushJsonbValue(state, WJB_END_ARRAY, NULL);
}

static void
push_context(JsonbParseState **state, Jsonb *context)
{
	JsonbValue	v;

	if (context == NULL)
	{
		pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
		pushJsonbValue(state, WJB_END_OBJECT, NULL);
		return;
	}
	sf_json_value(context, &v);
	pushJsonbValue(state, WJB_VALUE, &v);
}

void
sf_memory_write(int64 run_id, const SfMemory *memory)
{
	JsonbParseState *state = NULL;
	ListCell   *lc;
	Datum		values[2] = {Int64GetDatum(run_id), 0};

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	if (memory->last_step >= 0)
	{
		push_key(&state, "last_step");
		push_int(&state, WJB_VALUE, memory->last_step);
	}
	if (memory->arrivals != NIL)
	{
		push_key(&state, "events");
		pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
		foreach(lc, memory->arrivals)
		{
			SfArrival  *arrival = lfirst(lc);

			push_key(&state, arrival->event);
			pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
			push_key(&state, "context");
			push_context(&state, arrival->context);
			push_set(&state, "answered", arrival->answered);
			pushJsonbValue(&state, WJB_END_OBJECT, NULL);
		}
		pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	}
	push_set(&state, "answered", memory->answered);
	push_set(&state, "passed", memory->passed);
	values[1] = JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL)));
	sf_plan_run(SF_PLAN_STATE_WRITE, values, NULL, NULL, NULL);
}

void
sf_memory_delete(int64 run_id)
{
	Datum		values[1] = {Int64GetDatum(run_id)};

	sf_plan_run(SF_PLAN_STATE_DELETE, values, NULL, NULL, NULL);
}

SfArrival *
sf_memory_arrival(const SfMemory *memory, const char *event)
{
	ListCell   *lc;

	foreach(lc, memory->arrivals)
		if (strcmp(((SfArrival *) lfirst(lc))->event, event) == 0)
			return lfirst(lc);
	return NULL;
}

Jsonb *
sf_memory_events(const SfMemory *memory)
{
	JsonbParseState *state = NULL;
	ListCell   *lc;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	foreach(lc, memory->arrivals)
	{
		SfArrival  *arrival = lfirst(lc);

		push_key(&state, arrival->event);
		push_context(&state, arrival->context);
	}
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

static void
take_step(HeapTuple tuple, TupleDesc desc, void *arg)
{
	*(int *) arg = sf_row_int32(tuple, desc, 1, -1);
}

int
sf_memory_last_step(int64 run_id)
{
	Datum		values[1] = {Int64GetDatum(run_id)};
	int			step = -1;

	sf_plan_run(SF_PLAN_LAST_STEP, values, NULL, take_step, &step);
	return step;
}
