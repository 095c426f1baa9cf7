/*
 * rename.c
 *	  Other names for fields of new and old in the texts of rules.
 */
#include "postgres.h"

#include "common/keywords.h"
#include "lib/stringinfo.h"
#include "parser/scanner.h"
#include "utils/builtins.h"

#include "expr.h"
#include "rename.h"
#include "template.h"

/* the first token of the grammar, on which other users of the scanner rely too */
#define TOKEN_IDENT	258

typedef struct SfToken
{
	int			kind;			/* 0: before the text, or behind it */
	const char *name;			/* of an identifier, folded */
	int			start;
	int			end;
} SfToken;

/* with no keyword known, "new" and the names of columns are all identifiers */
static const ScanKeywordList no_keywords = {.max_kw_len = 0};

static SfToken
next_token(core_yyscan_t scanner, core_yy_extra_type *extra)
{
	core_YYSTYPE value;
	int			location = 0;
	SfToken		token = {0};

	token.kind = core_yylex(&value, &location, scanner);
	if (token.kind == TOKEN_IDENT)
		token.name = value.str;
	token.start = location;
	/* the scanner has put an end behind its token */
	token.end = location + strlen(extra->scanbuf + location);
	return token;
}

static const SfRename *
renamed(const SfToken *token, const SfRename *names, int nnames)
{
	for (int i = 0; i < nnames; i++)
		if (strcmp(names[i].from, token->name) == 0)
			return &names[i];
	return NULL;
}

/* whether the middle ones of five tokens are new.NAME or old.NAME, and no more */
static bool
is_field(const SfToken *tokens)
{
	return tokens[0].kind != '.' && tokens[1].kind == TOKEN_IDENT && tokens[2].kind == '.' &&
		tokens[3].kind == TOKEN_IDENT && tokens[4].kind != '.' && tokens[4].kind != '(' &&
		(strcmp(tokens[1].name, "new") == 0 || strcmp(tokens[1].name, "old") == 0);
}

char *
sf_rename_in_sql(const char *text, const SfRename *names, int nnames)
{
	core_yy_extra_type extra;
	core_yyscan_t scanner;
	SfExprContext context;
	SfToken		tokens[5] = {0};
	StringInfoData result;
	int			copied = 0;

	initStringInfo(&result);
	sf_expr_begin(&context, text, NULL);
	scanner = scanner_init(text, &extra, &no_keywords, NULL);
	extra.escape_string_warning = false;
	do
	{
		const SfRename *name;
		int			start;

		memmove(tokens, tokens + 1, 4 * sizeof(SfToken));
		tokens[4] = next_token(scanner, &extra);
		if (!is_field(tokens) || (name = renamed(&tokens[3], names, nnames)) == NULL)
			continue;
		start = name->whole ? tokens[1].start : tokens[3].start;
		appendBinaryStringInfo(&result, text + copied, start - copied);
		appendStringInfoString(&result, name->whole ? name->to : quote_identifier(name->to));
		copied = tokens[3].end;
	} while (tokens[4].kind != 0);
	scanner_finish(scanner);
	sf_expr_end(&context);
	appendStringInfoString(&result, text + copied);
	return result.data;
}

char *
sf_rename_in_template(const char *text, const SfRename *names, int nnames)
{
	StringInfoData result;
	int			copied = 0;
	ListCell   *lc;

	initStringInfo(&result);
	foreach(lc, sf_template_split(text))
	{
		SfTemplatePart *part = lfirst(lc);

		if (part->expression == NULL)
			continue;
		appendBinaryStringInfo(&result, text + copied, part->start - copied);
		appendStringInfoString(&result, sf_rename_in_sql(part->expression, names, nnames));
		copied = part->start + strlen(part->expression);
	}
	appendStringInfoString(&result, text + copied);
	return result.data;
}
