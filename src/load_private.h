/*
 * load_private.h
 *	  Between reading a rule set's rows and compiling them.
 */
#ifndef SF_LOAD_PRIVATE_H
#define SF_LOAD_PRIVATE_H

#include "load.h"
#include "rule.h"

typedef struct SfLoad SfLoad;

/*
 * Where else expressions over facts may come from.  head fills name, owner and
 * path of the set and says that it is enabled, facts adds to the frame, texts
 * compiles values; the last two call sf_load_step for what may be at fault.
 */
typedef struct SfLoadSource
{
	const char *noun;			/* what it is, for messages */
	void		(*head)(SfLoad *load, void *arg);
	void		(*facts)(SfLoad *load, void *arg);
	void		(*texts)(SfLoad *load, void *arg);
} SfLoadSource;

struct SfLoad
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
	char	   *prefix;			/* of the message of a fault, after sf_load_at; NULL: none */
	const SfLoadSource *source; /* NULL: the tables of rule sets */
	void	   *source_arg;
};

typedef struct SfRuleRow
{
	SfRule		rule;
	char	   *group;			/* NULL: none */
	int64		seq;
	Expr	   *planned;		/* the condition */
} SfRuleRow;

/*
 * A set made from such a source, in a context of its own under the current one.
 * With `collect` faults are kept in the load and the set may be incomplete.
 */
extern SfRuleSet *sf_load_made(SfLoad *load, const SfLoadSource *source, void *arg);

/* a part of the work; when all faults are wanted, its failure is one of them */
typedef void (*SfStep)(SfLoad *load, void *arg);
extern void sf_load_step(SfLoad *load, SfStep step, void *arg);

/* a step: compile the query of the fact of this number (int *) */
extern void sf_load_lookup(SfLoad *load, void *arg);

/* what is read or compiled from now on, for error messages */
extern void sf_load_at(SfLoad *load, const char *table, const char *rule, const char *column);

/* the row of load->set; an error when there is none */
extern void sf_load_read_set(SfLoad *load);

/* what belongs to it; parameters also by themselves, into a context of their own */
extern void sf_load_read_tables(SfLoad *load);
extern void sf_load_read_params(SfLoad *load);

#endif							/* SF_LOAD_PRIVATE_H */
