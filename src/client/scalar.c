/*
 * scalar.c
 *	  What a plain scalar of YAML is: the core schema of YAML 1.2.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "document_private.h"

static bool
is_one_of(const char *text, size_t len, const char *const *words)
{
	for (; *words != NULL; words++)
	{
		if (strlen(*words) == len && memcmp(*words, text, len) == 0)
			return true;
	}
	return false;
}

static size_t
count_digits(const char *text, size_t len)
{
	size_t		n = 0;

	while (n < len && text[n] >= '0' && text[n] <= '9')
		n++;
	return n;
}

/* 0o17 and 0x1f: false if the text is neither */
static bool
resolve_based(const char *text, size_t len, char **number, const char **why)
{
	char		digits[32];
	char	   *end;
	unsigned long long value;

	if (len < 3 || text[0] != '0' || (text[1] != 'o' && text[1] != 'x'))
		return false;
	for (size_t i = 2; i < len; i++)
	{
		if (strchr(text[1] == 'o' ? "01234567" : "0123456789abcdefABCDEF", text[i]) == NULL)
			return false;
	}
	*why = "a number is out of range";
	if (len - 2 >= sizeof(digits))
		return true;
	memcpy(digits, text + 2, len - 2);
	digits[len - 2] = '\0';
	errno = 0;
	value = strtoull(digits, &end, text[1] == 'o' ? 8 : 16);
	if (errno == 0)
		*number = client_format("%llu", value);
	return true;
}

/*
 * [-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?, made a
 * number of JSON: no plus, digits on both sides of the point.
 */
static bool
resolve_decimal(const char *text, size_t len, char **number, const char **why)
{
	bool		negative = len > 0 && text[0] == '-';
	size_t		at = len > 0 && (text[0] == '-' || text[0] == '+');
	const char *whole = text + at;
	size_t		whole_len = count_digits(whole, len - at);
	const char *part = "";
	size_t		part_len = 0;

	at += whole_len;
	if (at < len && text[at] == '.')
	{
		part = text + ++at;
		part_len = count_digits(part, len - at);
		at += part_len;
	}
	if (whole_len == 0 && part_len == 0)
		return false;
	if (at < len)
	{
		size_t		sign = at + 1 < len && (text[at + 1] == '-' || text[at + 1] == '+');

		if ((text[at] != 'e' && text[at] != 'E') || at + 1 + sign >= len ||
			count_digits(text + at + 1 + sign, len - at - 1 - sign) != len - at - 1 - sign)
			return false;
	}
	if (whole_len > 1 && *whole == '0')
		*why = "a number that begins with 0 is read in more than one way; put it in quotes "
			"or leave the 0 out";
	else
		*number = client_format("%s%.*s%s%.*s%.*s", negative ? "-" : "",
								whole_len > 0 ? (int) whole_len : 1, whole_len > 0 ? whole : "0",
								part_len > 0 ? "." : "", (int) part_len, part,
								(int) (len - at), text + at);
	return true;
}

ScalarKind
scalar_resolve(const char *text, size_t len, char **number, const char **why)
{
	static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
	static const char *const trues[] = {"true", "True", "TRUE", NULL};
	static const char *const falses[] = {"false", "False", "FALSE", NULL};
	static const char *const no_numbers[] = {
		".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF", "-.inf", "-.Inf", "-.INF",
		".nan", ".NaN", ".NAN", NULL
	};

	*number = NULL;
	*why = NULL;
	if (is_one_of(text, len, nulls))
		return SCALAR_NULL;
	if (is_one_of(text, len, trues))
		return SCALAR_TRUE;
	if (is_one_of(text, len, falses))
		return SCALAR_FALSE;
	if (is_one_of(text, len, no_numbers))
	{
		*why = "infinity and \"not a number\" cannot be kept";
		return SCALAR_REFUSED;
	}
	if (resolve_based(text, len, number, why) || resolve_decimal(text, len, number, why))
		return *number != NULL ? SCALAR_NUMBER : SCALAR_REFUSED;
	return SCALAR_STRING;
}
