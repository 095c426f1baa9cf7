/*
 * facts.c
 *	  Values of facts: into the slots of a frame, changed by rules, and out again.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/tupconvert.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "nodes/makefuncs.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/typcache.h"

#include "compat.h"
#include "errors.h"
#include "frame.h"

/* characters of a value that a message shows */
#define SHOWN	60

void
sf_frame_begin(SfFrame *frame, MemoryContext work)
{
	frame->work = work;
	frame->changes = 0;
	frame->incomplete = false;
	for (int i = 0; i < frame->nfacts; i++)
	{
		SfFact	   *fact = &frame->facts[i];

		fact->given = fact->changed = fact->has_value = false;
		fact->row = NULL;
	}
	for (int i = 0; i < frame->nslots; i++)
	{
		SfSlot	   *slot = &frame->slots[i];

		slot->changed_at = 0;
		if (slot->kind == SF_SLOT_PARAM && !slot->lazy)
			continue;
		slot->filled = false;
		frame->row->tts_isnull[i] = true;
	}
}

static void
fill_whole(SfFrame *frame, SfFact *fact)
{
	if (fact->whole_slot >= 0)
		sf_frame_fill(frame, fact->whole_slot, fact->value, fact->isnull);
}

/* the fact is the row `values`, `nulls` of its type */
static Datum
form_value(SfFact *fact, Datum *values, bool *nulls)
{
	return HeapTupleGetDatum(heap_form_tuple(fact->desc, values, nulls));
}

bool
sf_frame_fits(const SfFact *fact, TupleDesc desc)
{
	int			n = 0;

	if (desc->natts == 1 && TupleDescAttr(desc, 0)->atttypid == fact->type)
		return true;
	if (fact->desc == NULL)
		return false;
	for (int i = 0; i < fact->desc->natts; i++)
	{
		if (TupleDescAttr(fact->desc, i)->attisdropped)
			continue;
		if (n == desc->natts ||
			TupleDescAttr(desc, n)->atttypid != TupleDescAttr(fact->desc, i)->atttypid)
			return false;
		n++;
	}
	return n == desc->natts;
}

void
sf_frame_give_row(SfFrame *frame, SfFact *fact, TupleTableSlot *row, const AttrNumber *map)
{
	fact->given = true;
	fact->isnull = row == NULL;
	fact->row = row;
	fact->map = map;
	if (row != NULL && map == NULL && fact->max_attnum > 0)
		slot_getsomeattrs(row, fact->max_attnum);
	for (int i = 0; i < fact->max_attnum; i++)
	{
		int			slot = fact->field_slots[i];

		if (slot < 0)
			continue;
		if (row == NULL)
			sf_frame_fill(frame, slot, (Datum) 0, true);
		else if (map == NULL)
			sf_frame_fill(frame, slot, row->tts_values[i], row->tts_isnull[i]);
		else
		{
			bool		isnull;
			Datum		value = slot_getattr(row, map[i], &isnull);

			sf_frame_fill(frame, slot, value, isnull);
		}
	}
	if (fact->whole_slot >= 0)
	{
		sf_frame_fact_value(frame, fact);
		fill_whole(frame, fact);
	}
}

Datum
sf_frame_fact_value(SfFrame *frame, SfFact *fact)
{
	MemoryContext old;

	if (fact->has_value || fact->isnull || fact->row == NULL)
	{
		fact->has_value = true;
		return fact->value;
	}
	for (int i = 0; i < fact->desc->natts; i++)
	{
		if (TupleDescAttr(fact->desc, i)->attisdropped)
			fact->nulls[i] = true;
		else
			fact->values[i] = slot_getattr(fact->row, fact->map ? fact->map[i] : i + 1,
										   &fact->nulls[i]);
	}
	old = MemoryContextSwitchTo(frame->work);
	fact->value = form_value(fact, fact->values, fact->nulls);
	fact->has_value = true;
	MemoryContextSwitchTo(old);
	return fact->value;
}

static void fill_paths(SfFrame *frame, SfFact *fact, SfFact *before, Bitmapset **changed);

void
sf_frame_give_value(SfFrame *frame, SfFact *fact, Datum value, bool isnull)
{
	fact->given = true;
	fact->has_value = true;
	fact->isnull = isnull;
	fact->value = value;
	if (fact->desc != NULL && !isnull && fact->max_attnum > 0)
	{
		HeapTupleHeader header = DatumGetHeapTupleHeader(value);
		HeapTupleData tuple;

		tuple.t_len = HeapTupleHeaderGetDatumLength(header);
		ItemPointerSetInvalid(&tuple.t_self);
		tuple.t_tableOid = InvalidOid;
		tuple.t_data = header;
		heap_deform_tuple(&tuple, fact->desc, fact->values, fact->nulls);
	}
	for (int i = 0; i < fact->max_attnum; i++)
		if (fact->field_slots[i] >= 0)
			sf_frame_fill(frame, fact->field_slots[i], isnull ? (Datum) 0 : fact->values[i],
						  isnull || fact->nulls[i]);
	if (fact->is_json)
		fill_paths(frame, fact, NULL, NULL);
	fill_whole(frame, fact);
}

/* a misspelt key would be a null, and a rule not fire */
static void
refuse_unknown_keys(SfFact *fact, Jsonb *json)
{
	JsonbIterator *it = JsonbIteratorInit(&json->root);
	JsonbValue	v;
	JsonbIteratorToken token;

	if (!JB_ROOT_IS_OBJECT(json))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("fact \"%s\" must be a JSON object", fact->name),
				 errdetail("It is of type %s.", format_type_be(fact->type))));
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		bool		found = false;

		if (token != WJB_KEY)
			continue;
		for (int i = 0; i < fact->desc->natts && !found; i++)
		{
			Form_pg_attribute att = TupleDescAttr(fact->desc, i);

			found = !att->attisdropped && strlen(NameStr(att->attname)) == v.val.string.len &&
				memcmp(NameStr(att->attname), v.val.string.val, v.val.string.len) == 0;
		}
		if (!found)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("fact \"%s\" has no field \"%s\"", fact->name,
							pnstrdup(v.val.string.val, v.val.string.len)),
					 errdetail("It is of type %s.", format_type_be(fact->type))));
	}
}

static void
describe_given(void *arg)
{
	errcontext("value of fact \"%s\"", ((SfFact *) arg)->name);
}

/* an object as a row of the fact's type */
static Datum
populate(SfFact *fact, Jsonb *json, bool *isnull)
{
	LOCAL_FCINFO(fcinfo, 2);
	Datum		value;

	refuse_unknown_keys(fact, json);
	if (fact->populate.fn_oid == InvalidOid)
	{
		MemoryContext old = MemoryContextSwitchTo(GetMemoryChunkContext(fact->name));
		Node	   *row = (Node *) makeNullConst(fact->type, -1, InvalidOid);
		Node	   *arg = (Node *) makeNullConst(JSONBOID, -1, InvalidOid);

		fmgr_info(F_JSONB_POPULATE_RECORD, &fact->populate);
		fmgr_info_set_expr((Node *) makeFuncExpr(F_JSONB_POPULATE_RECORD, fact->type,
												 list_make2(row, arg), InvalidOid, InvalidOid,
												 COERCE_EXPLICIT_CALL), &fact->populate);
		MemoryContextSwitchTo(old);
	}
	InitFunctionCallInfoData(*fcinfo, &fact->populate, 2, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = (Datum) 0;
	fcinfo->args[0].isnull = true;
	fcinfo->args[1].value = JsonbPGetDatum(json);
	fcinfo->args[1].isnull = false;
	value = FunctionCallInvoke(fcinfo);
	*isnull = fcinfo->isnull;
	return value;
}

static Datum convert_json(Oid type, JsonbValue *v);

void
sf_frame_give_json(SfFrame *frame, SfFact *fact, Jsonb *json)
{
	bool		isnull = false;
	Datum		value = (Datum) 0;
	JsonbValue	v;
	ErrorContextCallback callback;

	callback.callback = describe_given;
	callback.arg = fact;
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	if (fact->is_json)
		value = JsonbPGetDatum(json);
	else
	{
		sf_json_value(json, &v);
		if (v.type == jbvNull)
			isnull = true;
		else if (fact->desc != NULL)
			value = populate(fact, json, &isnull);
		else
			value = convert_json(fact->type, &v);
	}
	error_context_stack = callback.previous;
	sf_frame_give_value(frame, fact, value, isnull);
}

/* --- paths --- */

/* the value at a path, or NULL: no such key */
static JsonbValue *
find_path(SfFact *fact, const SfSlot *slot)
{
	Jsonb	   *json;
	JsonbContainer *container;
	JsonbValue *value = NULL;

	if (fact->isnull)
		return NULL;
	json = DatumGetJsonbP(fact->value);
	if (!JB_ROOT_IS_OBJECT(json))
		return NULL;
	container = &json->root;
	for (int i = 0; i < slot->npath; i++)
	{
		if (i > 0)
		{
			if (value->type != jbvBinary || !JsonContainerIsObject(value->val.binary.data))
				return NULL;
			container = value->val.binary.data;
		}
		value = getKeyJsonValueFromContainer(container, slot->path[i], strlen(slot->path[i]),
											 NULL);
		if (value == NULL)
			return NULL;
	}
	return value;
}

/* the value as one of the slot's type; false: it may not be one, convert_json tells */
static bool
easy_path(const SfSlot *slot, JsonbValue *v, Datum *value)
{
	if (slot->type == JSONBOID)
		*value = JsonbPGetDatum(JsonbValueToJsonb(v));
	else if (slot->type == TEXTOID && v->type == jbvString)
		*value = PointerGetDatum(cstring_to_text_with_len(v->val.string.val, v->val.string.len));
	else if (slot->type == NUMERICOID && v->type == jbvNumeric)
		*value = NumericGetDatum(v->val.numeric);
	else if (slot->type == BOOLOID && v->type == jbvBool)
		*value = BoolGetDatum(v->val.boolean);
	else
		return false;
	return true;
}

static char *
json_text(JsonbValue *v)
{
	Jsonb	   *jb;

	switch (v->type)
	{
		case jbvString:
			return pnstrdup(v->val.string.val, v->val.string.len);
		case jbvNumeric:
			return DatumGetCString(DirectFunctionCall1(numeric_out,
													   NumericGetDatum(v->val.numeric)));
		case jbvBool:
			return v->val.boolean ? "true" : "false";
		default:
			jb = JsonbValueToJsonb(v);
			return JsonbToCString(NULL, &jb->root, VARSIZE(jb));
	}
}

static bool
is_json_array(const JsonbValue *v)
{
	return v->type == jbvBinary && JsonContainerIsArray(v->val.binary.data);
}

/* a JSON array as the text of an SQL one */
static void
append_array(StringInfo buf, JsonbContainer *array)
{
	JsonbIterator *it = JsonbIteratorInit(array);
	JsonbIteratorToken token;
	JsonbValue	v;
	char		separator = '{';

	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		if (token != WJB_ELEM)
			continue;
		appendStringInfoChar(buf, separator);
		separator = ',';
		if (v.type == jbvNull)
			appendStringInfoString(buf, "NULL");
		else if (is_json_array(&v))
			append_array(buf, v.val.binary.data);
		else
		{
			appendStringInfoChar(buf, '"');
			for (const char *p = json_text(&v); *p != '\0'; p++)
			{
				if (*p == '"' || *p == '\\')
					appendStringInfoChar(buf, '\\');
				appendStringInfoChar(buf, *p);
			}
			appendStringInfoChar(buf, '"');
		}
	}
	appendStringInfoString(buf, separator == '{' ? "{}" : "}");
}

/* by way of text: 5 is also '5', and a date is a string */
static Datum
convert_json(Oid type, JsonbValue *v)
{
	StringInfoData array;
	char	   *text;
	Oid			input;
	Oid			ioparam;

	/* 3.0 is an integer, too; others are rounded, as by the cast from jsonb */
	if (v->type == jbvNumeric && type == INT2OID)
		return DirectFunctionCall1(numeric_int2, NumericGetDatum(v->val.numeric));
	if (v->type == jbvNumeric && type == INT4OID)
		return DirectFunctionCall1(numeric_int4, NumericGetDatum(v->val.numeric));
	if (v->type == jbvNumeric && type == INT8OID)
		return DirectFunctionCall1(numeric_int8, NumericGetDatum(v->val.numeric));
	if (is_json_array(v) && type_is_array_domain(type))
	{
		initStringInfo(&array);
		append_array(&array, v->val.binary.data);
		text = array.data;
	}
	else
		text = json_text(v);
	getTypeInputInfo(type, &input, &ioparam);
	return OidInputFunctionCall(input, text, ioparam, -1);
}

/* 1 and 1.0 differ, as they do for fields */
static bool
same_json(JsonbValue *a, JsonbValue *b)
{
	Jsonb	   *x;
	Jsonb	   *y;

	if (a == NULL || b == NULL)
		return a == b;
	x = JsonbValueToJsonb(a);
	y = JsonbValueToJsonb(b);
	return VARSIZE(x) == VARSIZE(y) && memcmp(x, y, VARSIZE(x)) == 0;
}

/*
 * Fill the slots of a jsonb fact that are plain to fill.  With `changed`, note
 * those whose value is another than in `before`, what the fact was; NULL: nothing.
 */
static void
fill_paths(SfFrame *frame, SfFact *fact, SfFact *before, Bitmapset **changed)
{
	int			i = -1;
	MemoryContext old = MemoryContextSwitchTo(frame->work);

	while ((i = bms_next_member(fact->path_slots, i)) >= 0)
	{
		SfSlot	   *slot = &frame->slots[i];
		JsonbValue *v = find_path(fact, slot);
		Datum		value = (Datum) 0;
		bool		isnull = v == NULL || v->type == jbvNull;

		if (changed != NULL)
		{
			JsonbValue *was = find_path(before, slot);

			/* that a key is missing is an error, and nothing is to be read in a null */
			if (!same_json(v, was) || (v == NULL && fact->isnull != before->isnull))
				*changed = bms_add_member(*changed, i);
			else if (slot->filled)
				continue;
		}
		slot->filled = false;
		if (v == NULL ? fact->null_missing || fact->isnull : isnull || easy_path(slot, v, &value))
			sf_frame_fill(frame, i, value, isnull);
		else
			frame->row->tts_isnull[i] = true;
	}
	MemoryContextSwitchTo(old);
}

void
sf_frame_fill_path(SfFrame *frame, int slot)
{
	SfSlot	   *s = &frame->slots[slot];
	SfFact	   *fact = &frame->facts[s->index];
	JsonbValue *v = find_path(fact, s);
	MemoryContext old;

	if (v == NULL && !fact->null_missing && !fact->isnull)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("fact \"%s\" has no key \"%s\"", fact->name,
						s->name + strlen(fact->name) + 1),
				 errhint("Give it, with null if it has no value, or set missing = 'null' in sopflow.rule_fact.")));
	old = MemoryContextSwitchTo(frame->work);
	if (v == NULL || v->type == jbvNull)
		sf_frame_fill(frame, slot, (Datum) 0, true);
	else
		sf_frame_fill(frame, slot, convert_json(s->type, v), false);
	MemoryContextSwitchTo(old);
}

/* the object with a value put at a path; objects on the way are made */
static Jsonb *
put_path(Jsonb *json, char **path, int npath, Jsonb *new)
{
	JsonbParseState *state = NULL;
	JsonbValue	key;
	JsonbValue	value;
	Jsonb	   *inner = NULL;

	key.type = jbvString;
	key.val.string.val = path[0];
	key.val.string.len = strlen(path[0]);
	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	if (json != NULL && JB_ROOT_IS_OBJECT(json))
	{
		JsonbIterator *it = JsonbIteratorInit(&json->root);
		JsonbIteratorToken token;
		JsonbValue	v;

		while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
			if (token == WJB_KEY || token == WJB_VALUE)
				pushJsonbValue(&state, token, &v);
		if (npath > 1)
		{
			JsonbValue *old = getKeyJsonValueFromContainer(&json->root, path[0],
														   key.val.string.len, NULL);

			inner = old != NULL ? JsonbValueToJsonb(old) : NULL;
		}
	}
	if (npath > 1)
		new = put_path(inner, path + 1, npath - 1, new);
	/* the last of equal keys wins */
	pushJsonbValue(&state, WJB_KEY, &key);
	sf_json_value(new, &value);
	pushJsonbValue(&state, WJB_VALUE, &value);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

/* --- changes --- */

static void
note_changed(SfFrame *frame, int slot, Bitmapset **changed)
{
	frame->slots[slot].changed_at = frame->changes;
	*changed = bms_add_member(*changed, slot);
}

static void
set_path(SfFrame *frame, SfFact *fact, SfSlot *slot, Datum value, bool isnull,
		 Bitmapset **changed)
{
	Bitmapset  *slots = NULL;
	Jsonb	   *json = fact->isnull || !fact->given ? NULL : DatumGetJsonbP(fact->value);
	Jsonb	   *new = sf_output_json(&slot->output, slot->type, value, isnull);
	SfFact		before = *fact;
	int			i = -1;

	fact->value = JsonbPGetDatum(put_path(json, slot->path, slot->npath, new));
	fact->isnull = false;
	fact->given = fact->has_value = true;
	before.isnull = json == NULL;
	fill_paths(frame, fact, &before, &slots);
	if (bms_is_empty(slots))
		return;
	if (fact->whole_slot >= 0)
	{
		fill_whole(frame, fact);
		slots = bms_add_member(slots, fact->whole_slot);
	}
	fact->changed = true;
	frame->changes++;
	while ((i = bms_next_member(slots, i)) >= 0)
		note_changed(frame, i, changed);
}

void
sf_frame_set(SfFrame *frame, int slot, Datum value, bool isnull, Bitmapset **changed)
{
	SfSlot	   *s = &frame->slots[slot];
	SfFact	   *fact = &frame->facts[s->index];
	bool		was_null = frame->row->tts_isnull[slot];
	SfFact		before = *fact;
	MemoryContext old = MemoryContextSwitchTo(frame->work);

	before.isnull |= !fact->given;
	if (s->kind == SF_SLOT_PATH)
	{
		set_path(frame, fact, s, value, isnull, changed);
		MemoryContextSwitchTo(old);
		return;
	}
	if (s->filled && was_null == isnull &&
		(isnull || datum_image_eq(frame->row->tts_values[slot], value, s->typbyval, s->typlen)))
	{
		MemoryContextSwitchTo(old);
		return;
	}
	if (s->kind == SF_SLOT_FIELD)
	{
		/* the row as it stands, to be formed anew when it is asked for */
		if (!fact->isnull && fact->given)
		{
			HeapTupleData tuple;

			tuple.t_data = DatumGetHeapTupleHeader(sf_frame_fact_value(frame, fact));
			tuple.t_len = HeapTupleHeaderGetDatumLength(tuple.t_data);
			heap_deform_tuple(&tuple, fact->desc, fact->values, fact->nulls);
		}
		else
			memset(fact->nulls, true, fact->desc->natts * sizeof(bool));
		fact->values[s->attnum - 1] = value;
		fact->nulls[s->attnum - 1] = isnull;
		fact->value = form_value(fact, fact->values, fact->nulls);
		value = isnull ? (Datum) 0 : datumCopy(value, s->typbyval, s->typlen);
		fact->isnull = false;
	}
	else
	{
		value = isnull ? (Datum) 0 : datumCopy(value, s->typbyval, s->typlen);
		fact->value = value;
		fact->isnull = isnull;
	}
	fact->given = fact->changed = fact->has_value = true;
	frame->changes++;
	sf_frame_fill(frame, slot, value, isnull);
	note_changed(frame, slot, changed);
	if (fact->whole_slot >= 0 && fact->whole_slot != slot)
	{
		fill_whole(frame, fact);
		note_changed(frame, fact->whole_slot, changed);
	}
	if (s->kind == SF_SLOT_WHOLE && fact->is_json)
	{
		Bitmapset  *paths = NULL;
		int			i = -1;

		fill_paths(frame, fact, &before, &paths);
		while ((i = bms_next_member(paths, i)) >= 0)
			note_changed(frame, i, changed);
	}
	MemoryContextSwitchTo(old);
}

/* --- out --- */

void
sf_frame_push_json(SfFrame *frame, JsonbParseState **state, bool only_changed)
{
	for (int i = 0; i < frame->nfacts; i++)
	{
		SfFact	   *fact = &frame->facts[i];
		JsonbValue	v;

		if (!fact->given || (only_changed && !fact->changed))
			continue;
		v.type = jbvString;
		v.val.string.val = fact->name;
		v.val.string.len = strlen(fact->name);
		pushJsonbValue(state, WJB_KEY, &v);
		sf_json_value(sf_output_json(&fact->output, fact->type, sf_frame_fact_value(frame, fact),
									 fact->isnull), &v);
		pushJsonbValue(state, WJB_VALUE, &v);
	}
}

static void
describe_slot(SfFrame *frame, int i, StringInfo buf)
{
	SfSlot	   *slot = &frame->slots[i];
	char	   *text;

	appendStringInfo(buf, "%s%s = ", buf->len > 0 ? ", " : "", slot->name);
	if (!slot->filled)
		appendStringInfoString(buf, "(not known)");
	else if (frame->row->tts_isnull[i])
		appendStringInfoString(buf, "NULL");
	else
	{
		text = sf_output_text(&slot->output, slot->type, frame->row->tts_values[i]);
		if (strlen(text) > SHOWN)
			appendStringInfo(buf, "%.*s...", pg_mbcliplen(text, strlen(text), SHOWN), text);
		else
			appendStringInfoString(buf, text);
	}
}

char *
sf_frame_describe(SfFrame *frame, const Bitmapset *slots)
{
	StringInfoData buf;
	int			i = -1;

	initStringInfo(&buf);
	while ((i = bms_next_member(slots, i)) >= 0)
		describe_slot(frame, i, &buf);
	return buf.data;
}

static bool
needs_no_catalog(Oid type)
{
	switch (type)
	{
		case BOOLOID:
		case DATEOID:
		case FLOAT8OID:
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case INTERVALOID:
		case NUMERICOID:
		case TEXTOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
		case UUIDOID:
		case VARCHAROID:
			return true;
		default:
			return false;
	}
}

char *
sf_frame_describe_plain(SfFrame *frame, const Bitmapset *slots)
{
	StringInfoData buf;
	int			i = -1;

	initStringInfo(&buf);
	while ((i = bms_next_member(slots, i)) >= 0)
		if (!frame->slots[i].filled || frame->row->tts_isnull[i] ||
			(needs_no_catalog(frame->slots[i].type) &&
			 (frame->slots[i].typlen != -1 ||
			  !VARATT_IS_EXTERNAL(DatumGetPointer(frame->row->tts_values[i])))))
			describe_slot(frame, i, &buf);
	return buf.data;
}

ParamListInfo
sf_frame_params(SfFrame *frame)
{
	ParamListInfo params = makeParamList(frame->nslots);

	for (int i = 0; i < frame->nslots; i++)
	{
		params->params[i].value = frame->row->tts_values[i];
		params->params[i].isnull = frame->row->tts_isnull[i];
		params->params[i].pflags = PARAM_FLAG_CONST;
		params->params[i].ptype = frame->slots[i].type;
	}
	return params;
}

SfFrameState *
sf_frame_save(SfFrame *frame)
{
	SfFrameState *state = palloc(sizeof(SfFrameState));
	int			n = frame->nslots;

	state->values = palloc(n * sizeof(Datum) + 1);
	memcpy(state->values, frame->row->tts_values, n * sizeof(Datum));
	state->nulls = palloc(n * sizeof(bool) + 1);
	memcpy(state->nulls, frame->row->tts_isnull, n * sizeof(bool));
	state->slots = palloc(n * sizeof(SfSlot) + 1);
	memcpy(state->slots, frame->slots, n * sizeof(SfSlot));
	state->facts = palloc(frame->nfacts * sizeof(SfFact) + 1);
	memcpy(state->facts, frame->facts, frame->nfacts * sizeof(SfFact));
	state->changes = frame->changes;
	return state;
}

void
sf_frame_restore(SfFrame *frame, const SfFrameState *state)
{
	int			n = frame->nslots;

	memcpy(frame->row->tts_values, state->values, n * sizeof(Datum));
	memcpy(frame->row->tts_isnull, state->nulls, n * sizeof(bool));
	memcpy(frame->slots, state->slots, n * sizeof(SfSlot));
	memcpy(frame->facts, state->facts, frame->nfacts * sizeof(SfFact));
	frame->changes = state->changes;
}
