/*
 * notify.c
 *	  What listeners hear; the only caller of Async_Notify.
 *
 * Only a dispatch pass comes here: a NOTIFY in a client's transaction would
 * take a lock at commit that the whole server shares.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/async.h"
#include "lib/stringinfo.h"
#include "utils/fmgrprotos.h"
#include "utils/datetime.h"
#include "utils/json.h"

#include "notify.h"
#include "protocol.h"
#include "stats.h"

/* share of the queue that may be in use */
#define ROOM	0.9

bool
sf_notify_has_room(void)
{
	return DatumGetFloat8(DirectFunctionCall1(pg_notification_queue_usage, (Datum) 0)) < ROOM;
}

static void
notify(const char *channel, const char *payload)
{
	Async_Notify(channel, payload);
	sf_stats_count(SF_COUNT_NOTIFICATIONS, 1);
}

/* everything but the braces; the caller decides about subject and params */
static void
task_fields(StringInfo buf, const SfAction *action, const SfRun *run, const SfNode *node,
			const SfTask *task, int attempt, bool with_subject, const char *params)
{
	char		due[MAXDATELEN + 1];

	resetStringInfo(buf);
	appendStringInfo(buf, "{\"v\":%d,\"type\":\"task\",\"task_id\":" INT64_FORMAT ",\"sop\":",
					 SF_PROTOCOL_VERSION, task->task_id);
	escape_json(buf, run->sop_id);
	appendStringInfoString(buf, ",\"node\":");
	escape_json(buf, node->node_id);
	appendStringInfo(buf, ",\"run_id\":" INT64_FORMAT ",\"subject\":", run->run_id);
	if (with_subject)
		escape_json(buf, run->subject_id);
	else
		appendStringInfoString(buf, "null");
	appendStringInfoString(buf, ",\"action\":");
	escape_json(buf, action->name);
	appendStringInfo(buf, ",\"params\":%s,\"attempt\":%d,\"due_at\":\"%s\"%s}",
					 params ? params : "null", attempt,
					 JsonEncodeDateTime(due, TimestampTzGetDatum(task->due_at), TIMESTAMPTZOID,
										NULL),
					 params ? "" : ",\"truncated\":true");
}

void
sf_notify_task(const SfAction *action, const SfRun *run, const SfNode *node,
			   const SfTask *task, int attempt, Jsonb *filled)
{
	StringInfoData buf;
	char	   *params = JsonbToCString(NULL, &filled->root, VARSIZE(filled));

	initStringInfo(&buf);
	task_fields(&buf, action, run, node, task, attempt, true, params);
	if (buf.len > SF_PAYLOAD_MAX)
		task_fields(&buf, action, run, node, task, attempt, true, NULL);
	if (buf.len > SF_PAYLOAD_MAX)
		task_fields(&buf, action, run, node, task, attempt, false, NULL);
	notify(action->channel, buf.data);
	pfree(buf.data);
	pfree(params);
}

void
sf_notify_ready(const SfAction *action, int64 count)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfo(&buf, "{\"v\":%d,\"type\":\"ready\",\"action\":", SF_PROTOCOL_VERSION);
	escape_json(&buf, action->name);
	appendStringInfo(&buf, ",\"count\":" INT64_FORMAT "}", count);
	notify(action->channel, buf.data);
	pfree(buf.data);
}

void
sf_notify_alert(const char *payload)
{
	notify(SF_ALERT_CHANNEL, payload);
}
