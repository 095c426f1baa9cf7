/*
 * overlap.c
 *	  Rows of a decision table that can be true at the same time.
 *
 * The values that the tests of a column name cut the field's type into points
 * and the gaps between them; null is a place of its own.  A test becomes the
 * set of places where it is true, and two rows overlap when their sets meet in
 * every column.
 *
 * That is exact for comparisons, ranges, lists and null tests, also negated and
 * joined, of a type with a default btree order.  Gaps without a value do not
 * count for integers, dates, times, booleans and enums; for other types a gap
 * such as (1.00, 1.01) of numeric(10,2) counts, so that rows may be refused
 * that meet nowhere else.  A cell with a pattern, a cell over a type without an
 * order, and one of a column without a type whose constants are of several
 * types is taken to meet only a cell of the same text, and one for any value:
 * what is missed here, firing the rules reports.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_enum.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "datatype/timestamp.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "parser/parse_coerce.h"
#include "utils/builtins.h"
#include "utils/catcache.h"
#include "utils/date.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/typcache.h"

#include "decisiontable_private.h"

typedef struct SfSpan
{
	int			low;
	int			high;			/* included */
} SfSpan;

/* places, in order, with gaps between the spans */
typedef struct SfSpans
{
	int			n;
	SfSpan	   *spans;
} SfSpans;

/* truth of a test for null */
typedef enum SfNullTruth
{
	NULL_FALSE,
	NULL_UNKNOWN,
	NULL_TRUE
} SfNullTruth;

/*
 * Places of a column: 0 is null, then come the points and gaps that hold a
 * value, then one for each text of a test that is not understood.
 */
typedef struct SfAxis
{
	SfTableColumn *column;
	Oid			type;
	bool		exact;			/* the type has an order */
	FmgrInfo   *compare;
	Oid			collation;
	int			nvalues;
	Datum	   *values;			/* sorted, each once */
	int		   *places;			/* of gap, value, gap, ..., gap: places before it */
	int			nplaces;		/* of points and gaps */
	int			nopaque;
	char	  **opaque;			/* texts of tests that are not understood */
	SfSpans    *rows;			/* where each row is true */
	int64		pairs;			/* that a sweep along this axis has to look at */
} SfAxis;

typedef struct SfSpot
{
	int			low;
	int			high;
	int			row;
} SfSpot;

/* --- sets of places --- */

static int
span_cmp(const void *a, const void *b)
{
	const SfSpan *x = a;
	const SfSpan *y = b;

	return x->low != y->low ? (x->low < y->low ? -1 : 1) : 0;
}

static SfSpans
one_span(int low, int high)
{
	SfSpans		result = {0, NULL};

	if (low <= high)
	{
		result.n = 1;
		result.spans = palloc(sizeof(SfSpan));
		result.spans[0] = (SfSpan) {low, high};
	}
	return result;
}

/* put spans in order, join those that touch */
static void
normalise(SfSpans *set)
{
	int			n = 0;

	if (set->n == 0)
		return;
	qsort(set->spans, set->n, sizeof(SfSpan), span_cmp);
	for (int i = 1; i < set->n; i++)
	{
		SfSpan	   *last = &set->spans[n];

		if (set->spans[i].low > last->high + 1)
			set->spans[++n] = set->spans[i];
		else
			last->high = Max(last->high, set->spans[i].high);
	}
	set->n = n + 1;
}

static SfSpans
either(SfSpans a, SfSpans b)
{
	SfSpans		result;

	result.n = a.n + b.n;
	result.spans = palloc(Max(result.n, 1) * sizeof(SfSpan));
	for (int i = 0; i < a.n; i++)
		result.spans[i] = a.spans[i];
	for (int i = 0; i < b.n; i++)
		result.spans[a.n + i] = b.spans[i];
	normalise(&result);
	return result;
}

/* places 1 .. nplaces without those of the set */
static SfSpans
others(SfSpans set, int nplaces)
{
	SfSpans		result;
	int			next = 1;

	result.n = 0;
	result.spans = palloc((set.n + 1) * sizeof(SfSpan));
	for (int i = 0; i < set.n; i++)
	{
		if (set.spans[i].low > next)
			result.spans[result.n++] = (SfSpan) {next, set.spans[i].low - 1};
		next = set.spans[i].high + 1;
	}
	if (next <= nplaces)
		result.spans[result.n++] = (SfSpan) {next, nplaces};
	return result;
}

static bool
meet(const SfSpans *a, const SfSpans *b, int *place)
{
	int			i = 0;
	int			j = 0;

	while (i < a->n && j < b->n)
	{
		int			low = Max(a->spans[i].low, b->spans[j].low);

		if (low <= a->spans[i].high && low <= b->spans[j].high)
		{
			*place = low;
			return true;
		}
		if (a->spans[i].high < b->spans[j].high)
			i++;
		else
			j++;
	}
	return false;
}

/* --- places of a column --- */

/* the value as an integer, for types of which no value lies between n and n + 1 */
static bool
as_integer(Oid type, Datum value, int64 *result, int64 *lowest, int64 *highest)
{
	*lowest = PG_INT64_MIN;
	*highest = PG_INT64_MAX;
	switch (type)
	{
		case INT2OID:
			*result = DatumGetInt16(value);
			*lowest = PG_INT16_MIN;
			*highest = PG_INT16_MAX;
			return true;
		case INT4OID:
			*result = DatumGetInt32(value);
			*lowest = PG_INT32_MIN;
			*highest = PG_INT32_MAX;
			return true;
		case DATEOID:
			*result = DatumGetDateADT(value);
			*lowest = PG_INT32_MIN;
			*highest = PG_INT32_MAX;
			return true;
		case INT8OID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
			*result = DatumGetInt64(value);
			return true;
		case TIMEOID:
			*result = DatumGetTimeADT(value);
			*lowest = 0;
			*highest = USECS_PER_DAY;
			return true;
		default:
			return false;
	}
}

/* whether some value lies in gap i, the one before value i */
static bool
gap_has_value(SfAxis *axis, int i)
{
	int64		before = 0;
	int64		after = 0;
	int64		lowest;
	int64		highest;
	int			n = axis->nvalues;

	/* all values are on the axis */
	if (n > 0 && (axis->type == BOOLOID || type_is_enum(axis->type)))
		return false;
	if (n == 0 || !as_integer(axis->type, axis->values[0], &before, &lowest, &highest))
		return true;
	if (i > 0)
		as_integer(axis->type, axis->values[i - 1], &before, &lowest, &highest);
	if (i < n)
		as_integer(axis->type, axis->values[i], &after, &lowest, &highest);
	if (i == 0)
		return after > lowest;
	if (i == n)
		return before < highest;
	return before + 1 < after;
}

static int
value_cmp(const void *a, const void *b, void *arg)
{
	SfAxis	   *axis = arg;

	return DatumGetInt32(FunctionCall2Coll(axis->compare, axis->collation,
										   *(const Datum *) a, *(const Datum *) b));
}

/* collect the types of the literals of a test; false where they are not all of one */
static bool
one_type(SfTest *test, Oid *type)
{
	if (test->kind == SF_TEST_LIKE)
		return true;
	for (int i = 0; i < test->nliterals; i++)
	{
		if (!OidIsValid(*type))
			*type = test->literals[i].type;
		else if (*type != test->literals[i].type)
			return false;
	}
	return (test->left == NULL || one_type(test->left, type)) &&
		(test->right == NULL || one_type(test->right, type));
}

/* whether the test is about order and null only */
static bool
is_understood(SfTest *test)
{
	return test->kind != SF_TEST_LIKE && (test->left == NULL || is_understood(test->left)) &&
		(test->right == NULL || is_understood(test->right));
}

static void
add_values(SfAxis *axis, SfTest *test, int *max)
{
	if (axis->nvalues + test->nliterals > *max)
	{
		*max = 2 * (axis->nvalues + test->nliterals);
		axis->values = repalloc_huge(axis->values, *max * sizeof(Datum));
	}
	for (int i = 0; i < test->nliterals; i++)
		axis->values[axis->nvalues++] = test->literals[i].value;
	if (test->left != NULL)
		add_values(axis, test->left, max);
	if (test->right != NULL)
		add_values(axis, test->right, max);
}

/* of a type with few values, all of them */
static void
add_domain(SfAxis *axis)
{
	if (axis->type == BOOLOID)
	{
		axis->values = repalloc_huge(axis->values, (axis->nvalues + 2) * sizeof(Datum));
		axis->values[axis->nvalues++] = BoolGetDatum(false);
		axis->values[axis->nvalues++] = BoolGetDatum(true);
	}
	else if (type_is_enum(axis->type))
	{
		CatCList   *list = SearchSysCacheList1(ENUMTYPOIDNAME, ObjectIdGetDatum(axis->type));

		axis->values = repalloc_huge(axis->values,
									 (axis->nvalues + list->n_members + 1) * sizeof(Datum));
		for (int i = 0; i < list->n_members; i++)
		{
			Form_pg_enum label = (Form_pg_enum) GETSTRUCT(&list->members[i]->tuple);

			axis->values[axis->nvalues++] = ObjectIdGetDatum(label->oid);
		}
		ReleaseCatCacheList(list);
	}
}

static SfTest *
test_of(SfTable *table, SfTest **tests, int row, int column)
{
	return tests[row * table->ncolumns + column];
}

static void
place_values(SfAxis *axis)
{
	int			n = 0;

	qsort_arg(axis->values, axis->nvalues, sizeof(Datum), value_cmp, axis);
	for (int i = 0; i < axis->nvalues; i++)
		if (i == 0 || value_cmp(&axis->values[i], &axis->values[n - 1], axis) != 0)
			axis->values[n++] = axis->values[i];
	axis->nvalues = n;
	axis->places = palloc_extended((2 * (Size) n + 2) * sizeof(int), MCXT_ALLOC_HUGE);
	axis->nplaces = 0;
	for (int i = 0; i <= n; i++)
	{
		axis->places[2 * i] = axis->nplaces;
		if (gap_has_value(axis, i))
			axis->nplaces++;
		axis->places[2 * i + 1] = axis->nplaces;
		if (i < n)
			axis->nplaces++;
	}
}

/* --- tests to places --- */

/* places of the steps from .. to of gap, value, gap, ..., gap */
static SfSpans
steps(SfAxis *axis, int from, int to)
{
	return one_span(axis->places[from] + 1, axis->places[to + 1]);
}

static int
find_value(SfAxis *axis, Datum value)
{
	int			low = 0;
	int			high = axis->nvalues - 1;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		if (value_cmp(&axis->values[middle], &value, axis) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static SfSpans
compare_places(SfAxis *axis, SfCompare compare, Datum value)
{
	int			at = 2 * find_value(axis, value) + 1;
	int			last = 2 * axis->nvalues;

	switch (compare)
	{
		case SF_COMPARE_EQ:
			return steps(axis, at, at);
		case SF_COMPARE_NE:
			return others(steps(axis, at, at), axis->nplaces);
		case SF_COMPARE_LT:
			return steps(axis, 0, at - 1);
		case SF_COMPARE_LE:
			return steps(axis, 0, at);
		case SF_COMPARE_GT:
			return steps(axis, at + 1, last);
		case SF_COMPARE_GE:
			return steps(axis, at, last);
	}
	return one_span(1, 0);
}

/* where values make the test true, and what it is for null */
static SfSpans
test_places(SfAxis *axis, SfTest *test, SfNullTruth *for_null)
{
	SfSpans		left;
	SfSpans		right;
	SfNullTruth left_null;
	SfNullTruth right_null;

	*for_null = NULL_UNKNOWN;
	switch (test->kind)
	{
		case SF_TEST_ANY:
			*for_null = NULL_TRUE;
			return one_span(1, axis->nplaces);
		case SF_TEST_NEVER:
			*for_null = NULL_FALSE;
			return one_span(1, 0);
		case SF_TEST_COMPARE:
			return compare_places(axis, test->compare, test->literals[0].value);
		case SF_TEST_IN:
			left.n = test->nliterals;
			left.spans = palloc(left.n * sizeof(SfSpan));
			for (int i = 0; i < left.n; i++)
			{
				Datum		value = test->literals[i].value;

				left.spans[i] = compare_places(axis, SF_COMPARE_EQ, value).spans[0];
			}
			normalise(&left);
			return left;
		case SF_TEST_NULL:
			*for_null = NULL_TRUE;
			return one_span(1, 0);
		case SF_TEST_NOT:
			left = test_places(axis, test->left, &left_null);
			*for_null = NULL_TRUE - left_null;
			return others(left, axis->nplaces);
		case SF_TEST_AND:
			left = test_places(axis, test->left, &left_null);
			right = test_places(axis, test->right, &right_null);
			*for_null = Min(left_null, right_null);
			return others(either(others(left, axis->nplaces), others(right, axis->nplaces)),
						  axis->nplaces);
		case SF_TEST_OR:
			left = test_places(axis, test->left, &left_null);
			right = test_places(axis, test->right, &right_null);
			*for_null = Max(left_null, right_null);
			return either(left, right);
		case SF_TEST_LIKE:
			break;
	}
	elog(ERROR, "test of kind %d has no places", test->kind);
}

typedef struct SfOpaque
{
	char	   *sql;
	int			number;
} SfOpaque;

static uint32
opaque_hash(const void *key, Size size)
{
	const char *sql = *(char *const *) key;

	return hash_bytes((const unsigned char *) sql, strlen(sql));
}

static int
opaque_match(const void *a, const void *b, Size size)
{
	return strcmp(*(char *const *) a, *(char *const *) b);
}

/* number the texts of tests that are not understood */
static HTAB *
number_opaque(SfTable *table, SfTest **tests, int c, SfAxis *axis)
{
	HASHCTL		ctl = {
		.keysize = sizeof(char *), .entrysize = sizeof(SfOpaque),
		.hash = opaque_hash, .match = opaque_match, .hcxt = CurrentMemoryContext
	};
	HTAB	   *numbers = hash_create("tests of a column", 64, &ctl,
									  HASH_ELEM | HASH_FUNCTION | HASH_COMPARE | HASH_CONTEXT);

	axis->opaque = palloc_extended((Size) table->nrows * sizeof(char *), MCXT_ALLOC_HUGE);
	for (int r = 0; r < table->nrows; r++)
	{
		SfTest	   *test = test_of(table, tests, r, c);
		SfOpaque   *entry;
		bool		found;

		if (test->kind == SF_TEST_ANY || (axis->exact && is_understood(test)))
			continue;
		entry = hash_search(numbers, &test->sql, HASH_ENTER, &found);
		if (!found)
		{
			entry->number = axis->nopaque;
			axis->opaque[axis->nopaque++] = test->sql;
		}
	}
	return numbers;
}

static void
place_rows(SfTable *table, SfTest **tests, int c, SfAxis *axis)
{
	HTAB	   *numbers = number_opaque(table, tests, c, axis);
	int			last = axis->nplaces + axis->nopaque;

	axis->rows = palloc_extended((Size) table->nrows * sizeof(SfSpans), MCXT_ALLOC_HUGE);
	for (int r = 0; r < table->nrows; r++)
	{
		SfTest	   *test = test_of(table, tests, r, c);
		SfNullTruth for_null;

		CHECK_FOR_INTERRUPTS();
		if (test->kind == SF_TEST_ANY)
			axis->rows[r] = one_span(0, last);
		else if (axis->exact && is_understood(test))
		{
			axis->rows[r] = test_places(axis, test, &for_null);
			if (for_null == NULL_TRUE)
				axis->rows[r] = either(one_span(0, 0), axis->rows[r]);
		}
		else
		{
			SfOpaque   *entry = hash_search(numbers, &test->sql, HASH_FIND, NULL);
			int			place = axis->nplaces + 1 + entry->number;

			axis->rows[r] = one_span(place, place);
		}
	}
	hash_destroy(numbers);
}

static void
make_axis(SfTable *table, SfTest **tests, int c, SfAxis *axis)
{
	TypeCacheEntry *entry = NULL;
	int			max = 64;

	memset(axis, 0, sizeof(*axis));
	axis->column = &table->columns[c];
	axis->exact = true;
	for (int r = 0; r < table->nrows && axis->exact; r++)
		axis->exact = one_type(test_of(table, tests, r, c), &axis->type);
	if (OidIsValid(axis->type))
	{
		entry = lookup_type_cache(axis->type, TYPECACHE_CMP_PROC_FINFO);
		axis->compare = &entry->cmp_proc_finfo;
		axis->exact = axis->exact && OidIsValid(entry->cmp_proc_finfo.fn_oid);
		axis->collation = OidIsValid(axis->column->collation) ? axis->column->collation :
			get_typcollation(axis->type);
	}
	axis->values = palloc(max * sizeof(Datum));
	if (axis->exact)
	{
		for (int r = 0; r < table->nrows; r++)
			if (is_understood(test_of(table, tests, r, c)))
				add_values(axis, test_of(table, tests, r, c), &max);
		add_domain(axis);
		place_values(axis);
	}
	place_rows(table, tests, c, axis);
}

/* --- the search --- */

static int
spot_cmp(const void *a, const void *b)
{
	const SfSpot *x = a;
	const SfSpot *y = b;

	if (x->low != y->low)
		return x->low < y->low ? -1 : 1;
	return x->row < y->row ? -1 : x->row > y->row;
}

/* the spans of all rows along an axis, sorted by where they begin */
static SfSpot *
make_spots(SfTable *table, SfAxis *axis, int64 *n)
{
	SfSpot	   *spots;

	*n = 0;
	for (int r = 0; r < table->nrows; r++)
		*n += axis->rows[r].n;
	spots = palloc_extended(Max(*n, 1) * sizeof(SfSpot), MCXT_ALLOC_HUGE);
	*n = 0;
	for (int r = 0; r < table->nrows; r++)
		for (int i = 0; i < axis->rows[r].n; i++)
			spots[(*n)++] = (SfSpot) {axis->rows[r].spans[i].low, axis->rows[r].spans[i].high, r};
	qsort(spots, *n, sizeof(SfSpot), spot_cmp);
	return spots;
}

/* how many pairs of spans meet along the axis */
static void
count_pairs(SfTable *table, SfAxis *axis)
{
	int64		n;
	SfSpot	   *spots = make_spots(table, axis, &n);

	axis->pairs = 0;
	for (int64 i = 0; i < n; i++)
	{
		int64		low = i + 1;
		int64		high = n;

		while (low < high)
		{
			int64		middle = low + (high - low) / 2;

			if (spots[middle].low <= spots[i].high)
				low = middle + 1;
			else
				high = middle;
		}
		axis->pairs += low - i - 1;
	}
	pfree(spots);
}

static int
axis_cmp(const void *a, const void *b)
{
	const SfAxis *x = a;
	const SfAxis *y = b;

	return x->pairs != y->pairs ? (x->pairs < y->pairs ? -1 : 1) : 0;
}

static char *
show_value(SfAxis *axis, int i)
{
	Oid			output;
	bool		varlena;
	char	   *text;

	getTypeOutputInfo(axis->type, &output, &varlena);
	text = OidOutputFunctionCall(output, axis->values[i]);
	return TypeCategory(axis->type) == TYPCATEGORY_NUMERIC ? text : quote_literal_cstr(text);
}

/* what the place is, as a condition; NULL: any value */
static char *
describe_place(SfAxis *axis, int place)
{
	const char *field = axis->column->field;
	int			step = 0;
	int			i;
	char	   *before;
	char	   *after;

	if (place == 0)
		return psprintf("%s is null", field);
	if (place > axis->nplaces)
		return axis->opaque[place - axis->nplaces - 1];
	if (axis->nvalues == 0)
		return NULL;
	/* the first step behind which more places lie than the ones before this */
	while (axis->places[step + 1] < place)
		step++;
	i = step / 2;
	before = i > 0 ? show_value(axis, i - 1) : NULL;
	after = i < axis->nvalues ? show_value(axis, i) : NULL;
	if (step % 2 == 1)
		return psprintf("%s = %s", field, after);
	if (before == NULL)
		return psprintf("%s < %s", field, after);
	if (after == NULL)
		return psprintf("%s > %s", field, before);
	return psprintf("%s > %s and %s < %s", field, before, field, after);
}

static void
report_overlap(SfTable *table, SfAxis *axes, int a, int b)
{
	StringInfoData where;

	if (a > b)
	{
		int			swap = a;

		a = b;
		b = swap;
	}
	initStringInfo(&where);
	for (int c = 0; c < table->ncolumns; c++)
		for (int i = 0; i < table->ncolumns; i++)
		{
			int			place = 0;
			char	   *text;

			/* the axes were sorted: tell in the order of the columns */
			if (axes[i].column != &table->columns[c])
				continue;
			meet(&axes[i].rows[a], &axes[i].rows[b], &place);
			/* both cells take any value */
			if (axes[i].rows[a].n == 1 && axes[i].rows[b].n == 1 &&
				axes[i].rows[a].spans[0].low == 0 && axes[i].rows[b].spans[0].low == 0 &&
				axes[i].rows[a].spans[0].high == axes[i].nplaces + axes[i].nopaque &&
				axes[i].rows[b].spans[0].high == axes[i].nplaces + axes[i].nopaque)
				continue;
			text = describe_place(&axes[i], place);
			if (text != NULL)
				appendStringInfo(&where, "%s%s", where.len > 0 ? " and " : "", text);
		}
	sf_table_fault(table, psprintf("rules \"%s\" (row %d) and \"%s\" (row %d) overlap",
								   table->rules[a], a + 1, table->rules[b], b + 1),
				   where.len > 0 ? psprintf("Both are true where %s.", where.data) :
				   "Both are true for any values.",
				   "Narrow one of them, or load the table with hit policy first, any or collect.");
}

/*
 * Sweep along the axis where the fewest spans meet; of each pair that meets
 * there, compare the other columns, the most telling ones first.
 */
void
sf_table_refuse_overlap(SfTable *table, SfTest **tests)
{
	SfAxis	   *axes = palloc0(Max(table->ncolumns, 1) * sizeof(SfAxis));
	SfSpot	   *spots;
	int64		n;

	if (table->nrows < 2)
		return;
	for (int c = 0; c < table->ncolumns; c++)
	{
		make_axis(table, tests, c, &axes[c]);
		count_pairs(table, &axes[c]);
	}
	if (table->ncolumns == 0)
		report_overlap(table, axes, 0, 1);
	qsort(axes, table->ncolumns, sizeof(SfAxis), axis_cmp);
	spots = make_spots(table, &axes[0], &n);
	for (int64 i = 0; i < n; i++)
	{
		CHECK_FOR_INTERRUPTS();
		for (int64 j = i + 1; j < n && spots[j].low <= spots[i].high; j++)
		{
			int			c = 1;
			int			place;

			/* spans of a row do not meet each other */
			while (c < table->ncolumns && meet(&axes[c].rows[spots[i].row],
											   &axes[c].rows[spots[j].row], &place))
				c++;
			if (c == table->ncolumns)
				report_overlap(table, axes, spots[i].row, spots[j].row);
		}
	}
}
