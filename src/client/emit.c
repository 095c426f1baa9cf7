/*
 * emit.c
 *	  YAML written so that it is read again as the same value: by this program,
 *	  and as far as that can be by readers of YAML 1.1 too.
 */
#include <stdlib.h>
#include <string.h>

#include <yaml.h>

#include "client.h"
#include "document_private.h"

/* an array of so few and so short scalars is written on one line */
#define FLOW_MAX_ITEMS	8
#define FLOW_MAX_WIDTH	60

/* strings that other readers take for something else */
static bool
is_ambiguous(const char *text)
{
	static const char *const words[] = {
		"y", "n", "yes", "no", "on", "off", "true", "false", "null", "none", "=", "<<", NULL
	};

	for (int i = 0; words[i] != NULL; i++)
	{
		if (strcasecmp(words[i], text) == 0)
			return true;
	}
	/* 1_000, 12:30:00, 2026-01-01, 0b1, +1 */
	return text[0] != '\0' && strspn(text, "0123456789_:.-+abcdefxABCDEFTZ ") == strlen(text) &&
		strpbrk(text, "0123456789") != NULL && strpbrk(text, "0123456789") <= text + 1;
}

/* Whether the text is fit for a literal block: lines that no blank begins or ends. */
static bool
is_block(const char *text)
{
	const unsigned char *s = (const unsigned char *) text;

	if (strchr(text, '\n') == NULL || *s == ' ' || *s == '\n')
		return false;
	for (; *s != '\0'; s++)
	{
		if ((*s < 0x20 && *s != '\n') || *s == 0x7f)
			return false;
		if (*s == ' ' && (s[1] == '\n' || s[1] == '\0'))
			return false;
		/* NEL, the separators of U+2028 and U+2029, the mark U+FEFF, and beyond U+FFFF */
		if (*s == 0xc2 || (*s == 0xe2 && s[1] == 0x80) || *s == 0xef || *s >= 0xf0)
			return false;
	}
	return true;
}

static yaml_scalar_style_t
string_style(const char *text)
{
	char	   *number;
	const char *why;
	ScalarKind	kind = scalar_resolve(text, strlen(text), &number, &why);

	free(number);
	if (is_block(text))
		return YAML_LITERAL_SCALAR_STYLE;
	if (kind != SCALAR_STRING || is_ambiguous(text) || strpbrk(text, "\n\t\r") != NULL)
		return YAML_DOUBLE_QUOTED_SCALAR_STYLE;
	/* which libyaml gives up where plain would not do */
	return YAML_PLAIN_SCALAR_STYLE;
}

static bool
emit(yaml_emitter_t *emitter, yaml_event_t *event, int made)
{
	return made && yaml_emitter_emit(emitter, event);
}

static bool
emit_scalar(yaml_emitter_t *emitter, const char *text, yaml_scalar_style_t style)
{
	yaml_event_t event;

	return emit(emitter, &event,
				yaml_scalar_event_initialize(&event, NULL, NULL, (const yaml_char_t *) text,
											 (int) strlen(text), 1, 1, style));
}

static bool
is_short(const cJSON *array)
{
	size_t		width = 0;
	int			count = 0;

	for (const cJSON *item = array->child; item != NULL; item = item->next)
	{
		if (item->child != NULL || ++count > FLOW_MAX_ITEMS)
			return false;
		if (item->valuestring != NULL)
			width += strlen(item->valuestring);
		if (cJSON_IsString(item) && strchr(item->valuestring, '\n') != NULL)
			return false;
	}
	return width <= FLOW_MAX_WIDTH;
}

static bool
emit_key(yaml_emitter_t *emitter, const char *key)
{
	yaml_scalar_style_t style = string_style(key);

	return emit_scalar(emitter, key, style == YAML_LITERAL_SCALAR_STYLE ?
					   YAML_DOUBLE_QUOTED_SCALAR_STYLE : style);
}

static bool
emit_value(yaml_emitter_t *emitter, const cJSON *value)
{
	yaml_event_t event;

	if (cJSON_IsString(value))
		return emit_scalar(emitter, value->valuestring, string_style(value->valuestring));
	if (cJSON_IsObject(value))
	{
		if (!emit(emitter, &event,
				  yaml_mapping_start_event_initialize(&event, NULL, NULL, 1,
													  value->child ? YAML_BLOCK_MAPPING_STYLE
													  : YAML_FLOW_MAPPING_STYLE)))
			return false;
		for (const cJSON *item = value->child; item != NULL; item = item->next)
		{
			if (!emit_key(emitter, item->string) || !emit_value(emitter, item))
				return false;
		}
		return emit(emitter, &event, yaml_mapping_end_event_initialize(&event));
	}
	if (cJSON_IsArray(value))
	{
		if (!emit(emitter, &event,
				  yaml_sequence_start_event_initialize(&event, NULL, NULL, 1,
													   is_short(value) ? YAML_FLOW_SEQUENCE_STYLE
													   : YAML_BLOCK_SEQUENCE_STYLE)))
			return false;
		for (const cJSON *item = value->child; item != NULL; item = item->next)
		{
			if (!emit_value(emitter, item))
				return false;
		}
		return emit(emitter, &event, yaml_sequence_end_event_initialize(&event));
	}
	else
	{
		char	   *text = document_print(value, false);
		bool		ok = emit_scalar(emitter, text, YAML_PLAIN_SCALAR_STYLE);

		free(text);
		return ok;
	}
}

bool
document_print_yaml(const cJSON *value, FILE *stream)
{
	yaml_emitter_t emitter;
	yaml_event_t event;
	bool		ok;

	if (!yaml_emitter_initialize(&emitter))
		client_fatal(EXIT_FAILED, "out of memory");
	yaml_emitter_set_output_file(&emitter, stream);
	yaml_emitter_set_unicode(&emitter, 1);
	yaml_emitter_set_width(&emitter, -1);
	ok = emit(&emitter, &event, yaml_stream_start_event_initialize(&event, YAML_UTF8_ENCODING)) &&
		emit(&emitter, &event, yaml_document_start_event_initialize(&event, NULL, NULL, NULL, 1)) &&
		emit_value(&emitter, value) &&
		emit(&emitter, &event, yaml_document_end_event_initialize(&event, 1)) &&
		emit(&emitter, &event, yaml_stream_end_event_initialize(&event));
	yaml_emitter_delete(&emitter);
	return ok;
}
