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
array_of(const char *kind)
{
	return strcmp(kind, "sop") == 0 ? "sops" : strcmp(kind, "action") == 0 ? "actions"
		: strcmp(kind, "calendar") == 0 ? "calendars" : "rule_sets";
}

static const char *
word_of(const char *kind)
{
	return strcmp(kind, "sop") == 0 ? "SOP" : strcmp(kind, "rule_set") == 0 ? "rule set" : kind;
}

/* Everything that the caller sees, as it stands in this transaction. */
static cJSON *
export_all(PGconn *conn, int *code)
{
	PGresult   *result = client_try_query(conn, "SELECT sopflow.export_file(NULL)", 0, NULL);
	cJSON	   *value = NULL;
	char	   *error;

	if (result != NULL)
	{
		value = document_parse(PQgetvalue(result, 0, 0), (size_t) PQgetlength(result, 0, 0),
							   DOCUMENT_JSON, NULL, &error);
		if (value == NULL)
			client_error("could not read what the server exports: %s", error);
		else
			document_order(value);
		free(error);
	}
	else
		*code = client_lost(conn) ? EXIT_CONNECTION : EXIT_FAILED;
	PQclear(result);
	return value;
}

static const cJSON *
find_object(const cJSON *file, const char *kind, const char *name)
{
	const cJSON *array = cJSON_GetObjectItemCaseSensitive(file, array_of(kind));
	const cJSON *item;

	cJSON_ArrayForEach(item, array)
	{
		const cJSON *theirs = cJSON_GetObjectItemCaseSensitive(item, "id");

		if (theirs == NULL)
			theirs = cJSON_GetObjectItemCaseSensitive(item, "name");
		if (cJSON_IsString(theirs) && strcmp(theirs->valuestring, name) == 0)
			return item;
	}
	return NULL;
}

/* A line for each object that changes, with its fields where before and after are given. */
static void
print_changes(const PGresult *result, const cJSON *before, const cJSON *after)
{
	for (int i = 0; i < PQntuples(result); i++)
	{
		const char *kind = PQgetvalue(result, i, 0);
		const char *name = PQgetvalue(result, i, 1);
		const char *change = PQgetvalue(result, i, 2);
		const cJSON *old = find_object(before, kind, name);
		const cJSON *new = find_object(after, kind, name);
		cJSON	   *nothing;

		if (strcmp(change, "unchanged") == 0)
			continue;
		printf("%s \"", word_of(kind));
		print_text(stdout, name);
		printf("\" %s%s\n", after != NULL ? "would be " : "", change);
		if (new == NULL)
			continue;
		nothing = cJSON_CreateObject();
		diff_print(stdout, old != NULL ? old : nothing, new);
		cJSON_Delete(nothing);
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
	fflush(stdout);
	client_info("%d created, %d changed, %d unchanged%s", created, changed, rows - created - changed,
				dry ? "; nothing was written" : "");
}

/* A statement of the transaction; false after it has said what is wrong. */
static bool
step(PGconn *conn, const char *sql, int *code)
{
	PGresult   *result = client_try_query(conn, sql, 0, NULL);

	if (result == NULL)
		*code = client_lost(conn) ? EXIT_CONNECTION : EXIT_FAILED;
	PQclear(result);
	return result != NULL;
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
		(!dry || (before = export_all(conn, &code)) != NULL) &&
		(result = fileset_load(set, conn, &code)) != NULL &&
		(!dry || (after = export_all(conn, &code)) != NULL) &&
		/* what is checked at commit is checked before the rollback, too */
		step(conn, dry ? "SET CONSTRAINTS ALL IMMEDIATE" : "COMMIT", &code);
	if (ok)
	{
		code = EXIT_OK;
		if (!options.quiet || dry)
			print_changes(result, before, after);
		print_sum(result, dry);
	}
	if (PQtransactionStatus(conn) != PQTRANS_IDLE)
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
