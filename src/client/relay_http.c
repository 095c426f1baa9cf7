/*
 * relay_http.c
 *	  Webhooks, and those that Slack and its like understand.
 *
 * What an answer means: the statuses of "expect" are success; 408, 425, 429 and
 * those of 500 and above are tried again, after Retry-After where there is one;
 * other 4xx make the task dead at once, since the same request would be refused
 * again; anything else, such as a redirect, is tried again.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "client.h"
#include "relay_curl.h"

/* a longer Retry-After is cut to this, and one of 0 must not use up all attempts at once */
#define MAX_RETRY_AFTER	(7 * 86400)
#define MIN_RETRY_AFTER	1
/* and a target is held no longer than this at a time */
#define MAX_HOLD_S		300

static RelayOutcome
judge(const Spec *spec, long status)
{
	if (status <= 0 || status >= RELAY_STATUS_MAX)
		return RELAY_RETRY;
	switch ((StatusClass) spec->status[status])
	{
		case STATUS_EXPECTED:
			return RELAY_DONE;
		case STATUS_RETRIED:
			return RELAY_RETRY;
		case STATUS_FINAL:
			return RELAY_DEAD;
		case STATUS_BY_CODE:
			break;
	}
	if (status >= 400 && status < 500 && status != 408 && status != 425 && status != 429)
		return RELAY_DEAD;
	return RELAY_RETRY;
}

static char *
result_of(const Transfer *transfer, long status)
{
	Text		result = {0};
	Text		body = {0};

	text_format(&result, "{\"status\": %ld", status);
	transfer_received(transfer, &body, (size_t) transfer->job->spec->result_body);
	if (body.len > 0)
	{
		text_add(&result, ", \"body\": ");
		text_json_string(&result, body.data);
	}
	text_char(&result, '}');
	text_free(&body);
	return text_take(&result);
}

static char *
error_of(const Transfer *transfer, long status)
{
	Text		error = {0};

	text_format(&error, "target \"%s\": HTTP status %ld%s", transfer->job->spec->target->name, status,
				status >= 300 && status < 400 ? " (redirects are not followed)" : "");
	if (transfer->received.len > 0)
	{
		text_add(&error, ": ");
		transfer_received(transfer, &error, RELAY_ERROR_BODY);
	}
	return text_take(&error);
}

/* Retry-After: curl forgets what is too long for it, and does not tell 0 from none */
static size_t
take_header(char *bytes, size_t size, size_t count, void *arg)
{
	static const char name[] = "Retry-After:";
	Transfer   *transfer = arg;
	size_t		len = size * count;
	char		value[128];
	char	   *end;
	double		seconds;

	if (len >= 5 && memcmp(bytes, "HTTP/", 5) == 0)
		transfer->retry_after = -1;
	if (len < sizeof(name) || strncasecmp(bytes, name, sizeof(name) - 1) != 0)
		return len;
	snprintf(value, sizeof(value), "%.*s", (int) (len - sizeof(name) + 1), bytes + sizeof(name) - 1);
	end = value + strspn(value, " \t");
	if (*end >= '0' && *end <= '9' && strspn(end, "0123456789") == strcspn(end, " \t\r\n"))
		seconds = strtod(end, NULL);
	else
	{
		time_t		date = curl_getdate(end, NULL);

		if (date == -1)
			return len;
		seconds = difftime(date, time(NULL));
	}
	transfer->retry_after = seconds < MIN_RETRY_AFTER ? MIN_RETRY_AFTER :
		seconds > MAX_RETRY_AFTER ? MAX_RETRY_AFTER : seconds;
	return len;
}

static void
hold(Lane *lane, double seconds)
{
	if (lane->held_until < loop_now() + seconds)
		lane->held_until = loop_now() + seconds;
}

static void
http_finished(Transfer *transfer, CURLcode code)
{
	Job		   *job = transfer->job;
	RelayOutcome outcome = RELAY_RETRY;
	long		status = 0;
	double		wait = -1;
	char	   *text;

	curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
	/* an answer that is too long is an answer */
	if (code == CURLE_WRITE_ERROR && transfer->total > RELAY_READ_MAX)
		code = CURLE_OK;
	if (code != CURLE_OK)
	{
		Text		error = {0};

		transfer_error(transfer, code, &error);
		text = text_take(&error);
	}
	else
	{
		outcome = judge(job->spec, status);
		text = outcome == RELAY_DONE ? result_of(transfer, status) : error_of(transfer, status);
		wait = transfer->retry_after;
	}
	if (outcome == RELAY_RETRY && wait > 0 && job->spec->hold)
		hold(job->lane, wait < MAX_HOLD_S ? wait : MAX_HOLD_S);
	transfer_free(transfer);
	if (outcome == RELAY_DONE)
		job_done(job, text);
	else
		job_failed(job, outcome, wait, text);
}

static void
add_header(Transfer *transfer, const char *name, const char *value)
{
	/* with a colon only, curl takes it for one to be left out */
	char	   *line = *value != '\0' ? client_format("%s: %s", name, value) :
		client_format("%s;", name);
	struct curl_slist *list = curl_slist_append(transfer->headers, line);

	if (list == NULL)
		client_fatal(EXIT_FAILED, "out of memory");
	transfer->headers = list;
	free(line);
}

/* sha256=HEX over TIMESTAMP.BODY */
static void
sign(Transfer *transfer)
{
	const Spec *spec = transfer->job->spec;
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned int len = 0;
	char	   *timestamp = client_format("%lld", (long long) time(NULL));
	Text		message = {0};
	Text		value = {0};

	text_format(&message, "%s.", timestamp);
	text_append(&message, transfer->send.data ? transfer->send.data : "", transfer->send.len);
	if (HMAC(EVP_sha256(), spec->hmac_secret, (int) strlen(spec->hmac_secret),
			 (unsigned char *) message.data, message.len, digest, &len) == NULL)
		client_fatal(EXIT_FAILED, "could not compute an HMAC");
	text_add(&value, "sha256=");
	text_hex(&value, digest, len);
	add_header(transfer, spec->timestamp_header, timestamp);
	add_header(transfer, spec->hmac_header, value.data);
	text_free(&message);
	text_free(&value);
	free(timestamp);
}

static bool
render_headers(Transfer *transfer, Slice document, char **error)
{
	const Spec *spec = transfer->job->spec;

	for (const Header *header = spec->headers; header != NULL; header = header->next)
	{
		Text		value = {0};
		bool		ok = true;

		if (header->secret != NULL)
			text_add(&value, header->secret);
		else
			ok = template_render(header->value, document, &value, error);
		if (ok)
			add_header(transfer, header->name, value.data);
		text_free(&value);
		if (!ok)
			return false;
	}
	return true;
}

static void
add_own_headers(Transfer *transfer)
{
	const Job  *job = transfer->job;
	char		value[64];

	if (job->alert)
	{
		snprintf(value, sizeof(value), "sopflow-alert-%lld", (long long) job->id);
		add_header(transfer, "Idempotency-Key", value);
	}
	else
	{
		snprintf(value, sizeof(value), "sopflow-%lld-%d", (long long) job->id, job->attempt);
		add_header(transfer, "Idempotency-Key", value);
		snprintf(value, sizeof(value), "%lld", (long long) job->id);
		add_header(transfer, "X-Sopflow-Task", value);
		snprintf(value, sizeof(value), "%d", job->attempt);
		add_header(transfer, "X-Sopflow-Attempt", value);
	}
}

static bool
render_body(Transfer *transfer, Slice document, char **error)
{
	const Spec *spec = transfer->job->spec;
	Text		text = {0};

	if (spec->target->kind == RELAY_SLACK)
	{
		if (!template_render(spec->text, document, &text, error))
		{
			text_free(&text);
			return false;
		}
		text_add(&transfer->send, "{\"text\":");
		text_json_string(&transfer->send, text.data);
		if (spec->slack_channel != NULL)
		{
			text_add(&transfer->send, ",\"channel\":");
			text_json_string(&transfer->send, spec->slack_channel);
		}
		text_char(&transfer->send, '}');
		text_free(&text);
	}
	else if (spec->body != NULL)
		return template_render(spec->body, document, &transfer->send, error);
	else
		text_append(&transfer->send, document.at, document.len);
	return true;
}

static void
set_method(Transfer *transfer)
{
	const Spec *spec = transfer->job->spec;
	CURL	   *easy = transfer->easy;
	bool		bodiless = spec->body == NULL && (strcmp(spec->method, "GET") == 0 ||
												  strcmp(spec->method, "HEAD") == 0 ||
												  strcmp(spec->method, "DELETE") == 0);

	if (bodiless)
	{
		text_clear(&transfer->send);
		curl_easy_setopt(easy, strcmp(spec->method, "HEAD") == 0 ? CURLOPT_NOBODY : CURLOPT_HTTPGET, 1L);
	}
	else
	{
		add_header(transfer, "Content-Type", spec->content_type);
		curl_easy_setopt(easy, CURLOPT_POST, 1L);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) transfer->send.len);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDS, transfer->send.data);
	}
	if (strcmp(spec->method, "HEAD") != 0)
		curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, spec->method);
}

void
http_start(Job *job)
{
	const Spec *spec = job->spec;
	Slice		document = {job->document, job->document_len};
	Transfer   *transfer = transfer_new(job, http_finished);
	char	   *error;

	transfer->keep = (size_t) spec->result_body;
	if (transfer->keep < RELAY_ERROR_BODY)
		transfer->keep = RELAY_ERROR_BODY;
	if (!transfer_url(transfer))
		return;
	if (!render_body(transfer, document, &error) || !render_headers(transfer, document, &error))
	{
		transfer_free(transfer);
		job_failed(job, RELAY_RETRY, -1, error);
		return;
	}
	set_method(transfer);
	add_own_headers(transfer);
	if (spec->hmac_secret != NULL)
		sign(transfer);
	if (spec->bearer != NULL)
	{
		char	   *value = client_format("Bearer %s", spec->bearer);

		add_header(transfer, "Authorization", value);
		free(value);
	}
	if (spec->username != NULL)
		curl_easy_setopt(transfer->easy, CURLOPT_HTTPAUTH, (long) CURLAUTH_BASIC);
	/* curl would wait for a 100 before a long body */
	transfer->headers = curl_slist_append(transfer->headers, "Expect:");
	curl_easy_setopt(transfer->easy, CURLOPT_HEADERFUNCTION, take_header);
	curl_easy_setopt(transfer->easy, CURLOPT_HEADERDATA, transfer);
	curl_easy_setopt(transfer->easy, CURLOPT_USERAGENT, "sopflow-relay/" SOPFLOW_VERSION);
	curl_easy_setopt(transfer->easy, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(transfer->easy, CURLOPT_HTTPHEADER, transfer->headers);
	transfer_start(transfer);
}

void
http_abort(Job *job)
{
	if (job->delivery != NULL)
		transfer_free(job->delivery);
}
