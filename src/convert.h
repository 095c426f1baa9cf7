/*
 * convert.h
 *	  Texts of rule files in MVEL and SpEL -> SQL.
 */
#ifndef SF_CONVERT_H
#define SF_CONVERT_H

#include "postgres.h"
#include "utils/jsonb.h"

/* bytes of a text that is converted */
#define SF_CONVERT_MAX_LENGTH	100000

typedef enum SfLanguage
{
	SF_LANGUAGE_SQL,
	SF_LANGUAGE_MVEL,
	SF_LANGUAGE_SPEL
} SfLanguage;

/* an error where there is no such language; case does not count */
extern SfLanguage sf_convert_language(const char *name);

/*
 * A condition as an SQL expression.  Errors point into the text, and name
 * `path`, its place in a rule file, where that is not NULL.
 */
extern char *sf_convert_expression(const char *text, SfLanguage language, const char *path);

/* statements as an array of rule actions */
extern Jsonb *sf_convert_action(const char *text, SfLanguage language, const char *path);

#endif							/* SF_CONVERT_H */
