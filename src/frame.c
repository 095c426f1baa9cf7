/*
 * frame.c
 *	  Names in expressions -> slots of a flat row.
 *
 * The one hard fact: a column of a jsonb fact has no type of its own.  It takes
 * that of what it is compared with or cast to, so one path may be several
 * slots; these are found in the raw tree, before PostgreSQL's analysis, and
 * handed to it as parameter symbols.  Everything else is a column reference.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "parser/parse_collate.h"
#include "parser/parse_expr.h"
#include "parser/parse_type.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/typcache.h"

#include "compat.h"
#include "errors.h"
#include "frame.h"
#include "frame_private.h"

SfFrame *
sf_frame_make(MemoryContext context, SfNameFn resolve, void *owner)
{
	SfFrame    *frame = MemoryContextAllocZero(context, sizeof(SfFrame));

	frame->context = context;
	frame->resolve = resolve;
	frame->owner = owner;
	frame->noun = "rule set";
	frame->maxslots = 16;
	frame->slots = MemoryContextAllocZero(context, frame->maxslots * sizeof(SfSlot));
	return frame;
}

SfFact *
sf_frame_fact(SfFrame *frame, const char *name)
{
	for (int i = 0; i < frame->nfacts; i++)
		if (strcmp(frame->facts[i].name, name) == 0)
			return &frame->facts[i];
	return NULL;
}

char *
sf_frame_fact_names(SfFrame *frame)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (int i = 0; i < frame->nfacts; i++)
		if (frame->facts[i].query == NULL)
			appendStringInfo(&buf, "%s%s %s", buf.len > 0 ? ", " : "", frame->facts[i].name,
							 format_type_be(frame->facts[i].type));
	return buf.len > 0 ? buf.data : "none";
}

SfFact *
sf_frame_add_fact(SfFrame *frame, const char *name, Oid type, const char *query,
				  bool null_missing)
{
	MemoryContext old = MemoryContextSwitchTo(frame->context);
	SfFact	   *fact;
	char		typtype = get_typtype(type);

	if (typtype == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("type with OID %u does not exist", type)));
	if (typtype == TYPTYPE_PSEUDO || (typtype == TYPTYPE_DOMAIN && type_is_rowtype(type)))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("type %s cannot be the type of a fact", format_type_be(type)),
				 errhint("Use the row type of a table, a composite type, jsonb or a scalar type.")));
	if (frame->nfacts == frame->maxfacts)
	{
		frame->maxfacts = frame->maxfacts == 0 ? 8 : frame->maxfacts * 2;
		frame->facts = frame->facts == NULL ? palloc(frame->maxfacts * sizeof(SfFact)) :
			repalloc(frame->facts, frame->maxfacts * sizeof(SfFact));
	}
	fact = &frame->facts[frame->nfacts++];
	memset(fact, 0, sizeof(*fact));
	fact->name = pstrdup(name);
	fact->type = type;
	fact->is_json = type == JSONBOID;
	fact->null_missing = null_missing;
	fact->query = query ? pstrdup(query) : NULL;
	fact->whole_slot = -1;
	fact->output.owner = fact->name;
	if (typtype == TYPTYPE_COMPOSITE)
	{
		fact->relid = typeidTypeRelid(type);
		fact->desc = lookup_rowtype_tupdesc_copy(type, -1);
		fact->field_slots = palloc(fact->desc->natts * sizeof(int));
		for (int i = 0; i < fact->desc->natts; i++)
			fact->field_slots[i] = -1;
		fact->values = palloc(fact->desc->natts * sizeof(Datum));
		fact->nulls = palloc(fact->desc->natts * sizeof(bool));
	}
	MemoryContextSwitchTo(old);
	return fact;
}

/* --- slots --- */

static int
add_slot(SfFrame *frame, const SfName *name, Oid type, int32 typmod, Oid collation,
		 const char *shown)
{
	MemoryContext old = MemoryContextSwitchTo(frame->context);
	SfSlot	   *slot;

	/* a query that is planned anew reads another name than before */
	if (frame->row != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("\"%s\" has changed its meaning since the rule set was compiled", shown)));
	if (frame->nslots >= MaxTupleAttributeNumber)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a rule set cannot read more than %d fields", MaxTupleAttributeNumber)));
	if (frame->nslots == frame->maxslots)
	{
		frame->slots = repalloc(frame->slots, 2 * frame->maxslots * sizeof(SfSlot));
		frame->maxslots *= 2;
	}
	slot = &frame->slots[frame->nslots];
	memset(slot, 0, sizeof(*slot));
	slot->kind = name->kind;
	slot->index = name->index;
	slot->attnum = name->attnum;
	slot->npath = name->npath;
	slot->path = palloc(Max(name->npath, 1) * sizeof(char *));
	for (int i = 0; i < name->npath; i++)
		slot->path[i] = pstrdup(name->path[i]);
	slot->name = pstrdup(shown);
	slot->type = type;
	slot->typmod = typmod;
	slot->collation = collation;
	slot->lazy = name->lazy;
	slot->output.owner = slot->name;
	get_typlenbyval(type, &slot->typlen, &slot->typbyval);
	MemoryContextSwitchTo(old);
	return frame->nslots++;
}

static bool
same_path(const SfSlot *slot, const SfName *name)
{
	if (slot->npath != name->npath)
		return false;
	for (int i = 0; i < name->npath; i++)
		if (strcmp(slot->path[i], name->path[i]) != 0)
			return false;
	return true;
}

/* the slot for a name; `type` is that of a path */
int
sf_frame_slot(SfFrame *frame, SfName *name, Oid type)
{
	SfFact	   *fact;
	StringInfoData shown;
	MemoryContext old;
	int			slot;

	for (int i = 0; i < frame->nslots; i++)
	{
		SfSlot	   *s = &frame->slots[i];

		if (s->kind == name->kind && s->index == name->index && s->attnum == name->attnum &&
			(name->kind != SF_SLOT_PATH || (s->type == type && same_path(s, name))))
			return i;
	}
	if (name->kind == SF_SLOT_PARAM || name->kind == SF_SLOT_QUOTA)
		return add_slot(frame, name, name->type, -1, get_typcollation(name->type),
						name->kind == SF_SLOT_PARAM ? psprintf("param.%s", name->path[0]) :
						name->path[0]);

	fact = &frame->facts[name->index];
	name->lazy = fact->query != NULL || name->kind == SF_SLOT_PATH;
	if (name->kind == SF_SLOT_WHOLE)
	{
		fact->whole_slot = add_slot(frame, name, fact->type, -1, get_typcollation(fact->type),
									fact->name);
		return fact->whole_slot;
	}
	if (name->kind == SF_SLOT_FIELD)
	{
		Form_pg_attribute att = TupleDescAttr(fact->desc, name->attnum - 1);

		slot = add_slot(frame, name, att->atttypid, att->atttypmod, att->attcollation,
						psprintf("%s.%s", fact->name, NameStr(att->attname)));
		fact->field_slots[name->attnum - 1] = slot;
		fact->max_attnum = Max(fact->max_attnum, name->attnum);
		return slot;
	}
	initStringInfo(&shown);
	appendStringInfoString(&shown, fact->name);
	for (int i = 0; i < name->npath; i++)
		appendStringInfo(&shown, ".%s", name->path[i]);
	slot = add_slot(frame, name, type, -1, get_typcollation(type), shown.data);
	old = MemoryContextSwitchTo(frame->context);
	fact->path_slots = bms_add_member(fact->path_slots, slot);
	MemoryContextSwitchTo(old);
	return slot;
}

/* --- names --- */

static AttrNumber
field_number(const SfFact *fact, const char *name)
{
	for (int i = 0; i < fact->desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(fact->desc, i);

		if (!att->attisdropped && strcmp(NameStr(att->attname), name) == 0)
			return att->attnum;
	}
	return InvalidAttrNumber;
}

/*
 * A BEFORE trigger sees no generated column of its new row: they are computed
 * after it; virtual ones it sees nowhere.
 */
static void
refuse_generated(const SfFact *fact, AttrNumber attnum, int position)
{
	Form_pg_attribute att = TupleDescAttr(fact->desc, attnum - 1);

	if (att->attgenerated == '\0' ||
		(strcmp(fact->name, "new") != 0 &&
		 (strcmp(fact->name, "old") != 0 || att->attgenerated == ATTRIBUTE_GENERATED_STORED)))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("column \"%s\" of fact \"%s\" is generated, and has no value yet when rules look at it",
					NameStr(att->attname), fact->name),
			 position > 0 ? errposition(position) : 0,
			 errhint("Use the columns that it is generated from.")));
}

static bool
resolve_other(SfFrame *frame, SfSlotKind kind, const char *name, SfName *result)
{
	memset(result, 0, sizeof(*result));
	if (!frame->resolve(frame, kind, name, &result->index, &result->type, &result->lazy))
		return false;
	result->kind = kind;
	result->path = palloc(sizeof(char *));
	result->path[0] = pstrdup(name);
	return true;
}

/* a name without a dot: a fact, a quota, a field that one fact has, a parameter */
static bool
resolve_bare(SfFrame *frame, const char *name, int below, int position, SfName *result)
{
	int			found = -1;

	memset(result, 0, sizeof(*result));
	for (int i = 0; i < below; i++)
		if (strcmp(frame->facts[i].name, name) == 0)
		{
			result->kind = SF_SLOT_WHOLE;
			result->index = i;
			return true;
		}
	if (resolve_other(frame, SF_SLOT_QUOTA, name, result))
		return true;
	for (int i = 0; i < below; i++)
	{
		AttrNumber	attnum = frame->facts[i].desc ? field_number(&frame->facts[i], name) : 0;

		if (attnum == InvalidAttrNumber)
			continue;
		if (found >= 0)
			ereport(ERROR,
					(errcode(ERRCODE_AMBIGUOUS_COLUMN),
					 errmsg("field \"%s\" is ambiguous", name),
					 position > 0 ? errposition(position) : 0,
					 errhint("Facts \"%s\" and \"%s\" both have it; write %s.%s or %s.%s.",
							 frame->facts[found].name, frame->facts[i].name,
							 frame->facts[found].name, name, frame->facts[i].name, name)));
		found = i;
		memset(result, 0, sizeof(*result));
		result->kind = SF_SLOT_FIELD;
		result->index = i;
		result->attnum = attnum;
	}
	if (found >= 0)
	{
		refuse_generated(&frame->facts[found], result->attnum, position);
		return true;
	}
	return resolve_other(frame, SF_SLOT_PARAM, name, result);
}

bool
sf_frame_resolve(SfFrame *frame, char **parts, int nparts, int below, int position, SfName *result)
{
	SfFact	   *fact = NULL;

	if (nparts == 1)
		return resolve_bare(frame, parts[0], below, position, result);
	for (int i = 0; i < below; i++)
		if (strcmp(frame->facts[i].name, parts[0]) == 0)
			fact = &frame->facts[i];
	if (fact == NULL)
	{
		if (nparts == 2 && strcmp(parts[0], "param") == 0)
			return resolve_other(frame, SF_SLOT_PARAM, parts[1], result);
		if (nparts == 2 && strcmp(parts[0], "quota") == 0)
			return resolve_other(frame, SF_SLOT_QUOTA, parts[1], result);
		return false;
	}
	memset(result, 0, sizeof(*result));
	result->index = fact - frame->facts;
	if (fact->is_json)
	{
		result->kind = SF_SLOT_PATH;
		result->path = parts + 1;
		result->npath = nparts - 1;
		return true;
	}
	if (fact->desc == NULL || (result->attnum = field_number(fact, parts[1])) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("fact \"%s\" has no field \"%s\"", parts[0], parts[1]),
				 position > 0 ? errposition(position) : 0,
				 errdetail("It is of type %s.", format_type_be(fact->type))));
	if (nparts > 2)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("\"%s.%s\" cannot be followed by \".%s\"", parts[0], parts[1], parts[2]),
				 position > 0 ? errposition(position) : 0,
				 errhint("For a field of a composite field, write (%s.%s).%s.",
						 parts[0], parts[1], parts[2])));
	refuse_generated(fact, result->attnum, position);
	result->kind = SF_SLOT_FIELD;
	return true;
}

/* the parts of a column reference; 0 where it has a star */
int
sf_frame_split(const ColumnRef *cref, char ***parts)
{
	int			n = 0;
	ListCell   *lc;

	*parts = palloc(list_length(cref->fields) * sizeof(char *));
	foreach(lc, cref->fields)
	{
		if (!IsA(lfirst(lc), String))
			return 0;
		(*parts)[n++] = strVal(lfirst(lc));
	}
	return n;
}

static int
cursor(ParseState *pstate, int location)
{
	if (location < 0 || pstate->p_sourcetext == NULL)
		return 0;
	return pg_mbstrlen_with_len(pstate->p_sourcetext, location) + 1;
}

static Node *
slot_var(SfFrame *frame, int slot, int location)
{
	SfSlot	   *s = &frame->slots[slot];
	Var		   *var = makeVar(1, slot + 1, s->type, s->typmod, s->collation, 0);

	var->location = location;
	return (Node *) var;
}

static Node *
column_reference(ParseState *pstate, ColumnRef *cref)
{
	SfFrameReader *reader = pstate->p_ref_hook_state;
	SfFrame    *frame = reader->frame;
	char	  **parts;
	int			nparts = sf_frame_split(cref, &parts);
	int			position = cursor(pstate, cref->location);
	SfName		name;

	if (nparts == 0)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("\"*\" is not allowed in an expression of a %s", frame->noun),
				 errposition(position)));
	if (!sf_frame_resolve(frame, parts, nparts, reader->below, position, &name))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("\"%s\" is no fact, field, parameter or quota of the %s",
						NameListToString(cref->fields), frame->noun),
				 errposition(position)));
	return slot_var(frame, sf_frame_slot(frame, &name, JSONBOID), cref->location);
}

/* a typed path that the raw pass has left as a parameter symbol */
static Node *
parameter_symbol(ParseState *pstate, ParamRef *pref)
{
	SfFrameReader *reader = pstate->p_ref_hook_state;

	return slot_var(reader->frame, pref->number - 1, pref->location);
}

static bool
refuse_params(Node *node, ParseState *pstate)
{
	if (node == NULL)
		return false;
	if (IsA(node, ParamRef))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_PARAMETER),
				 errmsg("there is no parameter $%d", ((ParamRef *) node)->number),
				 parser_errposition(pstate, ((ParamRef *) node)->location)));
	return raw_expression_tree_walker(node, refuse_params, pstate);
}

/* --- what an expression must not have --- */

typedef struct SfRefusal
{
	ParseState *pstate;
	bool		volatile_ok;
} SfRefusal;

static bool
is_volatile(Oid function, void *context)
{
	return func_volatile(function) == PROVOLATILE_VOLATILE;
}

static bool
refuse_in_expression(Node *node, SfRefusal *refusal)
{
	const char *what = NULL;

	if (node == NULL)
		return false;
	if (IsA(node, SubLink) || IsA(node, Query))
		what = "sub-queries";
	else if (IsA(node, Aggref) || IsA(node, GroupingFunc))
		what = "aggregate functions";
	else if (IsA(node, WindowFunc))
		what = "window functions";
	else if ((IsA(node, FuncExpr) && ((FuncExpr *) node)->funcretset) ||
			 (IsA(node, OpExpr) && ((OpExpr *) node)->opretset))
		what = "set-returning functions";
	else if (!refusal->volatile_ok &&
			 (check_functions_in_node(node, is_volatile, NULL) || IsA(node, NextValueExpr)))
		what = "volatile functions";
	if (what != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("%s are not allowed here", what),
				 strcmp(what, "sub-queries") == 0 ?
				 errhint("Declare a fact with a query, or a quota, and read that.") : 0,
				 parser_errposition(refusal->pstate, exprLocation(node))));
	return expression_tree_walker(node, refuse_in_expression, refusal);
}

/* --- parsing --- */

Node *
sf_frame_parse(SfFrame *frame, const char *text, const char *what, Oid target, int32 typmod,
			   bool volatile_ok)
{
	ParseState *pstate = make_parsestate(NULL);
	SfFrameReader reader = {frame, NULL, frame->nfacts};
	SfRefusal	refusal = {pstate, volatile_ok};
	SfExprContext context;
	Node	   *raw;
	Node	   *expr;
	Oid			type;

	sf_expr_begin(&context, text, what);
	raw = sf_expr_raw(text);
	pstate->p_sourcetext = text;
	pstate->p_pre_columnref_hook = column_reference;
	pstate->p_paramref_hook = parameter_symbol;
	pstate->p_ref_hook_state = &reader;
	(void) refuse_params(raw, pstate);
	sf_typing_paths(frame, pstate, &raw, target);
	expr = transformExpr(pstate, raw, EXPR_KIND_OTHER);
	(void) refuse_in_expression(expr, &refusal);
	type = exprType(expr);
	if (target == BOOLOID)
		expr = coerce_to_boolean(pstate, expr, "condition");
	else if (OidIsValid(target))
	{
		expr = coerce_to_target_type(pstate, expr, type, target, typmod, COERCION_ASSIGNMENT,
									 COERCE_IMPLICIT_CAST, -1);
		if (expr == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("value is of type %s and not of type %s", format_type_be(type),
							format_type_be(target)),
					 errposition(1),
					 errhint("Rewrite or cast the expression.")));
	}
	else if (type == UNKNOWNOID)
		expr = coerce_type(pstate, expr, type, TEXTOID, -1, COERCION_IMPLICIT,
						   COERCE_IMPLICIT_CAST, -1);
	assign_expr_collations(pstate, expr);
	free_parsestate(pstate);
	sf_expr_end(&context);
	return expr;
}

/* a name in a query that is no column of its tables */
static Node *
query_reference(ParseState *pstate, ColumnRef *cref, Node *var)
{
	SfFrameReader *reader = pstate->p_ref_hook_state;
	SfFrame    *frame = reader->frame;
	char	  **parts;
	int			nparts = sf_frame_split(cref, &parts);
	int			position = cursor(pstate, cref->location);
	SfName		name;
	SfSlot	   *s;
	Param	   *param;
	MemoryContext old;
	int			slot;

	if (var != NULL || nparts == 0 ||
		!sf_frame_resolve(frame, parts, nparts, reader->below, position, &name) ||
		name.kind == SF_SLOT_QUOTA)
		return NULL;
	slot = sf_frame_slot(frame, &name, JSONBOID);
	old = MemoryContextSwitchTo(frame->context);
	reader->reads = bms_add_member(reader->reads, slot);
	MemoryContextSwitchTo(old);
	s = &frame->slots[slot];
	param = makeNode(Param);
	param->paramkind = PARAM_EXTERN;
	param->paramid = slot + 1;
	param->paramtype = s->type;
	param->paramtypmod = s->typmod;
	param->paramcollid = s->collation;
	param->location = cref->location;
	return (Node *) param;
}

void
sf_frame_setup_parser(ParseState *pstate, void *reader)
{
	pstate->p_post_columnref_hook = query_reference;
	pstate->p_ref_hook_state = reader;
}

int
sf_frame_target(SfFrame *frame, const char *name)
{
	Node	   *raw;
	char	  **parts;
	int			nparts = 0;
	SfName		resolved;
	SfExprContext context;

	sf_expr_begin(&context, name, NULL);
	raw = sf_expr_raw(name);
	if (IsA(raw, ColumnRef))
		nparts = sf_frame_split((ColumnRef *) raw, &parts);
	if (nparts == 0 || !sf_frame_resolve(frame, parts, nparts, frame->nfacts, 1, &resolved))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("\"%s\" is no field of a fact", name), errposition(1)));
	if (resolved.kind == SF_SLOT_PARAM || resolved.kind == SF_SLOT_QUOTA)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("\"%s\" cannot be set: it is a %s", name,
						resolved.kind == SF_SLOT_PARAM ? "parameter" : "quota"),
				 errposition(1)));
	if (strcmp(frame->facts[resolved.index].name, "old") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("\"%s\" cannot be set: the old row is what it was", name), errposition(1)));
	if (resolved.kind == SF_SLOT_WHOLE && frame->facts[resolved.index].desc != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("\"%s\" cannot be set as a whole", name), errposition(1),
				 errhint("Set its fields.")));
	sf_expr_end(&context);
	return sf_frame_slot(frame, &resolved, JSONBOID);
}

void
sf_frame_seal(SfFrame *frame)
{
	MemoryContext old = MemoryContextSwitchTo(frame->context);
	TupleDesc	desc = CreateTemplateTupleDesc(Max(frame->nslots, 1));

	if (frame->nslots == 0)
		TupleDescInitEntry(desc, 1, "none", BOOLOID, -1, 0);
	for (int i = 0; i < frame->nslots; i++)
	{
		TupleDescInitEntry(desc, i + 1, psprintf("s%d", i + 1), frame->slots[i].type,
						   frame->slots[i].typmod, 0);
		TupleDescInitEntryCollation(desc, i + 1, frame->slots[i].collation);
	}
	frame->row = MakeSingleTupleTableSlot(desc, &TTSOpsVirtual);
	memset(frame->row->tts_isnull, true, desc->natts * sizeof(bool));
	ExecStoreVirtualTuple(frame->row);
	MemoryContextSwitchTo(old);
}

static bool
collect_reads(Node *node, Bitmapset **reads)
{
	if (node == NULL)
		return false;
	if (IsA(node, Var))
		*reads = bms_add_member(*reads, ((Var *) node)->varattno - 1);
	return expression_tree_walker(node, collect_reads, reads);
}

Bitmapset *
sf_frame_reads(Node *expr)
{
	Bitmapset  *reads = NULL;

	(void) collect_reads(expr, &reads);
	return reads;
}
