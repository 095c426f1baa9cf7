/*
 * guc.c
 *	  Settings of the module, in alphabetical order.
 *
 * Limits are the macros of guc.h, used by setting and message alike.
 */
#include "postgres.h"

#include <errno.h>
#include <limits.h>

#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/varlena.h"

#include "clock.h"
#include "guc.h"

int			sf_guc_batch_size = SF_DEFAULT_BATCH_SIZE;
char	   *sf_guc_clock = NULL;
char	   *sf_guc_databases = NULL;
int			sf_guc_history_retention = SF_DEFAULT_RETENTION_MIN;
int			sf_guc_max_databases = SF_DEFAULT_MAX_DATABASES;
int			sf_guc_reconcile_interval = SF_DEFAULT_RECONCILE_S;
char	   *sf_guc_rep_id = NULL;
bool		sf_guc_restoring = false;
int			sf_guc_workers = SF_DEFAULT_WORKERS;

static bool
check_databases(char **newval, void **extra, GucSource source)
{
	char	   *list = pstrdup(*newval);
	List	   *names = NIL;
	bool		valid = SplitIdentifierString(list, ',', &names);

	if (!valid)
		GUC_check_errdetail("List syntax is invalid.");
	list_free(names);
	pfree(list);
	return valid;
}

/* a number, or nothing */
static bool
check_rep_id(char **newval, void **extra, GucSource source)
{
	char	   *end;

	if ((*newval)[0] == '\0')
		return true;
	errno = 0;
	(void) strtoll(*newval, &end, 10);
	if (errno == 0 && *end == '\0' && end != *newval)
		return true;
	GUC_check_errdetail("It must be the rep_id of a sales rep, or empty.");
	return false;
}

void
sf_guc_init(void)
{
	DefineCustomIntVariable("sopflow.batch_size",
							"Tasks that one transaction of the worker carries out.",
							NULL,
							&sf_guc_batch_size,
							SF_DEFAULT_BATCH_SIZE, SF_MIN_BATCH_SIZE, SF_MAX_BATCH_SIZE,
							PGC_SIGHUP, 0, NULL, NULL, NULL);

	DefineCustomStringVariable("sopflow.clock",
							   "Time that sopflow takes as now, for tests; empty: the real time.",
							   "A timestamp with time zone.",
							   &sf_guc_clock,
							   "",
							   PGC_SUSET, 0,
							   sf_clock_check, sf_clock_assign, NULL);

	DefineCustomStringVariable("sopflow.databases",
							   "Databases that the launcher looks for the extension in.",
							   "A list separated by commas; * for all, empty for none.",
							   &sf_guc_databases,
							   "*",
							   PGC_SIGHUP, GUC_LIST_INPUT,
							   check_databases, NULL, NULL);

	DefineCustomIntVariable("sopflow.history_retention",
							"How long finished tasks and ended runs are kept.",
							"They leave by whole weekly partitions.",
							&sf_guc_history_retention,
							SF_DEFAULT_RETENTION_MIN, SF_MIN_RETENTION_MIN, SF_MAX_RETENTION_MIN,
							PGC_SIGHUP, GUC_UNIT_MIN, NULL, NULL, NULL);

	/* without preload it means nothing, but may stay in postgresql.conf */
	DefineCustomIntVariable("sopflow.max_databases",
							"Databases of the server that can have a worker.",
							NULL,
							&sf_guc_max_databases,
							SF_DEFAULT_MAX_DATABASES, SF_MIN_DATABASES, SF_MAX_MAX_DATABASES,
							process_shared_preload_libraries_in_progress ?
							PGC_POSTMASTER : PGC_SIGHUP,
							0, NULL, NULL, NULL);

	DefineCustomIntVariable("sopflow.reconcile_interval",
							"How often the worker looks for tasks that no commit announced.",
							NULL,
							&sf_guc_reconcile_interval,
							SF_DEFAULT_RECONCILE_S, SF_MIN_RECONCILE_S, SF_MAX_RECONCILE_S,
							PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);

	DefineCustomStringVariable("sopflow.rep_id",
							   "Sales rep on whose behalf a role that is no rep itself asks for leads.",
							   "Read by the CRM pack; empty: nobody.",
							   &sf_guc_rep_id,
							   "",
							   PGC_USERSET, 0,
							   check_rep_id, NULL, NULL);

	DefineCustomBoolVariable("sopflow.restoring",
							 "Take definitions as they are and hold the database, while a dump is restored.",
							 NULL,
							 &sf_guc_restoring,
							 false,
							 PGC_SUSET, 0, NULL, NULL, NULL);

	DefineCustomIntVariable("sopflow.workers",
							"Workers in each database that has the extension.",
							NULL,
							&sf_guc_workers,
							SF_DEFAULT_WORKERS, 1, SF_MAX_WORKERS,
							PGC_SIGHUP, 0, NULL, NULL, NULL);

	MarkGUCPrefixReserved("sopflow");
}
