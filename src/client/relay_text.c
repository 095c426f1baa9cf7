/*
 * relay_text.c
 *	  Texts that grow, and the ways to quote what goes into them.
 */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "relay_text.h"

static void
reserve(Text *text, size_t more)
{
	size_t		need = text->len + more + 1;

	if (need <= text->size)
		return;
	text->size = need < 64 ? 64 : need * 2;
	text->data = client_realloc(text->data, text->size);
}

void
text_append(Text *text, const char *bytes, size_t len)
{
	reserve(text, len);
	if (len > 0)
		memcpy(text->data + text->len, bytes, len);
	text->len += len;
	text->data[text->len] = '\0';
}

void
text_add(Text *text, const char *string)
{
	text_append(text, string, strlen(string));
}

void
text_char(Text *text, char c)
{
	text_append(text, &c, 1);
}

void
text_format(Text *text, const char *format,...)
{
	va_list		args;
	int			len;

	va_start(args, format);
	len = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (len < 0)
		return;
	reserve(text, (size_t) len);
	va_start(args, format);
	vsnprintf(text->data + text->len, (size_t) len + 1, format, args);
	va_end(args);
	text->len += (size_t) len;
}

void
text_clear(Text *text)
{
	text->len = 0;
	if (text->data != NULL)
		text->data[0] = '\0';
}

void
text_free(Text *text)
{
	free(text->data);
	memset(text, 0, sizeof(*text));
}

char *
text_take(Text *text)
{
	char	   *data;

	reserve(text, 0);
	text->data[text->len] = '\0';
	data = text->data;
	memset(text, 0, sizeof(*text));
	return data;
}

void
text_json(Text *text, const char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
	{
		unsigned char c = (unsigned char) bytes[i];

		switch (c)
		{
			case '"':
			case '\\':
				text_char(text, '\\');
				text_char(text, (char) c);
				break;
			case '\n':
				text_add(text, "\\n");
				break;
			case '\r':
				text_add(text, "\\r");
				break;
			case '\t':
				text_add(text, "\\t");
				break;
			default:
				if (c < 0x20 || c == 0x7f)
					text_format(text, "\\u%04x", c);
				else
					text_char(text, (char) c);
		}
	}
}

void
text_json_string(Text *text, const char *string)
{
	text_char(text, '"');
	text_json(text, string, strlen(string));
	text_char(text, '"');
}

void
text_percent(Text *text, const char *bytes, size_t len, bool form)
{
	for (size_t i = 0; i < len; i++)
	{
		unsigned char c = (unsigned char) bytes[i];

		if (c < 0x80 && (isalnum(c) || strchr("-._~", c) != NULL))
			text_char(text, (char) c);
		else if (form && c == ' ')
			text_char(text, '+');
		else
			text_format(text, "%%%02X", c);
	}
}

void
text_html(Text *text, const char *bytes, size_t len, bool quotes)
{
	for (size_t i = 0; i < len; i++)
	{
		if (bytes[i] == '&')
			text_add(text, "&amp;");
		else if (bytes[i] == '<')
			text_add(text, "&lt;");
		else if (bytes[i] == '>')
			text_add(text, "&gt;");
		else if (quotes && bytes[i] == '"')
			text_add(text, "&quot;");
		else if (quotes && bytes[i] == '\'')
			text_add(text, "&#39;");
		else
			text_char(text, bytes[i]);
	}
}

void
text_base64(Text *text, const unsigned char *bytes, size_t len)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	for (size_t i = 0; i < len; i += 3)
	{
		unsigned int group = (unsigned int) bytes[i] << 16;

		if (i + 1 < len)
			group |= (unsigned int) bytes[i + 1] << 8;
		if (i + 2 < len)
			group |= bytes[i + 2];
		text_char(text, digits[group >> 18]);
		text_char(text, digits[(group >> 12) & 63]);
		text_char(text, i + 1 < len ? digits[(group >> 6) & 63] : '=');
		text_char(text, i + 2 < len ? digits[group & 63] : '=');
	}
}

void
text_hex(Text *text, const unsigned char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		text_format(text, "%02x", bytes[i]);
}

void
text_array_element(Text *text, const char *string)
{
	text_char(text, text->len == 0 ? '{' : ',');
	if (string == NULL)
	{
		text_add(text, "NULL");
		return;
	}
	text_char(text, '"');
	for (; *string != '\0'; string++)
	{
		if (*string == '"' || *string == '\\')
			text_char(text, '\\');
		text_char(text, *string);
	}
	text_char(text, '"');
}

void
text_array_end(Text *text)
{
	text_add(text, text->len == 0 ? "{}" : "}");
}

size_t
utf8_length(const char *bytes, size_t len)
{
	const unsigned char *s = (const unsigned char *) bytes;
	unsigned int code;
	size_t		n;

	if (len == 0)
		return 0;
	if (s[0] < 0x80)
		return 1;
	n = s[0] >= 0xf0 && s[0] < 0xf5 ? 4 : s[0] >= 0xe0 && s[0] < 0xf0 ? 3 :
		s[0] >= 0xc2 && s[0] < 0xe0 ? 2 : 0;
	if (n == 0 || n > len)
		return 0;
	code = s[0] & (0x7f >> n);
	for (size_t i = 1; i < n; i++)
	{
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (s[i] & 0x3f);
	}
	if ((n == 3 && (code < 0x800 || (code >= 0xd800 && code < 0xe000))) ||
		(n == 4 && (code < 0x10000 || code > 0x10ffff)))
		return 0;
	return n;
}

void
text_clean(Text *text, const char *bytes, size_t len, size_t max)
{
	size_t		end = text->len + max;
	bool		gap = false;

	while (len > 0)
	{
		size_t		n = utf8_length(bytes, len);
		unsigned char c = (unsigned char) *bytes;

		if (n == 1 && (c <= ' ' || c == 0x7f))
			gap = true;
		else
		{
			if (text->len + (gap ? 1 : 0) + (n > 0 ? n : 1) > end)
				break;
			if (gap && text->len > 0)
				text_char(text, ' ');
			gap = false;
			if (n > 0)
				text_append(text, bytes, n);
			else
				text_char(text, '?');
		}
		bytes += n > 0 ? n : 1;
		len -= n > 0 ? n : 1;
	}
	/* there is a string, be it empty */
	text_append(text, "", 0);
}
