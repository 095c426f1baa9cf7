/*
 * yaml.c
 *	  YAML read strictly, by the events of libyaml.
 *
 * The text is known to be UTF-8 without null bytes.  What aliases add is
 * bounded, since a few lines of them can stand for any amount.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <yaml.h>

#include "client.h"
#include "document_private.h"

/* how much aliases may add to a text: parts, and bytes of them */
#define ALIAS_MAX_PARTS		100000
#define ALIAS_MAX_BYTES		(4 * 1024 * 1024)

typedef struct Anchor
{
	char	   *name;
	const cJSON *value;			/* NULL until it is complete */
} Anchor;

typedef struct Reader
{
	yaml_parser_t parser;
	Anchor	   *anchors;
	int			anchor_count;
	long		alias_parts;
	long		alias_bytes;
	Lines	   *lines;
	int			error_line;
	char	   *error;
} Reader;

static cJSON *read_value(Reader *reader, const yaml_event_t *event, int part, int depth);

/* Remembers the first fault; NULL, for callers to return. */
static void *
fault(Reader *reader, int line, const char *format,...)
{
	va_list		args;
	char		text[256];

	if (reader->error == NULL)
	{
		va_start(args, format);
		vsnprintf(text, sizeof(text), format, args);
		va_end(args);
		/* a key that was cut must not leave half a character */
		text[text_check(text, strlen(text))] = '\0';
		reader->error = client_strdup(text);
		reader->error_line = line;
	}
	return NULL;
}

static int
line_of(const yaml_event_t *event)
{
	return (int) event->start_mark.line + 1;
}

static bool
next_event(Reader *reader, yaml_event_t *event)
{
	const yaml_parser_t *parser = &reader->parser;

	if (yaml_parser_parse(&reader->parser, event))
		return true;
	if (parser->error == YAML_MEMORY_ERROR)
		client_fatal(EXIT_FAILED, "out of memory");
	if (parser->error == YAML_READER_ERROR)
		/* a character that is UTF-8 and yet none of YAML; its line is where reading is */
		fault(reader, (int) parser->mark.line + 1, "%s", parser->problem);
	else if (parser->context != NULL)
		fault(reader, (int) parser->problem_mark.line + 1, "%s, %s of line %d", parser->problem,
			  parser->context, (int) parser->context_mark.line + 1);
	else
		fault(reader, (int) parser->problem_mark.line + 1, "%s", parser->problem);
	return false;
}

/* Number of the anchor that is about to be read, or -1. */
static int
begin_anchor(Reader *reader, const yaml_char_t *name)
{
	if (name == NULL)
		return -1;
	reader->anchors = client_realloc(reader->anchors,
									 sizeof(Anchor) * (size_t) (reader->anchor_count + 1));
	reader->anchors[reader->anchor_count] = (Anchor) {client_strdup((const char *) name), NULL};
	return reader->anchor_count++;
}

static void
forget_anchors(Reader *reader)
{
	for (int i = 0; i < reader->anchor_count; i++)
		free(reader->anchors[i].name);
	reader->anchor_count = 0;
}

/* Count what a copy adds; gives up early where that is too much. */
static bool
count_parts(Reader *reader, const cJSON *value)
{
	reader->alias_parts++;
	reader->alias_bytes += (long) ((value->valuestring ? strlen(value->valuestring) : 0) +
								   (value->string ? strlen(value->string) : 0));
	if (reader->alias_parts > ALIAS_MAX_PARTS || reader->alias_bytes > ALIAS_MAX_BYTES)
		return false;
	for (const cJSON *item = value->child; item != NULL; item = item->next)
	{
		if (!count_parts(reader, item))
			return false;
	}
	return true;
}

static int
value_depth(const cJSON *value)
{
	int			deepest = 0;

	for (const cJSON *item = value->child; item != NULL; item = item->next)
	{
		int			depth = value_depth(item) + 1;

		if (depth > deepest)
			deepest = depth;
	}
	return deepest;
}

static cJSON *
read_alias(Reader *reader, const yaml_event_t *event, int depth)
{
	const char *name = (const char *) event->data.alias.anchor;
	cJSON	   *copy;
	int			i = reader->anchor_count - 1;

	while (i >= 0 && strcmp(reader->anchors[i].name, name) != 0)
		i--;
	if (i < 0)
		return fault(reader, line_of(event), "alias \"%s\" has no anchor before it", name);
	if (reader->anchors[i].value == NULL)
		return fault(reader, line_of(event), "alias \"%s\" stands within its own anchor", name);
	if (!count_parts(reader, reader->anchors[i].value))
		return fault(reader, line_of(event), "aliases make the document too large");
	if (depth + value_depth(reader->anchors[i].value) > DOCUMENT_MAX_DEPTH)
		return fault(reader, line_of(event), "nested deeper than %d levels", DOCUMENT_MAX_DEPTH);
	copy = cJSON_Duplicate(reader->anchors[i].value, 1);
	if (copy == NULL)
		client_fatal(EXIT_FAILED, "out of memory");
	/* the key that the anchor stands at is not that of the alias */
	free(copy->string);
	copy->string = NULL;
	return copy;
}

static cJSON *
read_scalar(Reader *reader, const yaml_event_t *event)
{
	const char *text = (const char *) event->data.scalar.value;
	size_t		len = event->data.scalar.length;
	ScalarKind	kind = SCALAR_STRING;
	char	   *number = NULL;
	const char *why = NULL;
	cJSON	   *value;

	if (memchr(text, '\0', len) != NULL)
		return fault(reader, line_of(event), "a string holds a null character");
	if (event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE)
		kind = scalar_resolve(text, len, &number, &why);
	switch (kind)
	{
		case SCALAR_NULL:
			value = cJSON_CreateNull();
			break;
		case SCALAR_TRUE:
		case SCALAR_FALSE:
			value = cJSON_CreateBool(kind == SCALAR_TRUE);
			break;
		case SCALAR_NUMBER:
			value = number_new(number);
			free(number);
			if (value == NULL)
				return fault(reader, line_of(event), "a number is out of range");
			break;
		case SCALAR_REFUSED:
			return fault(reader, line_of(event), "%s", why);
		default:
			value = cJSON_CreateString(text);
	}
	if (value == NULL)
		client_fatal(EXIT_FAILED, "out of memory");
	return value;
}

/* The key of a member, to be freed. */
static char *
read_key(Reader *reader, const yaml_event_t *event)
{
	const char *text;
	char	   *number;
	const char *why;
	int			line = line_of(event);

	if (event->type != YAML_SCALAR_EVENT)
		return fault(reader, line, "a key must be a string");
	text = (const char *) event->data.scalar.value;
	if (memchr(text, '\0', event->data.scalar.length) != NULL)
		return fault(reader, line, "a key holds a null character");
	if (event->data.scalar.tag != NULL)
		return fault(reader, line, "tags are not supported");
	if (event->data.scalar.anchor != NULL)
		return fault(reader, line, "a key has an anchor");
	if (event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE)
	{
		if (strcmp(text, "<<") == 0)
			return fault(reader, line, "merge keys (<<) are not supported");
		if (scalar_resolve(text, event->data.scalar.length, &number, &why) != SCALAR_STRING)
		{
			free(number);
			return fault(reader, line, "key \"%s\" is no string; put it in quotes", text);
		}
	}
	return client_strdup(text);
}

/* The value of a member, whose key is taken over. */
static bool
read_member(Reader *reader, cJSON *parent, char *key, const yaml_event_t *first, int part,
			int depth)
{
	yaml_event_t event;
	cJSON	   *value = NULL;

	if (first != NULL)
		value = read_value(reader, first, lines_add(reader->lines, part, NULL, line_of(first)),
						   depth);
	else if (next_event(reader, &event))
	{
		/* the line of a member is that of its key, which the caller has added */
		value = read_value(reader, &event, part, depth);
		yaml_event_delete(&event);
	}
	if (value == NULL)
	{
		free(key);
		return false;
	}
	value_append(parent, key, value);
	return true;
}

static cJSON *
read_container(Reader *reader, bool is_object, int part, int depth)
{
	cJSON	   *value = is_object ? cJSON_CreateObject() : cJSON_CreateArray();
	bool		ok = true;
	bool		done = false;
	int			duplicate;

	if (value == NULL)
		client_fatal(EXIT_FAILED, "out of memory");
	while (ok && !done)
	{
		yaml_event_t event;

		if (!next_event(reader, &event))
		{
			ok = false;
			break;
		}
		if (event.type == YAML_MAPPING_END_EVENT || event.type == YAML_SEQUENCE_END_EVENT)
			done = true;
		else if (is_object)
		{
			char	   *key = read_key(reader, &event);

			ok = key != NULL &&
				read_member(reader, value, key, NULL,
							lines_add(reader->lines, part, key, line_of(&event)), depth + 1);
		}
		else
			ok = read_member(reader, value, NULL, &event, part, depth + 1);
		yaml_event_delete(&event);
	}
	if (ok && is_object && (duplicate = value_duplicate(value)) >= 0)
	{
		fault(reader, lines_nth(reader->lines, part, duplicate), "duplicate key \"%s\"",
			  cJSON_GetArrayItem(value, duplicate)->string);
		ok = false;
	}
	if (!ok)
	{
		cJSON_Delete(value);
		return NULL;
	}
	return value;
}

static cJSON *
read_value(Reader *reader, const yaml_event_t *event, int part, int depth)
{
	const yaml_char_t *tag = NULL;
	const yaml_char_t *name = NULL;
	cJSON	   *value;
	int			anchor;

	if (event->type == YAML_ALIAS_EVENT)
		return read_alias(reader, event, depth);
	if (event->type == YAML_SCALAR_EVENT)
	{
		tag = event->data.scalar.tag;
		name = event->data.scalar.anchor;
	}
	else if (event->type == YAML_SEQUENCE_START_EVENT)
	{
		tag = event->data.sequence_start.tag;
		name = event->data.sequence_start.anchor;
	}
	else
	{
		tag = event->data.mapping_start.tag;
		name = event->data.mapping_start.anchor;
	}
	if (tag != NULL)
		return fault(reader, line_of(event), "tags are not supported");
	if (depth > DOCUMENT_MAX_DEPTH)
		return fault(reader, line_of(event), "nested deeper than %d levels", DOCUMENT_MAX_DEPTH);
	anchor = begin_anchor(reader, name);
	if (event->type == YAML_SCALAR_EVENT)
		value = read_scalar(reader, event);
	else
		value = read_container(reader, event->type == YAML_MAPPING_START_EVENT, part, depth);
	if (anchor >= 0)
		reader->anchors[anchor].value = value;
	return value;
}

/* Whether a document is nothing at all, as after a last "---". */
static bool
is_empty(const yaml_event_t *event)
{
	return event->type == YAML_SCALAR_EVENT && event->data.scalar.length == 0 &&
		event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && event->data.scalar.tag == NULL &&
		event->data.scalar.anchor == NULL;
}

/* The document after its start event; one that is empty is passed over. */
static bool
read_document(Reader *reader, Documents *documents)
{
	yaml_event_t event;
	cJSON	   *value = NULL;

	if (!next_event(reader, &event))
		return false;
	if (!is_empty(&event))
	{
		reader->lines = lines_new();
		value = read_value(reader, &event, lines_add(reader->lines, -1, NULL, line_of(&event)), 0);
		forget_anchors(reader);
		if (value == NULL)
			lines_free(reader->lines);
		else
		{
			documents->items = client_realloc(documents->items,
											  sizeof(Document) * (size_t) (documents->count + 1));
			documents->items[documents->count++] = (Document) {value, reader->lines};
		}
	}
	yaml_event_delete(&event);
	return reader->error == NULL;
}

bool
yaml_parse(const char *text, size_t len, Documents *documents, int *error_line, char **error)
{
	Reader		reader;
	yaml_event_t event;
	bool		done = false;

	memset(&reader, 0, sizeof(reader));
	if (!yaml_parser_initialize(&reader.parser))
		client_fatal(EXIT_FAILED, "out of memory");
	yaml_parser_set_encoding(&reader.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&reader.parser, (const unsigned char *) text, len);

	while (!done && next_event(&reader, &event))
	{
		done = event.type == YAML_STREAM_END_EVENT ||
			(event.type == YAML_DOCUMENT_START_EVENT && !read_document(&reader, documents));
		yaml_event_delete(&event);
	}
	if (reader.error == NULL && documents->count == 0)
		fault(&reader, 1, "there is no document in it");
	yaml_parser_delete(&reader.parser);
	free(reader.anchors);
	*error = reader.error;
	*error_line = reader.error_line;
	if (reader.error != NULL)
		documents_free(documents);
	return reader.error == NULL;
}
