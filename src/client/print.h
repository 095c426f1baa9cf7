/*
 * print.h
 *	  Results as text: tables, and text of others on a terminal.
 */
#ifndef PRINT_H
#define PRINT_H

#include "client.h"

/* a table under headers, as wide as its widest values, numbers to the right */
extern void print_table(FILE *out, const PGresult *result);

/*
 * Text that comes from elsewhere: control characters are shown and not sent,
 * since a terminal would obey them.
 */
extern void print_text(FILE *out, const char *text);
/* the same, cut to a width in columns */
extern void print_cut(FILE *out, const char *text, int width);

#define STYLE_NONE		""
#define STYLE_BOLD		"1"
#define STYLE_DIM		"2"
#define STYLE_RED		"31"
#define STYLE_GREEN		"32"
#define STYLE_YELLOW	"33"
#define STYLE_REVERSE	"7"

/* begin and end a style, where colours are wanted on this stream */
extern void print_style(FILE *out, const char *style);
extern void print_plain(FILE *out);

#endif							/* PRINT_H */
