/*
 * relay_template.c
 *	  Texts of the configuration with {{names}} in them.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "relay_json.h"
#include "relay_template.h"

#define MAX_PATH_DEPTH	16

typedef struct Part
{
	char	   *literal;		/* before the value */
	size_t		literal_len;
	char	   *name;			/* as written; NULL: the literal is all */
	char	   *path[MAX_PATH_DEPTH];
	int			depth;
	char	   *otherwise;		/* NULL: an error */
	bool		in_string;		/* of a JSON text */
} Part;

struct Template
{
	TemplateContext context;
	Part	   *parts;
	int			nparts;
};

void
template_free(Template *template)
{
	if (template == NULL)
		return;
	for (int i = 0; i < template->nparts; i++)
	{
		Part	   *part = &template->parts[i];

		free(part->literal);
		free(part->name);
		free(part->otherwise);
		for (int j = 0; j < part->depth; j++)
			free(part->path[j]);
	}
	free(template->parts);
	free(template);
}

static char *
copy(const char *from, const char *end)
{
	char	   *string = client_alloc((size_t) (end - from) + 1);

	return memcpy(string, from, (size_t) (end - from));
}

static bool
split_path(Part *part, char **error)
{
	const char *at = part->name;

	for (;;)
	{
		const char *from = at;

		while (isalnum((unsigned char) *at) || *at == '_' || *at == '-' ||
			   (unsigned char) *at >= 0x80)
			at++;
		if (at == from || (*at != '.' && *at != '\0') || part->depth == MAX_PATH_DEPTH)
		{
			*error = client_format("\"%s\" is no name; write a path such as params.name", part->name);
			return false;
		}
		part->path[part->depth++] = copy(from, at);
		if (*at++ == '\0')
			return true;
	}
}

static bool
check_name(const Part *part, const char *const *names, char **error)
{
	Text		list = {0};

	for (int i = 0; names[i] != NULL; i++)
		if (strcmp(names[i], part->path[0]) == 0)
			return true;
	for (int i = 0; names[i] != NULL; i++)
		text_format(&list, "%s%s", i > 0 ? ", " : "", names[i]);
	*error = client_format("\"%s\" is unknown; there are %s", part->path[0], list.data);
	text_free(&list);
	return false;
}

/* whether the JSON text, so far, ends inside a string */
static bool
ends_in_string(const char *literal, size_t len, bool inside)
{
	for (size_t i = 0; i < len; i++)
	{
		if (literal[i] == '"')
			inside = !inside;
		else if (literal[i] == '\\' && inside)
			i++;
	}
	return inside;
}

/* what stands between {{ and }} */
static bool
read_value(Part *part, const char *from, const char *end, const char *const *names, char **error)
{
	const char *bar = memchr(from, '|', (size_t) (end - from));
	const char *name_end = bar ? bar : end;

	if (bar != NULL)
		part->otherwise = copy(bar + 1, end);
	while (from < name_end && isspace((unsigned char) *from))
		from++;
	while (name_end > from && isspace((unsigned char) name_end[-1]))
		name_end--;
	part->name = copy(from, name_end);
	return split_path(part, error) && check_name(part, names, error);
}

static bool
url_place_ok(const Template *template, const Text *literal, char **error)
{
	const char *host = template->nparts == 1 && literal->data ? strstr(literal->data, "://") : NULL;

	if (template->nparts > 1 || (host != NULL && strpbrk(host + 3, "/?") != NULL))
		return true;
	*error = client_strdup("names may stand only in the path and behind it, not in the host");
	return false;
}

/*
 * Append the parts of the source.  What a value of a JSON text is filled with
 * is tried at once with stand-ins, so that a text that can never be JSON is
 * found out here.
 */
static bool
read_parts(Template *template, const char *source, const char *const *names, char **error)
{
	bool		inside = false;

	for (;;)
	{
		Text		literal = {0};
		Part	   *part;
		const char *end;

		while (*source != '\0' && strncmp(source, "{{", 2) != 0)
		{
			if (strncmp(source, "\\{{", 3) == 0)
			{
				text_add(&literal, "{{");
				source += 3;
			}
			else
				text_char(&literal, *source++);
		}
		template->parts = client_realloc(template->parts,
										 (size_t) (template->nparts + 1) * sizeof(Part));
		part = &template->parts[template->nparts++];
		memset(part, 0, sizeof(*part));
		part->literal_len = literal.len;
		part->literal = text_take(&literal);
		if (*source == '\0')
			return true;
		inside = ends_in_string(part->literal, part->literal_len, inside);
		part->in_string = inside;
		end = strstr(source, "}}");
		if (end == NULL)
		{
			*error = client_strdup("\"{{\" without \"}}\"; two braces themselves are written \\{{");
			return false;
		}
		literal.data = part->literal;
		if (template->context == TEMPLATE_URL && !url_place_ok(template, &literal, error))
			return false;
		if (!read_value(part, source + 2, end, names, error))
			return false;
		source = end + 2;
	}
}

/* it is put in as it is: by itself it must be what it stands for */
static bool
default_ok(const Part *part)
{
	Text		text = {0};
	bool		ok;

	text_format(&text, part->in_string ? "\"%s\"" : "%s", part->otherwise);
	ok = json_valid(text.data, text.len);
	text_free(&text);
	return ok;
}

static bool
check_json(const Template *template, char **error)
{
	Text		sample = {0};
	bool		ok;

	for (int i = 0; i < template->nparts; i++)
	{
		const Part *part = &template->parts[i];

		text_append(&sample, part->literal, part->literal_len);
		if (part->name == NULL)
			continue;
		if (part->otherwise != NULL && !default_ok(part))
		{
			*error = client_format("\"%s\" stands for %s, but \"%s\" behind the bar is none",
								   part->name,
								   part->in_string ? "a piece of a JSON string" : "a JSON value",
								   part->otherwise);
			text_free(&sample);
			return false;
		}
		/* no backslash before it makes an escape of this letter */
		text_add(&sample, part->in_string ? "x" : "null");
	}
	ok = json_valid(sample.data ? sample.data : "", sample.len);
	if (!ok)
		*error = client_strdup("the text is not JSON");
	text_free(&sample);
	return ok;
}

bool
has_control(const char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if ((unsigned char) bytes[i] < ' ' || bytes[i] == 0x7f)
			return true;
	return false;
}

static bool
check_header(const Template *template, char **error)
{
	for (int i = 0; i < template->nparts; i++)
	{
		const Part *part = &template->parts[i];

		if (!has_control(part->literal, part->literal_len) &&
			(part->otherwise == NULL || !has_control(part->otherwise, strlen(part->otherwise))))
			continue;
		*error = client_strdup("has a line break or another control character; a block of YAML "
							   "has none at its end if it begins with |- or >-");
		return false;
	}
	return true;
}

void
template_sample(const Template *template, Text *out)
{
	for (int i = 0; i < template->nparts; i++)
	{
		text_append(out, template->parts[i].literal, template->parts[i].literal_len);
		if (template->parts[i].name != NULL)
			text_char(out, 'x');
	}
}

Template *
template_compile(const char *source, TemplateContext context, const char *const *names,
				 char **error)
{
	Template   *template = client_alloc(sizeof(Template));

	template->context = context;
	*error = NULL;
	if (!read_parts(template, source, names, error) ||
		(context == TEMPLATE_JSON && !check_json(template, error)) ||
		(context == TEMPLATE_HEADER && !check_header(template, error)))
	{
		template_free(template);
		return NULL;
	}
	return template;
}

static bool
append_value(const Template *template, const Part *part, const Text *plain, Text *out, char **error)
{
	const char *s = plain->data ? plain->data : "";

	switch (template->context)
	{
		case TEMPLATE_TEXT:
			text_append(out, s, plain->len);
			break;
		case TEMPLATE_JSON:
			text_json(out, s, plain->len);
			break;
		case TEMPLATE_URL:
			text_percent(out, s, plain->len, false);
			break;
		case TEMPLATE_FORM:
			text_percent(out, s, plain->len, true);
			break;
		case TEMPLATE_HTML:
			text_html(out, s, plain->len, true);
			break;
		case TEMPLATE_SLACK:
			text_html(out, s, plain->len, false);
			break;
		case TEMPLATE_HEADER:
			if (has_control(s, plain->len))
			{
				*error = client_format("the value of \"%s\" has a line break or another control "
									   "character, which a header must not have", part->name);
				return false;
			}
			text_append(out, s, plain->len);
			break;
	}
	return true;
}

static bool
render_part(const Template *template, const Part *part, Slice document, Text *out, char **error)
{
	Text		plain = {0};
	Slice		value = {NULL, 0};
	bool		ok;

	if (!json_find(document, (const char *const *) part->path, part->depth, &value) ||
		(value.len == 4 && memcmp(value.at, "null", 4) == 0))
	{
		if (part->otherwise == NULL)
		{
			*error = client_format("\"%s\" is null or absent, and has no default", part->name);
			return false;
		}
		/* in a JSON text it is JSON already */
		if (template->context == TEMPLATE_JSON)
		{
			text_add(out, part->otherwise);
			return true;
		}
		text_add(&plain, part->otherwise);
	}
	else if (template->context == TEMPLATE_JSON && !part->in_string)
	{
		text_append(out, value.at, value.len);
		return true;
	}
	else
		json_unquote(&plain, value);
	ok = append_value(template, part, &plain, out, error);
	text_free(&plain);
	return ok;
}

/*
 * A value is percent-encoded, but a server takes "." and ".." for what they are
 * in any encoding: neither may be a whole segment.  next is what follows.
 */
static bool
segment_ok(const Part *part, const Part *next, const Text *out, char **error)
{
	const char *begin = strrchr(out->data, '/');
	size_t		rest = strcspn(next->literal, "/?#");
	char	   *segment;
	bool		ok;

	if (begin == NULL || strpbrk(out->data, "?#") != NULL ||
		(next->literal[rest] == '\0' && next->name != NULL))
		return true;
	segment = client_format("%s%.*s", begin + 1, (int) rest, next->literal);
	ok = strcmp(segment, ".") != 0 && strcmp(segment, "..") != 0;
	if (!ok)
		*error = client_format("the value of \"%s\" makes \"%s\" a part of the path, which leads "
							   "somewhere else", part->name, segment);
	free(segment);
	return ok;
}

bool
template_render(const Template *template, Slice document, Text *out, char **error)
{
	*error = NULL;
	text_append(out, "", 0);
	for (int i = 0; i < template->nparts; i++)
	{
		const Part *part = &template->parts[i];

		text_append(out, part->literal, part->literal_len);
		if (part->name != NULL && !render_part(template, part, document, out, error))
			return false;
		if (part->name != NULL && template->context == TEMPLATE_URL &&
			!segment_ok(part, part + 1, out, error))
			return false;
	}
	return true;
}
