/*
 * latency.c
 *	  How long until a task is in the hands of a client.
 *
 * Two connections in one process and one poll: a producer and a listener.
 *
 * latency --rate R --count N --send SQL --listen CHANNEL [--fetch SQL --ack SQL]
 *	  N tasks due now, R a second ($1 of SQL: the subject, 0 to N - 1).
 *	  "seen": the notification's arrival minus the moment the producer saw its
 *	  commit succeed.  "call": the same minus the moment it sent the statement.
 *	  "hand": with --fetch, the moment the task itself had been fetched.
 *
 * latency --due SECONDS --count N --send SQL (--listen CHANNEL | --poll MS) [--fetch ...]
 *	  N tasks with random due times over that many seconds, starting in two
 *	  seconds ($1: subjects, $2: due times, as arrays).  "error": arrival (or
 *	  fetch) minus due time by the clock of this machine, which is the server's.
 *
 * Fetch returns subject, id, token; ack takes ids and tokens as arrays.
 * A payload names its subject as "subject":"N" or is the bare number; a
 * doorbell ("count":K) is credited to the K oldest tasks not yet seen.
 */
#include "bench.h"

typedef struct Task
{
	double		sent;
	double		acked;
	double		seen;
	double		hand;
	double		due;
} Task;

static Task *tasks;
static int	count = 1000;
static int	seen_total;
static int	hand_total;
static int	oldest;				/* all tasks before this one are seen */
static PGconn *listener;
static const char *fetch_sql;
static const char *ack_sql;

static void
mark_seen(int i, double now)
{
	if (i >= 0 && i < count && tasks[i].seen == 0)
	{
		tasks[i].seen = now;
		seen_total++;
	}
	while (oldest < count && tasks[oldest].seen != 0)
		oldest++;
}

static void
read_payload(const char *payload, double now)
{
	const char *p;

	if ((p = strstr(payload, "\"subject\":")) != NULL)
		mark_seen(atoi(p + strcspn(p + 10, "0123456789-") + 10), now);
	else if ((p = strstr(payload, "\"count\":")) != NULL)
	{
		for (int k = atoi(p + 8); k > 0 && oldest < count; k--)
			mark_seen(oldest, now);
	}
	else
		mark_seen(atoi(payload), now);
}

static void
fetch_all(void)
{
	for (;;)
	{
		PGresult   *res = bench_check(listener, PQexecPrepared(listener, "fetch", 0, NULL, NULL, NULL, 0));
		double		mono = bench_mono();
		double		real = bench_real();
		int			n = PQntuples(res);
		char	   *ids;
		char	   *tokens;
		const char *values[2];
		size_t		il = 0;
		size_t		tl = 0;

		if (n == 0)
		{
			PQclear(res);
			return;
		}
		values[0] = ids = malloc((size_t) n * 24 + 8);
		values[1] = tokens = malloc((size_t) n * 24 + 8);
		for (int k = 0; k < n; k++)
		{
			int			i = atoi(PQgetvalue(res, k, 0));

			if (i >= 0 && i < count && tasks[i].hand == 0)
			{
				tasks[i].hand = tasks[i].due > 0 ? real : mono;
				hand_total++;
			}
			il += (size_t) sprintf(ids + il, "%c%s", k ? ',' : '{', PQgetvalue(res, k, 1));
			tl += (size_t) sprintf(tokens + tl, "%c%s", k ? ',' : '{', PQgetvalue(res, k, 2));
		}
		strcpy(ids + il, "}");
		strcpy(tokens + tl, "}");
		PQclear(res);
		PQclear(bench_check(listener, PQexecPrepared(listener, "ack", 2, values, NULL, NULL, 0)));
		free(ids);
		free(tokens);
	}
}

static void
drain_listener(int due_mode)
{
	PGnotify   *n;
	int			rung = 0;
	double		now;

	if (!PQconsumeInput(listener))
		bench_die("connection lost", listener);
	now = due_mode ? bench_real() : bench_mono();
	while ((n = PQnotifies(listener)) != NULL)
	{
		read_payload(n->extra, now);
		PQfreemem(n);
		rung = 1;
	}
	if (rung && fetch_sql)
	{
		fetch_all();
		/* those that came while the fetch ran */
		now = due_mode ? bench_real() : bench_mono();
		while ((n = PQnotifies(listener)) != NULL)
		{
			read_payload(n->extra, now);
			PQfreemem(n);
		}
	}
}

static int
by_value(const void *a, const void *b)
{
	double		x = *(const double *) a;
	double		y = *(const double *) b;

	return (x > y) - (x < y);
}

static void
print_quantiles(const char *what, double *ms, int n)
{
	if (n == 0)
		return;
	qsort(ms, (size_t) n, sizeof(double), by_value);
	printf(" %s_min=%.3f %s_p50=%.3f %s_p99=%.3f %s_max=%.3f", what, ms[0],
		   what, ms[(int) ceil(n * 0.50) - 1], what, ms[(int) ceil(n * 0.99) - 1], what, ms[n - 1]);
}

static void
report(int due_mode)
{
	double	   *v = malloc((size_t) count * sizeof(double));
	int			n;

	printf("n=%d seen=%d hand=%d", count, seen_total, hand_total);
	if (due_mode)
	{
		n = 0;
		for (int i = 0; i < count; i++)
		{
			double		at = tasks[i].hand > 0 ? tasks[i].hand : tasks[i].seen;

			if (at > 0)
				v[n++] = (at - tasks[i].due) * 1e3;
		}
		print_quantiles("error", v, n);
	}
	else
	{
		n = 0;
		for (int i = 0; i < count; i++)
			if (tasks[i].seen > 0)
				v[n++] = (tasks[i].seen - tasks[i].acked) * 1e3;
		print_quantiles("seen", v, n);
		n = 0;
		for (int i = 0; i < count; i++)
			if (tasks[i].seen > 0)
				v[n++] = (tasks[i].seen - tasks[i].sent) * 1e3;
		print_quantiles("call", v, n);
		n = 0;
		for (int i = 0; i < count; i++)
			if (tasks[i].hand > 0)
				v[n++] = (tasks[i].hand - tasks[i].acked) * 1e3;
		print_quantiles("hand", v, n);
	}
	putchar('\n');
	free(v);
}

static int
complete(void)
{
	return fetch_sql ? hand_total >= count : seen_total >= count;
}

static void
run_rate(PGconn *producer, double rate)
{
	double		t0 = bench_mono() + 0.2;
	double		last = 0;
	int			next = 0;
	int			in_flight = -1;

	/* the moments of sending: even spacing with a jitter of a quarter period */
	for (int i = 0; i < count; i++)
		tasks[i].sent = t0 + (i + drand48() / 4) / rate;
	while (!complete())
	{
		struct pollfd p[2] = {
			{.fd = PQsocket(producer),.events = POLLIN},
			{.fd = PQsocket(listener),.events = POLLIN}
		};
		double		now = bench_mono();
		double		wait = 1;
		struct timespec ts;

		if (in_flight < 0 && next < count)
		{
			if (now >= tasks[next].sent)
			{
				char		subject[16];
				const char *values[1] = {subject};

				snprintf(subject, sizeof(subject), "%d", next);
				tasks[next].sent = now;
				if (!PQsendQueryPrepared(producer, "send", 1, values, NULL, NULL, 0))
					bench_die("send", producer);
				in_flight = next++;
			}
			else
				wait = tasks[next].sent - now;
		}
		else if (next == count && in_flight < 0)
		{
			if (last == 0)
				last = now;
			if (now - last > 10)
			{
				fprintf(stderr, "only %d of %d tasks seen\n", seen_total, count);
				return;
			}
		}
		if (wait < 0)
			wait = 0;
		ts.tv_sec = (time_t) wait;
		ts.tv_nsec = (long) ((wait - (double) ts.tv_sec) * 1e9);
		if (ppoll(p, 2, &ts, NULL) < 0 && errno != EINTR)
			bench_die("poll", NULL);
		if (p[0].revents && in_flight >= 0)
		{
			if (!PQconsumeInput(producer))
				bench_die("connection lost", producer);
			if (!PQisBusy(producer))
			{
				PGresult   *res;

				tasks[in_flight].acked = bench_mono();
				while ((res = PQgetResult(producer)) != NULL)
					PQclear(bench_check(producer, res));
				in_flight = -1;
			}
		}
		if (p[1].revents)
			drain_listener(0);
	}
	/* a notification may be read before its producer's own answer */
	while (in_flight >= 0)
	{
		PGresult   *res;

		while ((res = PQgetResult(producer)) != NULL)
			PQclear(bench_check(producer, res));
		tasks[in_flight].acked = bench_mono();
		in_flight = -1;
	}
}

static void
run_due(PGconn *producer, double span, double poll_ms)
{
	char	   *subjects = malloc((size_t) count * 12 + 8);
	char	   *times = malloc((size_t) count * 40 + 8);
	const char *values[2] = {subjects, times};
	double		t0 = floor(bench_real()) + 2;
	double		give_up = t0 + span + 30;
	size_t		sl = 0;
	size_t		tl = 0;

	for (int i = 0; i < count; i++)
	{
		time_t		sec;
		struct tm	tm;
		char		text[32];
		long		usec;

		tasks[i].due = t0 + (i + drand48()) * span / count;
		sec = (time_t) tasks[i].due;
		usec = (long) ((tasks[i].due - (double) sec) * 1e6);
		tasks[i].due = (double) sec + (double) usec / 1e6;
		gmtime_r(&sec, &tm);
		strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm);
		sl += (size_t) sprintf(subjects + sl, "%c%d", i ? ',' : '{', i);
		tl += (size_t) sprintf(times + tl, "%c\"%s.%06ld+00\"", i ? ',' : '{', text, usec);
	}
	strcpy(subjects + sl, "}");
	strcpy(times + tl, "}");
	PQclear(bench_check(producer, PQexecPrepared(producer, "send", 2, values, NULL, NULL, 0)));
	if (bench_real() > t0)
		fprintf(stderr, "writing the tasks took until after the first due time\n");
	while (!complete() && bench_real() < give_up)
	{
		if (poll_ms > 0)
		{
			poll(NULL, 0, (int) poll_ms);
			fetch_all();
		}
		else
		{
			bench_wait(listener, 1000);
			drain_listener(1);
		}
	}
	if (!complete())
		fprintf(stderr, "only %d of %d tasks came\n", fetch_sql ? hand_total : seen_total, count);
	free(subjects);
	free(times);
}

int
main(int argc, char **argv)
{
	static struct option options[] = {
		{"rate", required_argument, NULL, 'r'},
		{"due", required_argument, NULL, 'd'},
		{"count", required_argument, NULL, 'n'},
		{"send", required_argument, NULL, 's'},
		{"listen", required_argument, NULL, 'l'},
		{"poll", required_argument, NULL, 'p'},
		{"fetch", required_argument, NULL, 'f'},
		{"ack", required_argument, NULL, 'a'},
		{NULL, 0, NULL, 0}
	};
	const char *send_sql = NULL;
	const char *channel = NULL;
	double		rate = 50;
	double		span = 0;
	double		poll_ms = 0;
	PGconn	   *producer;
	int			c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (c)
		{
			case 'r':
				rate = atof(optarg);
				break;
			case 'd':
				span = atof(optarg);
				break;
			case 'n':
				count = atoi(optarg);
				break;
			case 's':
				send_sql = optarg;
				break;
			case 'l':
				channel = optarg;
				break;
			case 'p':
				poll_ms = atof(optarg);
				break;
			case 'f':
				fetch_sql = optarg;
				break;
			case 'a':
				ack_sql = optarg;
				break;
			default:
				return 2;
		}
	if (!send_sql || !(channel || (poll_ms > 0 && fetch_sql)) || (fetch_sql && !ack_sql))
	{
		fprintf(stderr, "usage: see the head of latency.c\n");
		return 2;
	}
	tasks = calloc((size_t) count, sizeof(Task));
	srand48(42);
	producer = bench_connect("bench producer");
	listener = bench_connect("bench listener");
	bench_prepare(producer, "send", send_sql);
	if (fetch_sql)
	{
		bench_prepare(listener, "fetch", fetch_sql);
		bench_prepare(listener, "ack", ack_sql);
	}
	if (channel)
		bench_listen(listener, channel);
	if (span > 0)
		run_due(producer, span, poll_ms);
	else
		run_rate(producer, rate);
	report(span > 0);
	PQfinish(producer);
	PQfinish(listener);
	return complete() ? 0 : 1;
}
