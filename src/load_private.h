/*
 * load_private.h
 *	  Between reading a rule set's rows and compiling them.
 */
#ifndef SF_LOAD_PRIVATE_H
#define SF_LOAD_PRIVATE_H

#include "load.h"
#include "rule.h"

typedef struct SfLoad
{
	SfCompile	compile;
	SfRuleSet  *set;
	List	   *scopes;			/* texts of param_scopes */
	List	   *rules;			/* of SfRuleRow */
	List	   *groups;			/* of SfGroup * */
	List	   *quotas;			/* of SfQuota * */
	List	   *params;			/* of SfParam * */
	const char *goal;			/* text of a value besides; NULL: none */
	SfValue    *goal_value;
	bool		collect;		/* go on after a fault */
	List	   *faults;			/* of SfRuleFault *, then */
} SfLoad;

typedef struct SfRuleRow
{
	SfRule		rule;
	char	   *group;			/* NULL: none */
	int64		seq;
	Expr	   *planned;		/* the condition */
} SfRuleRow;

/* what is read or compiled from now on, for error messages */
extern void sf_load_at(SfLoad *load, const char *table, const char *rule, const char *column);

/* the row of load->set; an error when there is none */
extern void sf_load_read_set(SfLoad *load);

/* what belongs to it; parameters also by themselves, into a context of their own */
extern void sf_load_read_tables(SfLoad *load);
extern void sf_load_read_params(SfLoad *load);

#endif							/* SF_LOAD_PRIVATE_H */
