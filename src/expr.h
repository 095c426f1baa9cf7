/*
 * expr.h
 *	  SQL expressions that users write: text -> raw parse tree, and values -> text
 *	  and jsonb.
 */
#ifndef SF_EXPR_H
#define SF_EXPR_H

#include "postgres.h"
#include "fmgr.h"
#include "nodes/nodes.h"
#include "utils/jsonb.h"

/*
 * Parse the text of one expression; an error, with the cursor at the fault in
 * this text, when it is anything else.  Locations in the tree count in the
 * text.
 */
extern Node *sf_expr_raw(const char *text);

/*
 * Set standard_conforming_strings until the current nesting level of settings
 * ends: what is stored is read alike in every session.
 */
extern void sf_expr_fix_strings(void);

/*
 * While an expression is read: errors point into its text, and their context
 * is `what`.  Push with sf_expr_begin, pop with sf_expr_end.
 */
typedef struct SfExprContext
{
	ErrorContextCallback callback;
	const char *text;
	const char *what;
} SfExprContext;

extern void sf_expr_begin(SfExprContext *context, const char *text, const char *what);
extern void sf_expr_end(SfExprContext *context);

/* the functions that show values of a type, looked up on first use */
typedef struct SfOutput
{
	void	   *owner;			/* an allocated chunk, in whose context they are kept */
	FmgrInfo	text;
	FmgrInfo	json;
	bool		has_text;
	bool		has_json;
} SfOutput;

extern char *sf_output_text(SfOutput *output, Oid type, Datum value);
/* never NULL; a null is the jsonb null */
extern Jsonb *sf_output_json(SfOutput *output, Oid type, Datum value, bool isnull);

/* put a jsonb value into a JsonbValue that can be pushed */
extern void sf_json_value(Jsonb *jb, JsonbValue *value);

#endif							/* SF_EXPR_H */
