/*
 * script.h
 *	  The expressions of an SOP version: conditions, links, templates.
 *
 * They are compiled as those of rule sets are, over the facts event, subject
 * and run, and evaluated as the SOP's owner.  Errors in them are errors of
 * whoever calls: see sf_attempt.
 */
#ifndef SF_SCRIPT_H
#define SF_SCRIPT_H

#include "postgres.h"

#include "definition.h"
#include "ledger.h"

typedef enum SfVerdictOf
{
	SF_IS_NULL = -1,
	SF_IS_FALSE,
	SF_IS_TRUE
} SfVerdictOf;

/* called for each thing that is wrong; `rule` is the node, NULL: the SOP itself */
struct SfRuleFault;
typedef void (*SfScriptFault)(const struct SfRuleFault *fault, void *arg);

/* compile everything that a draft says */
extern void sf_script_check(SfVersion *version, Oid owner, Oid subject_relation,
							const char *subject_key, SfScriptFault fault, void *arg);

/* the condition of a node */
extern SfVerdictOf sf_script_condition(const SfRun *run, int node);

/* which links of a node are to be taken, in their order; `first`: no more than one */
extern int	sf_script_links(const SfRun *run, int node, bool first, int *to);

/* params of a node with its templates filled in, in the current memory context */
extern Jsonb *sf_script_params(const SfRun *run, int node);

/* the subject's time zone as its row has it; NULL: none */
extern char *sf_script_zone(const SfRun *run);

/* the facts of these names (of event, subject, run) as an object, for a rule set */
extern Jsonb *sf_script_facts(const SfRun *run, const List *names);

#endif							/* SF_SCRIPT_H */
