/*
 * streak.c
 *	  Failures in a row of an action, and alerts.
 *
 * Counted in memory while a ledger is open; the rows of sopflow.action_state
 * are touched only when a streak begins, grows or ends.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/stratnum.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"

#include "hold.h"
#include "ledger.h"
#include "plan.h"
#include "shm.h"
#include "streak.h"

/* failures in a row of one action within this call */
typedef struct SfStreak
{
	int32		action_id;		/* hash key, must be first */
	const SfAction *action;
	bool		succeeded;		/* at least once */
	int			before;			/* failures before the first success */
	int			longest;		/* most failures between two successes */
	int			failures;		/* since the last success */
} SfStreak;

void
sf_ledger_outcome(SfLedger *ledger, const SfAction *action, bool failed)
{
	HTAB	  **streaks = sf_ledger_streaks(ledger);
	SfStreak   *streak;
	bool		found;

	if (*streaks == NULL)
	{
		HASHCTL		ctl = {0};

		ctl.keysize = sizeof(int32);
		ctl.entrysize = sizeof(SfStreak);
		ctl.hcxt = sf_ledger_context(ledger);
		*streaks = hash_create("sopflow streaks", 16, &ctl,
									  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	streak = hash_search(*streaks, &action->action_id, HASH_ENTER, &found);
	if (!found)
	{
		streak->action = action;
		streak->succeeded = false;
		streak->before = streak->longest = streak->failures = 0;
	}
	if (failed)
		streak->failures++;
	else
	{
		if (!streak->succeeded)
			streak->before = streak->failures;
		else
			streak->longest = Max(streak->longest, streak->failures);
		streak->succeeded = true;
		streak->failures = 0;
	}
}

void
sf_ledger_alert(SfLedger *ledger, const char *kind, const char *action,
				const char *sop_id, int64 task_id, const char *message)
{
	Datum		values[6];
	char		nulls[6] = {' ', ' ', ' ', ' ', ' ', ' '};

	values[0] = TimestampTzGetDatum(sf_ledger_now(ledger));
	values[1] = CStringGetTextDatum(kind);
	values[2] = action ? CStringGetTextDatum(action) : (Datum) 0;
	nulls[2] = action ? ' ' : 'n';
	values[3] = sop_id ? CStringGetTextDatum(sop_id) : (Datum) 0;
	nulls[3] = sop_id ? ' ' : 'n';
	values[4] = Int64GetDatum(task_id);
	nulls[4] = task_id != 0 ? ' ' : 'n';
	values[5] = CStringGetTextDatum(message);
	sf_plan_run(SF_PLAN_ALERT, values, nulls, NULL, NULL);
	/* the worker sends it */
	sf_shm_note_due(sf_ledger_now(ledger));
}

static void
read_failures(HeapTuple tuple, TupleDesc desc, void *arg)
{
	int		   *result = arg;

	result[0] = sf_row_int32(tuple, desc, 1, 0);
	result[1] = sf_row_bool(tuple, desc, 2);
}

static int
compare_streaks(const ListCell *a, const ListCell *b)
{
	int32		x = ((SfStreak *) lfirst(a))->action_id;
	int32		y = ((SfStreak *) lfirst(b))->action_id;

	return (x > y) - (x < y);
}

static void
alert_failures(SfLedger *ledger, const SfAction *action, int failures)
{
	sf_ledger_alert(ledger, "failures", action->name, NULL, 0,
					psprintf("action \"%s\" failed %d times in a row", action->name, failures));
}

static void
add_failures(SfLedger *ledger, const SfAction *action, int failures)
{
	Datum		values[3];
	char		nulls[3] = {' ', ' ', ' '};
	int			result[2] = {0, 0};

	values[0] = Int32GetDatum(action->action_id);
	values[1] = Int32GetDatum(failures);
	values[2] = Int32GetDatum(action->alert_after);
	nulls[2] = action->alert_after > 0 ? ' ' : 'n';
	sf_plan_run(SF_PLAN_FAILURE, values, nulls, read_failures, result);
	if (result[1])
		alert_failures(ledger, action, result[0]);
}

/* whether failures of the action are counted */
static bool
has_streak(SfLedger *ledger, const SfAction *action)
{
	SfScan	   *scan = sf_ledger_scan(ledger, SF_REL_ACTION_STATE_PKEY);
	ScanKeyData key;

	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_INT4EQ, Int32GetDatum(action->action_id));
	sf_scan_start(scan, &key, 1);
	return sf_scan_next(scan);
}

static void
end_streak(SfLedger *ledger, const SfAction *action)
{
	Datum		values[1] = {Int32GetDatum(action->action_id)};

	if (has_streak(ledger, action))
		sf_plan_run(SF_PLAN_SUCCESS, values, NULL, NULL, NULL);
}

/*
 * The rows of action_state are touched only when a streak of failures begins,
 * grows or ends, in the order of their key.
 */
void
sf_streak_settle(SfLedger *ledger, HTAB *table)
{
	HASH_SEQ_STATUS seq;
	SfStreak   *streak;
	List	   *streaks = NIL;
	ListCell   *lc;

	if (table == NULL)
		return;
	hash_seq_init(&seq, table);
	while ((streak = hash_seq_search(&seq)) != NULL)
		streaks = lappend(streaks, streak);
	list_sort(streaks, compare_streaks);
	foreach(lc, streaks)
	{
		int			alert_after;

		streak = lfirst(lc);
		alert_after = streak->action->alert_after;
		if (streak->failures == 0 && streak->before == 0 && streak->longest == 0 &&
			!has_streak(ledger, streak->action))
			continue;
		/* a count that is missed now and then costs less than a worker that waits */
		if (!sf_hold_failures(streak->action_id, !sf_ledger_hurries(ledger)))
			continue;
		/* one that began in an earlier call may have come to its alert in this */
		if (streak->before > 0 && alert_after > 0)
		{
			add_failures(ledger, streak->action, streak->before);
			sf_ledger_renew(ledger);
		}
		if (streak->succeeded)
			end_streak(ledger, streak->action);
		if (alert_after > 0 && streak->longest >= alert_after)
			alert_failures(ledger, streak->action, streak->longest);
		if (streak->failures > 0)
			add_failures(ledger, streak->action, streak->failures);
	}
}
