/*
 * scan.c
 *	  The tokens of a text in MVEL or SpEL, one at a time.
 */
#include "postgres.h"

#include <ctype.h>

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "scan.h"

const char *
sf_scan_language(SfLanguage language)
{
	return language == SF_LANGUAGE_MVEL ? "MVEL" : language == SF_LANGUAGE_SPEL ? "SpEL" : "SQL";
}

/* --- refusals --- */

void
sf_scan_refuse(SfScan *scan, int code, const char *at, const char *format,...)
{
	StringInfoData reason;
	int			position = pg_mbstrlen_with_len(scan->text, at - scan->text) + 1;
	int			left = scan->end - at;
	int			shown = pg_mbcliplen(at, left, 40);

	initStringInfo(&reason);
	for (;;)
	{
		va_list		args;
		int			needed;

		va_start(args, format);
		needed = appendStringInfoVA(&reason, format, args);
		va_end(args);
		if (needed == 0)
			break;
		enlargeStringInfo(&reason, needed);
	}
	ereport(ERROR,
			(errcode(code),
			 scan->path != NULL ?
			 errmsg("rule file is not valid: %s: cannot convert this %s text: %s", scan->path,
					sf_scan_language(scan->language), reason.data) :
			 errmsg("cannot convert this %s text: %s", sf_scan_language(scan->language), reason.data),
			 left == 0 ? errdetail("At character %d, the end of the text.", position) :
			 errdetail("At character %d: \"%.*s%s\".", position, shown, at, shown < left ? "..." : ""),
			 internalerrquery(scan->text), internalerrposition(position)));
}

/* a word of the languages that is not converted */
bool
sf_scan_is_reserved(const char *name)
{
	static const char *const words[] = {
		"instanceof", "contains", "in", "is", "matches", "between", "soundslike", "strsim",
		"convertable_to", "new", "if", "else", "for", "foreach", "while", "do", "return", "def",
		"function", "import", "empty", "isdef", "with", "var"
	};

	for (int i = 0; i < lengthof(words); i++)
		if (pg_strcasecmp(name, words[i]) == 0)
			return true;
	return false;
}

void
sf_scan_refuse_token(SfScan *scan)
{
	static const char *const signs[] = {
		"?:", "?.", "^", "~=", "&", "|", "~", "<<", ">>", "{", "+=", "-=", "*=", "/=", "++", "--", "["
	};

	if (scan->kind == SF_TOKEN_END)
		sf_scan_refuse(scan, ERRCODE_SYNTAX_ERROR, scan->start, "it ends too early");
	if (scan->kind == SF_TOKEN_NAME && sf_scan_is_reserved(scan->value))
		sf_scan_refuse(scan, ERRCODE_FEATURE_NOT_SUPPORTED, scan->start, "\"%s\" is not supported",
					   scan->value);
	if (scan->kind == SF_TOKEN_SIGN)
		for (int i = 0; i < lengthof(signs); i++)
			if (strcmp(scan->value, signs[i]) == 0)
				sf_scan_refuse(scan, ERRCODE_FEATURE_NOT_SUPPORTED, scan->start,
							   "operator \"%s\" is not supported", scan->value);
	sf_scan_refuse(scan, ERRCODE_SYNTAX_ERROR, scan->start, "syntax error");
}

/* --- tokens --- */

static bool
is_name_start(unsigned char c)
{
	return isalpha(c) || c == '_' || c == '$' || IS_HIGHBIT_SET(c);
}

static bool
is_name_part(unsigned char c)
{
	return is_name_start(c) || isdigit(c);
}

static int
hex_digits(SfScan *scan, const char *at, const char *p, int digits)
{
	int			value = 0;

	for (int i = 0; i < digits; i++)
	{
		if (p + i >= scan->end || !isxdigit((unsigned char) p[i]))
			sf_scan_refuse(scan, ERRCODE_SYNTAX_ERROR, at, "\\u is not followed by four hexadecimal digits");
		value = value * 16 +
			(isdigit((unsigned char) p[i]) ? p[i] - '0' : (p[i] | 0x20) - 'a' + 10);
	}
	return value;
}

/* \uXXXX, perhaps the first of a pair; returns what comes behind it */
static const char *
read_unicode(SfScan *scan, const char *at, StringInfo value)
{
	unsigned char encoded[MAX_UNICODE_EQUIVALENT_STRING + 1];
	pg_wchar	c = hex_digits(scan, at, at + 2, 4);
	const char *p = at + 6;

	if (is_utf16_surrogate_first(c) && p + 1 < scan->end && p[0] == '\\' && p[1] == 'u')
	{
		pg_wchar	second = hex_digits(scan, p, p + 2, 4);

		if (is_utf16_surrogate_second(second))
		{
			c = surrogate_pair_to_codepoint(c, second);
			p += 6;
		}
	}
	if (!is_valid_unicode_codepoint(c) || is_utf16_surrogate_first(c) ||
		is_utf16_surrogate_second(c))
		sf_scan_refuse(scan, ERRCODE_SYNTAX_ERROR, at, "this is no character");
	pg_unicode_to_server(c, encoded);
	appendStringInfoString(value, (char *) encoded);
	return p;
}

/* an escape of MVEL; SpEL has none but the doubled quote */
static const char *
read_escape(SfScan *scan, const char *p, StringInfo value)
{
	static const char names[] = "ntrbf\\'\"";
	static const char values[] = "\n\t\r\b\f\\'\"";
	const char *name;

	if (p + 1 >= scan->end)
		sf_scan_refuse(scan, ERRCODE_SYNTAX_ERROR, scan->start, "the string does not end");
	if (p[1] == 'u')
		return read_unicode(scan, p, value);
	name = strchr(names, p[1]);
	if (name == NULL)
		sf_scan_refuse(scan, ERRCODE_FEATURE_NOT_SUPPORTED, p, "escape \"\\%.*s\" is not supported",
					   pg_mblen(p + 1), p + 1);
	appendStringInfoChar(value, values[name - names]);
	return p + 2;
}

static void
read_string(SfScan *scan)
{
	const char	quote = *scan->start;
	const char *p = scan->start + 1;
	StringInfoData value;

	initStringInfo(&value);
	for (;;)
	{
		if (p >= scan->end)
			sf_scan_refuse(scan, ERRCODE_SYNTAX_ERROR, scan->start, "the string does not end");
		if (*p == quote)
		{
			if (scan->language != SF_LANGUAGE_SPEL || p + 1 >= scan->end || p[1] != quote)
				break;
			p++;
		}
		else if (*p == '\\' && scan->language == SF_LANGUAGE_MVEL)
		{
			p = read_escape(scan, p, &value);
			continue;
		}
		appendStringInfoChar(&value, *p++);
	}
	scan->kind = SF_TOKEN_STRING;
	scan->value = value.data;
	scan->next = p + 1;
}

/* digits, perhaps a fraction, an exponent and Java's letter for a type */
static void
read_number(SfScan *scan)
{
	const char *p = scan->start;
	const char *suffixes = scan->language == SF_LANGUAGE_MVEL ? "LlFfDdBI" : "LlFfDd";

	scan->kind = SF_TOKEN_NUMBER;
	scan->fraction = false;
	if (p[0] == '0' && p + 1 < scan->end && (isalnum((unsigned char) p[1]) || p[1] == '_'))
		if (strchr(suffixes, p[1]) == NULL)
			sf_scan_refuse(scan, ERRCODE_FEATURE_NOT_SUPPORTED, p,
						   "octal and hexadecimal numbers are not supported");
	while (p < scan->end && isdigit((unsigned char) *p))
		p++;
	if (p + 1 < scan->end && *p == '.' && isdigit((unsigned char) p[1]))
	{
		scan->fraction = true;
		for (p++; p < scan->end && isdigit((unsigned char) *p); p++)
			;
	}
	if (p < scan->end && (*p == 'e' || *p == 'E'))
	{
		scan->fraction = true;
		p++;
		if (p < scan->end && (*p == '+' || *p == '-'))
			p++;
		if (p >= scan->end || !isdigit((unsigned char) *p))
			sf_scan_refuse(scan, ERRCODE_SYNTAX_ERROR, scan->start, "this is no number");
		while (p < scan->end && isdigit((unsigned char) *p))
			p++;
	}
	scan->value = pnstrdup(scan->start, p - scan->start);
	if (p < scan->end && strchr(suffixes, *p) != NULL)
	{
		if (strchr("FfDdB", *p) != NULL && !scan->fraction)
		{
			scan->value = psprintf("%s.0", scan->value);
			scan->fraction = true;
		}
		p++;
	}
	if (p < scan->end && is_name_part(*p))
		sf_scan_refuse(scan, ERRCODE_SYNTAX_ERROR, scan->start, "this is no number");
	scan->next = p;
}

void
sf_scan_advance(SfScan *scan)
{
	static const char *const signs[] = {
		"==", "!=", "<>", "<=", ">=", "<<", ">>", "&&", "||", "?:", "?.", "~=",
		"+=", "-=", "*=", "/=", "++", "--"
	};
	const char *p = scan->next;
	int			len = 1;

	CHECK_FOR_INTERRUPTS();
	while (p < scan->end && isspace((unsigned char) *p))
		p++;
	scan->start = p;
	if (p >= scan->end)
	{
		scan->kind = SF_TOKEN_END;
		scan->next = p;
		return;
	}
	if (is_name_start(*p))
	{
		while (p < scan->end && is_name_part(*p))
			p++;
		scan->kind = SF_TOKEN_NAME;
		scan->value = pnstrdup(scan->start, p - scan->start);
		scan->next = p;
		return;
	}
	if (isdigit((unsigned char) *p))
	{
		read_number(scan);
		return;
	}
	if (*p == '\'' || *p == '"')
	{
		read_string(scan);
		return;
	}
	for (int i = 0; i < lengthof(signs); i++)
		if (p + 1 < scan->end && p[0] == signs[i][0] && p[1] == signs[i][1])
			len = 2;
	scan->kind = SF_TOKEN_SIGN;
	scan->value = pnstrdup(p, len);
	scan->next = p + len;
}

bool
sf_scan_is_sign(SfScan *scan, const char *sign)
{
	return scan->kind == SF_TOKEN_SIGN && strcmp(scan->value, sign) == 0;
}

/* words of MVEL are written as they are, those of SpEL in any case */
bool
sf_scan_is_word(SfScan *scan, const char *word)
{
	if (scan->kind != SF_TOKEN_NAME)
		return false;
	return scan->language == SF_LANGUAGE_SPEL ? pg_strcasecmp(scan->value, word) == 0 :
		strcmp(scan->value, word) == 0;
}

/* an operator that SpEL has a word for as well; word may be NULL */
bool
sf_scan_is_operator(SfScan *scan, const char *sign, const char *word)
{
	return sf_scan_is_sign(scan, sign) ||
		(word != NULL && scan->language == SF_LANGUAGE_SPEL && sf_scan_is_word(scan, word));
}

void
sf_scan_expect(SfScan *scan, const char *sign)
{
	if (!sf_scan_is_sign(scan, sign))
		sf_scan_refuse_token(scan);
	sf_scan_advance(scan);
}

bool
sf_scan_before(SfScan *scan, char c)
{
	const char *p = scan->next;

	while (p < scan->end && isspace((unsigned char) *p))
		p++;
	return p < scan->end && *p == c;
}

void
sf_scan_begin(SfScan *scan, const char *text, SfLanguage language, const char *path)
{
	scan->text = text;
	scan->end = text + strlen(text);
	scan->next = text;
	scan->path = path;
	scan->language = language;
	if (scan->end - text > SF_CONVERT_MAX_LENGTH)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 path != NULL ?
				 errmsg("rule file is not valid: %s: a text of %d bytes is too long to be converted",
						path, (int) (scan->end - text)) :
				 errmsg("a text of %d bytes is too long to be converted", (int) (scan->end - text)),
				 errdetail("It can have %d bytes.", SF_CONVERT_MAX_LENGTH)));
	while (scan->end > text && isspace((unsigned char) scan->end[-1]))
		scan->end--;
	while (scan->next < scan->end && isspace((unsigned char) *scan->next))
		scan->next++;
	/* the whole may stand in the braces of a SpEL template */
	if (language == SF_LANGUAGE_SPEL && scan->end - scan->next >= 3 &&
		strncmp(scan->next, "#{", 2) == 0 && scan->end[-1] == '}')
	{
		scan->next += 2;
		scan->end--;
	}
	sf_scan_advance(scan);
	if (scan->kind == SF_TOKEN_END)
		sf_scan_refuse(scan, ERRCODE_SYNTAX_ERROR, scan->start, "it is empty");
}
