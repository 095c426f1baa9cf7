/*
 * streak.h
 *	  What streak.c and ledger.c share; callers use ledger.h.
 */
#ifndef SF_STREAK_H
#define SF_STREAK_H

#include "postgres.h"
#include "utils/hsearch.h"

#include "ledger.h"

extern MemoryContext sf_ledger_context(SfLedger *ledger);
extern HTAB **sf_ledger_streaks(SfLedger *ledger);
extern bool sf_ledger_hurries(SfLedger *ledger);

/* write down what was counted, when the ledger is closed */
extern void sf_streak_settle(SfLedger *ledger, HTAB *table);

#endif							/* SF_STREAK_H */
