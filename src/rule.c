/*
 * rule.c
 *	  Texts of rules -> expressions.
 *
 * All expressions of a set are analysed one by one, each with its errors, and
 * planned together: one cached expression keeps track of what they depend on.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "parser/parse_func.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/regproc.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "compat.h"
#include "errors.h"
#include "plan.h"
#include "rule.h"

/* --- expressions --- */

static bool
is_plain_type(Oid type)
{
	switch (type)
	{
		case BOOLOID:
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case FLOAT4OID:
		case FLOAT8OID:
		case NUMERICOID:
		case DATEOID:
		case TIMEOID:
		case TIMETZOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
		case INTERVALOID:
			return true;
		default:
			return false;
	}
}

/*
 * Whether a function of PostgreSQL's may look up names, or read values, at run
 * time.  What comes from C and handles nothing but truth, numbers and times,
 * such as now() and what adds to it, does not: setting the path for these would
 * cost more than the rules.
 */
static bool
builtin_needs_path(Oid function)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Form_pg_proc proc;
	bool		plain;
	bool		needs;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function);
	proc = (Form_pg_proc) GETSTRUCT(tuple);
	plain = proc->prolang == INTERNALlanguageId && is_plain_type(proc->prorettype);
	for (int i = 0; plain && i < proc->pronargs; i++)
		plain = is_plain_type(proc->proargtypes.values[i]);
	needs = proc->provolatile != PROVOLATILE_IMMUTABLE && !plain;
	ReleaseSysCache(tuple);
	return needs;
}

static bool
note_function(Oid function, void *arg)
{
	SfRuleSet  *set = arg;
	HeapTuple	tuple;
	Form_pg_proc proc;

	if (function < FirstNormalObjectId)
	{
		set->needs_path = set->needs_path || builtin_needs_path(function);
		return false;
	}
	set->needs_path = true;
	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function);
	proc = (Form_pg_proc) GETSTRUCT(tuple);
	if (superuser_arg(set->owner) && !superuser_arg(proc->proowner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("function \"%s\" belongs to role \"%s\", which is not a superuser, and would run as superuser \"%s\"",
						NameStr(proc->proname), GetUserNameFromId(proc->proowner, true),
						GetUserNameFromId(set->owner, true)),
				 errhint("Give the rule set another owner, or the function one that is a superuser.")));
	ReleaseSysCache(tuple);
	return false;
}

static bool
note_functions(Node *node, SfRuleSet *set)
{
	if (node == NULL)
		return false;
	(void) check_functions_in_node(node, note_function, set);
	if (IsA(node, CoerceViaIO))
		set->needs_path = true;
	if (IsA(node, CoerceToDomain))
		sf_compile_note_type(set, ((CoerceToDomain *) node)->resulttype);
	return expression_tree_walker(node, note_functions, set);
}

static void
note_domain(SfRuleSet *set, Oid type)
{
	/* it goes with its context, which has a callback in it */
	DomainConstraintRef *ref = palloc0(sizeof(DomainConstraintRef));
	ListCell   *lc;

	set->needs_path = true;
	InitDomainConstraintRef(type, ref, CurrentMemoryContext, false);
	foreach(lc, ref->constraints)
		(void) note_functions((Node *) ((DomainConstraintState *) lfirst(lc))->check_expr, set);
}

static void
note_columns(SfRuleSet *set, Oid type)
{
	TupleDesc	desc = lookup_rowtype_tupdesc_copy(type, -1);

	for (int i = 0; i < desc->natts; i++)
		if (!TupleDescAttr(desc, i)->attisdropped)
			sf_compile_note_type(set, TupleDescAttr(desc, i)->atttypid);
}

void
sf_compile_note_type(SfRuleSet *set, Oid type)
{
	MemoryContext old;
	Oid			function;

	check_stack_depth();
	if (type < FirstNormalObjectId || list_member_oid(set->types, type))
		return;
	old = MemoryContextSwitchTo(set->context);
	set->types = lappend_oid(set->types, type);
	MemoryContextSwitchTo(old);
	/* to_jsonb uses it */
	if (find_coercion_pathway(JSONOID, type, COERCION_EXPLICIT, &function) == COERCION_PATH_FUNC)
		(void) note_function(function, set);
	switch (get_typtype(type))
	{
		case TYPTYPE_DOMAIN:
			note_domain(set, type);
			sf_compile_note_type(set, getBaseType(type));
			break;
		case TYPTYPE_COMPOSITE:
			note_columns(set, type);
			break;
		case TYPTYPE_RANGE:
			sf_compile_note_type(set, get_range_subtype(type));
			break;
		case TYPTYPE_MULTIRANGE:
			sf_compile_note_type(set, get_multirange_range(type));
			break;
		case TYPTYPE_BASE:
			if (OidIsValid(get_element_type(type)))
				sf_compile_note_type(set, get_element_type(type));
			break;
		default:
			break;
	}
}

static Node *
parse(SfCompile *compile, const char *text, Oid target, int32 typmod, bool volatile_ok)
{
	SfFrame    *frame = compile->set->frame;
	MemoryContext old;
	Node	   *node;

	if (compile->planning == NULL)
	{
		compile->planning = AllocSetContextCreate(compile->set->context, "sopflow planning",
												  ALLOCSET_DEFAULT_SIZES);
		compile->parsing = AllocSetContextCreate(compile->planning, "sopflow parsing",
												 ALLOCSET_DEFAULT_SIZES);
	}
	/* the parser leaves many times what it gives */
	old = MemoryContextSwitchTo(compile->parsing);
	node = sf_frame_parse(frame, text, NULL, target, typmod, volatile_ok);
	(void) note_functions(node, compile->set);
	/* what fails when constants are folded fails here, where the text is known */
	(void) eval_const_expressions(NULL, node);
	MemoryContextSwitchTo(compile->planning);
	node = copyObject(node);
	MemoryContextSwitchTo(old);
	MemoryContextReset(compile->parsing);
	return node;
}

static void
add_node(SfCompile *compile, Node *node, Expr **place)
{
	MemoryContext old = MemoryContextSwitchTo(compile->planning);

	compile->nodes = lappend(compile->nodes, node);
	compile->places = lappend(compile->places, place);
	MemoryContextSwitchTo(old);
}

SfValue *
sf_compile_value(SfCompile *compile, const char *text, Oid target, int32 typmod, bool volatile_ok)
{
	SfValue    *value = palloc0(sizeof(SfValue));
	Node	   *node = parse(compile, text, target, typmod, volatile_ok);

	value->type = exprType(node);
	sf_compile_note_type(compile->set, value->type);
	value->text = pstrdup(text);
	value->output.owner = value;
	add_node(compile, node, &value->expr);
	compile->values = lappend(compile->values, value);
	return value;
}

void
sf_compile_condition(SfCompile *compile, const char *text, Expr **place)
{
	add_node(compile, parse(compile, text, BOOLOID, -1, false), place);
}

void
sf_compile_plan(SfCompile *compile)
{
	SfRuleSet  *set = compile->set;
	MemoryContext old;
	ListCell   *lc;
	ListCell   *lp;

	if (compile->nodes == NIL)
		return;
	old = MemoryContextSwitchTo(compile->planning);
	set->expressions = GetCachedExpression((Node *) compile->nodes);
	MemoryContextSwitchTo(old);
	forboth(lc, (List *) set->expressions->expr, lp, compile->places)
		*(Expr **) lfirst(lp) = lfirst(lc);
	foreach(lc, compile->values)
	{
		SfValue    *value = lfirst(lc);
		int			slot = -1;

		value->reads = sf_frame_reads((Node *) value->expr);
		while ((slot = bms_next_member(value->reads, slot)) >= 0)
			value->lazy |= set->frame->slots[slot].lazy;
	}
	MemoryContextDelete(compile->planning);
	compile->planning = compile->parsing = NULL;
	compile->nodes = compile->places = NIL;
}

/* --- texts --- */

SfText *
sf_compile_text(SfCompile *compile, const char *text)
{
	SfText	   *result = palloc0(sizeof(SfText));
	List	   *parts = sf_template_split(text);
	ListCell   *lc;

	result->parts = palloc0(Max(list_length(parts), 1) * sizeof(SfTextPart));
	foreach(lc, parts)
	{
		SfTemplatePart *part = lfirst(lc);
		SfTextPart *p = &result->parts[result->nparts++];

		p->literal = part->literal;
		p->otherwise = part->otherwise;
		if (part->expression != NULL)
			p->value = sf_compile_value(compile, part->expression, InvalidOid, -1, false);
	}
	return result;
}

static char *
string_of(const JsonbValue *v)
{
	return pnstrdup(v->val.string.val, v->val.string.len);
}

SfJsonText *
sf_compile_json(SfCompile *compile, Jsonb *json)
{
	SfJsonText *result = palloc0(sizeof(SfJsonText));
	JsonbIterator *it = JsonbIteratorInit(&json->root);
	JsonbIteratorToken token;
	JsonbValue	v;
	int			max = 8;

	result->json = json;
	result->texts = palloc0(max * sizeof(SfText *));
	while ((token = JsonbIteratorNext(&it, &v, false)) != WJB_DONE)
	{
		if ((token != WJB_VALUE && token != WJB_ELEM) || v.type != jbvString)
			continue;
		if (result->ntexts == max)
		{
			max *= 2;
			result->texts = repalloc(result->texts, max * sizeof(SfText *));
		}
		result->texts[result->ntexts++] = sf_template_has(v.val.string.val, v.val.string.len) ?
			sf_compile_text(compile, string_of(&v)) : NULL;
	}
	return result;
}

/* --- queries and functions --- */

SfQuery *
sf_compile_query(SfCompile *compile, const char *query, int below, TupleDesc *columns)
{
	SfQuery    *result = palloc0(sizeof(SfQuery));
	SfExprContext context;

	result->reader.frame = compile->set->frame;
	result->reader.below = below;
	sf_expr_begin(&context, query, NULL);
	result->plan = sf_plan_prepare(query, sf_frame_setup_parser, &result->reader, columns);
	sf_expr_end(&context);
	compile->set->plans = lappend(compile->set->plans, result->plan);
	/* it may be analysed again when it runs, under the path of then */
	compile->set->needs_path = true;
	return result;
}

Oid
sf_compile_function(SfCompile *compile, const char *name, int nargs, Oid *types, Oid result)
{
	Oid			owner = compile->set->owner;
	Oid			function = LookupFuncName(sf_qualified_name_list(name), nargs, types, true);
	StringInfoData signature;

	initStringInfo(&signature);
	for (int i = 0; i < nargs; i++)
		appendStringInfo(&signature, "%s%s", i > 0 ? ", " : "", format_type_be(types[i]));
	if (!OidIsValid(function))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("function %s(%s) does not exist", name, signature.data)));
	if (get_func_rettype(function) != result || get_func_retset(function) ||
		get_func_prokind(function) != PROKIND_FUNCTION)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_FUNCTION_DEFINITION),
				 errmsg("function %s(%s) must return %s", name, signature.data,
						format_type_be(result))));
	(void) note_function(function, compile->set);
	if (sf_proc_aclcheck(function, owner, ACL_EXECUTE) != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("the rule set's owner \"%s\" may not execute function %s(%s)",
						GetUserNameFromId(owner, true), name, signature.data)));
	return function;
}

/* --- actions --- */

static const char *const action_keys[][4] = {
	[SF_DO_DENY] = {"deny", "code"},
	[SF_DO_MESSAGE] = {"message", "code"},
	[SF_DO_SET] = {"set"},
	[SF_DO_RESULT] = {"result"},
	[SF_DO_EMIT] = {"emit", "subject", "context", "at"},
	[SF_DO_CALL] = {"call"},
};

static JsonbValue *
find(Jsonb *object, const char *key)
{
	return getKeyJsonValueFromContainer(&object->root, key, strlen(key), NULL);
}

static void bad_action(int number, const char *format,...) pg_attribute_printf(2, 3);

static void
bad_action(int number, const char *format,...)
{
	va_list		args;
	char		text[400];

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("action %d: %s", number, text)));
}

static SfRuleActionKind
action_kind(Jsonb *object, int number)
{
	int			kind = -1;
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	v;

	for (int i = 0; i < lengthof(action_keys); i++)
	{
		if (find(object, action_keys[i][0]) == NULL)
			continue;
		if (kind >= 0)
			bad_action(number, "it is both \"%s\" and \"%s\"", action_keys[kind][0],
					   action_keys[i][0]);
		kind = i;
	}
	if (kind < 0)
		bad_action(number, "it is none of deny, message, set, result, emit and call");
	it = JsonbIteratorInit(&object->root);
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		bool		known = false;

		if (token != WJB_KEY)
			continue;
		for (int i = 0; i < 4 && action_keys[kind][i] != NULL; i++)
			known |= strlen(action_keys[kind][i]) == v.val.string.len &&
				memcmp(action_keys[kind][i], v.val.string.val, v.val.string.len) == 0;
		if (!known)
			bad_action(number, "\"%s\" has no key \"%s\"", action_keys[kind][0],
					   string_of(&v));
	}
	return kind;
}

/* NULL: there is no such key */
static char *
string_at(Jsonb *object, const char *key, int number)
{
	JsonbValue *v = find(object, key);

	if (v == NULL)
		return NULL;
	if (v->type != jbvString)
		bad_action(number, "\"%s\" must be a string", key);
	return string_of(v);
}

static Jsonb *
object_at(Jsonb *object, const char *key, int number)
{
	JsonbValue *v = find(object, key);

	if (v == NULL)
		return NULL;
	if (v->type != jbvBinary || !JsonContainerIsObject(v->val.binary.data))
		bad_action(number, "\"%s\" must be an object", key);
	return JsonbValueToJsonb(v);
}

static void
compile_set(SfCompile *compile, SfRuleAction *action, Jsonb *targets, int number)
{
	JsonbIterator *it = JsonbIteratorInit(&targets->root);
	JsonbIteratorToken token;
	JsonbValue	v;
	int			n = JB_ROOT_COUNT(targets);

	action->targets = palloc(Max(n, 1) * sizeof(int));
	action->values = palloc(Max(n, 1) * sizeof(SfValue *));
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		SfFrame    *frame = compile->set->frame;
		char	   *name;
		SfSlot	   *slot;
		int			target;

		if (token != WJB_KEY)
			continue;
		name = string_of(&v);
		target = sf_frame_target(frame, name);
		(void) JsonbIteratorNext(&it, &v, true);
		if (v.type != jbvString)
			bad_action(number, "the value of \"%s\" must be an SQL expression in a string", name);
		for (int i = 0; i < action->nassigns; i++)
			if (action->targets[i] == target)
				bad_action(number, "\"%s\" is set twice", name);
		slot = &frame->slots[target];
		action->targets[action->nassigns] = target;
		/* a path takes any type, which becomes one of JSON's */
		action->values[action->nassigns++] =
			sf_compile_value(compile, string_of(&v), slot->kind == SF_SLOT_PATH ? InvalidOid :
							 slot->type, slot->typmod, true);
	}
}

static void
compile_action(SfCompile *compile, SfRuleAction *action, Jsonb *object, int number)
{
	Oid			types[] = {TEXTOID, TEXTOID, JSONBOID};
	char	   *subject;
	char	   *at;
	Jsonb	   *context;

	action->kind = action_kind(object, number);
	switch (action->kind)
	{
		case SF_DO_DENY:
		case SF_DO_MESSAGE:
			action->text = sf_compile_text(compile, string_at(object, action_keys[action->kind][0],
															  number));
			action->code = string_at(object, "code", number);
			break;
		case SF_DO_SET:
			compile_set(compile, action, object_at(object, "set", number), number);
			break;
		case SF_DO_RESULT:
			action->result = sf_compile_json(compile, object_at(object, "result", number));
			break;
		case SF_DO_EMIT:
			action->event = string_at(object, "emit", number);
			if (action->event[0] == '\0')
				bad_action(number, "the name of an event must not be empty");
			subject = string_at(object, "subject", number);
			if (subject == NULL)
				bad_action(number, "\"emit\" needs a \"subject\"");
			action->subject = sf_compile_value(compile, subject, TEXTOID, -1, false);
			context = object_at(object, "context", number);
			action->event_context = context ? sf_compile_json(compile, context) : NULL;
			at = string_at(object, "at", number);
			if (at != NULL)
				action->at = sf_compile_value(compile, at, TIMESTAMPTZOID, -1, false);
			break;
		case SF_DO_CALL:
			action->function = string_at(object, "call", number);
			action->function_oid = sf_compile_function(compile, action->function, lengthof(types),
													   types, JSONBOID);
			fmgr_info(action->function_oid, &action->function_fn);
			break;
	}
}

void
sf_compile_actions(SfCompile *compile, SfRule *rule)
{
	Jsonb	   *json = rule->action_json;

	if (!JB_ROOT_IS_ARRAY(json) || JB_ROOT_IS_SCALAR(json))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("actions must be an array")));
	rule->actions = palloc0(Max(JB_ROOT_COUNT(json), 1) * sizeof(SfRuleAction));
	for (int i = 0; i < JB_ROOT_COUNT(json); i++)
	{
		JsonbValue *element = getIthJsonbValueFromContainer(&json->root, i);

		if (element->type != jbvBinary || !JsonContainerIsObject(element->val.binary.data))
			bad_action(i + 1, "it must be an object");
		compile_action(compile, &rule->actions[rule->nactions++], JsonbValueToJsonb(element),
					   i + 1);
	}
}
