/*
 * print.c
 *	  Results as text: tables, and text of others on a terminal.
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <libpq-fe.h>

#include "print.h"

/* of client_encoding, which is always set to it: its number in libpq */
static int
utf8(void)
{
	static int	encoding = -1;

	if (encoding < 0)
		encoding = pg_char_to_encoding("UTF8");
	return encoding;
}

/* How many columns the character at a place takes, and how many bytes it has. */
static int
character_width(const char *s, int *len)
{
	int			width;

	*len = PQmblenBounded(s, utf8());
	if (*len < 1)
		*len = 1;
	width = (unsigned char) *s < 0x20 || *s == 0x7f ? -1 : PQdsplen(s, utf8());
	/* U+0080 to U+009F are obeyed by terminals as well */
	if ((unsigned char) *s == 0xc2 && *len == 2 && (unsigned char) s[1] < 0xa0)
		width = -1;
	/* shown as \x1b */
	return width < 0 ? 4 * *len : width;
}

static int
text_width(const char *text)
{
	int			width = 0;
	int			len;

	for (; *text != '\0'; text += len)
		width += character_width(text, &len);
	return width;
}

void
print_cut(FILE *out, const char *text, int width)
{
	int			len;

	for (; *text != '\0'; text += len)
	{
		int			columns = character_width(text, &len);

		width -= columns;
		if (width < 0)
			break;
		if (columns == 4 * len)
		{
			for (int i = 0; i < len; i++)
				fprintf(out, "\\x%02x", (unsigned char) text[i]);
		}
		else
			fwrite(text, 1, (size_t) len, out);
	}
}

void
print_text(FILE *out, const char *text)
{
	print_cut(out, text, INT_MAX);
}

static bool
is_number(Oid type)
{
	/* int8, int2, int4, oid, float4, float8, numeric: types of the server's own */
	return type == 20 || type == 21 || type == 23 || type == 26 || type == 700 || type == 701 ||
		type == 1700;
}

static void
print_cell(FILE *out, const char *text, int width, bool right, bool last)
{
	int			gap = width - text_width(text);

	if (right)
		fprintf(out, "%*s", gap, "");
	print_text(out, text);
	if (!right && !last)
		fprintf(out, "%*s", gap, "");
}

void
print_table(FILE *out, const PGresult *result)
{
	int			columns = PQnfields(result);
	int			rows = PQntuples(result);
	int		   *widths = client_alloc(sizeof(int) * (size_t) columns);

	for (int c = 0; c < columns; c++)
	{
		widths[c] = text_width(PQfname(result, c));
		for (int r = 0; r < rows; r++)
		{
			int			width = text_width(PQgetvalue(result, r, c));

			if (width > widths[c])
				widths[c] = width;
		}
	}
	print_style(out, STYLE_BOLD);
	for (int c = 0; c < columns; c++)
	{
		fputs(c > 0 ? "  " : "", out);
		print_cell(out, PQfname(result, c), widths[c], is_number(PQftype(result, c)),
				   c == columns - 1);
	}
	print_plain(out);
	fputc('\n', out);
	for (int r = 0; r < rows; r++)
	{
		for (int c = 0; c < columns; c++)
		{
			fputs(c > 0 ? "  " : "", out);
			print_cell(out, PQgetvalue(result, r, c), widths[c], is_number(PQftype(result, c)),
					   c == columns - 1);
		}
		fputc('\n', out);
	}
	free(widths);
}

void
print_style(FILE *out, const char *style)
{
	if (*style != '\0' && client_color(out))
		fprintf(out, "\033[%sm", style);
}

void
print_plain(FILE *out)
{
	if (client_color(out))
		fputs("\033[0m", out);
}
