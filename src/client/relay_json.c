/*
 * relay_json.c
 *	  Looking into a JSON text without taking it apart.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "relay_json.h"

/* longer numbers are refused: numeric has its limits */
#define MAX_NUMBER	1000
#define MAX_EXPONENT	4

typedef struct Cursor
{
	const char *at;
	const char *end;
} Cursor;

static bool value_valid(Cursor *c, int depth);

static void
skip_blanks(Cursor *c)
{
	while (c->at < c->end && (*c->at == ' ' || *c->at == '\t' || *c->at == '\n' || *c->at == '\r'))
		c->at++;
}

static bool
take(Cursor *c, char wanted)
{
	if (c->at >= c->end || *c->at != wanted)
		return false;
	c->at++;
	return true;
}

static size_t
digits(Cursor *c)
{
	const char *from = c->at;

	while (c->at < c->end && isdigit((unsigned char) *c->at))
		c->at++;
	return (size_t) (c->at - from);
}

static bool
number_valid(Cursor *c)
{
	const char *from = c->at;

	take(c, '-');
	if (!take(c, '0') && digits(c) == 0)
		return false;
	if (take(c, '.') && digits(c) == 0)
		return false;
	if (c->at < c->end && (*c->at == 'e' || *c->at == 'E'))
	{
		size_t		n;

		c->at++;
		if (!take(c, '+'))
			take(c, '-');
		n = digits(c);
		if (n == 0 || n > MAX_EXPONENT)
			return false;
	}
	return c->at - from <= MAX_NUMBER;
}

/* four hex digits; -1 where there are none */
static long
hex4(Cursor *c)
{
	long		code = 0;

	if (c->end - c->at < 4)
		return -1;
	for (int i = 0; i < 4; i++)
	{
		int			d = (unsigned char) *c->at++;

		if (!isxdigit(d))
			return -1;
		code = code * 16 + (isdigit(d) ? d - '0' : tolower(d) - 'a' + 10);
	}
	return code;
}

/* behind a backslash: the code of the character; -1 where it is none */
static long
escaped(Cursor *c)
{
	long		code;
	long		low;

	if (c->at >= c->end)
		return -1;
	switch (*c->at++)
	{
		case '"':
			return '"';
		case '\\':
			return '\\';
		case '/':
			return '/';
		case 'b':
			return '\b';
		case 'f':
			return '\f';
		case 'n':
			return '\n';
		case 'r':
			return '\r';
		case 't':
			return '\t';
		case 'u':
			break;
		default:
			return -1;
	}
	code = hex4(c);
	if (code < 0xd800 || code >= 0xe000)
		return code;
	if (code >= 0xdc00 || !take(c, '\\') || !take(c, 'u'))
		return -1;
	low = hex4(c);
	if (low < 0xdc00 || low >= 0xe000)
		return -1;
	return 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
}

static bool
string_valid(Cursor *c)
{
	if (!take(c, '"'))
		return false;
	while (c->at < c->end)
	{
		size_t		n;

		if (take(c, '"'))
			return true;
		if (take(c, '\\'))
		{
			if (escaped(c) <= 0)
				return false;
			continue;
		}
		n = utf8_length(c->at, (size_t) (c->end - c->at));
		if (n == 0 || (unsigned char) *c->at < 0x20)
			return false;
		c->at += n;
	}
	return false;
}

static bool
members_valid(Cursor *c, char last, int depth)
{
	skip_blanks(c);
	if (take(c, last))
		return true;
	do
	{
		skip_blanks(c);
		if (last == '}')
		{
			if (!string_valid(c))
				return false;
			skip_blanks(c);
			if (!take(c, ':'))
				return false;
			skip_blanks(c);
		}
		if (!value_valid(c, depth + 1))
			return false;
		skip_blanks(c);
	} while (take(c, ','));
	return take(c, last);
}

static bool
word_valid(Cursor *c, const char *word)
{
	size_t		len = strlen(word);

	if ((size_t) (c->end - c->at) < len || memcmp(c->at, word, len) != 0)
		return false;
	c->at += len;
	return true;
}

static bool
value_valid(Cursor *c, int depth)
{
	if (c->at >= c->end || depth > JSON_MAX_DEPTH)
		return false;
	switch (*c->at)
	{
		case '{':
			c->at++;
			return members_valid(c, '}', depth);
		case '[':
			c->at++;
			return members_valid(c, ']', depth);
		case '"':
			return string_valid(c);
		case 't':
			return word_valid(c, "true");
		case 'f':
			return word_valid(c, "false");
		case 'n':
			return word_valid(c, "null");
		default:
			return number_valid(c);
	}
}

bool
json_valid(const char *text, size_t len)
{
	Cursor		c = {text, text + len};

	skip_blanks(&c);
	if (!value_valid(&c, 1))
		return false;
	skip_blanks(&c);
	return c.at == c.end;
}

/* behind the string that begins here */
static void
skip_string(Cursor *c)
{
	c->at++;
	while (c->at < c->end && *c->at != '"')
		c->at += *c->at == '\\' && c->end - c->at > 1 ? 2 : 1;
	if (c->at < c->end)
		c->at++;
}

/* behind the value that begins here */
static void
skip_value(Cursor *c)
{
	int			depth = 0;

	do
	{
		if (c->at >= c->end)
			return;
		switch (*c->at)
		{
			case '"':
				skip_string(c);
				break;
			case '{':
			case '[':
				depth++;
				c->at++;
				break;
			case '}':
			case ']':
				depth--;
				c->at++;
				break;
			case ',':
			case ':':
			case ' ':
			case '\t':
			case '\n':
			case '\r':
				c->at++;
				break;
			default:
				do
					c->at++;
				while (c->at < c->end && strchr(",:]} \t\n\r", *c->at) == NULL);
		}
	} while (depth > 0);
}

static bool
key_is(Slice key, const char *wanted)
{
	Text		plain = {0};
	bool		same;

	if (memchr(key.at, '\\', key.len) == NULL)
		return key.len == strlen(wanted) + 2 && memcmp(key.at + 1, wanted, key.len - 2) == 0;
	json_unquote(&plain, key);
	same = plain.data != NULL && strcmp(plain.data, wanted) == 0;
	text_free(&plain);
	return same;
}

/* move to the value of a key of the object, or of an index of the array, here */
static bool
descend(Cursor *c, const char *wanted)
{
	bool		object = c->at < c->end && *c->at == '{';
	long		index = 0;
	char	   *rest;
	long		number = strtol(wanted, &rest, 10);

	if (!object && (c->at >= c->end || *c->at != '['))
		return false;
	if (!object && (*rest != '\0' || !isdigit((unsigned char) *wanted)))
		return false;
	c->at++;
	for (;;)
	{
		bool		here = index == number;

		skip_blanks(c);
		if (c->at >= c->end || *c->at == '}' || *c->at == ']')
			return false;
		if (object)
		{
			Slice		key = {c->at, 0};

			skip_string(c);
			key.len = (size_t) (c->at - key.at);
			here = key.len >= 2 && key_is(key, wanted);
			skip_blanks(c);
			take(c, ':');
			skip_blanks(c);
		}
		if (here)
			return true;
		skip_value(c);
		skip_blanks(c);
		if (!take(c, ','))
			return false;
		index++;
	}
}

bool
json_find(Slice text, const char *const *path, int depth, Slice *found)
{
	Cursor		c = {text.at, text.at + text.len};

	skip_blanks(&c);
	for (int i = 0; i < depth; i++)
		if (!descend(&c, path[i]))
			return false;
	found->at = c.at;
	skip_value(&c);
	found->len = (size_t) (c.at - found->at);
	return true;
}

static void
append_code(Text *text, long code)
{
	if (code < 0x80)
		text_char(text, (char) code);
	else if (code < 0x800)
	{
		text_char(text, (char) (0xc0 | code >> 6));
		text_char(text, (char) (0x80 | (code & 0x3f)));
	}
	else if (code < 0x10000)
	{
		text_char(text, (char) (0xe0 | code >> 12));
		text_char(text, (char) (0x80 | (code >> 6 & 0x3f)));
		text_char(text, (char) (0x80 | (code & 0x3f)));
	}
	else
	{
		text_char(text, (char) (0xf0 | code >> 18));
		text_char(text, (char) (0x80 | (code >> 12 & 0x3f)));
		text_char(text, (char) (0x80 | (code >> 6 & 0x3f)));
		text_char(text, (char) (0x80 | (code & 0x3f)));
	}
}

void
json_unquote(Text *text, Slice value)
{
	Cursor		c = {value.at, value.at + value.len};

	if (value.len < 2 || *value.at != '"')
	{
		text_append(text, value.at, value.len);
		return;
	}
	text_append(text, "", 0);
	c.at++;
	c.end--;
	while (c.at < c.end)
	{
		const char *from = c.at;

		while (c.at < c.end && *c.at != '\\')
			c.at++;
		text_append(text, from, (size_t) (c.at - from));
		if (take(&c, '\\'))
		{
			long		code = escaped(&c);

			if (code > 0)
				append_code(text, code);
		}
	}
}
