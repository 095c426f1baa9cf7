/*
 * tail.c
 *	  sopflow tail: notifications and alerts as they come.
 *
 * What is notified while there is no connection is not seen: notifications are
 * not kept by the server.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client.h"
#include "document.h"
#include "print.h"
#include "protocol.h"

const char	tail_help[] =
"Usage: sopflow tail [OPTION]...\n\n"
"Prints notifications as they come: doorbells of ready tasks, tasks that are\n"
"broadcast, and alerts. Connects again where the connection is lost.\n\n"
"Options:\n"
"      --channel=NAME     listen to this channel only; may be given several times\n"
"                         (default: sopflow, sopflow_alert and the channels of\n"
"                         the actions that this role may see)\n"
"      --json             print one JSON object a line\n"
"      --count=NUMBER     end after so many notifications\n";

typedef struct Tail
{
	const char **channels;
	int			channel_count;
	bool		json;
	long		left;			/* -1: without end */
} Tail;

/* false: the connection is lost; anything else that goes wrong ends the program */
static bool
listen_to(PGconn *conn, const char *channel)
{
	char	   *name = PQescapeIdentifier(conn, channel, strlen(channel));
	char	   *sql = client_format("LISTEN %s", name ? name : "\"\"");
	PGresult   *result = client_try_query(conn, sql, 0, NULL);

	free(sql);
	PQfreemem(name);
	if (result == NULL && !client_lost(conn))
		exit(EXIT_FAILED);
	PQclear(result);
	return result != NULL;
}

static bool
listen_all(const Tail *tail, PGconn *conn)
{
	PGresult   *result;
	bool		ok = true;

	for (int i = 0; ok && i < tail->channel_count; i++)
		ok = listen_to(conn, tail->channels[i]);
	if (tail->channel_count > 0)
		return ok;
	ok = listen_to(conn, "sopflow") && listen_to(conn, SF_ALERT_CHANNEL);
	/* a role that may listen need not see actions */
	result = client_exec(conn, "SELECT DISTINCT channel FROM sopflow.action", 0, NULL);
	for (int i = 0; ok && i < PQntuples(result); i++)
		ok = listen_to(conn, PQgetvalue(result, i, 0));
	PQclear(result);
	return ok;
}

static void
print_json(const PGnotify *notify, const char *at, cJSON *payload)
{
	cJSON	   *line = cJSON_CreateObject();
	char	   *text;

	cJSON_AddStringToObject(line, "at", at);
	cJSON_AddStringToObject(line, "channel", notify->relname);
	cJSON_AddNumberToObject(line, "pid", notify->be_pid);
	if (payload != NULL)
		cJSON_AddItemReferenceToObject(line, "payload", payload);
	else
		cJSON_AddStringToObject(line, "payload", notify->extra);
	text = document_print(line, false);
	puts(text);
	free(text);
	cJSON_Delete(line);
}

/* key value key value, of the members that are no parts themselves */
static void
print_members(const cJSON *payload)
{
	for (const cJSON *item = payload->child; item != NULL; item = item->next)
	{
		char	   *text;

		if (strcmp(item->string, "v") == 0 || strcmp(item->string, "type") == 0 ||
			cJSON_IsNull(item))
			continue;
		text = cJSON_IsString(item) ? client_strdup(item->valuestring) :
			document_print(item, false);
		putchar(' ');
		print_style(stdout, STYLE_DIM);
		print_text(stdout, item->string);
		putchar('=');
		print_plain(stdout);
		print_text(stdout, text);
		free(text);
	}
}

static void
print_notification(const Tail *tail, const PGnotify *notify)
{
	time_t		now = time(NULL);
	struct tm	parts;
	char		at[64];
	char	   *error = NULL;
	cJSON	   *payload = document_parse(notify->extra, strlen(notify->extra), DOCUMENT_JSON, NULL,
										 &error);
	const cJSON *type = payload ? cJSON_GetObjectItemCaseSensitive(payload, "type") : NULL;

	free(error);
	localtime_r(&now, &parts);
	strftime(at, sizeof(at), tail->json ? "%Y-%m-%dT%H:%M:%S%z" : "%Y-%m-%d %H:%M:%S", &parts);
	if (tail->json)
		print_json(notify, at, payload);
	else
	{
		fputs(at, stdout);
		putchar(' ');
		print_style(stdout, strcmp(notify->relname, SF_ALERT_CHANNEL) == 0 ? STYLE_RED :
					STYLE_GREEN);
		print_text(stdout, notify->relname);
		print_plain(stdout);
		putchar(' ');
		if (cJSON_IsObject(payload) && cJSON_IsString(type))
		{
			print_style(stdout, STYLE_BOLD);
			print_text(stdout, type->valuestring);
			print_plain(stdout);
			print_members(payload);
		}
		else
			print_text(stdout, notify->extra);
		putchar('\n');
	}
	cJSON_Delete(payload);
}

/* Until the connection is lost, or it is enough. */
static void
follow(Tail *tail, PGconn *conn)
{
	while (!client_stop && tail->left != 0)
	{
		PGnotify   *notify;

		while (tail->left != 0 && (notify = PQnotifies(conn)) != NULL)
		{
			print_notification(tail, notify);
			PQfreemem(notify);
			if (tail->left > 0)
				tail->left--;
		}
		/* who reads a pipe wants each line when it is there */
		if (!client_flush())
			client_fatal(EXIT_FAILED, "could not write to standard output: %s",
						 strerror(client_flush_error()));
		if (tail->left != 0 && client_wait(PQsocket(conn), -1) && !PQconsumeInput(conn))
			return;
	}
}

int
cmd_tail(int argc, char **argv)
{
	static const struct option longs[] = {
		{"channel", required_argument, NULL, 256},
		{"json", no_argument, NULL, 257},
		{"count", required_argument, NULL, 258},
		{NULL, 0, NULL, 0},
	};
	Tail		tail = {NULL, 0, false, -1};
	PGconn	   *conn;
	int			c;

	tail.channels = client_alloc(sizeof(char *) * (size_t) argc);
	while ((c = client_getopt(argc, argv, "", longs)) != -1)
	{
		if (c == 256)
			tail.channels[tail.channel_count++] = optarg;
		else if (c == 257)
			tail.json = true;
		else
			tail.left = client_number("--count", optarg, 1, 1000000000);
	}
	if (optind < argc)
		client_usage("tail takes no argument, but \"%s\" was given", argv[optind]);

	conn = client_connect();
	client_catch_signals();
	while (conn != NULL)
	{
		if (listen_all(&tail, conn))
		{
			client_info("listening in database \"%s\"", PQdb(conn));
			follow(&tail, conn);
		}
		if (client_stop || tail.left == 0)
			break;
		conn = client_reconnect(conn);
	}
	PQfinish(conn);
	free(tail.channels);
	return EXIT_OK;
}
