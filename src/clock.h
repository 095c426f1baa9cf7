/*
 * clock.h
 *	  The time.  Nothing else in the module reads it.
 */
#ifndef SF_CLOCK_H
#define SF_CLOCK_H

#include "postgres.h"
#include "datatype/timestamp.h"
#include "utils/guc.h"

/* the time now, or that of sopflow.clock */
extern TimestampTz sf_clock_now(void);

/* the time of the transaction, or that of sopflow.clock */
extern TimestampTz sf_clock_transaction(void);

/* the time now whatever sopflow.clock says: for measuring and for waiting */
extern TimestampTz sf_clock_real(void);

/* the real time when the client's statement began: it tells statements apart */
extern TimestampTz sf_clock_statement(void);

/* whether sopflow.clock is set */
extern bool sf_clock_is_set(void);

/*
 * Take this for the time, until it is set back to what is returned, also after
 * an error.  For looking ahead only: nothing is written meanwhile.
 */
extern TimestampTz sf_clock_set(TimestampTz at);

/* GUC hooks */
extern bool sf_clock_check(char **newval, void **extra, GucSource source);
extern void sf_clock_assign(const char *newval, void *extra);

#endif							/* SF_CLOCK_H */
