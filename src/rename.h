/*
 * rename.h
 *	  Other names for fields of new and old in the texts of rules.
 */
#ifndef SF_RENAME_H
#define SF_RENAME_H

#include "postgres.h"

typedef struct SfRename
{
	char	   *from;
	char	   *to;
	bool		whole;			/* TO is an expression in the place of the field */
} SfRename;

/*
 * The SQL text with new.FROM and old.FROM as new.TO and old.TO, all at once.
 * Names in strings and comments, and parts of longer names, stay as they are.
 * An error where the text has no end of a string or comment.
 */
extern char *sf_rename_in_sql(const char *text, const SfRename *names, int nnames);

/* the same in the {{expressions}} of a text, see template.h */
extern char *sf_rename_in_template(const char *text, const SfRename *names, int nnames);

#endif							/* SF_RENAME_H */
