/*
 * attempt.h
 *	  Something that may fail without failing the statement.
 */
#ifndef SF_ATTEMPT_H
#define SF_ATTEMPT_H

#include "postgres.h"

/*
 * Call fn(arg) in a subtransaction.  Its error is caught, the subtransaction
 * rolled back and the error returned; NULL: there was none.  Errors of the
 * SQLSTATE classes 40, 53 and 57, which concern more than this, are not caught.
 */
typedef void (*SfAttemptFn)(void *arg);
extern ErrorData *sf_attempt(SfAttemptFn fn, void *arg);

#endif							/* SF_ATTEMPT_H */
