/*
 * export.c
 *	  sopflow export: definitions as files.
 */
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "document.h"

const char	export_help[] =
"Usage: sopflow export [OPTION]... SOP...\n"
"       sopflow export [OPTION]... --all\n\n"
"Prints SOPs as load takes them.\n\n"
"Options:\n"
"      --format=FORMAT    yaml (default) or json\n"
"      --with-used        with the actions, calendars, rule sets and SOPs that the\n"
"                         named ones use\n"
"      --all              everything that this role may see\n";

static cJSON *
read_result(const PGresult *result, int row)
{
	char	   *error;
	cJSON	   *value = document_parse(PQgetvalue(result, row, 0),
									   (size_t) PQgetlength(result, row, 0), DOCUMENT_SERVER, NULL,
									   &error);

	if (value == NULL)
		client_fatal(EXIT_FAILED, "could not read what the server exports: %s", error);
	document_order(value);
	return value;
}

static void
print_result(const PGresult *result, bool json)
{
	int			rows = PQntuples(result);
	cJSON	   *array = cJSON_CreateArray();

	for (int i = 0; i < rows; i++)
		cJSON_AddItemToArray(array, read_result(result, i));
	if (json)
	{
		char	   *text = document_print(rows == 1 ? array->child : array, true);

		puts(text);
		free(text);
	}
	else
	{
		for (const cJSON *item = array->child; item != NULL; item = item->next)
		{
			if (item != array->child)
				puts("---");
			if (!document_print_yaml(item, stdout))
				client_fatal(EXIT_FAILED, "could not write to standard output");
		}
	}
	cJSON_Delete(array);
}

/* The names as an array of the server, to be freed. */
static char *
text_array(char *const *names, int count)
{
	char	   *text = NULL;
	size_t		size;
	FILE	   *out = open_memstream(&text, &size);

	if (out == NULL)
		client_fatal(EXIT_FAILED, "out of memory");
	fputc('{', out);
	for (int i = 0; i < count; i++)
	{
		fputs(i > 0 ? ",\"" : "\"", out);
		for (const char *s = names[i]; *s != '\0'; s++)
			fprintf(out, *s == '"' || *s == '\\' ? "\\%c" : "%c", *s);
		fputc('"', out);
	}
	fputc('}', out);
	if (fclose(out) != 0)
		client_fatal(EXIT_FAILED, "out of memory");
	return text;
}

int
cmd_export(int argc, char **argv)
{
	static const struct option longs[] = {
		{"format", required_argument, NULL, 256},
		{"with-used", no_argument, NULL, 257},
		{"all", no_argument, NULL, 258},
		{NULL, 0, NULL, 0},
	};
	const char *format = "yaml";
	bool		used = false;
	bool		all = false;
	PGconn	   *conn;
	PGresult   *result;
	char	   *names;
	const char *params[1] = {NULL};
	int			c;

	while ((c = client_getopt(argc, argv, "", longs)) != -1)
	{
		if (c == 256)
			format = optarg;
		else if (c == 257)
			used = true;
		else
			all = true;
	}
	if (strcmp(format, "yaml") != 0 && strcmp(format, "json") != 0)
		client_usage("--format must be yaml or json, not \"%s\"", format);
	if (all && (optind < argc || used))
		client_usage("--all takes neither an SOP nor --with-used");
	if (!all && optind >= argc)
		client_usage("no SOP was named");

	names = text_array(&argv[optind], argc - optind);
	params[0] = all ? NULL : names;
	conn = client_connect();
	result = client_query(conn, all || used ? "SELECT sopflow.export_file($1::text[])"
						  : "SELECT sopflow.export_sop(i) FROM pg_catalog.unnest($1::text[])"
						  " WITH ORDINALITY u(i, n) ORDER BY n", 1, params);
	print_result(result, strcmp(format, "json") == 0);
	free(names);
	PQclear(result);
	PQfinish(conn);
	return EXIT_OK;
}
