/*
 * load.h
 *	  Rule sets from their tables, compiled; for ruleset.c.
 */
#ifndef SF_LOAD_H
#define SF_LOAD_H

#include "postgres.h"

#include "ruleset.h"

/*
 * The set as it is stored now; an error, that says which text of it is at
 * fault, where it is not valid.  A draft (enabled = false) is returned with
 * nothing in it.
 */
extern SfRuleSet *sf_load_set(const char *name, MemoryContext parent);

/* the same with a value of its own, which may read what no rule does; nothing for a draft */
extern SfRuleSet *sf_load_set_for(const char *name, const char *goal, SfValue **value,
								  MemoryContext parent);

/* read the values of its parameters anew */
extern void sf_load_params(SfRuleSet *set, int64 param_revision);

#endif							/* SF_LOAD_H */
