/*
 * decisiontable.h
 *	  Decision tables: cells of a relation -> conditions, and rows that overlap.
 */
#ifndef SF_DECISIONTABLE_H
#define SF_DECISIONTABLE_H

#include "postgres.h"
#include "fmgr.h"

/* what the cells of a column hold */
typedef enum SfCellKind
{
	SF_CELL_TEST,				/* text: a test, see sf_table_conditions */
	SF_CELL_VALUE,				/* the value that the field must have */
	SF_CELL_RANGE,				/* the range that it must be in */
	SF_CELL_LIST				/* an array of the values that it may have */
} SfCellKind;

typedef struct SfTableColumn
{
	char	   *name;			/* of the relation's column */
	Oid			column_type;
	char	   *field;			/* as conditions write it */
	Oid			type;			/* of the field; InvalidOid: part of a jsonb fact, untyped */
	Oid			collation;
	/* filled in by sf_table_conditions */
	SfCellKind	kind;
	Oid			element;		/* RANGE, LIST: type of what is in it */
	bool		is_string;		/* literals are taken as they are */
	FmgrInfo	read;			/* input and output of the field's type, if it has one */
	Oid			read_param;
	FmgrInfo	show;
	FmgrInfo	read_cell;		/* RANGE, LIST */
	Oid			read_cell_param;
	FmgrInfo	show_element;
} SfTableColumn;

typedef struct SfTable
{
	char	   *name;
	int			ncolumns;
	SfTableColumn *columns;
	int			nrows;
	char	  **rules;			/* names, by row */
	char	  **cells;			/* by row, then column; NULL: any value */
} SfTable;

/*
 * The condition of each row: its cells' tests, joined by "and" in the order of
 * the columns.  With `is_unique`, an error where two rows overlap.
 *
 * A cell of a text column is one of
 *		= 5  <> 5  != 5  < 5  <= 5  > 5  >= 5  between 1 and 5  in (1, 2)
 *		not in (1, 2)  [1..5]  (1..5]  [1..5)  (1..5)  [1..)  (..5]
 *		is null  is not null  like 'a%'  ilike 'a%'  not TEST
 *		TEST and TEST  TEST or TEST
 * or else the value itself.  A literal may be put in single quotes.
 */
extern char **sf_table_conditions(SfTable *table, bool is_unique);

#endif							/* SF_DECISIONTABLE_H */
