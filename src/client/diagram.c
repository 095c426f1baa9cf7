/*
 * diagram.c
 *	  sopflow diagram: an SOP as Mermaid or DOT.
 */
#include <string.h>

#include "client.h"

const char	diagram_help[] =
"Usage: sopflow diagram [OPTION]... SOP\n\n"
"Prints an SOP as a diagram for Mermaid or Graphviz.\n\n"
"Options:\n"
"      --format=FORMAT    mermaid (default) or dot\n"
"      --counts           with the tasks that wait at each node now\n";

int
cmd_diagram(int argc, char **argv)
{
	static const struct option longs[] = {
		{"format", required_argument, NULL, 256},
		{"counts", no_argument, NULL, 257},
		{NULL, 0, NULL, 0},
	};
	const char *params[3] = {NULL, "mermaid", "false"};
	PGconn	   *conn;
	PGresult   *result;
	int			c;

	while ((c = client_getopt(argc, argv, "", longs)) != -1)
	{
		if (c == 256)
			params[1] = optarg;
		else
			params[2] = "true";
	}
	if (strcmp(params[1], "mermaid") != 0 && strcmp(params[1], "dot") != 0)
		client_usage("--format must be mermaid or dot, not \"%s\"", params[1]);
	if (argc - optind != 1)
		client_usage("one SOP must be named");
	params[0] = argv[optind];

	conn = client_connect();
	result = client_query(conn, "SELECT sopflow.diagram($1, $2, $3::bool)", 3, params);
	puts(PQgetvalue(result, 0, 0));
	PQclear(result);
	PQfinish(conn);
	return EXIT_OK;
}
