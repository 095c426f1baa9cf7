/*
 * sqlfunc_convert.c
 *	  Functions that convert texts of rule files.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "convert.h"

PG_FUNCTION_INFO_V1(sopflow_convert_expression);
PG_FUNCTION_INFO_V1(sopflow_convert_action);

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
