/*
 * deparse.c
 *	  Expressions over a frame -> text for people.
 *
 * PostgreSQL deparses a Var only with a range table to find its name in.  An
 * external parameter needs none and is shown as $n, which nothing else outside
 * of quotes looks like: quote_ident quotes names with a dollar sign.
 */
#include "postgres.h"

#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "utils/ruleutils.h"

#include "deparse.h"

static Node *
vars_to_params(Node *node, void *context)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, Var))
	{
		Var		   *var = (Var *) node;
		Param	   *param = makeNode(Param);

		param->paramkind = PARAM_EXTERN;
		param->paramid = var->varattno;
		param->paramtype = var->vartype;
		param->paramtypmod = var->vartypmod;
		param->paramcollid = var->varcollid;
		param->location = -1;
		return (Node *) param;
	}
	if (IsA(node, RelabelType) &&
		((RelabelType *) node)->relabelformat == COERCE_IMPLICIT_CAST)
		return vars_to_params((Node *) ((RelabelType *) node)->arg, context);
	return expression_tree_mutator(node, vars_to_params, context);
}

/*
 * Bytes of a quoted literal or name at `p`.  A quote inside is doubled, and no
 * backslash hides one: ruleutils.c doubles these, too, where they count.
 */
static int
quoted_length(const char *p)
{
	int			n = 1;

	for (; p[n] != '\0'; n++)
	{
		if (p[n] != p[0])
			continue;
		if (p[n + 1] != p[0])
			return n + 1;
		n++;
	}
	return n;
}

static int
cast_length(const char *p, const char *const *casts)
{
	for (; *casts != NULL; casts++)
	{
		int			n = strlen(*casts);

		if (strncmp(p, *casts, n) == 0 && (p[n] == '\0' || strchr("), ]", p[n]) != NULL))
			return n;
	}
	return 0;
}

/*
 * Append a literal without a cast that says no more than its form does, and a
 * number without quotes; returns the bytes that stand for it.
 */
static int
append_literal(StringInfo buf, const char *p)
{
	static const char *const texts[] = {
		"::text", "::bpchar", "::character varying", "::name", NULL
	};
	static const char *const numbers[] = {
		"::numeric", "::bigint", "::integer", "::smallint", "::double precision", "::real", NULL
	};
	int			n = quoted_length(p);
	int			cast = cast_length(p + n, texts);

	if (cast == 0 && strspn(p + 1, "0123456789.-") == n - 2)
	{
		cast = cast_length(p + n, numbers);
		if (cast > 0)
		{
			appendBinaryStringInfo(buf, p + 1, n - 2);
			return n + cast;
		}
	}
	appendBinaryStringInfo(buf, p, n);
	return n + cast;
}

/* whether the parenthesis at the start is closed at the very end */
static bool
is_wrapped(const char *text)
{
	int			depth = 0;

	if (text[0] != '(')
		return false;
	for (const char *p = text; *p != '\0'; p++)
	{
		if (*p == '\'' || *p == '"')
			p += quoted_length(p) - 1;
		else if (*p == '(')
			depth++;
		else if (*p == ')' && --depth == 0)
			return p[1] == '\0';
	}
	return false;
}

char *
sf_deparse(SfFrame *frame, Node *expr)
{
	char	   *text = deparse_expression(vars_to_params(expr, NULL), NIL, false, false);
	StringInfoData buf;

	while (is_wrapped(text))
	{
		text[strlen(text) - 1] = '\0';
		text++;
	}
	initStringInfo(&buf);
	for (const char *p = text; *p != '\0';)
	{
		int			n = *p == '"' ? quoted_length(p) : 1;

		if (*p == '\'')
		{
			p += append_literal(&buf, p);
			continue;
		}
		if (*p == '$' && p[1] >= '1' && p[1] <= '9')
		{
			char	   *end;
			long		number = strtol(p + 1, &end, 10);

			if (number <= frame->nslots)
			{
				appendStringInfoString(&buf, frame->slots[number - 1].name);
				p = end;
				continue;
			}
		}
		appendBinaryStringInfo(&buf, p, n);
		p += n;
	}
	return buf.data;
}
