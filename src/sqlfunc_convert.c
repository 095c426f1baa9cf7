/*
 * sqlfunc_convert.c
 *	  Functions that convert texts of rules.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "convert.h"
#include "rename.h"

PG_FUNCTION_INFO_V1(sopflow_convert_expression);
PG_FUNCTION_INFO_V1(sopflow_convert_action);
PG_FUNCTION_INFO_V1(sopflow_copy_rules_text);

static void
demand_arguments(FunctionCallInfo fcinfo)
{
	static const char *const names[] = {"text", "language"};

	for (int i = 0; i < lengthof(names); i++)
		if (PG_ARGISNULL(i))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("argument \"%s\" must not be null", names[i])));
}

/* the third argument, of functions about files: the place of the text in its file */
static char *
file_path(FunctionCallInfo fcinfo)
{
	return PG_NARGS() > 2 && !PG_ARGISNULL(2) ? text_to_cstring(PG_GETARG_TEXT_PP(2)) : NULL;
}

Datum
sopflow_convert_expression(PG_FUNCTION_ARGS)
{
	SfLanguage	language;

	demand_arguments(fcinfo);
	language = sf_convert_language(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	PG_RETURN_TEXT_P(cstring_to_text(sf_convert_expression(text_to_cstring(PG_GETARG_TEXT_PP(0)),
														   language, file_path(fcinfo))));
}

Datum
sopflow_convert_action(PG_FUNCTION_ARGS)
{
	SfLanguage	language;

	demand_arguments(fcinfo);
	language = sf_convert_language(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	PG_RETURN_JSONB_P(sf_convert_action(text_to_cstring(PG_GETARG_TEXT_PP(0)), language,
										file_path(fcinfo)));
}

/* a value of the columns: a name, or an array of an expression */
static bool
take_name(JsonbValue *v, SfRename *name)
{
	if (v->type == jbvBinary && JsonContainerIsArray(v->val.binary.data))
	{
		v = getIthJsonbValueFromContainer(v->val.binary.data, 0);
		name->whole = true;
	}
	if (v == NULL || v->type != jbvString)
		return false;
	name->to = pnstrdup(v->val.string.val, v->val.string.len);
	return true;
}

static SfRename *
names_of(Jsonb *columns, int *nnames)
{
	JsonbIterator *it = JsonbIteratorInit(&columns->root);
	JsonbIteratorToken token;
	JsonbValue	v;
	SfRename   *names = palloc0((JB_ROOT_COUNT(columns) + 1) * sizeof(SfRename));

	*nnames = 0;
	while ((token = JsonbIteratorNext(&it, &v, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			names[*nnames].from = pnstrdup(v.val.string.val, v.val.string.len);
		else if (token == WJB_VALUE && take_name(&v, &names[*nnames]))
			(*nnames)++;
		else if (token != WJB_BEGIN_OBJECT && token != WJB_END_OBJECT)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("columns must be an object of names in strings")));
	}
	return names;
}

/* (text, columns, template) */
Datum
sopflow_copy_rules_text(PG_FUNCTION_ARGS)
{
	char	   *source = text_to_cstring(PG_GETARG_TEXT_PP(0));
	int			nnames;
	SfRename   *names = names_of(PG_GETARG_JSONB_P(1), &nnames);

	/* texts of drafts may be anything */
	if (nnames > 0)
		source = PG_GETARG_BOOL(2) ? sf_rename_in_template(source, names, nnames) :
			sf_rename_in_sql(source, names, nnames);
	PG_RETURN_TEXT_P(cstring_to_text(source));
}
