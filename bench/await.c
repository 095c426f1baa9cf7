/*
 * await.c
 *	  await TIMEOUT_S INTERVAL_MS SQL: run SQL until it returns true, then print
 *	  the time (seconds since 1970) at which it did.
 *
 * No transaction or snapshot is held between two looks.
 */
#include "bench.h"

int
main(int argc, char **argv)
{
	PGconn	   *conn;
	double		give_up;

	if (argc != 4)
	{
		fprintf(stderr, "usage: await TIMEOUT_S INTERVAL_MS SQL\n");
		return 2;
	}
	conn = bench_connect("bench await");
	/* a look must not depend on statistics either */
	bench_exec(conn, "SET enable_seqscan = off");
	bench_prepare(conn, "look", argv[3]);
	give_up = bench_mono() + atof(argv[1]);
	for (;;)
	{
		PGresult   *res = bench_check(conn, PQexecPrepared(conn, "look", 0, NULL, NULL, NULL, 0));
		int			yes = PQntuples(res) > 0 && strcmp(PQgetvalue(res, 0, 0), "t") == 0;

		PQclear(res);
		if (yes)
			break;
		if (bench_mono() > give_up)
		{
			fprintf(stderr, "gave up after %s s waiting for: %s\n", argv[1], argv[3]);
			return 1;
		}
		poll(NULL, 0, atoi(argv[2]));
	}
	printf("%.6f\n", bench_real());
	PQfinish(conn);
	return 0;
}
