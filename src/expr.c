/*
 * expr.c
 *	  SQL expressions that users write: text -> raw parse tree, and values -> text
 *	  and jsonb.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/parsenodes.h"
#include "parser/parser.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

#include "expr.h"

/* an error's cursor is in the expression, not in the statement that uses it */
static void
point_into_text(void *arg)
{
	SfExprContext *context = arg;
	int			position = geterrposition();

	if (position > 0)
	{
		errposition(0);
		internalerrposition(position);
		internalerrquery(context->text);
	}
	if (context->what != NULL)
		errcontext("%s", context->what);
}

void
sf_expr_begin(SfExprContext *context, const char *text, const char *what)
{
	context->text = text;
	context->what = what;
	context->callback.callback = point_into_text;
	context->callback.arg = context;
	context->callback.previous = error_context_stack;
	error_context_stack = &context->callback;
}

void
sf_expr_end(SfExprContext *context)
{
	error_context_stack = context->callback.previous;
}

/* where something follows the expression that does not belong there; -1: nowhere that is known */
static int
surplus_location(const SelectStmt *select)
{
	if (list_length(select->targetList) > 1)
		return lsecond_node(ResTarget, select->targetList)->location;
	if (select->fromClause != NIL)
		return exprLocation(linitial(select->fromClause));
	if (select->whereClause != NULL)
		return exprLocation(select->whereClause);
	if (select->groupClause != NIL)
		return exprLocation(linitial(select->groupClause));
	if (select->havingClause != NULL)
		return exprLocation(select->havingClause);
	if (select->sortClause != NIL)
		return exprLocation(((SortBy *) linitial(select->sortClause))->node);
	if (select->limitCount != NULL)
		return exprLocation(select->limitCount);
	if (select->limitOffset != NULL)
		return exprLocation(select->limitOffset);
	return -1;
}

static int
position(const char *text, int location)
{
	return location < 0 ? 0 : errposition(pg_mbstrlen_with_len(text, location) + 1);
}

void
sf_expr_fix_strings(void)
{
	if (!standard_conforming_strings)
		(void) set_config_option("standard_conforming_strings", "on", PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
}

Node *
sf_expr_raw(const char *text)
{
	List	   *raw;
	SelectStmt *select;
	ResTarget  *target;
	int			nest = NewGUCNestLevel();

	sf_expr_fix_strings();
	raw = raw_parser(text, RAW_PARSE_PLPGSQL_EXPR);
	AtEOXact_GUC(false, nest);
	select = (SelectStmt *) linitial_node(RawStmt, raw)->stmt;
	if (list_length(select->targetList) != 1 ||
		select->fromClause != NIL || select->whereClause != NULL || select->groupClause != NIL ||
		select->havingClause != NULL || select->windowClause != NIL || select->sortClause != NIL ||
		select->limitCount != NULL || select->limitOffset != NULL ||
		select->distinctClause != NIL || select->lockingClause != NIL)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("not one SQL expression: \"%.200s\"", text),
				 position(text, surplus_location(select))));
	target = linitial_node(ResTarget, select->targetList);
	if (target->name != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("an expression must not be named"),
				 position(text, target->location)));
	return target->val;
}

/* --- values --- */

char *
sf_output_text(SfOutput *output, Oid type, Datum value)
{
	if (!output->has_text)
	{
		Oid			function;
		bool		varlena;

		getTypeOutputInfo(type, &function, &varlena);
		fmgr_info_cxt(function, &output->text, GetMemoryChunkContext(output->owner));
		output->has_text = true;
	}
	return OutputFunctionCall(&output->text, value);
}

static Jsonb *
json_null(void)
{
	JsonbValue	null;

	null.type = jbvNull;
	return JsonbValueToJsonb(&null);
}

Jsonb *
sf_output_json(SfOutput *output, Oid type, Datum value, bool isnull)
{
	if (isnull)
		return json_null();
	if (type == JSONBOID)
		return DatumGetJsonbP(value);
	if (!output->has_json)
	{
		MemoryContext old = MemoryContextSwitchTo(GetMemoryChunkContext(output->owner));
		Node	   *arg = (Node *) makeNullConst(type, -1, InvalidOid);

		/* to_jsonb asks for the type of its argument */
		fmgr_info(F_TO_JSONB, &output->json);
		fmgr_info_set_expr((Node *) makeFuncExpr(F_TO_JSONB, JSONBOID, list_make1(arg),
												 InvalidOid, InvalidOid, COERCE_EXPLICIT_CALL),
						   &output->json);
		MemoryContextSwitchTo(old);
		output->has_json = true;
	}
	return DatumGetJsonbP(FunctionCall1(&output->json, value));
}

void
sf_json_value(Jsonb *jb, JsonbValue *value)
{
	if (JB_ROOT_IS_SCALAR(jb))
		(void) JsonbExtractScalar(&jb->root, value);
	else
	{
		value->type = jbvBinary;
		value->val.binary.data = &jb->root;
		value->val.binary.len = VARSIZE(jb) - VARHDRSZ;
	}
}
