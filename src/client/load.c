/*
 * load.c
 *	  sopflow load and validate: definitions from files.
 */
#include <stdlib.h>
#include <string.h>

#include "diff.h"
#include "load.h"
#include "print.h"

const char	load_help[] =
"Usage: sopflow load [OPTION]... FILE...\n\n"
"Makes SOPs, actions, calendars and rule sets what files in YAML or JSON (.json)\n"
"say, all files in one transaction. - is the standard input. What is as the file\n"
"says is left alone. A fault in one file changes nothing, and is named with file\n"
"and line.\n\n"
"Options:\n"
"      --dry-run          change nothing, print what would change\n"
"      --watch            load each file again when it changes, until ended by\n"
"                         SIGTERM or SIGINT; a file with a fault changes nothing\n";

const char	validate_help[] =
"Usage: sopflow validate [OPTION]... FILE...\n\n"
"Checks files as load would, by the server, and changes nothing.\n\n"
"Options:\n"
"      --offline          check the syntax only, without a server\n";

/* by the words of load_sop() */
static const char *
word_of(const char *kind)
{
	return strcmp(kind, "sop") == 0 ? "SOP" : strcmp(kind, "rule_set") == 0 ? "rule set" : kind;
}

/* One object as it stands in this transaction, or null; NULL after an error. */
static cJSON *
export_object(PGconn *conn, const char *kind, const char *name, int *code)
{
	const char *params[2] = {kind, name};
	PGresult   *result = client_try_query(conn, "SELECT sopflow.sop_file_export($1, $2)", 2, params);
	cJSON	   *value = NULL;
	char	   *error;

	if (result == NULL)
		*code = client_lost(conn) ? EXIT_CONNECTION : EXIT_FAILED;
	else if (PQgetisnull(result, 0, 0))
		value = cJSON_CreateNull();
	else
	{
		value = document_parse(PQgetvalue(result, 0, 0), (size_t) PQgetlength(result, 0, 0),
							   DOCUMENT_SERVER, NULL, &error);
		if (value == NULL)
			client_error("could not read what the server exports of %s \"%s\": %s", word_of(kind),
						 name, error);
		else
			document_order(value);
		free(error);
	}
	PQclear(result);
	return value;
}

/* An element for each row of what load_sop() tells: what changed as it stands now, else null. */
static cJSON *
export_changed(PGconn *conn, const PGresult *changes, int *code)
{
	cJSON	   *array = cJSON_CreateArray();

	for (int i = 0; i < PQntuples(changes); i++)
	{
		cJSON	   *value = strcmp(PQgetvalue(changes, i, 2), "unchanged") == 0 ? cJSON_CreateNull() :
			export_object(conn, PQgetvalue(changes, i, 0), PQgetvalue(changes, i, 1), code);

		if (value == NULL)
		{
			cJSON_Delete(array);
			return NULL;
		}
		cJSON_AddItemToArray(array, value);
	}
	return array;
}

/* A line for each object that changes, with its fields where before and after are given. */
static void
print_changes(const PGresult *result, const cJSON *before, const cJSON *after)
{
	const cJSON *old = before != NULL ? before->child : NULL;
	const cJSON *new = after != NULL ? after->child : NULL;

	for (int i = 0; i < PQntuples(result); i++)
	{
		const char *change = PQgetvalue(result, i, 2);

		if (strcmp(change, "unchanged") != 0)
		{
			printf("%s \"", word_of(PQgetvalue(result, i, 0)));
			print_text(stdout, PQgetvalue(result, i, 1));
			printf("\" %s%s\n", after != NULL ? "would be " : "", change);
			if (new != NULL)
				diff_print(stdout, old, new);
		}
		old = old != NULL ? old->next : NULL;
		new = new != NULL ? new->next : NULL;
	}
}

static void
print_sum(const PGresult *result, bool dry)
{
	int			created = 0;
	int			changed = 0;
	int			rows = PQntuples(result);

	for (int i = 0; i < rows; i++)
	{
		created += strcmp(PQgetvalue(result, i, 2), "created") == 0;
		changed += strcmp(PQgetvalue(result, i, 2), "changed") == 0;
	}
	client_flush();
	client_info("%d created, %d changed, %d unchanged%s", created, changed, rows - created - changed,
				dry ? "; nothing was written" : "");
}

/* A statement of the transaction; false after it has said what is wrong. */
static bool
step(PGconn *conn, const char *sql, int *code)
{
	PGresult   *result = client_exec(conn, sql, 0, NULL);
	bool		ok = PQresultStatus(result) == PGRES_COMMAND_OK;

	if (!ok)
		*code = client_failed(conn, result);
	PQclear(result);
	return ok;
}

/* What the load has changed, after it and, once it is undone, before it. */
static bool
read_changes(PGconn *conn, const PGresult *result, cJSON **before, cJSON **after, int *code)
{
	return (*after = export_changed(conn, result, code)) != NULL &&
		step(conn, "ROLLBACK TO SAVEPOINT load", code) &&
		(*before = export_changed(conn, result, code)) != NULL;
}

int
load_set(const FileSet *set, PGconn *conn, bool dry)
{
	PGresult   *result = NULL;
	cJSON	   *before = NULL;
	cJSON	   *after = NULL;
	int			code = EXIT_FAILED;
	bool		ok;

	ok = step(conn, "BEGIN", &code) &&
		(!dry || step(conn, "SAVEPOINT load", &code)) &&
		(result = fileset_load(set, conn, &code)) != NULL &&
		/* what is checked at commit is checked before the rollback, too */
		step(conn, dry ? "SET CONSTRAINTS ALL IMMEDIATE" : "COMMIT", &code) &&
		(!dry || read_changes(conn, result, &before, &after, &code));
	if (ok)
	{
		code = EXIT_OK;
		if (!options.quiet || dry)
			print_changes(result, before, after);
		print_sum(result, dry);
		if (!dry && !client_flush())
			client_warn("the files were loaded, although what changed could not be printed");
	}
	if (!client_lost(conn) && PQtransactionStatus(conn) != PQTRANS_IDLE)
		PQclear(PQexec(conn, "ROLLBACK"));
	PQclear(result);
	cJSON_Delete(before);
	cJSON_Delete(after);
	return code;
}

int
cmd_load(int argc, char **argv)
{
	static const struct option longs[] = {
		{"dry-run", no_argument, NULL, 256},
		{"watch", no_argument, NULL, 257},
		{NULL, 0, NULL, 0},
	};
	bool		dry = false;
	bool		watch = false;
	FileSet		set;
	PGconn	   *conn;
	int			code = EXIT_INVALID;
	int			c;

	while ((c = client_getopt(argc, argv, "", longs)) != -1)
	{
		if (c == 256)
			dry = true;
		else
			watch = true;
	}
	if (optind >= argc)
		client_usage("no file was given");
	if (dry && watch)
		client_usage("--dry-run and --watch cannot be used together");
	if (watch)
		return load_watch(&argv[optind], argc - optind);

	if (fileset_read(&set, &argv[optind], argc - optind))
	{
		conn = client_connect();
		code = load_set(&set, conn, dry);
		PQfinish(conn);
	}
	fileset_free(&set);
	return code;
}

static int
validate_by_server(const FileSet *set)
{
	PGconn	   *conn = client_connect();
	PGresult   *result = NULL;
	int			code = EXIT_FAILED;

	if (step(conn, "BEGIN", &code) && (result = fileset_load(set, conn, &code)) != NULL &&
		step(conn, "SET CONSTRAINTS ALL IMMEDIATE", &code))
		code = EXIT_OK;
	PQclear(result);
	PQclear(PQexec(conn, "ROLLBACK"));
	PQfinish(conn);
	return code;
}

int
cmd_validate(int argc, char **argv)
{
	static const struct option longs[] = {
		{"offline", no_argument, NULL, 256},
		{NULL, 0, NULL, 0},
	};
	bool		offline = false;
	FileSet		set;
	int			code = EXIT_INVALID;

	while (client_getopt(argc, argv, "", longs) != -1)
		offline = true;
	if (optind >= argc)
		client_usage("no file was given");

	if (fileset_read(&set, &argv[optind], argc - optind))
		code = offline ? EXIT_OK : validate_by_server(&set);
	if (code == EXIT_OK)
		client_info("%d %s valid%s", set.file_count, set.file_count == 1 ? "file is" : "files are",
					offline ? " in syntax" : "");
	fileset_free(&set);
	return code;
}
