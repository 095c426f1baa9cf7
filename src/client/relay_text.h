/*
 * relay_text.h
 *	  Texts that grow, and the ways to quote what goes into them.
 */
#ifndef RELAY_TEXT_H
#define RELAY_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* always ended by a null byte once something was added */
typedef struct Text
{
	char	   *data;
	size_t		len;
	size_t		size;
} Text;

/* a part of somebody else's text */
typedef struct Slice
{
	const char *at;
	size_t		len;
} Slice;

extern void text_append(Text *text, const char *bytes, size_t len);
extern void text_add(Text *text, const char *string);
extern void text_char(Text *text, char c);
extern void text_format(Text *text, const char *format,...)
			__attribute__((format(printf, 2, 3)));
extern void text_clear(Text *text);
extern void text_free(Text *text);
/* the string itself, which is the caller's from now on; never NULL */
extern char *text_take(Text *text);

/* what stands between the quotes of a JSON string */
extern void text_json(Text *text, const char *bytes, size_t len);
/* a whole JSON string */
extern void text_json_string(Text *text, const char *string);
/* everything but the unreserved characters of a URL as %XX; a form has + for blanks */
extern void text_percent(Text *text, const char *bytes, size_t len, bool form);
/* & < > and, where quotes is true, " and ' as entities */
extern void text_html(Text *text, const char *bytes, size_t len, bool quotes);
extern void text_base64(Text *text, const unsigned char *bytes, size_t len);
extern void text_hex(Text *text, const unsigned char *bytes, size_t len);
/* an element of an array literal of PostgreSQL; NULL is NULL */
extern void text_array_element(Text *text, const char *string);
extern void text_array_end(Text *text);
/*
 * At most max bytes of what a stranger sent, fit for an error, a log line and
 * a text column: valid UTF-8, runs of controls and blanks as one blank.
 */
extern void text_clean(Text *text, const char *bytes, size_t len, size_t max);

/* bytes of the valid UTF-8 character that begins here, 0 where there is none */
extern size_t utf8_length(const char *bytes, size_t len);

#endif							/* RELAY_TEXT_H */
