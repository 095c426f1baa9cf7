/*
 * rule.h
 *	  Texts of rules -> expressions; for ruleset.c.
 */
#ifndef SF_RULE_H
#define SF_RULE_H

#include "postgres.h"
#include "nodes/pg_list.h"

#include "ruleset.h"

/* a rule set that is being compiled */
typedef struct SfCompile
{
	SfRuleSet  *set;
	List	   *nodes;			/* analysed expressions, to be planned together */
	List	   *places;			/* of Expr **: where each goes when it is planned */
	List	   *values;			/* of SfValue * */
	MemoryContext planning;		/* of these lists, until all is planned */
	MemoryContext parsing;		/* of one text */
	/* what is being read, for error messages */
	const char *table;
	const char *rule;			/* or fact, quota, ...; NULL: the set itself */
	const char *column;
} SfCompile;

/* an expression; target: the type it is coerced to, InvalidOid: as it is */
extern SfValue *sf_compile_value(SfCompile *compile, const char *text, Oid target, int32 typmod,
								 bool volatile_ok);

/* a condition; *place gets the planned expression */
extern void sf_compile_condition(SfCompile *compile, const char *text, Expr **place);

extern SfText *sf_compile_text(SfCompile *compile, const char *text);
extern SfJsonText *sf_compile_json(SfCompile *compile, Jsonb *json);
extern void sf_compile_actions(SfCompile *compile, SfRule *rule);

/* a looked-up fact or a quota; facts of a number below `below` are in scope */
extern SfQuery *sf_compile_query(SfCompile *compile, const char *query, int below,
								 TupleDesc *columns);

/* a function by its qualified name, that the set's owner may have called */
extern Oid	sf_compile_function(SfCompile *compile, const char *name, int nargs, Oid *types,
								Oid result);

/*
 * Values of the type are made and shown: constraints of domains and casts to
 * json are the code of users, too, also those of columns and elements.
 */
extern void sf_compile_note_type(SfRuleSet *set, Oid type);

/* plan all expressions, and put them into their places */
extern void sf_compile_plan(SfCompile *compile);

#endif							/* SF_RULE_H */
