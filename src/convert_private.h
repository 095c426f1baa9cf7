/*
 * convert_private.h
 *	  What the files of the converter share.
 */
#ifndef SF_CONVERT_PRIVATE_H
#define SF_CONVERT_PRIVATE_H

#include "postgres.h"
#include "lib/stringinfo.h"
#include "nodes/pg_list.h"

#include "scan.h"

/* how tightly PostgreSQL's parser binds what was written */
typedef enum SfBinding
{
	BIND_OR,
	BIND_AND,
	BIND_NOT,
	BIND_IS,
	BIND_COMPARE,
	BIND_CONCAT,
	BIND_SUM,
	BIND_PRODUCT,
	BIND_MINUS,
	BIND_TERM
} SfBinding;

typedef enum SfSqlKind
{
	KIND_ANY,
	KIND_NULL,
	KIND_STRING,
	KIND_INTEGER,				/* a literal */
	KIND_FRACTION				/* a literal */
} SfSqlKind;

/* what was written for a part of the text */
typedef struct SfSql
{
	StringInfoData text;
	SfBinding	binding;
	SfSqlKind	kind;
	bool		is_path;		/* a fact or a field of one */
	List	   *parts;			/* STRING: of SfPart *, for messages */
} SfSql;

typedef struct SfPart
{
	char	   *literal;		/* NULL: expression */
	char	   *sql;
} SfPart;

extern SfSql *sf_convert_parse(SfScan *scan);
extern SfSql *sf_convert_fact(SfScan *scan);
extern SfSql *sf_convert_member(SfScan *scan, SfSql *object);
extern SfSql *sf_convert_demand(SfScan *scan, SfSql *sql, const char *at);
extern List *sf_convert_parts(SfSql *sql);
extern void sf_convert_append_name(StringInfo buf, const char *name);
extern bool sf_convert_has_prefix(const char *name, const char *prefix);

#endif							/* SF_CONVERT_PRIVATE_H */
