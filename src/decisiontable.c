/*
 * decisiontable.c
 *	  Cells of a decision table -> tests -> conditions.
 *
 * Literals are read once by the input function of the field's type and written
 * into the condition in that type's own output form, so that a condition means
 * the same in every session.
 */
#include "postgres.h"

#include <ctype.h>

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "parser/parse_coerce.h"
#include "parser/scansup.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rangetypes.h"

#include "decisiontable_private.h"
#include "errors.h"

void
sf_table_fault(SfTable *table, const char *what, const char *detail, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_SF_INVALID_DEFINITION),
			 errmsg("decision table \"%s\" is not valid: %s", table->name, what),
			 detail ? errdetail_internal("%s", detail) : 0,
			 hint ? errhint("%s", hint) : 0));
}

void
sf_cell_fault(SfCellReader *reader, const char *hint, const char *fmt,...)
{
	StringInfoData buf;
	int			start;

	initStringInfo(&buf);
	appendStringInfo(&buf, "row %d, column \"%s\": ", reader->row, reader->column->name);
	start = buf.len;
	for (;;)
	{
		va_list		args;
		int			needed;

		buf.len = start;
		va_start(args, fmt);
		needed = appendStringInfoVA(&buf, fmt, args);
		va_end(args);
		if (needed == 0)
			break;
		enlargeStringInfo(&buf, needed);
	}
	sf_table_fault(reader->table, buf.data, NULL, hint);
}

/* whether the text is at fault, and not the server or the transaction */
static bool
is_input_fault(int sqlerrcode)
{
	int			category = ERRCODE_TO_CATEGORY(sqlerrcode);

	return category == ERRCODE_DATA_EXCEPTION || category == ERRCODE_FEATURE_NOT_SUPPORTED ||
		category == ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION ||
		category == ERRCODE_TO_CATEGORY(ERRCODE_SYNTAX_ERROR);
}

/* Read text by an input function; its error becomes ours, with row and column. */
static Datum
read_value(SfCellReader *reader, FmgrInfo *fn, Oid param, const char *text)
{
	Datum volatile value = 0;

	PG_TRY();
	{
		value = InputFunctionCall(fn, unconstify(char *, text), param, -1);
	}
	PG_CATCH();
	{
		ErrorData  *edata;

		MemoryContextSwitchTo(reader->context);
		edata = CopyErrorData();
		if (!is_input_fault(edata->sqlerrcode))
			PG_RE_THROW();
		FlushErrorState();
		sf_cell_fault(reader, NULL, "%s", edata->message);
	}
	PG_END_TRY();
	return value;
}

/* --- literals --- */

static bool
is_plain_number(Oid type)
{
	return type == INT2OID || type == INT4OID || type == INT8OID ||
		type == FLOAT4OID || type == FLOAT8OID || type == NUMERICOID;
}

/* as SQL writes numbers, and never a word such as NaN */
static bool
is_number(const char *s)
{
	bool		digits = false;

	if (*s == '+' || *s == '-')
		s++;
	for (; isdigit((unsigned char) *s); s++)
		digits = true;
	if (*s == '.')
		for (s++; isdigit((unsigned char) *s); s++)
			digits = true;
	if (digits && (*s == 'e' || *s == 'E'))
	{
		s++;
		if (*s == '+' || *s == '-')
			s++;
		if (!isdigit((unsigned char) *s))
			return false;
		while (isdigit((unsigned char) *s))
			s++;
	}
	return digits && *s == '\0';
}

/*
 * The constant as conditions write it: bare where SQL gives it the field's type
 * anyway, quoted otherwise, when it takes on the type of what it is compared to.
 */
static char *
literal_sql(SfTableColumn *column, Oid type, const char *text)
{
	char	   *quoted;

	/* float4 would be compared as float8, in which 0.1 is another number */
	if (is_plain_number(type) && (type != FLOAT4OID || !OidIsValid(column->type)) &&
		is_number(text))
		return pstrdup(text);
	if (type == BOOLOID)
		return pstrdup(*text == 't' ? "true" : "false");
	quoted = quote_literal_cstr(text);
	if (get_typtype(type) == TYPTYPE_COMPOSITE ||
		(!OidIsValid(column->type) && TypeCategory(type) != TYPCATEGORY_STRING))
		return psprintf("%s::%s", quoted, format_type_be_qualified(type));
	return quoted;
}

/* what a literal of an untyped field is */
static Oid
guess_type(SfTableColumn *column, const char *text, bool quoted)
{
	if (column->kind != SF_CELL_TEST)
		return column->element;
	if (quoted)
		return TEXTOID;
	if (is_number(text))
		return NUMERICOID;
	if (pg_strcasecmp(text, "true") == 0 || pg_strcasecmp(text, "false") == 0)
		return BOOLOID;
	return TEXTOID;
}

SfLiteral
sf_cell_literal(SfCellReader *reader, const char *text, bool quoted)
{
	SfTableColumn *column = reader->column;
	SfLiteral	literal;

	if (OidIsValid(column->type))
	{
		literal.type = getBaseType(column->type);
		literal.value = read_value(reader, &column->read, column->read_param, text);
		literal.sql = literal_sql(column, literal.type,
								  OutputFunctionCall(&column->show, literal.value));
	}
	else
	{
		FmgrInfo	read;
		Oid			input;
		Oid			param;
		Oid			output;
		bool		varlena;

		literal.type = guess_type(column, text, quoted);
		getTypeInputInfo(literal.type, &input, &param);
		getTypeOutputInfo(literal.type, &output, &varlena);
		fmgr_info(input, &read);
		literal.value = read_value(reader, &read, param, text);
		literal.sql = literal_sql(column, literal.type,
								  OidOutputFunctionCall(output, literal.value));
	}
	return literal;
}

/* --- tests --- */

SfTest *
sf_test_make(SfTestKind kind, SfTest *left, SfTest *right)
{
	SfTest	   *test = palloc0(sizeof(SfTest));

	test->kind = kind;
	test->left = left;
	test->right = right;
	return test;
}

SfTest *
sf_test_compare(SfCompare compare, SfLiteral literal)
{
	SfTest	   *test = sf_test_make(SF_TEST_COMPARE, NULL, NULL);

	test->compare = compare;
	test->nliterals = 1;
	test->literals = palloc(sizeof(SfLiteral));
	test->literals[0] = literal;
	return test;
}

void
sf_test_add_literal(SfTest *test, SfLiteral literal)
{
	if (test->literals == NULL)
		test->literals = palloc(8 * sizeof(SfLiteral));
	else if (test->nliterals >= 8 && (test->nliterals & (test->nliterals - 1)) == 0)
		test->literals = repalloc(test->literals, 2 * test->nliterals * sizeof(SfLiteral));
	test->literals[test->nliterals++] = literal;
}

SfTest *
sf_test_both(SfTest *left, SfTest *right)
{
	if (left == NULL || right == NULL)
		return left != NULL ? left : right;
	return sf_test_make(SF_TEST_AND, left, right);
}

static const char *const compare_sql[] = {"=", "<>", "<", "<=", ">", ">="};

static void
append_test(StringInfo buf, const char *field, SfTest *test)
{
	switch (test->kind)
	{
		case SF_TEST_ANY:
			appendStringInfoString(buf, "true");
			break;
		case SF_TEST_NEVER:
			appendStringInfoString(buf, "false");
			break;
		case SF_TEST_COMPARE:
			appendStringInfo(buf, "%s %s %s", field, compare_sql[test->compare],
							 test->literals[0].sql);
			break;
		case SF_TEST_IN:
			appendStringInfo(buf, "%s in (", field);
			for (int i = 0; i < test->nliterals; i++)
				appendStringInfo(buf, "%s%s", i > 0 ? ", " : "", test->literals[i].sql);
			appendStringInfoChar(buf, ')');
			break;
		case SF_TEST_NULL:
			appendStringInfo(buf, "%s is null", field);
			break;
		case SF_TEST_LIKE:
			appendStringInfo(buf, "%s %s %s", field, test->like, test->literals[0].sql);
			break;
		case SF_TEST_NOT:
			if (test->left->kind == SF_TEST_NULL)
				appendStringInfo(buf, "%s is not null", field);
			else if (test->left->kind == SF_TEST_IN)
			{
				StringInfoData in;

				initStringInfo(&in);
				append_test(&in, field, test->left);
				appendStringInfo(buf, "%s not%s", field, in.data + strlen(field));
			}
			else
			{
				appendStringInfoString(buf, "not (");
				append_test(buf, field, test->left);
				appendStringInfoChar(buf, ')');
			}
			break;
		case SF_TEST_AND:
			append_test(buf, field, test->left);
			appendStringInfoString(buf, " and ");
			append_test(buf, field, test->right);
			break;
		case SF_TEST_OR:
			append_test(buf, field, test->left);
			appendStringInfoString(buf, " or ");
			append_test(buf, field, test->right);
			break;
	}
}

static char *
test_sql(const char *field, SfTest *test)
{
	StringInfoData buf;

	initStringInfo(&buf);
	if (test->kind == SF_TEST_OR)
		appendStringInfoChar(&buf, '(');
	append_test(&buf, field, test);
	if (test->kind == SF_TEST_OR)
		appendStringInfoChar(&buf, ')');
	return buf.data;
}

/* --- cells of other types --- */

static SfLiteral
element_literal(SfCellReader *reader, Datum value)
{
	return sf_cell_literal(reader, OutputFunctionCall(&reader->column->show_element, value), true);
}

static SfTest *
read_range(SfCellReader *reader, const char *cell)
{
	SfTableColumn *column = reader->column;
	RangeType  *range = DatumGetRangeTypeP(read_value(reader, &column->read_cell,
													  column->read_cell_param, cell));
	RangeBound	low;
	RangeBound	high;
	bool		empty;
	SfTest	   *test = NULL;

	range_deserialize(lookup_type_cache(RangeTypeGetOid(range), TYPECACHE_RANGE_INFO), range,
					  &low, &high, &empty);
	if (empty)
		return sf_test_make(SF_TEST_NEVER, NULL, NULL);
	if (!low.infinite)
		test = sf_test_compare(low.inclusive ? SF_COMPARE_GE : SF_COMPARE_GT,
							   element_literal(reader, low.val));
	if (!high.infinite)
		test = sf_test_both(test, sf_test_compare(high.inclusive ? SF_COMPARE_LE : SF_COMPARE_LT,
												  element_literal(reader, high.val)));
	if (test == NULL)
		return sf_test_make(SF_TEST_NOT, sf_test_make(SF_TEST_NULL, NULL, NULL), NULL);
	return test;
}

static SfTest *
read_array(SfCellReader *reader, const char *cell)
{
	SfTableColumn *column = reader->column;
	ArrayType  *array = DatumGetArrayTypeP(read_value(reader, &column->read_cell,
													  column->read_cell_param, cell));
	SfTest	   *test = sf_test_make(SF_TEST_IN, NULL, NULL);
	int16		len;
	bool		byval;
	char		align;
	Datum	   *elems;
	bool	   *nulls;
	int			n;

	get_typlenbyvalalign(ARR_ELEMTYPE(array), &len, &byval, &align);
	deconstruct_array(array, ARR_ELEMTYPE(array), len, byval, align, &elems, &nulls, &n);
	/* a null in the list is equal to nothing */
	for (int i = 0; i < n; i++)
		if (!nulls[i])
			sf_test_add_literal(test, element_literal(reader, elems[i]));
	if (test->nliterals == 0)
		test->kind = SF_TEST_NEVER;
	if (test->nliterals == 1)
		return sf_test_compare(SF_COMPARE_EQ, test->literals[0]);
	return test;
}

static SfTest *
read_cell(SfCellReader *reader, const char *cell)
{
	SfTest	   *test = NULL;

	if (cell == NULL)
		return sf_test_make(SF_TEST_ANY, NULL, NULL);
	switch (reader->column->kind)
	{
		case SF_CELL_TEST:
			test = sf_cell_read_text(reader, cell);
			break;
		case SF_CELL_VALUE:
			test = sf_test_compare(SF_COMPARE_EQ, sf_cell_literal(reader, cell, true));
			break;
		case SF_CELL_RANGE:
			test = read_range(reader, cell);
			break;
		case SF_CELL_LIST:
			test = read_array(reader, cell);
			break;
	}
	test->sql = test_sql(reader->column->field, test);
	return test;
}

/* --- columns --- */

/*
 * Whether values of a type can be written as literals of a field: any value of
 * the type, or a number of which the field's input function refuses what it
 * cannot hold.
 */
static bool
fits(Oid type, Oid field)
{
	if (!OidIsValid(field))
		return true;
	field = getBaseType(field);
	return (is_plain_number(type) && is_plain_number(field)) ||
		can_coerce_type(1, &type, &field, COERCION_IMPLICIT);
}

static void
show_info(Oid type, FmgrInfo *show)
{
	Oid			output;
	bool		varlena;

	getTypeOutputInfo(type, &output, &varlena);
	fmgr_info(output, show);
}

static void
read_info(Oid type, FmgrInfo *read, Oid *param)
{
	Oid			input;

	getTypeInputInfo(type, &input, param);
	fmgr_info(input, read);
}

static void
describe_column(SfTable *table, SfTableColumn *column)
{
	Oid			type = getBaseType(column->column_type);
	Oid			range = get_range_subtype(type);
	Oid			list = get_element_type(type);

	if (TypeCategory(type) == TYPCATEGORY_STRING)
		column->kind = SF_CELL_TEST;
	else if (OidIsValid(range) && fits(range, column->type))
		column->kind = SF_CELL_RANGE;
	else if (OidIsValid(list) && fits(list, column->type))
		column->kind = SF_CELL_LIST;
	else if (fits(type, column->type))
		column->kind = SF_CELL_VALUE;
	else
		sf_table_fault(table,
					   psprintf("column \"%s\" is of type %s, but %s is of type %s", column->name,
								format_type_be(column->column_type), column->field,
								format_type_be(column->type)), NULL,
					   "Give the column the type of the field, a range or an array of it, or text.");
	column->element = column->kind == SF_CELL_RANGE ? range :
		column->kind == SF_CELL_LIST ? list : type;
	column->is_string = !OidIsValid(column->type) ||
		TypeCategory(getBaseType(column->type)) == TYPCATEGORY_STRING;
	if (OidIsValid(column->type))
	{
		read_info(getBaseType(column->type), &column->read, &column->read_param);
		show_info(getBaseType(column->type), &column->show);
	}
	if (column->kind == SF_CELL_RANGE || column->kind == SF_CELL_LIST)
	{
		read_info(type, &column->read_cell, &column->read_cell_param);
		show_info(column->element, &column->show_element);
	}
}

char **
sf_table_conditions(SfTable *table, bool is_unique)
{
	char	  **conditions = palloc(Max(table->nrows, 1) * sizeof(char *));
	SfTest	  **tests = palloc_extended(Max((Size) table->nrows * table->ncolumns, 1) *
										sizeof(SfTest *), MCXT_ALLOC_HUGE);
	SfCellReader reader = {.table = table, .context = CurrentMemoryContext};

	for (int c = 0; c < table->ncolumns; c++)
		describe_column(table, &table->columns[c]);
	for (int r = 0; r < table->nrows; r++)
	{
		StringInfoData buf;

		CHECK_FOR_INTERRUPTS();
		initStringInfo(&buf);
		reader.row = r + 1;
		for (int c = 0; c < table->ncolumns; c++)
		{
			SfTest	   *test;

			reader.column = &table->columns[c];
			test = read_cell(&reader, table->cells[r * table->ncolumns + c]);
			tests[r * table->ncolumns + c] = test;
			if (test->kind != SF_TEST_ANY)
				appendStringInfo(&buf, "%s%s", buf.len > 0 ? " and " : "", test->sql);
		}
		conditions[r] = buf.len > 0 ? buf.data : pstrdup("true");
	}
	if (is_unique)
		sf_table_refuse_overlap(table, tests);
	return conditions;
}
