/*
 * fire.h
 *	  A rule set over facts -> verdict.
 */
#ifndef SF_FIRE_H
#define SF_FIRE_H

#include "postgres.h"
#include "nodes/pg_list.h"

#include "event.h"
#include "ruleset.h"

typedef struct SfMessage
{
	char	   *text;
	char	   *code;			/* NULL: none */
	SfRule	   *rule;
	bool		denies;
	char	   *values;			/* what the rule read, for people; NULL: not asked for */
} SfMessage;

/* an event that is to be emitted when the row has passed */
typedef struct SfEmission
{
	char	   *name;
	SfEvent		event;
} SfEmission;

/* lives until sf_fire_end */
typedef struct SfVerdict
{
	bool		allowed;
	List	   *fired;			/* of SfRule * */
	List	   *messages;		/* of SfMessage * */
	List	   *emissions;		/* of SfEmission *, if they wait */
	Jsonb	   *result;			/* NULL: none */
	List	   *trace;			/* of Jsonb * */
} SfVerdict;

typedef struct SfFireOptions
{
	bool		emits_wait;		/* they are left in the verdict */
	bool		describe;		/* fill SfMessage.values */
} SfFireOptions;

/* a firing on its way */
typedef struct SfFiring
{
	SfRuleSet  *set;
	const SfFireOptions *options;
	SfVerdict  *verdict;
	SfRule	   *rule;			/* at work; NULL: none */
	SfRule	   *left_out;		/* by before_evaluate, just now */
	const char *doing;			/* what is being done with it, for messages */
	const char *object;			/* and with what; NULL: nothing more to say */
	int			steps;			/* rules fired */
	bool		stop;			/* a denial ends it */
	List	   *collecting;		/* results of a collect group, of Jsonb * */
	bool		collect;
} SfFiring;

/*
 * Begin: the set is in use until sf_fire_end, or an error.  In between the
 * caller gives facts, within sf_ruleset_enter, and calls sf_fire_run.
 */
extern void sf_fire_begin(SfRuleSet *set);
extern void sf_fire_end(SfRuleSet *set);

/*
 * Give facts from an object with one key a fact.  A missing one is an error,
 * with on_error = 'false' or `lenient` one of the rules that read it.
 */
extern void sf_fire_give_object(SfRuleSet *set, Jsonb *facts, bool lenient);

/* facts that were not given and have no query are errors, unless on_error = 'false' */
extern void sf_fire_demand_facts(SfRuleSet *set);

/* fire, within sf_ruleset_enter */
extern void sf_fire_run(SfRuleSet *set, const SfFireOptions *options, SfVerdict *verdict);

/* value of a condition: its atoms in order, until one is not true */
extern SfTruth sf_fire_condition(SfRuleSet *set, SfRule *rule);

/* the same in a subtransaction: the error that it raised, if any */
extern SfTruth sf_fire_attempt_condition(SfRuleSet *set, SfRule *rule, ErrorData **error);

/* whether the rule's `valid` says that it is in force now */
extern bool sf_fire_in_force(const SfRule *rule);

/* ---- in act.c ---- */

/* carry out the actions of a rule whose condition is true */
extern void sf_act(SfFiring *firing, SfRule *rule);

/*
 * Carry out a set action: all values are found first, so that they see the
 * facts as they were.  *object is the field at work, for messages; the slots
 * that changed are added to *changed, if it is there.
 */
extern void sf_act_assign(SfRuleSet *set, SfRuleAction *action, const char **object,
						  Bitmapset **changed);

/* call a hook, if the set has it; the value it returns, or true */
extern bool sf_act_hook(SfFiring *firing, SfHook hook, const SfRule *rule, SfTruth triggered,
						const char *error);

/* add to the verdict's result */
extern void sf_act_result(SfFiring *firing, Jsonb *object);

/* ---- in denial.c ---- */

/* what an error SF010 said */
typedef struct SfDenial
{
	char	   *code;			/* of the first denial; NULL: none */
	char	   *text;			/* of all denials, a line each */
	char	   *rule;			/* the first that denied */
	char	   *rule_set;
	char	   *detail;			/* with the values that were read */
} SfDenial;

/* the last one of this session, valid until the next; NULL: there was none */
extern const SfDenial *sf_fire_denial(void);

/* keep what the verdict says, which denies, as the last one */
extern const SfDenial *sf_fire_keep_denial(const SfRuleSet *set, const SfVerdict *verdict);

#endif							/* SF_FIRE_H */
