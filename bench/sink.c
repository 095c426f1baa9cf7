/*
 * sink.c
 *	  sink CHANNEL COUNT: listen until COUNT tasks were broadcast, then print
 *	  the time (seconds since 1970) at which the last one came.  Prints "ready"
 *	  when it listens.
 */
#include "bench.h"

int
main(int argc, char **argv)
{
	PGconn	   *conn;
	long		left;

	if (argc != 3)
	{
		fprintf(stderr, "usage: sink CHANNEL COUNT\n");
		return 2;
	}
	conn = bench_connect("bench sink");
	left = atol(argv[2]);
	bench_listen(conn, argv[1]);
	puts("ready");
	fflush(stdout);
	while (left > 0)
	{
		PGnotify   *n;

		bench_wait(conn, -1);
		if (!PQconsumeInput(conn))
			bench_die("connection lost", conn);
		while ((n = PQnotifies(conn)) != NULL)
		{
			left--;
			PQfreemem(n);
		}
	}
	printf("%.6f\n", bench_real());
	PQfinish(conn);
	return 0;
}
