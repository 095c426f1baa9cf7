/*
 * template.c
 *	  Text with {{expressions}} -> its parts.
 */
#include "postgres.h"

#include "lib/stringinfo.h"

#include "template.h"

static void
add_literal(List **parts, StringInfo buf)
{
	SfTemplatePart *part;

	if (buf->len == 0)
		return;
	part = palloc0(sizeof(SfTemplatePart));
	part->literal = pstrdup(buf->data);
	*parts = lappend(*parts, part);
	resetStringInfo(buf);
}

/* past a quoted string or identifier that begins here, or the same place */
static const char *
skip_quoted(const char *p, const char *end)
{
	char		quote = *p;

	if (quote != '\'' && quote != '"')
		return p;
	for (p++; p < end && *p != quote; p++)
		;
	return p < end ? p + 1 : end;
}

/* the end of the expression that begins here: its "}}", or NULL */
static const char *
find_end(const char *p)
{
	const char *end = p + strlen(p);

	while (p < end)
	{
		const char *after = skip_quoted(p, end);

		if (after != p)
		{
			p = after;
			continue;
		}
		if (p[0] == '}' && p[1] == '}')
			return p;
		p++;
	}
	return NULL;
}

/* "name|there": the bar that is no part of "||" or of a string, or NULL */
static const char *
find_default(const char *p, const char *end)
{
	while (p < end)
	{
		const char *after = skip_quoted(p, end);

		if (after != p)
		{
			p = after;
			continue;
		}
		if (*p == '|')
		{
			if (p[1] != '|')
				return p;
			p++;
		}
		p++;
	}
	return NULL;
}

static char *
trimmed(const char *from, const char *to)
{
	while (from < to && isspace((unsigned char) *from))
		from++;
	while (to > from && isspace((unsigned char) to[-1]))
		to--;
	return pnstrdup(from, to - from);
}

List *
sf_template_split(const char *text)
{
	List	   *parts = NIL;
	StringInfoData buf;

	initStringInfo(&buf);
	for (const char *p = text; *p != '\0';)
	{
		SfTemplatePart *part;
		const char *end;
		const char *bar;

		if (strncmp(p, "\\{{", 3) == 0)
		{
			appendStringInfoString(&buf, "{{");
			p += 3;
			continue;
		}
		if (strncmp(p, "{{", 2) != 0)
		{
			appendStringInfoChar(&buf, *p++);
			continue;
		}
		add_literal(&parts, &buf);
		p += 2;
		end = find_end(p);
		if (end == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_SYNTAX_ERROR),
					 errmsg("\"{{\" has no \"}}\" in \"%.200s\"", text),
					 errhint("A literal \"{{\" is written \"\\{{\".")));
		bar = find_default(p, end);
		part = palloc0(sizeof(SfTemplatePart));
		while (p < end && isspace((unsigned char) *p))
			p++;
		part->start = p - text;
		part->expression = trimmed(p, bar ? bar : end);
		part->otherwise = bar ? trimmed(bar + 1, end) : NULL;
		parts = lappend(parts, part);
		p = end + 2;
	}
	add_literal(&parts, &buf);
	pfree(buf.data);
	return parts;
}

bool
sf_template_has(const char *text, int len)
{
	for (int i = 0; i + 1 < len; i++)
		if (text[i] == '{' && text[i + 1] == '{')
			return true;
	return false;
}
