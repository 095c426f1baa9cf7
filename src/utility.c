/*
 * utility.c
 *	  The ProcessUtility hook: gets the workers out of the way of commands that
 *	  they would block, and tells the launcher of those that concern it.
 *
 * The one hard fact: a database in which any process is connected can be
 * neither dropped, renamed, moved nor copied, and core waits five seconds at
 * most before it says so.  So the workers have to be gone before, and to stay
 * away until the command's transaction has ended, either way.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/syscache.h"

#include "ident.h"
#include "shm.h"
#include "utility.h"

#define SF_EXTENSION "sopflow"

static ProcessUtility_hook_type prev_process_utility = NULL;

static void process_utility(PlannedStmt *pstmt, const char *query, bool read_only_tree,
							ProcessUtilityContext context, ParamListInfo params,
							QueryEnvironment *environment, DestReceiver *dest,
							QueryCompletion *completion);
static void clear_the_way(Node *command);
static void note_command(Node *command);
static void clear_database(const char *name, bool template_will_do);
static void clear_this_database(void);
static bool may_change_extension(void);
static const char *string_option(List *options, const char *name);
static bool is_our_extension(const char *name);
static bool drops_our_extension(DropStmt *drop);

void
sf_utility_init(void)
{
	/* pg_upgrade builds the extension piece by piece, and no worker is about */
	if (!process_shared_preload_libraries_in_progress || IsBinaryUpgrade)
		return;
	prev_process_utility = ProcessUtility_hook;
	ProcessUtility_hook = process_utility;
}

static void
process_utility(PlannedStmt *pstmt, const char *query, bool read_only_tree,
				ProcessUtilityContext context, ParamListInfo params,
				QueryEnvironment *environment, DestReceiver *dest,
				QueryCompletion *completion)
{
	/*
	 * A bad name or option is core's to report, so none of this does.  What is
	 * noted takes effect if the transaction commits; afterwards the command's
	 * tree may be gone.
	 */
	if (sf_shm_available())
	{
		clear_the_way(pstmt->utilityStmt);
		note_command(pstmt->utilityStmt);
	}

	if (prev_process_utility)
		prev_process_utility(pstmt, query, read_only_tree, context, params,
							 environment, dest, completion);
	else
		standard_ProcessUtility(pstmt, query, read_only_tree, context, params,
								environment, dest, completion);
}

/* Have workers leave that would be in the way. */
static void
clear_the_way(Node *command)
{
	const char *name;

	switch (nodeTag(command))
	{
		case T_DropdbStmt:
			clear_database(((DropdbStmt *) command)->dbname, false);
			break;
		case T_RenameStmt:
			if (((RenameStmt *) command)->renameType == OBJECT_DATABASE)
				clear_database(((RenameStmt *) command)->subname, false);
			break;
		case T_AlterDatabaseStmt:
			if (string_option(((AlterDatabaseStmt *) command)->options, "tablespace") != NULL)
				clear_database(((AlterDatabaseStmt *) command)->dbname, false);
			break;
		case T_CreatedbStmt:
			name = string_option(((CreatedbStmt *) command)->options, "template");
			if (name != NULL)
				clear_database(name, true);
			break;
		case T_AlterExtensionStmt:
			if (is_our_extension(((AlterExtensionStmt *) command)->extname))
				clear_this_database();
			break;
		case T_AlterExtensionContentsStmt:
			if (is_our_extension(((AlterExtensionContentsStmt *) command)->extname))
				clear_this_database();
			break;
		case T_DropStmt:
			if (drops_our_extension((DropStmt *) command))
				clear_this_database();
			break;
		default:
			break;
	}
}

/* What the launcher and the workers shall look at once this is committed. */
static void
note_command(Node *command)
{
	switch (nodeTag(command))
	{
		case T_CreateExtensionStmt:
			if (is_our_extension(((CreateExtensionStmt *) command)->extname))
				sf_shm_note_extension(false);
			break;
		case T_AlterExtensionStmt:
			if (is_our_extension(((AlterExtensionStmt *) command)->extname))
				sf_shm_note_extension(false);
			break;
		case T_DropStmt:
			if (drops_our_extension((DropStmt *) command))
				sf_shm_note_extension(true);
			break;
		case T_CreatedbStmt:
		case T_DropdbStmt:
		case T_AlterDatabaseStmt:
			sf_shm_note_databases();
			break;
		case T_RenameStmt:
			if (((RenameStmt *) command)->renameType == OBJECT_DATABASE)
				sf_shm_note_databases();
			break;
		default:
			break;
	}
}

/*
 * Have the workers of a database leave, if the user may do to it what the
 * command does: its owner, or for a copy of a template anybody.  If they do not
 * go in time, core's error names the reason.
 */
static void
clear_database(const char *name, bool template_will_do)
{
	Oid			dboid = get_database_oid(name, true);
	HeapTuple	tuple;
	bool		allowed = false;

	if (!OidIsValid(dboid))
		return;
	tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(dboid));
	if (HeapTupleIsValid(tuple))
	{
		Form_pg_database form = (Form_pg_database) GETSTRUCT(tuple);

		allowed = has_privs_of_role(GetUserId(), form->datdba) ||
			(template_will_do && form->datistemplate);
		ReleaseSysCache(tuple);
	}
	if (!allowed)
		return;
	sf_shm_hold(dboid);
	(void) sf_shm_hold_wait(dboid);
}

/*
 * Have the workers of this database leave until the transaction ends, so that
 * none runs the module's code over tables that an update script changes, and
 * none makes DROP EXTENSION wait for a batch of slow handlers.
 */
static void
clear_this_database(void)
{
	if (!may_change_extension())
		return;
	sf_shm_hold(MyDatabaseId);
	if (!sf_shm_hold_wait(MyDatabaseId))
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("could not stop the sopflow workers of this database"),
				 errhint("Try again, or set sopflow.databases so that they stay away.")));
}

/* Whether the user owns the extension; core's error says so if not. */
static bool
may_change_extension(void)
{
	Oid			extension = sf_ident_extension();

	return OidIsValid(extension) && has_privs_of_role(GetUserId(), sf_ident_owner());
}

/* The string value of an option, or NULL when it is not given as one. */
static const char *
string_option(List *options, const char *name)
{
	ListCell   *cell;

	foreach(cell, options)
	{
		DefElem    *option = lfirst_node(DefElem, cell);

		if (strcmp(option->defname, name) == 0 &&
			option->arg != NULL && IsA(option->arg, String))
			return defGetString(option);
	}
	return NULL;
}

static bool
is_our_extension(const char *name)
{
	return name != NULL && strcmp(name, SF_EXTENSION) == 0;
}

static bool
drops_our_extension(DropStmt *drop)
{
	ListCell   *cell;

	if (drop->removeType != OBJECT_EXTENSION)
		return false;
	foreach(cell, drop->objects)
		if (is_our_extension(strVal(lfirst(cell))))
			return true;
	return false;
}
