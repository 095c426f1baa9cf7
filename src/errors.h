/*
 * errors.h
 *	  SQLSTATEs of the module's own class, listed in README.md.
 *
 * Class SF is free for extensions: the standard reserves classes beginning
 * with 0-4 and A-H only.
 */
#ifndef SF_ERRORS_H
#define SF_ERRORS_H

#include "utils/elog.h"
#include "utils/errcodes.h"

/* a definition that the check at commit refuses */
#define ERRCODE_SF_INVALID_DEFINITION	MAKE_SQLSTATE('S', 'F', '0', '0', '1')
/* a handler failed in a way that has no SQLSTATE of its own */
#define ERRCODE_SF_HANDLER_FAILED		MAKE_SQLSTATE('S', 'F', '0', '0', '2')
/* the database is held after a restore */
#define ERRCODE_SF_HELD					MAKE_SQLSTATE('S', 'F', '0', '0', '3')
/* pg_cron is absent or lives in another database */
#define ERRCODE_SF_NO_PG_CRON			MAKE_SQLSTATE('S', 'F', '0', '0', '4')
/* a rule denied what a statement wanted to do */
#define ERRCODE_SF_DENIED				MAKE_SQLSTATE('S', 'F', '0', '1', '0')
/* a fact that the caller must give was not given */
#define ERRCODE_SF_MISSING_FACT			MAKE_SQLSTATE('S', 'F', '0', '1', '1')
/* more rules fired than max_steps allows */
#define ERRCODE_SF_TOO_MANY_STEPS		MAKE_SQLSTATE('S', 'F', '0', '1', '2')
/* several rows of a decision table hit, and its policy allows one, or one outcome */
#define ERRCODE_SF_SEVERAL_HITS			MAKE_SQLSTATE('S', 'F', '0', '1', '3')

/*
 * Whether an error concerns the whole transaction or the server: the statement
 * is to be ended or tried again, whatever part of it met the error.  Two are of
 * the caller's making, by lock_timeout and by the depth from which it calls.
 */
static inline bool
sf_error_is_fatal_to_statement(int sqlerrcode)
{
	return ERRCODE_TO_CATEGORY(sqlerrcode) == ERRCODE_TRANSACTION_ROLLBACK ||
		ERRCODE_TO_CATEGORY(sqlerrcode) == ERRCODE_INSUFFICIENT_RESOURCES ||
		ERRCODE_TO_CATEGORY(sqlerrcode) == ERRCODE_OPERATOR_INTERVENTION ||
		sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE || sqlerrcode == ERRCODE_STATEMENT_TOO_COMPLEX;
}

#endif							/* SF_ERRORS_H */
