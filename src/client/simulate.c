/*
 * simulate.c
 *	  sopflow simulate: what an SOP would do, and when.
 */
#include "client.h"
#include "print.h"

const char	simulate_help[] =
"Usage: sopflow simulate [OPTION]... SOP\n\n"
"Prints what would happen when to a subject for which the SOP starts. Nothing\n"
"is written.\n\n"
"Options:\n"
"      --from=TIME        time of the event (default: now)\n"
"      --context=JSON     context of the event, a JSON object\n"
"      --subject=ID       subject whose row is read\n"
"      --json             print an array of objects\n";

int
cmd_simulate(int argc, char **argv)
{
	static const struct option longs[] = {
		{"from", required_argument, NULL, 256},
		{"context", required_argument, NULL, 257},
		{"subject", required_argument, NULL, 258},
		{"json", no_argument, NULL, 259},
		{NULL, 0, NULL, 0},
	};
	static const char table_sql[] =
		"SELECT * FROM sopflow.simulate($1, coalesce($2::timestamptz, sopflow.now()),"
		" coalesce($3::jsonb, '{}'), $4)";
	static const char json_sql[] =
		"SELECT coalesce(pg_catalog.json_agg(s)::text, '[]')"
		" FROM sopflow.simulate($1, coalesce($2::timestamptz, sopflow.now()),"
		" coalesce($3::jsonb, '{}'), $4) s";
	const char *params[4] = {NULL};
	bool		json = false;
	PGconn	   *conn;
	PGresult   *result;
	int			c;

	while ((c = client_getopt(argc, argv, "", longs)) != -1)
	{
		if (c == 259)
			json = true;
		else
			params[c - 255] = optarg;
	}
	if (argc - optind != 1)
		client_usage("one SOP must be named");
	params[0] = argv[optind];

	conn = client_connect();
	result = client_query(conn, json ? json_sql : table_sql, 4, params);
	if (json)
		puts(PQgetvalue(result, 0, 0));
	else
		print_table(stdout, result);
	PQclear(result);
	PQfinish(conn);
	return EXIT_OK;
}
