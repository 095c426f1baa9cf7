/*
 * event.c
 *	  What ingest makes of a line: an event, with the fields that its options
 *	  name.
 *
 * A field is a path of keys with points between them.  A string on the way is
 * read as JSON, as kcat -J gives the payload of a message.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "event.h"

/* numbers from here on are milliseconds since 1970, below seconds */
#define MILLISECONDS_FROM	1e11

/* In place of a string that is JSON, its value; the string itself stays if it is none. */
static void
unpack(cJSON *parent, cJSON **value)
{
	char	   *error;
	cJSON	   *inner;

	if (!cJSON_IsString(*value) || parent == NULL)
		return;
	inner = document_parse((*value)->valuestring, strlen((*value)->valuestring), DOCUMENT_JSON,
						   NULL, &error);
	free(error);
	if (inner == NULL)
		return;
	inner->string = (*value)->string;
	(*value)->string = NULL;
	cJSON_ReplaceItemViaPointer(parent, *value, inner);
	*value = inner;
}

/* The value of a field, or NULL where the line has none. */
static cJSON *
find_field(cJSON *line, const char *path, bool want_object)
{
	cJSON	   *parent = NULL;
	cJSON	   *value = line;

	if (strcmp(path, ".") == 0)
		return line;
	while (value != NULL && *path != '\0')
	{
		size_t		len = strcspn(path, ".");
		char	   *key = client_format("%.*s", (int) len, path);

		unpack(parent, &value);
		parent = value;
		value = cJSON_IsObject(parent) ? cJSON_GetObjectItemCaseSensitive(parent, key) : NULL;
		free(key);
		path += len + (path[len] == '.');
	}
	if (value != NULL && want_object)
		unpack(parent, &value);
	return value;
}

/* The text of a string or number, to be freed; NULL for anything else, or nothing. */
static char *
text_of(const cJSON *value)
{
	if (cJSON_IsNumber(value))
		return document_print(value, false);
	if (cJSON_IsString(value) && *value->valuestring != '\0')
		return client_strdup(value->valuestring);
	return NULL;
}

static bool
read_position(const cJSON *value, int64_t *position)
{
	char	   *text = text_of(value);
	char	   *end = text;
	bool		ok;

	errno = 0;
	if (text != NULL)
		*position = strtoll(text, &end, 10);
	ok = text != NULL && errno == 0 && *end == '\0' && end != text && *position >= 0;
	if (!ok)
		*position = -1;
	free(text);
	return ok;
}

/* Text of a time for the server: a string as it is, a number as seconds. */
static cJSON *
read_time(const cJSON *value)
{
	char		text[64];

	if (cJSON_IsString(value) && *value->valuestring != '\0')
		return cJSON_CreateString(value->valuestring);
	if (!cJSON_IsNumber(value) || !isfinite(value->valuedouble))
		return NULL;
	snprintf(text, sizeof(text), "%.6f",
			 value->valuedouble / (value->valuedouble >= MILLISECONDS_FROM ? 1000 : 1));
	return cJSON_CreateRaw(text);
}

static bool
no_field(char **error, const char *path, const char *what)
{
	*error = client_format("field \"%s\" is %s", path, what);
	return false;
}

/* Where the line stands: position, and partition if there are some. */
static bool
read_place(const EventFields *fields, cJSON *value, Event *event, char **error)
{
	if (fields->partition_field != NULL)
	{
		event->partition = text_of(find_field(value, fields->partition_field, false));
		if (event->partition == NULL)
		{
			event->position = -1;
			return no_field(error, fields->partition_field, "neither a string nor a number");
		}
	}
	if (fields->position_field != NULL &&
		!read_position(find_field(value, fields->position_field, false), &event->position))
		return no_field(error, fields->position_field, "no whole number from 0");
	return true;
}

/* Fill the object for the server. */
static bool
read_event(const EventFields *fields, cJSON *value, cJSON *object, char **error)
{
	char	   *text = fields->event ? client_strdup(fields->event)
		: text_of(find_field(value, fields->event_field, false));
	cJSON	   *part;

	if (text == NULL)
		return no_field(error, fields->event_field, "no string");
	cJSON_AddStringToObject(object, "event", text);
	free(text);

	text = text_of(find_field(value, fields->subject_field, false));
	if (text == NULL)
		return no_field(error, fields->subject_field, "neither a string nor a number");
	cJSON_AddStringToObject(object, "subject", text);
	free(text);

	if (fields->time_field != NULL)
	{
		part = read_time(find_field(value, fields->time_field, false));
		if (part == NULL)
			return no_field(error, fields->time_field, "no time");
		cJSON_AddItemToObject(object, "at", part);
	}
	if (fields->context_field != NULL)
	{
		part = find_field(value, fields->context_field, true);
		if (!cJSON_IsObject(part))
			return no_field(error, fields->context_field, "no object");
		cJSON_AddItemToObject(object, "context", cJSON_Duplicate(part, 1));
	}
	return true;
}

bool
event_read(const EventFields *fields, const char *text, size_t len, long line, Event *event,
		   char **error)
{
	cJSON	   *value = document_parse(text, len, DOCUMENT_JSON, NULL, error);
	cJSON	   *object;
	char		position[32];
	bool		ok;

	*event = (Event) {line, 0, fields->position_field != NULL ? -1 : line, NULL, NULL};
	if (value == NULL)
	{
		/* a line has one line only */
		const char *what = strncmp(*error, "line 1: ", 8) == 0 ? *error + 8 : *error;
		char	   *shorter = client_strdup(what);

		free(*error);
		*error = shorter;
		/* without its partition a line's number says nothing */
		if (fields->partition_field != NULL)
			event->position = -1;
		return false;
	}
	object = cJSON_CreateObject();
	ok = cJSON_IsObject(value);
	if (!ok)
		*error = client_strdup("it is no object");
	ok = ok && read_place(fields, value, event, error) && read_event(fields, value, object, error);
	if (ok)
	{
		snprintf(position, sizeof(position), "%lld", (long long) event->position);
		cJSON_AddRawToObject(object, "position", position);
		event->json = document_print(object, false);
	}
	cJSON_Delete(object);
	cJSON_Delete(value);
	return ok;
}
