/*
 * path.c
 *	  A search_path that is saved with a user's code, and set while it runs.
 *
 * Temporary tables belong to whoever is connected, not to the one with whose
 * rights the code runs: they must not stand for the tables that it means.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "nodes/pg_list.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/varlena.h"

#include "path.h"

static char *
temp_last(const char *path)
{
	List	   *names;
	ListCell   *lc;

	if (!SplitIdentifierString(pstrdup(path), ',', &names))
		return pstrdup(path);
	foreach(lc, names)
		if (strcmp(lfirst(lc), "pg_temp") == 0)
			return pstrdup(path);
	return names == NIL ? pstrdup("pg_temp") : psprintf("%s, pg_temp", path);
}

SfPath
sf_path_make(const char *saved)
{
	SfPath		path = {NULL, NULL};

	if (saved != NULL)
	{
		path.saved = pstrdup(saved);
		path.temp_last = temp_last(saved);
	}
	return path;
}

void
sf_path_set(const SfPath *path)
{
	Oid			temp;
	Oid			temp_toast;

	if (path->saved == NULL)
		return;
	GetTempNamespaceState(&temp, &temp_toast);
	/* without temporary tables it is all one where they come */
	if (OidIsValid(temp) || strcmp(path->saved, namespace_search_path) != 0)
		(void) set_config_option("search_path", path->temp_last, PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
}
