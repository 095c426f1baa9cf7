/*
 * relay_spec.c
 *	  Targets of the relay's configuration: where they are, how they are spoken
 *	  to, and what an answer means.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <curl/curl.h>

#include "client.h"
#include "relay_spec.h"

#define MAX_HEADERS		100
#define MAX_ARGUMENTS	256

static const char *const task_names[] = {
	"v", "type", "task_id", "sop", "node", "run_id", "subject", "action", "params", "context",
	"attempt", "due_at", NULL
};

static const char *const alert_names[] = {
	"v", "type", "alert_id", "kind", "action", "sop", "task_id", "message", "raised_at", NULL
};

static const char *const kind_names[RELAY_KINDS] = {"webhook", "slack", "smtp", "command", "file"};

/* what a target alone may say, and an action not */
#define TARGET_KEYS		"type", "concurrency", "rate", "burst"
#define CURL_KEYS		"connect_timeout", "ca_file", "verify", "proxy"

static const char *const webhook_keys[] = {
	TARGET_KEYS, CURL_KEYS, "timeout", "url", "method", "headers", "body", "content_type", "expect",
	"retry", "dead", "hold", "hmac", "bearer", "username", "password", "result_body", NULL
};
static const char *const slack_keys[] = {
	TARGET_KEYS, CURL_KEYS, "timeout", "url", "text", "channel", NULL
};
static const char *const smtp_keys[] = {
	TARGET_KEYS, CURL_KEYS, "timeout", "url", "starttls", "username", "password", "from", "to", "cc",
	"bcc", "reply_to", "subject", "text", "html", "headers", NULL
};
static const char *const command_keys[] = {
	TARGET_KEYS, "timeout", "argv", "env", "directory", "kill_after", "dead", NULL
};
static const char *const file_keys[] = {TARGET_KEYS, "path", "sync", NULL};

static const char *const *const kind_keys[RELAY_KINDS] = {
	webhook_keys, slack_keys, smtp_keys, command_keys, file_keys
};

static const char *const hmac_keys[] = {"secret", "header", "timestamp_header", NULL};

static const char *const *
names_of(const Spec *spec)
{
	return spec->alert ? alert_names : task_names;
}

static void
required(const Map *map, const char *key)
{
	if (!map_has(map, key))
		reader_fault(map->reader, map->path, "\"%s\" is missing", key);
}

/* a string, or a secret where it begins with env: or file: */
static char *
string_or_secret(const Map *map, const char *key)
{
	Field		field = map_field(map, key);
	char	   *value = is_secret(field.value) ? field_secret(&field) : map_string(map, key, NULL);

	field_free(&field);
	return value;
}

/* what goes into a header, or to a server as a line */
static void
refuse_controls(const Map *map, const char *key, const char *value)
{
	Field		field = map_field(map, key);

	if (value != NULL && has_control(value, strlen(value)))
		reader_fault(map->reader, field.path, "has a line break or another control character");
	field_free(&field);
}

/* "." and ".." as a whole segment */
static bool
has_dots(const char *path)
{
	for (; *path == '/'; path += 1 + strcspn(path + 1, "/?#"))
	{
		size_t		len = strcspn(path + 1, "/?#");

		if (path[1] == '.' && (len == 1 || (len == 2 && path[2] == '.')))
			return true;
	}
	return false;
}

/* scheme, a host, and no password */
static void
check_url(const Map *map, const char *url, const char *const *schemes)
{
	Field		field = map_field(map, "url");
	const char *host = strstr(url, "://");
	bool		known = false;

	for (int i = 0; schemes[i] != NULL; i++)
		known |= host != NULL && strlen(schemes[i]) == (size_t) (host - url) &&
			strncasecmp(url, schemes[i], (size_t) (host - url)) == 0;
	if (!known)
		reader_fault(map->reader, field.path, "must begin with %s:// or %s://", schemes[0], schemes[1]);
	else if (strcspn(host + 3, "/?#") == 0)
		reader_fault(map->reader, field.path, "names no host behind \"://\"");
	else if (strchr(url, ' ') != NULL || has_control(url, strlen(url)))
		reader_fault(map->reader, field.path,
					 "has a blank, a line break or another control character; a blank is written %%20");
	else if (memchr(host + 3, '@', strcspn(host + 3, "/?#")) != NULL)
		reader_fault(map->reader, field.path,
					 "must not hold a user or password; there are keys for them");
	else if (has_dots(host + 3 + strcspn(host + 3, "/?#")))
		reader_fault(map->reader, field.path, "has \".\" or \"..\" as a part of its path");
	field_free(&field);
}

/* The whole, and what servers quote of it: all behind the host, and that without a query. */
static void
hide_url(const char *url)
{
	const char *host = strstr(url, "://");
	char	   *path = client_strdup(host ? host + 3 + strcspn(host + 3, "/?#") : "");

	relay_secret(path);
	path[strcspn(path, "?#")] = '\0';
	relay_secret(path);
	free(path);
}

static void
read_url(Spec *spec, const Map *map)
{
	static const char *const http[] = {"https", "http", NULL};
	static const char *const mail[] = {"smtps", "smtp", NULL};
	const char *const *schemes = spec->target->kind == RELAY_SMTP ? mail : http;
	Field		field = map_field(map, "url");

	required(map, "url");
	if (is_secret(field.value))
	{
		spec->secret_url = field_secret(&field);
		if (spec->secret_url != NULL)
		{
			hide_url(spec->secret_url);
			check_url(map, spec->secret_url, schemes);
		}
	}
	else if (cJSON_IsString(field.value))
	{
		Text		sample = {0};

		spec->url = field_template(&field, TEMPLATE_URL, names_of(spec));
		if (spec->url != NULL)
		{
			template_sample(spec->url, &sample);
			check_url(map, sample.data, schemes);
		}
		text_free(&sample);
	}
	else if (field.value != NULL)
		reader_fault(map->reader, field.path, "must be a string");
	field_free(&field);
}

/* letters, digits and what else RFC 9110 lets into a name */
static bool
token(const char *name)
{
	return *name != '\0' &&
		name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
					"!#$%&'*+-.^_`|~")] == '\0';
}

/* an object of names and templates or secrets: headers, or the environment */
static Header *
read_headers(const Map *map, const char *key, const Spec *spec, const char *const *reserved)
{
	Field		field = map_field(map, key);
	Header	   *first = NULL;
	Header	  **last = &first;
	/* a variable may well have lines */
	TemplateContext context = spec->target->kind == RELAY_COMMAND ? TEMPLATE_TEXT : TEMPLATE_HEADER;
	const cJSON *child;
	int			n = 0;

	if (field.value != NULL && !cJSON_IsObject(field.value))
		reader_fault(map->reader, field.path, "must be a mapping of names to values");
	else
		cJSON_ArrayForEach(child, field.value)
		{
			Header	   *header;
			Field		item = {map->reader, child, reader_path(field.path, child->string)};

			if (!token(child->string) || (spec->target->kind == RELAY_COMMAND &&
										  strchr(child->string, '=') != NULL))
				reader_fault(map->reader, item.path, "\"%s\" is no name", child->string);
			for (int i = 0; reserved[i] != NULL; i++)
				if (strcasecmp(reserved[i], child->string) == 0)
					reader_fault(map->reader, item.path, "the relay sets \"%s\" itself", child->string);
			if (++n > MAX_HEADERS)
				reader_fault(map->reader, item.path, "more than %d are too many", MAX_HEADERS);
			header = client_alloc(sizeof(Header));
			header->name = client_strdup(child->string);
			if (is_secret(child))
				header->secret = field_secret(&item);
			else
				header->value = field_template(&item, context, names_of(spec));
			if (header->secret != NULL && context == TEMPLATE_HEADER &&
				has_control(header->secret, strlen(header->secret)))
				reader_fault(map->reader, item.path,
							 "the secret has a line break or another control character");
			*last = header;
			last = &header->next;
			field_free(&item);
		}
	field_free(&field);
	return first;
}

static void
read_body(Spec *spec, const Map *map)
{
	Field		field = map_field(map, "body");
	const char *type = spec->content_type;
	TemplateContext context = TEMPLATE_TEXT;

	if (strncasecmp(type, "application/json", 16) == 0 || strstr(type, "+json") != NULL)
		context = TEMPLATE_JSON;
	else if (strncasecmp(type, "application/x-www-form-urlencoded", 33) == 0)
		context = TEMPLATE_FORM;
	else if (strncasecmp(type, "text/html", 9) == 0 || strstr(type, "xml") != NULL)
		context = TEMPLATE_HTML;
	if (cJSON_IsObject(field.value) || cJSON_IsArray(field.value))
	{
		char	   *text = document_print(field.value, false);
		Text		source = {0};
		char	   *error;

		if (context != TEMPLATE_JSON)
			reader_fault(map->reader, field.path, "must be a string, since content_type is not JSON");
		/* a backslash before braces is the template's, not JSON's */
		for (const char *at = text; *at != '\0'; at++)
		{
			if (strncmp(at, "\\\\{{", 4) == 0)
				at++;
			text_char(&source, *at);
		}
		spec->body = template_compile(source.data, TEMPLATE_JSON, names_of(spec), &error);
		if (spec->body == NULL)
		{
			reader_fault(map->reader, field.path, "%s", error);
			free(error);
		}
		text_free(&source);
		free(text);
	}
	else if (field.value != NULL)
		spec->body = field_template(&field, context, names_of(spec));
	field_free(&field);
}

/* a number, "204" or "200-299"; false where it is none */
static bool
mark_statuses(unsigned char *marks, int size, const cJSON *item, unsigned char mark)
{
	int			from;
	int			to;
	int			end = 0;

	if (cJSON_IsNumber(item))
	{
		if (item->valuedouble < 0 || item->valuedouble >= size)
			return false;
		from = to = (int) item->valuedouble;
		if (from != item->valuedouble)
			return false;
	}
	else if (!cJSON_IsString(item) || (sscanf(item->valuestring, "%3d-%3d%n", &from, &to, &end) != 2) ||
			 item->valuestring[end] != '\0')
		return false;
	if (from < 0 || to >= size || from > to)
		return false;
	for (int i = from; i <= to; i++)
		marks[i] = mark;
	return true;
}

static void
read_statuses(const Map *map, const char *key, unsigned char *marks, int size, unsigned char mark)
{
	Field		field = map_field(map, key);
	const cJSON *item;

	if (cJSON_IsArray(field.value))
	{
		bool		right = true;

		cJSON_ArrayForEach(item, field.value)
			right = right && mark_statuses(marks, size, item, mark);
		if (!right)
			reader_fault(map->reader, field.path, "must be a list of numbers and ranges such as "
						 "200-299, each below %d", size);
	}
	else if (field.value != NULL && !mark_statuses(marks, size, field.value, mark))
		reader_fault(map->reader, field.path, "must be a number, a range such as 200-299, or a list of "
					 "them, each below %d", size);
	field_free(&field);
}

static void
read_hmac(Spec *spec, const Map *map)
{
	Field		field = map_field(map, "hmac");
	Map			hmac = {map->reader, field.value, field.path, NULL};

	if (field.value != NULL && !cJSON_IsObject(field.value))
		reader_fault(map->reader, field.path, "must be a mapping with a secret");
	else if (field.value != NULL)
	{
		map_check_keys(&hmac, hmac_keys);
		required(&hmac, "secret");
		spec->hmac_secret = map_secret(&hmac, "secret");
		spec->hmac_header = map_string(&hmac, "header", "X-Sopflow-Signature");
		spec->timestamp_header = map_string(&hmac, "timestamp_header", "X-Sopflow-Timestamp");
		if (!token(spec->hmac_header) || !token(spec->timestamp_header))
			reader_fault(map->reader, field.path, "the header's name is not valid");
	}
	field_free(&field);
}

static void
read_curl(Spec *spec, const Map *map)
{
	read_url(spec, map);
	spec->connect_timeout = map_duration(map, "connect_timeout", 10, 0.01, 3600);
	spec->verify = map_boolean(map, "verify", true);
	spec->ca_file = map_string(map, "ca_file", NULL);
	spec->proxy = map_string(map, "proxy", "");
	if (spec->ca_file != NULL)
	{
		FILE	   *file = fopen(spec->ca_file, "re");

		if (file == NULL)
			reader_fault(map->reader, map->path, "the ca_file \"%s\" cannot be read", spec->ca_file);
		else
			fclose(file);
	}
}

static void
hide_base64(const char *bytes, size_t len)
{
	Text		encoded = {0};

	text_base64(&encoded, (const unsigned char *) bytes, len);
	relay_secret(encoded.data);
	text_free(&encoded);
}

/* as HTTP and mail have them: Basic, PLAIN, LOGIN */
static void
hide_credentials(const Spec *spec)
{
	Text		both = {0};

	text_format(&both, "%s:%s", spec->username, spec->password);
	hide_base64(both.data, both.len);
	text_clear(&both);
	text_append(&both, "", 1);
	text_append(&both, spec->username, strlen(spec->username) + 1);
	text_add(&both, spec->password);
	hide_base64(both.data, both.len);
	hide_base64(spec->password, strlen(spec->password));
	text_free(&both);
}

static void
read_credentials(Spec *spec, const Map *map)
{
	spec->username = string_or_secret(map, "username");
	spec->password = map_secret(map, "password");
	refuse_controls(map, "username", spec->username);
	refuse_controls(map, "password", spec->password);
	if (map_has(map, "username") != map_has(map, "password"))
		reader_fault(map->reader, map->path, "username and password go together");
	else if (spec->username != NULL && spec->password != NULL)
		hide_credentials(spec);
}

static void
read_webhook(Spec *spec, const Map *map)
{
	static const char *const reserved[] = {
		"Content-Length", "Content-Type", "Host", "Transfer-Encoding", "Connection", "Expect",
		"Idempotency-Key", "X-Sopflow-Task", "X-Sopflow-Attempt", NULL
	};

	read_curl(spec, map);
	read_credentials(spec, map);
	spec->method = map_string(map, "method", "POST");
	if (!token(spec->method))
		reader_fault(map->reader, map->path, "the method \"%s\" is not valid", spec->method);
	spec->headers = read_headers(map, "headers", spec, reserved);
	spec->content_type = map_string(map, "content_type", "application/json");
	refuse_controls(map, "content_type", spec->content_type);
	read_body(spec, map);
	if (spec->body != NULL && strcmp(spec->method, "HEAD") == 0)
		reader_fault(map->reader, map->path, "a request by HEAD has no body");
	if (!map_has(map, "expect"))
		memset(spec->status + 200, STATUS_EXPECTED, 100);
	read_statuses(map, "dead", spec->status, RELAY_STATUS_MAX, STATUS_FINAL);
	read_statuses(map, "retry", spec->status, RELAY_STATUS_MAX, STATUS_RETRIED);
	read_statuses(map, "expect", spec->status, RELAY_STATUS_MAX, STATUS_EXPECTED);
	read_hmac(spec, map);
	spec->bearer = map_secret(map, "bearer");
	refuse_controls(map, "bearer", spec->bearer);
	if (spec->bearer != NULL && spec->username != NULL)
		reader_fault(map->reader, map->path, "bearer and username exclude each other");
	spec->hold = map_boolean(map, "hold", false);
	spec->result_body = map_integer(map, "result_body", 500, 0, 65536);
}

static void
read_slack(Spec *spec, const Map *map)
{
	read_curl(spec, map);
	spec->method = client_strdup("POST");
	spec->content_type = client_strdup("application/json");
	if (!spec->alert)
		required(map, "text");
	spec->text = map_template(map, "text", TEMPLATE_SLACK, names_of(spec),
							  spec->alert ? "{{message}}" : NULL);
	spec->slack_channel = map_string(map, "channel", NULL);
	memset(spec->status + 200, STATUS_EXPECTED, 100);
	/* Slack limits each hook, not each message */
	spec->hold = true;
}

static void
read_recipients(Spec *spec, const Map *map, const char *key, Templates *list)
{
	Field		field = map_field(map, key);
	const cJSON *first = cJSON_IsArray(field.value) ? field.value->child : field.value;

	for (const cJSON *item = first; item != NULL; item = item == field.value ? NULL : item->next)
	{
		Field		one = {map->reader, item, field.path};

		list->items = client_realloc(list->items, (size_t) (list->count + 1) * sizeof(Template *));
		list->items[list->count++] = field_template(&one, TEMPLATE_HEADER, names_of(spec));
	}
	field_free(&field);
}

static void
read_smtp(Spec *spec, const Map *map)
{
	static const char *const reserved[] = {
		"From", "To", "Cc", "Bcc", "Reply-To", "Subject", "Date", "Message-ID", "MIME-Version",
		"Content-Type", "Content-Transfer-Encoding", "Auto-Submitted", NULL
	};
	char	   *starttls = map_string(map, "starttls", "required");
	const char *const *names = names_of(spec);

	read_curl(spec, map);
	read_credentials(spec, map);
	if (strcmp(starttls, "required") == 0)
		spec->starttls = CURLUSESSL_ALL;
	else if (strcmp(starttls, "optional") == 0)
		spec->starttls = CURLUSESSL_TRY;
	else if (strcmp(starttls, "off") == 0)
		spec->starttls = CURLUSESSL_NONE;
	else
		reader_fault(map->reader, map->path, "starttls must be required, optional or off");
	free(starttls);
	required(map, "from");
	required(map, "to");
	if (!spec->alert)
		required(map, "subject");
	if (!spec->alert && !map_has(map, "text") && !map_has(map, "html"))
		reader_fault(map->reader, map->path, "\"text\" or \"html\" is missing");
	spec->from = map_template(map, "from", TEMPLATE_HEADER, names, NULL);
	spec->reply_to = map_template(map, "reply_to", TEMPLATE_HEADER, names, NULL);
	read_recipients(spec, map, "to", &spec->to);
	read_recipients(spec, map, "cc", &spec->cc);
	read_recipients(spec, map, "bcc", &spec->bcc);
	spec->subject = map_template(map, "subject", TEMPLATE_HEADER, names,
								 spec->alert ? "sopflow alert: {{kind}}" : NULL);
	spec->text = map_template(map, "text", TEMPLATE_TEXT, names,
							  spec->alert && !map_has(map, "html") ? "{{message}}\n" : NULL);
	spec->html = map_template(map, "html", TEMPLATE_HTML, names, NULL);
	spec->headers = read_headers(map, "headers", spec, reserved);
}

static void
read_command(Spec *spec, const Map *map)
{
	static const char *const reserved[] = {NULL};
	Field		field = map_field(map, "argv");
	const cJSON *item;
	int			n = 0;

	required(map, "argv");
	spec->argv = client_alloc((MAX_ARGUMENTS + 1) * sizeof(char *));
	if (field.value != NULL &&
		(!cJSON_IsArray(field.value) || cJSON_GetArraySize(field.value) == 0 ||
		 cJSON_GetArraySize(field.value) > MAX_ARGUMENTS))
		reader_fault(map->reader, field.path, "must be a list of the program and its arguments");
	else
		cJSON_ArrayForEach(item, field.value)
		{
			if (cJSON_IsString(item))
				spec->argv[n++] = client_strdup(item->valuestring);
			else
				reader_fault(map->reader, field.path, "all arguments must be strings");
		}
	field_free(&field);
	spec->environment = read_headers(map, "env", spec, reserved);
	spec->directory = map_string(map, "directory", NULL);
	spec->kill_after = map_duration(map, "kill_after", 5, 0, 3600);
	read_statuses(map, "dead", spec->permanent, 256, 1);
	if (spec->permanent[0])
		reader_fault(map->reader, map->path, "exit code 0 is success and cannot be among \"dead\"");
}

static void
read_file(Spec *spec, const Map *map)
{
	required(map, "path");
	spec->path = map_string(map, "path", NULL);
	spec->sync = map_boolean(map, "sync", true);
}

void
spec_check_keys(const Map *map, RelayKind kind, const char *const *extra)
{
	const char *keys[64];
	int			n = 0;

	for (int i = 0; extra[i] != NULL; i++)
		keys[n++] = extra[i];
	for (int i = 0; kind_keys[kind][i] != NULL; i++)
		keys[n++] = kind_keys[kind][i];
	keys[n] = NULL;
	map_check_keys(map, keys);
}

Spec *
spec_read(Target *target, const Map *map, bool alert)
{
	static void (*const readers[RELAY_KINDS])(Spec *, const Map *) = {
		read_webhook, read_slack, read_smtp, read_command, read_file
	};
	Spec	   *spec = client_alloc(sizeof(Spec));

	spec->target = target;
	spec->alert = alert;
	if (target->kind != RELAY_FILE)
		spec->timeout = map_duration(map, "timeout", 30, 0.01, 86400);
	if (map->base != NULL)
	{
		static const char *const own[] = {TARGET_KEYS, NULL};

		for (int i = 0; own[i] != NULL; i++)
		{
			char	   *path = reader_path(map->path, own[i]);

			if (cJSON_GetObjectItemCaseSensitive(map->value, own[i]) != NULL)
				reader_fault(map->reader, path, "belongs to the target and holds for all its actions");
			free(path);
		}
	}
	readers[target->kind](spec, map);
	return spec;
}

Target *
target_read(const Map *map, const char *name)
{
	Target	   *target = client_alloc(sizeof(Target));
	char	   *kind = map_string(map, "type", NULL);
	int			found = -1;

	target->name = client_strdup(name);
	required(map, "type");
	for (int i = 0; kind != NULL && i < RELAY_KINDS; i++)
		if (strcmp(kind, kind_names[i]) == 0)
			found = i;
	if (found < 0)
	{
		if (kind != NULL)
			reader_fault(map->reader, map->path,
						 "unknown type \"%s\"; there are webhook, slack, smtp, command, file", kind);
		free(kind);
		target_free(target);
		return NULL;
	}
	free(kind);
	target->kind = (RelayKind) found;
	spec_check_keys(map, target->kind, (const char *const[]) {NULL});
	target->concurrency = map_integer(map, "concurrency", 100, 1, 10000);
	target->rate = map_rate(map, "rate");
	target->burst = map_integer(map, "burst", target->rate > 1 ? (int) target->rate : 1, 1, 1000000);
	if (target->rate == 0 && map_has(map, "burst"))
		reader_fault(map->reader, map->path, "burst means nothing without rate");
	target->more = true;
	return target;
}

void
target_free(Target *target)
{
	free(target->name);
	free(target);
}

static void
headers_free(Header *header)
{
	while (header != NULL)
	{
		Header	   *next = header->next;

		free(header->name);
		free(header->secret);
		template_free(header->value);
		free(header);
		header = next;
	}
}

static void
templates_free(Templates *list)
{
	for (int i = 0; i < list->count; i++)
		template_free(list->items[i]);
	free(list->items);
}

void
spec_free(Spec *spec)
{
	char	   *strings[] = {
		spec->method, spec->secret_url, spec->content_type, spec->hmac_secret, spec->hmac_header,
		spec->timestamp_header, spec->bearer, spec->slack_channel, spec->proxy, spec->ca_file,
		spec->username, spec->password, spec->directory, spec->path
	};
	Template   *templates[] = {
		spec->url, spec->body, spec->from, spec->reply_to, spec->subject, spec->text, spec->html
	};

	for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]); i++)
		free(strings[i]);
	for (size_t i = 0; i < sizeof(templates) / sizeof(templates[0]); i++)
		template_free(templates[i]);
	headers_free(spec->headers);
	headers_free(spec->environment);
	templates_free(&spec->to);
	templates_free(&spec->cc);
	templates_free(&spec->bcc);
	for (int i = 0; spec->argv != NULL && spec->argv[i] != NULL; i++)
		free(spec->argv[i]);
	free(spec->argv);
	free(spec);
}
