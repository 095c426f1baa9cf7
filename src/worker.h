/*
 * worker.h
 *	  One scheduler of one database: carries out what is due at its exact time.
 */
#ifndef SF_WORKER_H
#define SF_WORKER_H

#include "postgres.h"
#include "postmaster/bgworker.h"

/* what the launcher hands a worker in bgw_extra */
typedef struct SfWorkerArgs
{
	Oid			dboid;
	int			worker;			/* its number, from 0 */
} SfWorkerArgs;

StaticAssertDecl(sizeof(SfWorkerArgs) <= BGW_EXTRALEN,
				 "the arguments of a worker must fit in bgw_extra");

#define SF_WORKER_MAIN	"sopflow_worker_main"
#define SF_WORKER_TYPE	"sopflow worker"

/*
 * SIGTERM of the launcher and the workers: while busy as die() does it, at the
 * next interrupt check; while waiting by a flag, so that an ordinary shutdown
 * leaves nothing in the log.
 */
extern void sf_worker_signals(int stop_code);	/* exit code after SIGTERM */
extern void sf_worker_set_busy(bool busy);	/* exits if SIGTERM has come */

extern PGDLLEXPORT void sopflow_worker_main(Datum arg);

#endif							/* SF_WORKER_H */
