/*
 * decisiontable_private.h
 *	  What decisiontable.c, cell.c and overlap.c share.
 */
#ifndef SF_DECISIONTABLE_PRIVATE_H
#define SF_DECISIONTABLE_PRIVATE_H

#include "postgres.h"

#include "compat.h"
#include "decisiontable.h"

/* a constant in a test */
typedef struct SfLiteral
{
	Oid			type;			/* of value */
	Datum		value;
	char	   *sql;
} SfLiteral;

typedef enum SfTestKind
{
	SF_TEST_ANY,				/* always true */
	SF_TEST_NEVER,				/* always false */
	SF_TEST_COMPARE,			/* operator and one literal */
	SF_TEST_IN,					/* one of the literals */
	SF_TEST_NULL,				/* is null */
	SF_TEST_LIKE,				/* operator and one literal */
	SF_TEST_NOT,
	SF_TEST_AND,
	SF_TEST_OR
} SfTestKind;

typedef enum SfCompare
{
	SF_COMPARE_EQ,
	SF_COMPARE_NE,
	SF_COMPARE_LT,
	SF_COMPARE_LE,
	SF_COMPARE_GT,
	SF_COMPARE_GE
} SfCompare;

typedef struct SfTest
{
	SfTestKind	kind;
	SfCompare	compare;
	const char *like;			/* LIKE: like or ilike */
	int			nliterals;
	SfLiteral  *literals;
	struct SfTest *left;		/* NOT, AND, OR */
	struct SfTest *right;		/* AND, OR */
	char	   *sql;			/* of the whole cell, at its top */
} SfTest;

/* where the reading of cells is */
typedef struct SfCellReader
{
	SfTable    *table;
	SfTableColumn *column;
	int			row;			/* from 1 */
	const char *p;				/* in the text of the cell */
	MemoryContext context;
} SfCellReader;

extern SfTest *sf_test_make(SfTestKind kind, SfTest *left, SfTest *right);
extern SfTest *sf_test_compare(SfCompare compare, SfLiteral literal);
extern void sf_test_add_literal(SfTest *test, SfLiteral literal);

/* AND of what there is of the two */
extern SfTest *sf_test_both(SfTest *left, SfTest *right);

/* the text as a value of the field; an error, with row and column, where it is none */
extern SfLiteral sf_cell_literal(SfCellReader *reader, const char *text, bool quoted);

/* the test that a text stands for */
extern SfTest *sf_cell_read_text(SfCellReader *reader, const char *cell);

sf_noreturn extern void sf_cell_fault(SfCellReader *reader, const char *hint, const char *fmt,...)
			pg_attribute_printf(3, 4);

/* what: "row N, column C: reason", or more of it */
sf_noreturn extern void sf_table_fault(SfTable *table, const char *what, const char *detail,
									   const char *hint);

/* an error when two rows can be true at the same time; by row, then column */
extern void sf_table_refuse_overlap(SfTable *table, SfTest **tests);

#endif							/* SF_DECISIONTABLE_PRIVATE_H */
