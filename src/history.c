/*
 * history.c
 *	  Partitions of finished tasks and ended runs, one a week.
 *
 * They are ordinary tables, no members of the extension, so that pg_dump
 * dumps them with their rows.  Rows go into the partition directly, found by
 * its name, which is that of the Monday (UTC) on which its week begins.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "errors.h"
#include "guc.h"
#include "history.h"
#include "plan.h"

#define USECS_PER_WEEK	(7 * USECS_PER_DAY)

static const char *
parent_name(SfRel parent)
{
	return parent == SF_REL_HISTORY ? "history" : "run_history";
}

/* beginning of the week of a time; 2000-01-03 was a Monday */
static TimestampTz
week_of(TimestampTz at)
{
	int64		offset = at - 2 * USECS_PER_DAY;
	int64		week = offset / USECS_PER_WEEK;

	if (offset < 0 && offset % USECS_PER_WEEK != 0)
		week--;
	return week * USECS_PER_WEEK + 2 * USECS_PER_DAY;
}

static char *
date_of(TimestampTz at, const char *format)
{
	struct pg_tm tm;
	fsec_t		fsec;

	if (timestamp2tm(at, NULL, &tm, &fsec, NULL, NULL) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("timestamp out of range")));
	return psprintf(format, tm.tm_year, tm.tm_mon, tm.tm_mday);
}

static char *
partition_name(SfRel parent, TimestampTz week)
{
	return psprintf("%s_p%s", parent_name(parent), date_of(week, "%04d%02d%02d"));
}

/*
 * Two sessions may find the same partition missing: the second waits for the
 * first to commit.  One lock for both parents, taken before any row is locked
 * (sf_history_ensure), so that it is in no cycle.
 */
static void
lock_making(void)
{
	LOCKTAG		tag;

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, RelationRelationId, sf_ident_rel(SF_REL_HISTORY), 1);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
	AcceptInvalidationMessages();
}

/*
 * The parents have no indexes: attaching a table would give it those, and then
 * a restore, which attaches first, could not make the ones that were dumped.
 */
static void
make_index(const char *partition, const char *suffix, const char *columns)
{
	sf_plan_command(psprintf("CREATE INDEX %s_%s ON sopflow.%s (%s)",
							 partition, suffix, partition, columns), NULL, NULL);
}

static Oid
make_partition(SfRel parent, TimestampTz week)
{
	char	   *name = partition_name(parent, week);
	Oid			relid;

	if (sf_ident_restoring())
		ereport(ERROR,
				(errcode(ERRCODE_SF_HELD),
				 errmsg("sopflow makes no partitions while a dump is restored"),
				 errhint("Call sopflow.restored() when the restore is complete.")));
	lock_making();
	relid = sf_ident_lookup(name);
	if (OidIsValid(relid))
		return relid;
	sf_plan_command(psprintf("CREATE TABLE sopflow.%s (LIKE sopflow.%s INCLUDING ALL)",
							 name, parent_name(parent)), NULL, NULL);
	if (parent == SF_REL_HISTORY)
		make_index(name, "task", "task_id");
	else
	{
		make_index(name, "run", "run_id");
		make_index(name, "subject", "subject_id, sop_id");
	}
	sf_plan_command(psprintf("ALTER TABLE sopflow.%s ATTACH PARTITION sopflow.%s"
							 " FOR VALUES FROM ('%s 00:00:00+00') TO ('%s 00:00:00+00')",
							 parent_name(parent), name,
							 date_of(week, "%04d-%02d-%02d"),
							 date_of(week + USECS_PER_WEEK, "%04d-%02d-%02d")), NULL, NULL);
	CommandCounterIncrement();
	return sf_ident_lookup(name);
}

Oid
sf_history_partition(SfRel parent, TimestampTz at)
{
	TimestampTz week = week_of(at);
	Oid			relid = sf_ident_lookup(partition_name(parent, week));

	return OidIsValid(relid) ? relid : make_partition(parent, week);
}

/*
 * Where nothing is defined yet nothing will be finished, and a dump that is to
 * be restored here may bring the partitions with it: it holds the database from
 * its first definition on.
 */
static bool
in_use(void)
{
	return sf_plan_command("SELECT FROM sopflow.action LIMIT 1", NULL, NULL) > 0;
}

void
sf_history_ensure(TimestampTz at)
{
	static TimestampTz seen = DT_NOBEGIN;	/* a week whose partitions were there */
	static Oid	seen_of = InvalidOid;	/* of this parent: the extension may be made anew */
	TimestampTz week = week_of(at);

	if (week == seen && seen_of == sf_ident_rel(SF_REL_HISTORY))
		return;
	if (OidIsValid(sf_ident_lookup(partition_name(SF_REL_HISTORY, week))) &&
		OidIsValid(sf_ident_lookup(partition_name(SF_REL_RUN_HISTORY, week))))
	{
		seen = week;
		seen_of = sf_ident_rel(SF_REL_HISTORY);
	}
	else
	{
		/* not remembered: this transaction may be rolled back */
		PushActiveSnapshot(GetTransactionSnapshot());
		if (in_use())
		{
			(void) sf_history_partition(SF_REL_HISTORY, at);
			(void) sf_history_partition(SF_REL_RUN_HISTORY, at);
		}
		PopActiveSnapshot();
	}
}

static void
collect_name(HeapTuple tuple, TupleDesc desc, void *arg)
{
	List	  **names = arg;

	*names = lappend(*names, sf_row_text(tuple, desc, 1));
}

static void
drop_old(SfRel parent, TimestampTz horizon)
{
	List	   *names = NIL;
	ListCell   *lc;

	/* a partition is old when the week after it is: its end is not after the horizon */
	sf_plan_command(psprintf("SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
							 " WHERE i.inhparent = 'sopflow.%s'::regclass AND c.relname ~ '^%s_p[0-9]{8,}$'"
							 " AND c.relname < '%s' AND length(c.relname) = length('%s')",
							 parent_name(parent), parent_name(parent),
							 partition_name(parent, week_of(horizon)),
							 partition_name(parent, week_of(horizon))),
					collect_name, &names);
	foreach(lc, names)
		sf_plan_command(psprintf("DROP TABLE sopflow.%s", (char *) lfirst(lc)), NULL, NULL);
	if (names != NIL && parent == SF_REL_RUN_HISTORY)
		sf_plan_command("DELETE FROM sopflow.run_state s"
						" WHERE NOT EXISTS (SELECT FROM sopflow.run r WHERE r.run_id = s.run_id)"
						" AND NOT EXISTS (SELECT FROM sopflow.run_history h WHERE h.run_id = s.run_id)",
						NULL, NULL);
}

void
sf_history_maintain(TimestampTz now)
{
	static const SfRel parents[] = {SF_REL_HISTORY, SF_REL_RUN_HISTORY};
	bool		ahead = in_use();

	for (int i = 0; i < lengthof(parents); i++)
	{
		if (ahead)
		{
			(void) sf_history_partition(parents[i], now);
			(void) sf_history_partition(parents[i], now + USECS_PER_WEEK);
		}
		drop_old(parents[i], now - sf_guc_history_retention * (int64) USECS_PER_MINUTE);
	}
}
