/*
 * json.c
 *	  JSON read strictly: RFC 8259 with neither duplicate keys, nor lone
 *	  surrogates, nor null characters.
 *
 * The text is known to be UTF-8 without null bytes.
 */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "document_private.h"

typedef struct Reader
{
	const char *text;
	const char *at;
	const char *end;
	int			line;			/* of at */
	int			max_depth;
	Lines	   *lines;
	int			error_line;
	char	   *error;
} Reader;

static cJSON *read_value(Reader *reader, int part, int depth);

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

static void
skip_blanks(Reader *reader)
{
	while (reader->at < reader->end && strchr(" \t\r\n", *reader->at) != NULL)
		reader->line += *reader->at++ == '\n';
}

static char
peek(const Reader *reader)
{
	return reader->at < reader->end ? *reader->at : '\0';
}

/* What stands at the place, for a message. */
static void *
unexpected(Reader *reader, const char *wanted)
{
	unsigned char c = (unsigned char) peek(reader);

	if (reader->at >= reader->end)
		return fault(reader, reader->line, "%s was expected, but the text ends", wanted);
	if (c > 0x20 && c < 0x7f)
		return fault(reader, reader->line, "%s was expected, not \"%c\"", wanted, c);
	return fault(reader, reader->line, "%s was expected", wanted);
}

static bool
read_hex(Reader *reader, unsigned int *code)
{
	*code = 0;
	for (int i = 0; i < 4; i++, reader->at++)
	{
		char		c = peek(reader);

		*code <<= 4;
		if (c >= '0' && c <= '9')
			*code |= (unsigned int) (c - '0');
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			*code |= (unsigned int) ((c | 0x20) - 'a' + 10);
		else
		{
			fault(reader, reader->line, "\\u needs four hexadecimal digits");
			return false;
		}
	}
	return true;
}

static char *
write_utf8(char *out, unsigned int code)
{
	if (code < 0x80)
		*out++ = (char) code;
	else if (code < 0x800)
	{
		*out++ = (char) (0xc0 | code >> 6);
		*out++ = (char) (0x80 | (code & 0x3f));
	}
	else if (code < 0x10000)
	{
		*out++ = (char) (0xe0 | code >> 12);
		*out++ = (char) (0x80 | (code >> 6 & 0x3f));
		*out++ = (char) (0x80 | (code & 0x3f));
	}
	else
	{
		*out++ = (char) (0xf0 | code >> 18);
		*out++ = (char) (0x80 | (code >> 12 & 0x3f));
		*out++ = (char) (0x80 | (code >> 6 & 0x3f));
		*out++ = (char) (0x80 | (code & 0x3f));
	}
	return out;
}

/* After \u: the character, of two escapes where it is a surrogate pair. */
static char *
read_unicode(Reader *reader, char *out)
{
	unsigned int code;
	unsigned int low;

	if (!read_hex(reader, &code))
		return NULL;
	if (code == 0)
		return fault(reader, reader->line, "a string holds a null character");
	if (code >= 0xd800 && code <= 0xdfff)
	{
		if (code >= 0xdc00 || reader->end - reader->at < 2 ||
			reader->at[0] != '\\' || reader->at[1] != 'u')
			return fault(reader, reader->line, "a string holds half of a surrogate pair");
		reader->at += 2;
		if (!read_hex(reader, &low))
			return NULL;
		if (low < 0xdc00 || low > 0xdfff)
			return fault(reader, reader->line, "a string holds half of a surrogate pair");
		code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
	}
	return write_utf8(out, code);
}

/* After the first quote.  No escape is shorter than what it stands for. */
static char *
read_string(Reader *reader)
{
	static const char escapes[] = "\"\\/bfnrt";
	static const char meanings[] = "\"\\/\b\f\n\r\t";
	const char *close = reader->at;
	char	   *string;
	char	   *out;

	while (close < reader->end && *close != '"')
		close += *close == '\\' && close + 1 < reader->end ? 2 : 1;
	out = string = client_alloc((size_t) (close - reader->at) + 1);
	while (peek(reader) != '"')
	{
		char		c = peek(reader);
		const char *escape;

		if (reader->at >= reader->end)
			unexpected(reader, "the end of a string");
		else if ((unsigned char) c < 0x20)
			fault(reader, reader->line, "a string holds a control character that is not escaped");
		else if (c != '\\')
		{
			*out++ = c;
			reader->at++;
			continue;
		}
		else if (reader->end - reader->at > 1 && reader->at[1] == 'u')
		{
			reader->at += 2;
			if ((out = read_unicode(reader, out)) != NULL)
				continue;
		}
		else if (reader->end - reader->at > 1 && (escape = strchr(escapes, reader->at[1])) != NULL)
		{
			*out++ = meanings[escape - escapes];
			reader->at += 2;
			continue;
		}
		else
			fault(reader, reader->line, "a string holds an escape that is none");
		free(string);
		return NULL;
	}
	reader->at++;
	*out = '\0';
	return string;
}

static const char *
digits(const char *at, const char *end)
{
	while (at < end && *at >= '0' && *at <= '9')
		at++;
	return at;
}

static cJSON *
read_number(Reader *reader)
{
	const char *at = reader->at;
	const char *start = at;
	const char *whole;
	char	   *text;
	cJSON	   *value;

	if (at < reader->end && *at == '-')
		at++;
	whole = at;
	at = digits(at, reader->end);
	if (at == whole)
		return fault(reader, reader->line, "a number has no digits");
	if (*whole == '0' && at - whole > 1)
		return fault(reader, reader->line, "a number begins with 0");
	if (at < reader->end && *at == '.')
	{
		whole = ++at;
		at = digits(at, reader->end);
		if (at == whole)
			return fault(reader, reader->line, "a number has no digit after the point");
	}
	if (at < reader->end && (*at == 'e' || *at == 'E'))
	{
		at++;
		if (at < reader->end && (*at == '+' || *at == '-'))
			at++;
		whole = at;
		at = digits(at, reader->end);
		if (at == whole)
			return fault(reader, reader->line, "a number has no exponent");
	}
	text = client_alloc((size_t) (at - start) + 1);
	memcpy(text, start, (size_t) (at - start));
	value = number_new(text);
	free(text);
	reader->at = at;
	return value != NULL ? value : fault(reader, reader->line, "a number is out of range");
}

static cJSON *
read_word(Reader *reader)
{
	static const char *const words[] = {"null", "false", "true"};

	for (int i = 0; i < 3; i++)
	{
		size_t		len = strlen(words[i]);

		if ((size_t) (reader->end - reader->at) >= len && memcmp(reader->at, words[i], len) == 0)
		{
			reader->at += len;
			return i == 0 ? cJSON_CreateNull() : cJSON_CreateBool(i == 2);
		}
	}
	return unexpected(reader, "a value");
}

/* A member of an object or array, without what separates it from the next. */
static bool
read_member(Reader *reader, cJSON *parent, int part, int depth)
{
	char	   *key = NULL;
	cJSON	   *value;
	int			child;

	skip_blanks(reader);
	if (cJSON_IsObject(parent))
	{
		if (peek(reader) != '"')
			return unexpected(reader, "a key in double quotes") != NULL;
		reader->at++;
		key = read_string(reader);
		if (key == NULL)
			return false;
	}
	child = lines_add(reader->lines, part, key, reader->line);
	if (key != NULL)
	{
		skip_blanks(reader);
		if (peek(reader) != ':')
		{
			free(key);
			return unexpected(reader, "\":\"") != NULL;
		}
		reader->at++;
	}
	value = read_value(reader, child, depth + 1);
	if (value == NULL)
	{
		free(key);
		return false;
	}
	value_append(parent, key, value);
	return true;
}

/* After the opening bracket. */
static cJSON *
read_container(Reader *reader, bool is_object, int part, int depth)
{
	cJSON	   *value = is_object ? cJSON_CreateObject() : cJSON_CreateArray();
	char		close = is_object ? '}' : ']';
	bool		ok = true;
	int			duplicate;

	if (value == NULL)
		client_fatal(EXIT_FAILED, "out of memory");
	if (depth >= reader->max_depth)
		ok = fault(reader, reader->line, "nested deeper than %d levels", reader->max_depth) != NULL;
	skip_blanks(reader);
	while (ok && peek(reader) != close)
	{
		ok = read_member(reader, value, part, depth);
		if (!ok)
			break;
		skip_blanks(reader);
		if (peek(reader) == ',')
		{
			reader->at++;
			skip_blanks(reader);
			if (peek(reader) == close)
				ok = fault(reader, reader->line, "a comma stands before \"%c\"", close) != NULL;
		}
		else if (peek(reader) != close)
			ok = unexpected(reader, is_object ? "\",\" or \"}\"" : "\",\" or \"]\"") != NULL;
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
	reader->at++;
	return value;
}

static cJSON *
read_value(Reader *reader, int part, int depth)
{
	char		c;

	skip_blanks(reader);
	c = peek(reader);
	if (c == '{' || c == '[')
	{
		reader->at++;
		return read_container(reader, c == '{', part, depth);
	}
	if (c == '"')
	{
		cJSON	   *value;
		char	   *string;

		reader->at++;
		string = read_string(reader);
		if (string == NULL)
			return NULL;
		value = cJSON_CreateString(string);
		free(string);
		if (value == NULL)
			client_fatal(EXIT_FAILED, "out of memory");
		return value;
	}
	if (c == '-' || (c >= '0' && c <= '9'))
		return read_number(reader);
	return read_word(reader);
}

bool
json_parse(const char *text, size_t len, int max_depth, Document *document, int *error_line,
		   char **error)
{
	Reader		reader = {text, text, text + len, 1, max_depth, lines_new(), 0, NULL};
	cJSON	   *value;

	skip_blanks(&reader);
	lines_add(reader.lines, -1, NULL, reader.line);
	value = read_value(&reader, 0, 0);
	if (value != NULL)
	{
		skip_blanks(&reader);
		if (reader.at < reader.end)
		{
			unexpected(&reader, "the end of the text");
			cJSON_Delete(value);
			value = NULL;
		}
	}
	if (value == NULL)
	{
		lines_free(reader.lines);
		*error = reader.error;
		*error_line = reader.error_line;
		return false;
	}
	document->value = value;
	document->lines = reader.lines;
	return true;
}
