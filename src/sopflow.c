/*
 * sopflow.c
 *	  The module: each noun initialises itself.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"

#include "action.h"
#include "calendar.h"
#include "check.h"
#include "collect.h"
#include "definition.h"
#include "guc.h"
#include "ident.h"
#include "launcher.h"
#include "ruleset.h"
#include "pending.h"
#include "shm.h"
#include "utility.h"
#include "watch.h"

PG_MODULE_MAGIC;

void		_PG_init(void);

void
_PG_init(void)
{
	sf_guc_init();
	sf_shm_init();
	sf_ident_init();
	sf_action_init();
	sf_calendar_init();
	sf_definition_init();
	sf_pending_init();
	sf_check_init();
	sf_ruleset_init();
	sf_watch_init();
	sf_collect_init();
	if (process_shared_preload_libraries_in_progress)
	{
		sf_utility_init();
		sf_launcher_register();
	}
}
