/*
 * sqlfunc_table.c
 *	  What load_decision_table has done in C: conditions from cells.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "decisiontable.h"

PG_FUNCTION_INFO_V1(sopflow_table_conditions);

static Datum *
elements(ArrayType *array, int16 len, bool byval, char align, bool **nulls, int *n)
{
	Datum	   *values;

	deconstruct_array(array, ARR_ELEMTYPE(array), len, byval, align, &values, nulls, n);
	return values;
}

static void
demand(bool condition)
{
	if (!condition)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("the arrays of a decision table do not fit together")));
}

static Datum
demand_element(Datum *values, bool *nulls, int i)
{
	demand(!nulls[i]);
	return values[i];
}

static void
take_columns(SfTable *table, FunctionCallInfo fcinfo)
{
	Datum	   *names;
	Datum	   *column_types;
	Datum	   *fields;
	Datum	   *types;
	Datum	   *collations;
	bool	   *nulls[5];
	int			n[5];

	names = elements(PG_GETARG_ARRAYTYPE_P(1), -1, false, TYPALIGN_INT, &nulls[0], &n[0]);
	column_types = elements(PG_GETARG_ARRAYTYPE_P(2), 4, true, TYPALIGN_INT, &nulls[1], &n[1]);
	fields = elements(PG_GETARG_ARRAYTYPE_P(3), -1, false, TYPALIGN_INT, &nulls[2], &n[2]);
	types = elements(PG_GETARG_ARRAYTYPE_P(4), 4, true, TYPALIGN_INT, &nulls[3], &n[3]);
	collations = elements(PG_GETARG_ARRAYTYPE_P(5), 4, true, TYPALIGN_INT, &nulls[4], &n[4]);
	for (int i = 1; i < lengthof(n); i++)
		demand(n[i] == n[0]);
	table->ncolumns = n[0];
	table->columns = palloc0(Max(n[0], 1) * sizeof(SfTableColumn));
	for (int i = 0; i < n[0]; i++)
	{
		SfTableColumn *column = &table->columns[i];

		column->name = TextDatumGetCString(demand_element(names, nulls[0], i));
		column->column_type = DatumGetObjectId(demand_element(column_types, nulls[1], i));
		column->field = TextDatumGetCString(demand_element(fields, nulls[2], i));
		column->type = DatumGetObjectId(demand_element(types, nulls[3], i));
		column->collation = DatumGetObjectId(demand_element(collations, nulls[4], i));
	}
}

/* rows of an array of two dimensions: the rule's name, then the cells */
static void
take_rows(SfTable *table, ArrayType *array)
{
	Datum	   *values;
	bool	   *nulls;
	int			n;
	int			width = table->ncolumns + 1;

	values = elements(array, -1, false, TYPALIGN_INT, &nulls, &n);
	demand(n == 0 || (ARR_NDIM(array) == 2 && ARR_DIMS(array)[1] == width));
	table->nrows = n / width;
	table->rules = palloc_extended(Max(table->nrows, 1) * sizeof(char *), MCXT_ALLOC_HUGE);
	table->cells = palloc_extended(Max(n, 1) * sizeof(char *), MCXT_ALLOC_HUGE);
	for (int r = 0; r < table->nrows; r++)
	{
		table->rules[r] = TextDatumGetCString(demand_element(values, nulls, r * width));
		for (int c = 0; c < table->ncolumns; c++)
		{
			int			i = r * width + c + 1;
			char	  **cell = &table->cells[r * table->ncolumns + c];

			*cell = nulls[i] ? NULL : TextDatumGetCString(values[i]);
		}
	}
}

/*
 * table_conditions(name, columns, column_types, fields, field_types, collations,
 *					rows, is_unique)
 */
Datum
sopflow_table_conditions(PG_FUNCTION_ARGS)
{
	SfTable		table = {.name = text_to_cstring(PG_GETARG_TEXT_PP(0))};
	char	  **conditions;
	Datum	   *result;

	take_columns(&table, fcinfo);
	take_rows(&table, PG_GETARG_ARRAYTYPE_P(6));
	conditions = sf_table_conditions(&table, PG_GETARG_BOOL(7));
	result = palloc_extended(Max(table.nrows, 1) * sizeof(Datum), MCXT_ALLOC_HUGE);
	for (int r = 0; r < table.nrows; r++)
		result[r] = CStringGetTextDatum(conditions[r]);
	PG_RETURN_ARRAYTYPE_P(construct_array(result, table.nrows, TEXTOID, -1, false, TYPALIGN_INT));
}
