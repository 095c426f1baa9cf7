/*
 * bench.h
 *	  What the measuring programs share: clocks, connecting, giving up.
 */
#ifndef BENCH_H
#define BENCH_H

#define _GNU_SOURCE

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include <libpq-fe.h>

static inline double
bench_seconds(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (double) ts.tv_sec + (double) ts.tv_nsec / 1e9;
}

/* for spans */
static inline double
bench_mono(void)
{
	return bench_seconds(CLOCK_MONOTONIC);
}

/* for times that the server compares with its own clock: same machine */
static inline double
bench_real(void)
{
	return bench_seconds(CLOCK_REALTIME);
}

static inline void
bench_die(const char *what, PGconn *conn)
{
	fprintf(stderr, "%s: %s\n", what, conn ? PQerrorMessage(conn) : strerror(errno));
	exit(1);
}

static inline PGconn *
bench_connect(const char *name)
{
	PGconn	   *conn = PQconnectdb("");

	if (PQstatus(conn) != CONNECTION_OK)
		bench_die("cannot connect", conn);
	PQclear(PQexecParams(conn, "SELECT set_config('application_name', $1, false)",
						 1, NULL, &name, NULL, NULL, 0));
	return conn;
}

static inline PGresult *
bench_check(PGconn *conn, PGresult *res)
{
	ExecStatusType s = PQresultStatus(res);

	if (s != PGRES_COMMAND_OK && s != PGRES_TUPLES_OK)
		bench_die("query failed", conn);
	return res;
}

static inline void
bench_exec(PGconn *conn, const char *sql)
{
	PQclear(bench_check(conn, PQexec(conn, sql)));
}

static inline void
bench_prepare(PGconn *conn, const char *name, const char *sql)
{
	PQclear(bench_check(conn, PQprepare(conn, name, sql, 0, NULL)));
}

static inline void
bench_listen(PGconn *conn, const char *channel)
{
	char	   *ident = PQescapeIdentifier(conn, channel, strlen(channel));
	char	   *sql = malloc(strlen(ident) + 8);

	sprintf(sql, "LISTEN %s", ident);
	bench_exec(conn, sql);
	PQfreemem(ident);
	free(sql);
}

/* wait until a socket is readable or ms have passed; < 0: no limit */
static inline void
bench_wait(PGconn *conn, double ms)
{
	struct pollfd p = {.fd = PQsocket(conn),.events = POLLIN};
	struct timespec ts = {.tv_sec = (time_t) (ms / 1e3),.tv_nsec = (long) (fmod(ms, 1e3) * 1e6)};

	if (ppoll(&p, 1, ms < 0 ? NULL : &ts, NULL) < 0 && errno != EINTR)
		bench_die("poll", NULL);
}

#endif							/* BENCH_H */
