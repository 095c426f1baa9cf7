/*
 * explain.h
 *	  What a compiled rule set is, and why its rules do or do not trigger.
 */
#ifndef SF_EXPLAIN_H
#define SF_EXPLAIN_H

#include "postgres.h"
#include "nodes/pg_list.h"

#include "ruleset.h"

/*
 * Lines of text.  With facts, which must have been given: conditions are
 * evaluated too, inside sf_ruleset_enter.
 */
extern List *sf_explain(SfRuleSet *set, bool with_facts);

#endif							/* SF_EXPLAIN_H */
