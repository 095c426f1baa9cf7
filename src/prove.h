/*
 * prove.h
 *	  Backward chaining: from a goal to the rules that give it, and their proof.
 */
#ifndef SF_PROVE_H
#define SF_PROVE_H

#include "postgres.h"
#include "utils/jsonb.h"

#include "ruleset.h"

typedef struct SfProved
{
	bool		proved;
	Jsonb	   *value;			/* of the goal; NULL: none */
	Jsonb	   *proof;
} SfProved;

/*
 * Prove a value over the set's facts, inside sf_ruleset_enter; those that were
 * not given are unset.  Changes the facts as far as rules set them, and carries
 * nothing else out.
 */
extern void sf_prove(SfRuleSet *set, SfValue *goal, SfProved *result);

#endif							/* SF_PROVE_H */
