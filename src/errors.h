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

/* a definition that the check at commit refuses */
#define ERRCODE_SF_INVALID_DEFINITION	MAKE_SQLSTATE('S', 'F', '0', '0', '1')
/* a handler failed in a way that has no SQLSTATE of its own */
#define ERRCODE_SF_HANDLER_FAILED		MAKE_SQLSTATE('S', 'F', '0', '0', '2')
/* the database is held after a restore */
#define ERRCODE_SF_HELD					MAKE_SQLSTATE('S', 'F', '0', '0', '3')
/* pg_cron is absent or lives in another database */
#define ERRCODE_SF_NO_PG_CRON			MAKE_SQLSTATE('S', 'F', '0', '0', '4')

#endif							/* SF_ERRORS_H */
