/*
 * template.h
 *	  Text with {{expressions}} -> its parts.
 */
#ifndef SF_TEMPLATE_H
#define SF_TEMPLATE_H

#include "postgres.h"
#include "nodes/pg_list.h"

/*
 * A part: literal text, or the text of an expression and what stands for a
 * null ("{{name|there}}").  "\{{" is a literal "{{".
 */
typedef struct SfTemplatePart
{
	char	   *literal;		/* NULL: expression */
	char	   *expression;
	int			start;			/* of the expression, in the text */
	char	   *otherwise;		/* NULL: none was given */
} SfTemplatePart;

/* parts of the text, of SfTemplatePart *; an error when a {{ has no }} */
extern List *sf_template_split(const char *text);

/* whether the text has any expression */
extern bool sf_template_has(const char *text, int len);

#endif							/* SF_TEMPLATE_H */
