/*
 * consumer.c
 *	  One consumer: fetch a batch, acknowledge it, fetch the next.
 *
 * The same loop serves sopflow (fetch, ack_many) and the plain-SQL floor (a
 * move to a history table inside a transaction), so that both pay the same
 * client.  Handling a task costs nothing here.
 */
#include "bench.h"

static PGconn *conn;
static int	pipeline;
static int	commit;				/* COMMIT acknowledges */
static long round_trips;

/* growing text of a bigint[] */
typedef struct Array
{
	char	   *text;
	size_t		len;
	size_t		size;
} Array;

static void
array_reset(Array *a)
{
	a->len = 0;
}

static void
array_add(Array *a, const char *value)
{
	size_t		n = strlen(value);

	if (a->len + n + 3 > a->size)
		a->text = realloc(a->text, a->size = (a->len + n + 3) * 2);
	a->text[a->len] = a->len ? ',' : '{';
	a->len++;
	memcpy(a->text + a->len, value, n);
	a->len += n;
}

static const char *
array_close(Array *a)
{
	strcpy(a->text + a->len, "}");
	return a->text;
}

/* next result of a pipelined statement, whose end and Sync are swallowed */
static PGresult *
pipelined(void)
{
	PGresult   *res = bench_check(conn, PQgetResult(conn));

	PQclear(PQgetResult(conn));
	PQclear(PQgetResult(conn));
	return res;
}

static void
send_plain(const char *sql)
{
	if (!PQsendQueryParams(conn, sql, 0, NULL, NULL, NULL, NULL, 0) || !PQpipelineSync(conn))
		bench_die("send", conn);
}

static void
send_prepared(const char *name, int n, const char *const *values)
{
	if (!PQsendQueryPrepared(conn, name, n, values, NULL, NULL, 0) || !PQpipelineSync(conn))
		bench_die("send", conn);
}

static PGresult *
fetch(void)
{
	if (pipeline)
	{
		if (commit)
			send_plain("BEGIN");
		send_prepared("fetch", 0, NULL);
		round_trips++;
		if (commit)
			PQclear(pipelined());
		return pipelined();
	}
	if (commit)
	{
		bench_exec(conn, "BEGIN");
		round_trips++;
	}
	round_trips++;
	return bench_check(conn, PQexecPrepared(conn, "fetch", 0, NULL, NULL, NULL, 0));
}

/*
 * Acknowledge; where pipelined, fetch the next batch in the same round trip,
 * and, since nothing separates the two, in the same transaction.
 */
static PGresult *
ack(const char *const *values)
{
	if (pipeline)
	{
		if (commit)
			send_plain("COMMIT");
		else if (!PQsendQueryPrepared(conn, "ack", 2, values, NULL, NULL, 0))
			bench_die("send", conn);
		if (commit)
			send_plain("BEGIN");
		send_prepared("fetch", 0, NULL);
		round_trips++;
		if (commit)
		{
			PQclear(pipelined());
			PQclear(pipelined());
		}
		else
		{
			PQclear(bench_check(conn, PQgetResult(conn)));
			PQclear(PQgetResult(conn));
		}
		return pipelined();
	}
	round_trips++;
	if (commit)
		bench_exec(conn, "COMMIT");
	else
		PQclear(bench_check(conn, PQexecPrepared(conn, "ack", 2, values, NULL, NULL, 0)));
	return NULL;
}

int
main(int argc, char **argv)
{
	static struct option options[] = {
		{"fetch", required_argument, NULL, 'f'},	/* columns: id, token, ... */
		{"ack", required_argument, NULL, 'a'},	/* $1 ids, $2 tokens */
		{"commit", no_argument, NULL, 'c'},
		{"count", required_argument, NULL, 'n'},	/* 0: until killed */
		{"listen", required_argument, NULL, 'l'},
		{"poll", required_argument, NULL, 'p'}, /* ms between looks when idle */
		{"pipeline", no_argument, NULL, 'P'},
		{"start", required_argument, NULL, 's'},	/* count time from here */
		{NULL, 0, NULL, 0}
	};
	const char *fetch_sql = NULL;
	const char *ack_sql = NULL;
	const char *channel = NULL;
	double		idle_ms = 10;
	double		start = 0;
	long		wanted = 0;
	long		done = 0;
	long		batches = 0;
	Array		ids = {0};
	Array		tokens = {0};
	PGresult   *res = NULL;
	struct rusage ru;
	int			c;
	double		elapsed;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (c)
		{
			case 'f':
				fetch_sql = optarg;
				break;
			case 'a':
				ack_sql = optarg;
				break;
			case 'c':
				commit = 1;
				break;
			case 'n':
				wanted = atol(optarg);
				break;
			case 'l':
				channel = optarg;
				break;
			case 'p':
				idle_ms = atof(optarg);
				break;
			case 'P':
				pipeline = 1;
				break;
			case 's':
				start = atof(optarg);
				break;
			default:
				return 2;
		}
	if (!fetch_sql || !(ack_sql || commit))
	{
		fprintf(stderr, "usage: consumer --fetch SQL (--ack SQL | --commit) [--count N] [--listen CHANNEL] [--poll MS] [--pipeline] [--start EPOCH]\n");
		return 2;
	}

	conn = bench_connect("bench consumer");
	bench_prepare(conn, "fetch", fetch_sql);
	if (ack_sql)
		bench_prepare(conn, "ack", ack_sql);
	if (channel)
		bench_listen(conn, channel);
	puts("ready");
	fflush(stdout);
	if (pipeline && !PQenterPipelineMode(conn))
		bench_die("pipeline", conn);
	if (start == 0)
		start = bench_real();

	while (wanted == 0 || done < wanted)
	{
		const char *values[2];
		int			n;

		if (res == NULL)
			res = fetch();
		n = PQntuples(res);
		if (n == 0)
		{
			PGnotify   *notify;

			PQclear(res);
			res = NULL;
			if (commit)
			{
				if (pipeline)
				{
					send_plain("COMMIT");
					PQclear(pipelined());
				}
				else
					bench_exec(conn, "COMMIT");
			}
			if ((notify = PQnotifies(conn)) == NULL)
			{
				bench_wait(conn, channel ? 1000 : idle_ms);
				if (channel && !PQconsumeInput(conn))
					bench_die("connection lost", conn);
				notify = PQnotifies(conn);
			}
			while (notify)
			{
				PQfreemem(notify);
				notify = PQnotifies(conn);
			}
			continue;
		}
		array_reset(&ids);
		array_reset(&tokens);
		for (int i = 0; i < n; i++)
		{
			array_add(&ids, PQgetvalue(res, i, 0));
			array_add(&tokens, PQgetvalue(res, i, 1));
		}
		PQclear(res);
		values[0] = array_close(&ids);
		values[1] = array_close(&tokens);
		res = ack(values);
		done += n;
		batches++;
	}
	elapsed = bench_real() - start;
	getrusage(RUSAGE_SELF, &ru);
	printf("tasks=%ld seconds=%.6f per_s=%.1f batches=%ld round_trips=%ld cpu_ms=%.1f\n",
		   done, elapsed, (double) done / elapsed, batches, round_trips,
		   ((double) ru.ru_utime.tv_sec + (double) ru.ru_stime.tv_sec) * 1e3 +
		   ((double) ru.ru_utime.tv_usec + (double) ru.ru_stime.tv_usec) / 1e3);
	PQclear(res);
	PQfinish(conn);
	return 0;
}
