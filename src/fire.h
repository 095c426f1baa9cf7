/*
 * fire.h
 *	  A rule set over facts -> verdict.
 */
#ifndef SF_FIRE_H
#define SF_FIRE_H

#include "postgres.h"
#include "nodes/pg_list.h"

#include "ruleset.h"

typedef struct SfMessage
{
	char	   *text;
	char	   *code;			/* NULL: none */
	SfRule	   *rule;
	bool		denies;
	char	   *values;			/* what the rule read, for people; NULL: not asked for */
} SfMessage;

/* an event to be emitted when the row has passed */
typedef struct SfEmit
{
	char	   *event;
	char	   *subject;
	Jsonb	   *context;
} SfEmit;

typedef struct SfVerdict
{
	bool		allowed;
	List	   *fired;			/* of SfRule * */
	List	   *messages;		/* of SfMessage * */
	List	   *emits;			/* of SfEmit *, if they wait */
	Jsonb	   *result;			/* NULL: none */
	Jsonb	   *trace;			/* NULL: off */
} SfVerdict;

typedef struct SfFireOptions
{
	bool		emits_wait;		/* emits are left in the verdict */
	bool		describe;		/* fill SfMessage.values */
} SfFireOptions;

/* what a firing keeps on its way */
typedef struct SfFiring
{
	SfRuleSet  *set;
	SfFireOptions options;
	SfVerdict  *verdict;
	SfRule	   *rule;			/* at work, for error messages; NULL: none */
	int			steps;
	List	   *trace;			/* of Jsonb * */
	List	   *collecting;		/* results of a collect group; NULL where there is none */
	bool		in_collect;
	bool		stop;			/* a denial ended it */
} SfFiring;

/*
 * Begin a firing: take the set, clear its frame.  The caller then gives facts
 * and calls sf_fire_run.  Nothing is evaluated before that.  Between begin and
 * end the set is in use; an error in between is annotated by sf_fire_failed.
 */
extern void sf_fire_begin(SfRuleSet *set);
extern void sf_fire_end(SfRuleSet *set);

/* fire; everything in the verdict lives in the current memory context */
extern void sf_fire_run(SfRuleSet *set, const SfFireOptions *options, SfVerdict *verdict);

/* give facts from an object; missing ones are errors unless on_error = 'false' or `lenient` */
extern void sf_fire_give_object(SfRuleSet *set, Jsonb *facts, bool lenient);

/* value of a condition: evaluates its atoms in order until one is not true */
extern SfTruth sf_fire_condition(SfRuleSet *set, SfRule *rule);

#endif							/* SF_FIRE_H */
