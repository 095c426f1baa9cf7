/*
 * token.h
 *	  Where a run is in its graph: each token is a task of the node that it is at.
 *
 * A move takes the tokens that follow the end of one task to their nodes, under
 * the lock of the run.
 */
#ifndef SF_TOKEN_H
#define SF_TOKEN_H

#include "postgres.h"

#include "ledger.h"
#include "memory.h"

typedef struct SfMove
{
	SfLedger   *ledger;
	SfRun	   *run;
	int			step;			/* of the task that ended */
	bool		retried;		/* it had failed before */
	int16		shard;
	TimestampTz at;				/* when it ended */
	SfMemory   *memory;			/* read when it is needed */
	bool		changed;		/* and to be written */
	bool		placed;			/* there is a task that follows */
} SfMove;

extern void sf_move_begin(SfMove *move, SfLedger *ledger, SfRun *run, const SfTask *task,
						  TimestampTz at);
extern SfMemory *sf_move_memory(SfMove *move);

/* a token comes to the node */
extern void sf_move_to(SfMove *move, int node);
extern void sf_move_end(SfMove *move);

/* the first token or tokens of a run; `at` is the time of its event */
extern void sf_token_start(SfLedger *ledger, SfRun *run, int16 shard);

/* release tokens at joins that nothing else can come to any more; for ledger.c */
extern void sf_token_settle(SfLedger *ledger, SfRun *run);

/*
 * When a node that is reached at `at` is due, without regard to its calendar;
 * of a wait without time-out: never.
 */
extern TimestampTz sf_token_due(const SfRun *run, int node, TimestampTz at);

/* `at` or, where the node keeps to a calendar, its next opening; raises no error for the zone */
extern TimestampTz sf_token_open(const SfRun *run, int node, TimestampTz at);

/*
 * Which of the parked tokens may go on: -1 or its index.  nodes are those of
 * all tokens in the order of their steps.  Pure, for the simulation, too.
 */
extern int	sf_token_release(SfVersion *version, const int *nodes, const bool *parked, int n);

#endif							/* SF_TOKEN_H */
