/*
 * attempt.c
 *	  Something that may fail without failing the statement.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/resowner.h"

#include "attempt.h"
#include "errors.h"
#include "fire.h"

ErrorData *
sf_attempt(SfAttemptFn fn, void *arg)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData  *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		fn(arg);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	if (error != NULL && sf_error_is_fatal_to_statement(error->sqlerrcode))
		ReThrowError(error);
	return error;
}

typedef struct SfConditionAttempt
{
	SfRuleSet  *set;
	SfRule	   *rule;
	SfTruth		truth;
} SfConditionAttempt;

static void
evaluate(void *arg)
{
	SfConditionAttempt *attempt = arg;

	attempt->truth = sf_fire_condition(attempt->set, attempt->rule);
}

SfTruth
sf_attempt_condition(SfRuleSet *set, SfRule *rule, ErrorData **error)
{
	SfConditionAttempt attempt = {.set = set, .rule = rule, .truth = SF_UNKNOWN};

	*error = sf_attempt(evaluate, &attempt);
	return *error ? SF_UNKNOWN : attempt.truth;
}
