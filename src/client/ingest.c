/*
 * ingest.c
 *	  sopflow ingest: events from lines of JSON, each exactly once.
 *
 * A batch of lines and the position of its last one are written in one
 * transaction.  What is not known to be committed is sent again: the server
 * passes over what lies at or below the position that it has.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client.h"
#include "event.h"

/* how long the first line of a batch waits for others */
#define IDLE_MS			200
#define READ_SIZE		65536
#define LINE_MAX_SIZE	(32 * 1024 * 1024)

const char	ingest_help[] =
"Usage: sopflow ingest [OPTION]...\n\n"
"Takes in events from the standard input, one JSON object a line. The position\n"
"of the last line is kept in the database with the events, so that the stream\n"
"may be read again from its beginning, or from anywhere before its last line,\n"
"and each event counts once.\n\n"
"A FIELD is a key, or keys with points between them: payload.client_id. A string\n"
"on the way is read as JSON, so that what kcat -J prints can be taken as it is.\n\n"
"Options:\n"
"      --event=NAME            event that each line is\n"
"      --event-field=FIELD     ... or the field that names it\n"
"      --subject-field=FIELD   field with the subject's id; required\n"
"      --source=NAME           name under which the position is kept (default: the\n"
"                              event, or stdin)\n"
"      --position-field=FIELD  field with the position, a number that grows\n"
"                              (default: the number of the line)\n"
"      --partition-field=FIELD field with the partition, whose position is kept\n"
"                              by itself, as that of NAME/PARTITION\n"
"      --time-field=FIELD      field with the event's time: text, or seconds or\n"
"                              milliseconds since 1970 (default: when it is taken in)\n"
"      --context-field=FIELD   field with the context, an object; . for the whole\n"
"                              line (default: an empty context)\n"
"      --batch=NUMBER          lines in a transaction (default: 1000)\n"
"      --skip-bad              pass over lines that are no events, and count them\n";

typedef struct Source
{
	char	   *name;
	char	   *partition;		/* NULL: there are none */
	int64_t		read;			/* position of the last line read; -1: none */
	int64_t		stored;			/* as the server has confirmed it; -1: none */
} Source;

typedef struct Ingest
{
	EventFields fields;
	const char *name;
	long		batch_size;
	bool		skip_bad;

	PGconn	   *conn;
	Source	   *sources;
	int			source_count;
	Event	   *batch;
	long		batch_count;
	struct timespec first;		/* when the first line of the batch came */

	char	   *buffer;
	size_t		used;
	size_t		size;
	bool		discarding;		/* the rest of a line that is too long */

	long		lines;
	long		taken;
	long		passed;
	long		bad;
	struct timespec told;		/* progress on a terminal */
} Ingest;

static long
elapsed_ms(const struct timespec *since)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (now.tv_sec - since->tv_sec) * 1000 + (now.tv_nsec - since->tv_nsec) / 1000000;
}

/* Ends the program; what is in the batch was said not to be taken in. */
static void
give_up(Ingest *ingest, int code)
{
	if (ingest->batch_count > 0)
		client_warn("lines %ld to %ld were not taken in", ingest->batch[0].line,
					ingest->batch[ingest->batch_count - 1].line);
	PQfinish(ingest->conn);
	exit(code);
}

static void
reconnect(Ingest *ingest)
{
	ingest->conn = client_reconnect(ingest->conn);
	if (ingest->conn == NULL)
		give_up(ingest, EXIT_CONNECTION);
}

/* Whether it is a line's fault, and not that of rights or of the server. */
static bool
is_of_data(const char *state)
{
	return strncmp(state, "22", 2) == 0 || strncmp(state, "23", 2) == 0 ||
		strncmp(state, "SF", 2) == 0 || strncmp(state, "P0", 2) == 0;
}

typedef enum Outcome
{
	TAKEN,
	TRY_AGAIN,					/* after connecting again, or a while */
	REFUSED						/* by *error, a line's fault */
} Outcome;

/* What to do about a statement that failed; ends the program where nothing helps. */
static Outcome
judge(Ingest *ingest, PGresult *result, char **error)
{
	const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	char	   *text = client_server_error(result, ingest->conn);
	bool		of_data = state != NULL && is_of_data(state);
	bool		passes = state != NULL && client_may_pass(state);

	PQclear(result);
	if (client_lost(ingest->conn))
	{
		free(text);
		reconnect(ingest);
		return TRY_AGAIN;
	}
	if (PQtransactionStatus(ingest->conn) != PQTRANS_IDLE)
		PQclear(PQexec(ingest->conn, "ROLLBACK"));
	if (of_data)
	{
		*error = text;
		return REFUSED;
	}
	if (!passes)
	{
		client_error("%s", text);
		free(text);
		give_up(ingest, EXIT_FAILED);
	}
	if (!client_stop)
	{
		client_warn("%s; trying again", text);
		client_wait(-1, 1000);
	}
	free(text);
	if (client_stop)
		give_up(ingest, EXIT_FAILED);
	return TRY_AGAIN;
}

/* Number of the source of a partition, whose stored position is asked for when it is new. */
static int
find_source(Ingest *ingest, const char *partition)
{
	Source	   *source;
	PGresult   *result;
	char	   *error = NULL;

	for (int i = 0; i < ingest->source_count; i++)
	{
		if (partition == NULL || strcmp(ingest->sources[i].partition, partition) == 0)
			return i;
	}
	ingest->sources = client_realloc(ingest->sources,
									 sizeof(Source) * (size_t) (ingest->source_count + 1));
	source = &ingest->sources[ingest->source_count];
	source->partition = partition ? client_strdup(partition) : NULL;
	source->name = partition ? client_format("%s/%s", ingest->name, partition)
		: client_strdup(ingest->name);
	source->stored = -1;
	for (;;)
	{
		const char *params[1] = {source->name};

		result = client_exec(ingest->conn, "SELECT was FROM sopflow.ingest($1)", 1, params);
		if (PQresultStatus(result) == PGRES_TUPLES_OK)
			break;
		if (judge(ingest, result, &error) == REFUSED)
			client_fatal(EXIT_FAILED, "%s", error);
	}
	if (!PQgetisnull(result, 0, 0))
	{
		source->stored = strtoll(PQgetvalue(result, 0, 0), NULL, 10);
		client_info("source \"%s\": lines up to position %" PRId64 " are passed over", source->name,
					source->stored);
	}
	PQclear(result);
	source->read = source->stored;
	return ingest->source_count++;
}

/* JSON array of the events of a source among some of the batch; *upto: their last position. */
static char *
events_of(const Ingest *ingest, long from, long to, int source, int64_t *upto)
{
	char	   *text = NULL;
	size_t		size;
	FILE	   *out = open_memstream(&text, &size);
	bool		any = false;

	if (out == NULL)
		client_fatal(EXIT_FAILED, "out of memory");
	*upto = -1;
	fputc('[', out);
	for (long i = from; i < to; i++)
	{
		if (ingest->batch[i].source != source)
			continue;
		*upto = ingest->batch[i].position;
		if (ingest->batch[i].json != NULL)
		{
			fputs(any ? "," : "", out);
			fputs(ingest->batch[i].json, out);
			any = true;
		}
	}
	fputc(']', out);
	if (fclose(out) != 0)
		client_fatal(EXIT_FAILED, "out of memory");
	return text;
}

/* Send what some of the batch has of one source. */
static PGresult *
send_source(Ingest *ingest, long from, long to, int number)
{
	int64_t		upto;
	char	   *events = events_of(ingest, from, to, number, &upto);
	char		position[32];
	const char *params[3] = {ingest->sources[number].name, events, position};
	PGresult   *result = NULL;

	if (upto >= 0)
	{
		snprintf(position, sizeof(position), "%" PRId64, upto);
		result = client_exec(ingest->conn, "SELECT coalesce(was, -1), taken"
							 " FROM sopflow.ingest($1, $2::jsonb, $3::bigint)", 3, params);
	}
	free(events);
	return result;
}

/* A server that was put back to an older state has lost lines that are gone here. */
static void
check_stored(Ingest *ingest, const Source *source, int64_t was)
{
	if (was >= source->stored)
		return;
	client_error("the position of source \"%s\" went back from %" PRId64 " to %" PRId64,
				 source->name, source->stored, was);
	client_error("the server has lost events; read the stream again from its beginning");
	give_up(ingest, EXIT_FAILED);
}

/* One transaction for some of the batch. */
static Outcome
try_events(Ingest *ingest, long from, long to, char **error)
{
	PGresult   *result = client_exec(ingest->conn, "BEGIN", 0, NULL);
	long		taken = 0;

	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		return judge(ingest, result, error);
	PQclear(result);
	/* sources in the order of their names, so that no two of us wait for each other */
	for (int last = -1, next = 0; next >= 0; last = next)
	{
		next = -1;
		for (int i = 0; i < ingest->source_count; i++)
		{
			if ((last < 0 || strcmp(ingest->sources[i].name, ingest->sources[last].name) > 0) &&
				(next < 0 || strcmp(ingest->sources[i].name, ingest->sources[next].name) < 0))
				next = i;
		}
		result = next < 0 ? NULL : send_source(ingest, from, to, next);
		if (result == NULL)
			continue;
		if (PQresultStatus(result) != PGRES_TUPLES_OK)
			return judge(ingest, result, error);
		check_stored(ingest, &ingest->sources[next], strtoll(PQgetvalue(result, 0, 0), NULL, 10));
		taken += strtol(PQgetvalue(result, 0, 1), NULL, 10);
		PQclear(result);
	}
	result = client_exec(ingest->conn, "COMMIT", 0, NULL);
	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		return judge(ingest, result, error);
	PQclear(result);

	for (long i = from; i < to; i++)
		ingest->sources[ingest->batch[i].source].stored = ingest->batch[i].position;
	ingest->taken += taken;
	return TAKEN;
}

/* A line that is no event: the end, unless it is to be passed over. */
static void
bad_line(Ingest *ingest, long line, const char *what)
{
	ingest->bad++;
	if (ingest->skip_bad)
	{
		client_warn("line %ld is passed over: %s", line, what);
		return;
	}
	client_error("line %ld: %s", line, what);
	PQfinish(ingest->conn);
	exit(EXIT_INVALID);
}

static void
send_events(Ingest *ingest, long from, long to)
{
	char	   *error = NULL;
	Outcome		outcome;

	do
		outcome = try_events(ingest, from, to, &error);
	while (outcome == TRY_AGAIN);
	if (outcome == TAKEN)
		return;
	if (to - from == 1)
	{
		bad_line(ingest, ingest->batch[from].line, error);
		/* it is passed over: only its position is sent */
		free(ingest->batch[from].json);
		ingest->batch[from].json = NULL;
		send_events(ingest, from, to);
	}
	else
	{
		/* one of them is bad: by halves, which one is */
		send_events(ingest, from, from + (to - from) / 2);
		send_events(ingest, from + (to - from) / 2, to);
	}
	free(error);
}

static void
flush_batch(Ingest *ingest)
{
	if (ingest->batch_count > 0)
		send_events(ingest, 0, ingest->batch_count);
	for (long i = 0; i < ingest->batch_count; i++)
	{
		free(ingest->batch[i].json);
		free(ingest->batch[i].partition);
	}
	ingest->batch_count = 0;
}

/* Put a line into the batch, unless it was taken in before. */
static void
take_event(Ingest *ingest, Event *event)
{
	ingest->sources[event->source].read = event->position;
	if (ingest->batch_count == 0)
		clock_gettime(CLOCK_MONOTONIC, &ingest->first);
	ingest->batch[ingest->batch_count++] = *event;
	if (ingest->batch_count >= ingest->batch_size)
		flush_batch(ingest);
}

static void
take_line(Ingest *ingest, const char *text, size_t len)
{
	bool		by_line = ingest->fields.position_field == NULL;
	Event		event;
	char	   *error = NULL;
	bool		ok;

	ingest->lines++;
	if (strspn(text, " \t\r") >= len)
		return;
	if (by_line)
	{
		int			source = find_source(ingest, NULL);

		if (ingest->lines <= ingest->sources[source].read)
		{
			ingest->passed++;
			return;
		}
	}
	ok = event_read(&ingest->fields, text, len, ingest->lines, &event, &error);
	if (event.position >= 0)
	{
		event.source = find_source(ingest, event.partition);
		if (event.position <= ingest->sources[event.source].read)
		{
			ingest->passed++;
			event.position = -1;
			ok = true;
		}
	}
	if (!ok)
	{
		/* what stands before it is kept, whatever comes of it */
		flush_batch(ingest);
		bad_line(ingest, ingest->lines, error);
	}
	free(error);
	if (event.position >= 0)
		take_event(ingest, &event);
	else
	{
		free(event.json);
		free(event.partition);
	}
}

/* Take the complete lines of the buffer; at the end of the input also what is left. */
static void
take_lines(Ingest *ingest, bool at_end)
{
	char	   *at = ingest->buffer;
	char	   *end = ingest->buffer + ingest->used;
	char	   *newline;

	while (at < end && ((newline = memchr(at, '\n', (size_t) (end - at))) != NULL || at_end))
	{
		if (newline == NULL)
			newline = end;
		*newline = '\0';
		if (!ingest->discarding)
			take_line(ingest, at, (size_t) (newline - at));
		ingest->discarding = false;
		at = newline + 1;
	}
	if (at > end)
		at = end;
	ingest->used = (size_t) (end - at);
	memmove(ingest->buffer, at, ingest->used);
	if (ingest->used > LINE_MAX_SIZE)
	{
		if (!ingest->discarding)
		{
			ingest->lines++;
			flush_batch(ingest);
			bad_line(ingest, ingest->lines, "it is longer than 32 MB");
		}
		ingest->discarding = true;
		ingest->used = 0;
	}
}

/* Read what is there, or wait for it; false at the end of the input. */
static bool
read_input(Ingest *ingest)
{
	long		wait = ingest->batch_count > 0 ? IDLE_MS - elapsed_ms(&ingest->first) : -1;
	ssize_t		got;

	if (ingest->batch_count > 0 && wait < 0)
		wait = 0;
	if (!client_wait(STDIN_FILENO, (int) wait))
		return true;
	if (ingest->size - ingest->used < READ_SIZE)
	{
		ingest->size += READ_SIZE + ingest->size / 2;
		/* and a byte to end the last line with */
		ingest->buffer = client_realloc(ingest->buffer, ingest->size + 1);
	}
	got = read(STDIN_FILENO, ingest->buffer + ingest->used, READ_SIZE);
	if (got < 0 && errno != EINTR && errno != EAGAIN)
	{
		flush_batch(ingest);
		client_fatal(EXIT_FAILED, "could not read standard input: %s", strerror(errno));
	}
	if (got > 0)
		ingest->used += (size_t) got;
	return got != 0;
}

static void
tell_progress(Ingest *ingest, bool done)
{
	if (options.quiet || !isatty(STDERR_FILENO) || (!done && elapsed_ms(&ingest->told) < 1000))
		return;
	if (done)
		fputs("\r\033[K", stderr);
	else
		fprintf(stderr, "\r%ld lines, %ld events taken in", ingest->lines, ingest->taken);
	clock_gettime(CLOCK_MONOTONIC, &ingest->told);
}

static void
run(Ingest *ingest)
{
	bool		more = true;

	clock_gettime(CLOCK_MONOTONIC, &ingest->told);
	while (more && !client_stop)
	{
		more = read_input(ingest);
		take_lines(ingest, !more);
		if (ingest->batch_count > 0 && elapsed_ms(&ingest->first) >= IDLE_MS)
			flush_batch(ingest);
		tell_progress(ingest, false);
	}
	flush_batch(ingest);
	tell_progress(ingest, true);
	client_info("%ld lines: %ld events taken in, %ld passed over as known, %ld bad",
				ingest->lines, ingest->taken, ingest->passed, ingest->bad);
}

static void
read_options(Ingest *ingest, int argc, char **argv)
{
	static const struct option longs[] = {
		{"event", required_argument, NULL, 256},
		{"event-field", required_argument, NULL, 257},
		{"subject-field", required_argument, NULL, 258},
		{"position-field", required_argument, NULL, 259},
		{"partition-field", required_argument, NULL, 260},
		{"time-field", required_argument, NULL, 261},
		{"context-field", required_argument, NULL, 262},
		{"source", required_argument, NULL, 263},
		{"batch", required_argument, NULL, 264},
		{"skip-bad", no_argument, NULL, 265},
		{NULL, 0, NULL, 0},
	};
	const char **values[] = {
		&ingest->fields.event, &ingest->fields.event_field, &ingest->fields.subject_field,
		&ingest->fields.position_field, &ingest->fields.partition_field,
		&ingest->fields.time_field, &ingest->fields.context_field, &ingest->name
	};
	int			c;

	ingest->batch_size = 1000;
	while ((c = client_getopt(argc, argv, "", longs)) != -1)
	{
		if (c == 264)
			ingest->batch_size = client_number("--batch", optarg, 1, 100000);
		else if (c == 265)
			ingest->skip_bad = true;
		else if (*optarg == '\0')
			client_usage("--%s must not be empty", longs[c - 256].name);
		else
			*values[c - 256] = optarg;
	}
	if (optind < argc)
		client_usage("ingest takes no argument, but \"%s\" was given", argv[optind]);
	if ((ingest->fields.event == NULL) == (ingest->fields.event_field == NULL))
		client_usage("either --event or --event-field must be given");
	if (ingest->fields.subject_field == NULL)
		client_usage("--subject-field must be given");
	if (ingest->fields.partition_field != NULL && ingest->fields.position_field == NULL)
		client_usage("--partition-field needs --position-field");
	if (ingest->name == NULL)
		ingest->name = ingest->fields.event ? ingest->fields.event : "stdin";
}

int
cmd_ingest(int argc, char **argv)
{
	Ingest		ingest;

	memset(&ingest, 0, sizeof(ingest));
	read_options(&ingest, argc, argv);
	ingest.batch = client_alloc(sizeof(Event) * (size_t) ingest.batch_size);
	ingest.conn = client_connect();
	client_catch_signals();
	run(&ingest);

	PQfinish(ingest.conn);
	for (int i = 0; i < ingest.source_count; i++)
	{
		free(ingest.sources[i].name);
		free(ingest.sources[i].partition);
	}
	free(ingest.sources);
	free(ingest.batch);
	free(ingest.buffer);
	return EXIT_OK;
}
