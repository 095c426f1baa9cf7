/*
 * convert.c
 *	  Expressions of rule files in MVEL and SpEL -> SQL.
 *
 * The parser writes SQL while it reads.  What has no SQL form of the same
 * meaning is refused, with its place; names are not looked up here but where
 * the rule is compiled.  Comparisons with a null are SQL's: not true.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"

#include "convert.h"
#include "convert_private.h"
#include "expr.h"

/* --- writing SQL --- */

static SfSql *
make_sql(const char *text, SfBinding binding, SfSqlKind kind)
{
	SfSql	   *sql = palloc0(sizeof(SfSql));

	initStringInfo(&sql->text);
	appendStringInfoString(&sql->text, text);
	sql->binding = binding;
	sql->kind = kind;
	return sql;
}

static SfSql *
make_string(const char *value)
{
	SfSql	   *sql = make_sql(quote_literal_cstr(value), BIND_TERM, KIND_STRING);
	SfPart	   *part = palloc0(sizeof(SfPart));

	part->literal = pstrdup(value);
	sql->parts = list_make1(part);
	return sql;
}

/* append, in parentheses when it binds less tightly than this */
static void
append_sql(StringInfo buf, SfSql *sql, SfBinding binding)
{
	bool		wrap = sql->binding < binding;

	if (wrap)
		appendStringInfoChar(buf, '(');
	appendBinaryStringInfo(buf, sql->text.data, sql->text.len);
	if (wrap)
		appendStringInfoChar(buf, ')');
	pfree(sql->text.data);
	sql->text.data = NULL;
}

/* the same for what stands to the left, which is appended to later */
static void
wrap_sql(SfSql *sql, SfBinding binding)
{
	if (sql->binding < binding)
	{
		StringInfoData buf;

		initStringInfo(&buf);
		append_sql(&buf, sql, binding);
		sql->text = buf;
		sql->binding = BIND_TERM;
	}
}

/* it is an operation now */
static void
become(SfSql *sql, SfBinding binding)
{
	sql->binding = binding;
	sql->kind = KIND_ANY;
	sql->is_path = false;
	sql->parts = NIL;
}

/*
 * An operand that is text.  A field may be of another type, and one of a jsonb
 * fact gets its type from how it is used.
 */
static SfSql *
as_text(SfSql *sql)
{
	if (sql->is_path)
		appendStringInfoString(&sql->text, "::text");
	sql->is_path = false;
	return sql;
}

/* left OPERATOR right, in the place of left; the right one is bound by `right_binding` */
static void
join_sql(SfSql *left, const char *op, SfSql *right, SfBinding binding,
		 SfBinding left_binding, SfBinding right_binding)
{
	wrap_sql(left, left_binding);
	appendStringInfo(&left->text, " %s ", op);
	append_sql(&left->text, right, right_binding);
	become(left, binding);
}

static bool
is_upper(char c)
{
	return c >= 'A' && c <= 'Z';
}

static char *
snake_case(const char *name)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (const char *p = name; *p; p++)
	{
		if (p > name && is_upper(p[0]) && p[-1] != '_' &&
			(!is_upper(p[-1]) || (p[1] >= 'a' && p[1] <= 'z')))
			appendStringInfoChar(&buf, '_');
		appendStringInfoChar(&buf, pg_ascii_tolower((unsigned char) *p));
	}
	return buf.data;
}

void
sf_convert_append_name(StringInfo buf, const char *name)
{
	appendStringInfoString(buf, quote_identifier(snake_case(name)));
}

bool
sf_convert_has_prefix(const char *name, const char *prefix)
{
	size_t		len = strlen(prefix);

	return strncmp(name, prefix, len) == 0 && is_upper(name[len]);
}

/* a null where a value is needed has no meaning in either language */
SfSql *
sf_convert_demand(SfScan *scan, SfSql *sql, const char *at)
{
	if (sql->kind == KIND_NULL)
		sf_scan_refuse(scan, ERRCODE_FEATURE_NOT_SUPPORTED, at,
					   "null can only be compared with == and !=, passed on or assigned");
	return sql;
}

/* --- terms --- */

typedef struct SfMethod
{
	const char *name;
	const char *before;
	const char *between;		/* NULL: no argument */
	const char *after;
	bool		as_text;		/* its operands are text */
	SfBinding	operands;
	SfBinding	binding;
	SfSqlKind	kind;
} SfMethod;

static const SfMethod methods[] = {
	{"equals", "", " = ", "", false, BIND_CONCAT, BIND_COMPARE, KIND_ANY},
	{"equalsIgnoreCase", "lower(", ") = lower(", ")", true, BIND_OR, BIND_COMPARE, KIND_ANY},
	{"contains", "strpos(", ", ", ") > 0", true, BIND_OR, BIND_COMPARE, KIND_ANY},
	{"startsWith", "starts_with(", ", ", ")", true, BIND_OR, BIND_TERM, KIND_ANY},
	{"endsWith", "starts_with(reverse(", "), reverse(", "))", true, BIND_OR, BIND_TERM, KIND_ANY},
	{"length", "length(", NULL, ")", true, BIND_OR, BIND_TERM, KIND_ANY},
	{"size", "cardinality(", NULL, ")", false, BIND_OR, BIND_TERM, KIND_ANY},
	{"isEmpty", "", NULL, " = ''", false, BIND_CONCAT, BIND_COMPARE, KIND_ANY},
	{"toLowerCase", "lower(", NULL, ")", true, BIND_OR, BIND_TERM, KIND_STRING},
	{"toUpperCase", "upper(", NULL, ")", true, BIND_OR, BIND_TERM, KIND_STRING},
};

/* at the parenthesis: (expression, ...) as it stands in a function call */
static void
append_arguments(SfScan *scan, StringInfo buf)
{
	sf_scan_expect(scan, "(");
	appendStringInfoChar(buf, '(');
	while (!sf_scan_is_sign(scan, ")"))
	{
		append_sql(buf, sf_convert_parse(scan), BIND_OR);
		if (sf_scan_is_sign(scan, ")"))
			break;
		sf_scan_expect(scan, ",");
		appendStringInfoString(buf, ", ");
		if (sf_scan_is_sign(scan, ")"))
			sf_scan_refuse_token(scan);
	}
	appendStringInfoChar(buf, ')');
	sf_scan_advance(scan);
}

/* at the parenthesis of a method of a string */
static SfSql *
parse_string_method(SfScan *scan, SfSql *object, const SfMethod *method)
{
	SfSql	   *sql = make_sql(method->before, method->binding, method->kind);

	append_sql(&sql->text, method->as_text ? as_text(object) : object, method->operands);
	sf_scan_expect(scan, "(");
	if (method->between != NULL)
	{
		const char *at = scan->start;
		SfSql	   *argument = sf_convert_demand(scan, sf_convert_parse(scan), at);

		appendStringInfoString(&sql->text, method->between);
		append_sql(&sql->text, method->as_text ? as_text(argument) : argument, method->operands);
	}
	sf_scan_expect(scan, ")");
	appendStringInfoString(&sql->text, method->after);
	return sql;
}

/* at the name behind a dot: a field, a getter or a method */
SfSql *
sf_convert_member(SfScan *scan, SfSql *object)
{
	char	   *name = scan->value;
	const char *at = scan->start;
	char	   *field = NULL;

	if (scan->kind != SF_TOKEN_NAME)
		sf_scan_refuse_token(scan);
	if (!sf_scan_before(scan, '('))
		field = name;
	else
	{
		for (int i = 0; i < lengthof(methods); i++)
			if (strcmp(name, methods[i].name) == 0)
			{
				sf_scan_advance(scan);
				return parse_string_method(scan, object, &methods[i]);
			}
		if (sf_convert_has_prefix(name, "get"))
			field = name + 3;
		else if (sf_convert_has_prefix(name, "is"))
			field = name;
	}
	if (field == NULL)
		sf_scan_refuse(scan, ERRCODE_FEATURE_NOT_SUPPORTED, at, "method \"%s\" is not supported", name);
	if (!object->is_path)
		sf_scan_refuse(scan, ERRCODE_FEATURE_NOT_SUPPORTED, at,
					   "a member of anything but a fact is not supported");
	sf_scan_advance(scan);
	if (sf_scan_is_sign(scan, "("))
	{
		sf_scan_advance(scan);
		if (!sf_scan_is_sign(scan, ")"))
			sf_scan_refuse(scan, ERRCODE_FEATURE_NOT_SUPPORTED, at,
						   "method \"%s\" with arguments is not supported", name);
		sf_scan_advance(scan);
	}
	appendStringInfoChar(&object->text, '.');
	sf_convert_append_name(&object->text, field);
	return object;
}

/* behind T: (package.Class).LABEL, as its label */
static SfSql *
parse_label(SfScan *scan)
{
	SfSql	   *sql;
	const char *at;

	sf_scan_expect(scan, "(");
	for (;;)
	{
		if (scan->kind != SF_TOKEN_NAME)
			sf_scan_refuse_token(scan);
		sf_scan_advance(scan);
		if (!sf_scan_is_sign(scan, "."))
			break;
		sf_scan_advance(scan);
	}
	sf_scan_expect(scan, ")");
	sf_scan_expect(scan, ".");
	at = scan->start;
	if (scan->kind != SF_TOKEN_NAME)
		sf_scan_refuse_token(scan);
	if (sf_scan_before(scan, '('))
		sf_scan_refuse(scan, ERRCODE_FEATURE_NOT_SUPPORTED, at,
					   "static method \"%s\" is not supported", scan->value);
	sql = make_string(scan->value);
	sf_scan_advance(scan);
	return sql;
}

/* behind @: bean.method(arguments), as a function of a schema */
static SfSql *
parse_bean(SfScan *scan)
{
	SfSql	   *sql = make_sql("", BIND_TERM, KIND_ANY);

	if (scan->kind != SF_TOKEN_NAME)
		sf_scan_refuse_token(scan);
	sf_convert_append_name(&sql->text, scan->value);
	sf_scan_advance(scan);
	sf_scan_expect(scan, ".");
	if (scan->kind != SF_TOKEN_NAME)
		sf_scan_refuse_token(scan);
	if (!sf_scan_before(scan, '('))
		sf_scan_refuse(scan, ERRCODE_FEATURE_NOT_SUPPORTED, scan->start,
					   "a property of a bean is not supported");
	appendStringInfoChar(&sql->text, '.');
	sf_convert_append_name(&sql->text, scan->value);
	sf_scan_advance(scan);
	append_arguments(scan, &sql->text);
	return sql;
}

/* a fact: name, #name or ['name'] */
SfSql *
sf_convert_fact(SfScan *scan)
{
	SfSql	   *sql = make_sql("", BIND_TERM, KIND_ANY);
	bool		spel = scan->language == SF_LANGUAGE_SPEL;

	sql->is_path = true;
	if (spel && sf_scan_is_sign(scan, "["))
	{
		sf_scan_advance(scan);
		if (scan->kind != SF_TOKEN_STRING)
			sf_scan_refuse_token(scan);
		sf_convert_append_name(&sql->text, scan->value);
		sf_scan_advance(scan);
		sf_scan_expect(scan, "]");
		return sql;
	}
	if (spel && sf_scan_is_sign(scan, "#"))
	{
		sf_scan_advance(scan);
		if (scan->kind != SF_TOKEN_NAME)
			sf_scan_refuse_token(scan);
		if (strcmp(scan->value, "this") == 0 || strcmp(scan->value, "root") == 0)
			sf_scan_refuse(scan, ERRCODE_FEATURE_NOT_SUPPORTED, scan->start,
						   "\"#%s\" is not supported", scan->value);
	}
	else if (scan->kind != SF_TOKEN_NAME)
		sf_scan_refuse_token(scan);
	else if (is_upper(scan->value[0]))
		sf_scan_refuse(scan, ERRCODE_FEATURE_NOT_SUPPORTED, scan->start,
					   "class or constant \"%s\" is not supported", scan->value);
	if (sf_scan_before(scan, '(') && sf_scan_is_reserved(scan->value))
		sf_scan_refuse_token(scan);
	if (sf_scan_before(scan, '('))
		sf_scan_refuse(scan, ERRCODE_FEATURE_NOT_SUPPORTED, scan->start,
					   "function \"%s\" is not supported", scan->value);
	sf_convert_append_name(&sql->text, scan->value);
	sf_scan_advance(scan);
	return sql;
}

static SfSql *
parse_word(SfScan *scan)
{
	static const char *const words[] = {"true", "false", "null", "nil"};

	for (int i = 0; i < lengthof(words); i++)
	{
		if (!sf_scan_is_word(scan, words[i]) || (i == 3 && scan->language != SF_LANGUAGE_MVEL))
			continue;
		sf_scan_advance(scan);
		return i < 2 ? make_sql(words[i], BIND_TERM, KIND_ANY) : make_sql("NULL", BIND_TERM, KIND_NULL);
	}
	if (sf_scan_is_word(scan, "new") && !sf_scan_before(scan, '.'))
		sf_scan_refuse_token(scan);
	if (scan->language == SF_LANGUAGE_SPEL && strcmp(scan->value, "T") == 0 &&
		sf_scan_before(scan, '('))
	{
		sf_scan_advance(scan);
		return parse_label(scan);
	}
	return sf_convert_fact(scan);
}

static SfSql *
parse_term(SfScan *scan)
{
	SfSql	   *sql;

	if (scan->kind == SF_TOKEN_NUMBER)
	{
		sql = make_sql(scan->value, BIND_TERM, scan->fraction ? KIND_FRACTION : KIND_INTEGER);
		sf_scan_advance(scan);
	}
	else if (scan->kind == SF_TOKEN_STRING)
	{
		sql = make_string(scan->value);
		sf_scan_advance(scan);
	}
	else if (sf_scan_is_sign(scan, "("))
	{
		sf_scan_advance(scan);
		sql = sf_convert_parse(scan);
		sf_scan_expect(scan, ")");
	}
	else if (scan->language == SF_LANGUAGE_SPEL && sf_scan_is_sign(scan, "@"))
	{
		sf_scan_advance(scan);
		sql = parse_bean(scan);
	}
	else if (scan->kind == SF_TOKEN_NAME)
		sql = parse_word(scan);
	else if (sf_scan_is_sign(scan, "#") || sf_scan_is_sign(scan, "["))
		sql = sf_convert_fact(scan);
	else
		sf_scan_refuse_token(scan);
	while (sf_scan_is_sign(scan, "."))
	{
		sf_convert_demand(scan, sql, scan->start);
		sf_scan_advance(scan);
		sql = sf_convert_member(scan, sql);
	}
	return sql;
}

/* --- operators, the loosest last --- */

static SfSql *
parse_unary(SfScan *scan)
{
	SfSql	   *sql;
	SfSql	   *operand;
	const char *at;
	bool		minus = sf_scan_is_sign(scan, "-");

	check_stack_depth();
	if (!minus && !sf_scan_is_sign(scan, "!") && !sf_scan_is_word(scan, "not"))
		return parse_term(scan);
	sf_scan_advance(scan);
	at = scan->start;
	operand = sf_convert_demand(scan, parse_unary(scan), at);
	if (minus)
	{
		/* two in a row would begin a comment */
		sql = make_sql("-", BIND_MINUS, operand->kind == KIND_STRING ? KIND_ANY : operand->kind);
		append_sql(&sql->text, operand, BIND_TERM);
	}
	else
	{
		sql = make_sql("NOT ", BIND_NOT, KIND_ANY);
		append_sql(&sql->text, operand, BIND_NOT);
	}
	return sql;
}

/* MVEL divides whole numbers into fractions */
static SfSql *
as_fraction(SfSql *sql)
{
	SfSql	   *fraction;

	if (sql->kind == KIND_FRACTION)
		return sql;
	if (sql->kind == KIND_INTEGER)
	{
		appendStringInfoString(&sql->text, ".0");
		return sql;
	}
	fraction = make_sql("(1.0 * ", BIND_TERM, KIND_ANY);
	append_sql(&fraction->text, sql, BIND_MINUS);
	appendStringInfoChar(&fraction->text, ')');
	return fraction;
}

static SfSql *
parse_product(SfScan *scan)
{
	const char *start = scan->start;
	SfSql	   *left = parse_unary(scan);

	for (;;)
	{
		const char *op = sf_scan_is_sign(scan, "*") ? "*" :
			sf_scan_is_operator(scan, "/", "div") ? "/" : sf_scan_is_operator(scan, "%", "mod") ? "%" : NULL;
		SfSql	   *right;
		const char *at;

		if (op == NULL)
			return left;
		sf_convert_demand(scan, left, start);
		sf_scan_advance(scan);
		at = scan->start;
		right = sf_convert_demand(scan, parse_unary(scan), at);
		if (*op == '/' && scan->language == SF_LANGUAGE_MVEL)
			right = as_fraction(right);
		join_sql(left, op, right, BIND_PRODUCT, BIND_PRODUCT, BIND_MINUS);
	}
}

/* the parts of a string, or the value as one */
List *
sf_convert_parts(SfSql *sql)
{
	SfPart	   *part;

	if (sql->parts != NIL)
		return sql->parts;
	part = palloc0(sizeof(SfPart));
	part->sql = pstrdup(sql->text.data);
	return list_make1(part);
}

static SfSql *
parse_sum(SfScan *scan)
{
	const char *start = scan->start;
	SfSql	   *left = parse_product(scan);

	while (sf_scan_is_sign(scan, "+") || sf_scan_is_sign(scan, "-"))
	{
		bool		plus = sf_scan_is_sign(scan, "+");
		SfSql	   *right;
		const char *at;

		sf_convert_demand(scan, left, start);
		sf_scan_advance(scan);
		at = scan->start;
		right = sf_convert_demand(scan, parse_product(scan), at);
		if (plus && (left->kind == KIND_STRING || right->kind == KIND_STRING))
		{
			List	   *parts = list_concat(sf_convert_parts(left), sf_convert_parts(right));

			join_sql(as_text(left), "||", as_text(right), BIND_CONCAT, BIND_CONCAT, BIND_SUM);
			left->kind = KIND_STRING;
			left->parts = parts;
		}
		else if (left->kind == KIND_STRING || right->kind == KIND_STRING)
			sf_scan_refuse(scan, ERRCODE_FEATURE_NOT_SUPPORTED, start, "strings cannot be subtracted");
		else
			join_sql(left, plus ? "+" : "-", right, BIND_SUM, BIND_SUM, BIND_PRODUCT);
	}
	return left;
}

/* the SQL operator of a comparison, or NULL */
static const char *
comparison(SfScan *scan)
{
	static const char *const operators[][3] = {
		{"==", "eq", "="},
		{"!=", "ne", "<>"},
		{"<=", "le", "<="},
		{">=", "ge", ">="},
		{"<", "lt", "<"},
		{">", "gt", ">"},
	};

	for (int i = 0; i < lengthof(operators); i++)
		if (sf_scan_is_operator(scan, operators[i][0], operators[i][1]))
			return operators[i][2];
	return NULL;
}

static SfSql *
parse_comparison(SfScan *scan)
{
	const char *start = scan->start;
	SfSql	   *left = parse_sum(scan);
	const char *op = comparison(scan);
	SfSql	   *right;
	const char *at;

	if (op == NULL)
		return left;
	sf_scan_advance(scan);
	at = scan->start;
	right = parse_sum(scan);
	if (left->kind == KIND_NULL || right->kind == KIND_NULL)
	{
		if (strcmp(op, "=") != 0 && strcmp(op, "<>") != 0)
			sf_convert_demand(scan, left->kind == KIND_NULL ? left : right,
							  left->kind == KIND_NULL ? start : at);
		if (left->kind == KIND_NULL)
			left = right;
		wrap_sql(left, BIND_CONCAT);
		appendStringInfoString(&left->text, op[0] == '=' ? " IS NULL" : " IS NOT NULL");
		become(left, BIND_IS);
	}
	else
		join_sql(left, op, right, BIND_COMPARE, BIND_CONCAT, BIND_CONCAT);
	if (comparison(scan) != NULL)
		sf_scan_refuse(scan, ERRCODE_FEATURE_NOT_SUPPORTED, scan->start,
					   "comparisons in a row are not supported, use parentheses");
	return left;
}

static SfSql *
parse_and(SfScan *scan)
{
	const char *start = scan->start;
	SfSql	   *left = parse_comparison(scan);

	while (sf_scan_is_sign(scan, "&&") || sf_scan_is_word(scan, "and"))
	{
		const char *at;

		sf_convert_demand(scan, left, start);
		sf_scan_advance(scan);
		at = scan->start;
		join_sql(left, "AND", sf_convert_demand(scan, parse_comparison(scan), at), BIND_AND, BIND_AND,
				 BIND_AND);
	}
	return left;
}

static SfSql *
parse_or(SfScan *scan)
{
	const char *start = scan->start;
	SfSql	   *left = parse_and(scan);

	while (sf_scan_is_sign(scan, "||") || sf_scan_is_word(scan, "or"))
	{
		const char *at;

		sf_convert_demand(scan, left, start);
		sf_scan_advance(scan);
		at = scan->start;
		join_sql(left, "OR", sf_convert_demand(scan, parse_and(scan), at), BIND_OR, BIND_OR, BIND_OR);
	}
	return left;
}

SfSql *
sf_convert_parse(SfScan *scan)
{
	const char *start = scan->start;
	SfSql	   *condition;
	SfSql	   *sql;
	SfSql	   *yes;
	SfSql	   *no;

	check_stack_depth();
	condition = parse_or(scan);
	if (!sf_scan_is_sign(scan, "?"))
		return condition;
	sf_convert_demand(scan, condition, start);
	sf_scan_advance(scan);
	yes = sf_convert_parse(scan);
	sf_scan_expect(scan, ":");
	no = sf_convert_parse(scan);
	sql = make_sql("CASE WHEN ", BIND_TERM, KIND_ANY);
	if (yes->kind == KIND_STRING || no->kind == KIND_STRING)
		sql->kind = KIND_STRING;
	append_sql(&sql->text, condition, BIND_OR);
	appendStringInfoString(&sql->text, " THEN ");
	append_sql(&sql->text, yes, BIND_OR);
	appendStringInfoString(&sql->text, " ELSE ");
	append_sql(&sql->text, no, BIND_OR);
	appendStringInfoString(&sql->text, " END");
	return sql;
}

/* --- the whole --- */

SfLanguage
sf_convert_language(const char *name)
{
	static const SfLanguage languages[] = {SF_LANGUAGE_SQL, SF_LANGUAGE_MVEL, SF_LANGUAGE_SPEL};

	for (int i = 0; i < lengthof(languages); i++)
		if (pg_strcasecmp(name, sf_scan_language(languages[i])) == 0)
			return languages[i];
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown expression language \"%s\"", name),
			 errhint("It is mvel, spel or sql.")));
}

char *
sf_convert_expression(const char *text, SfLanguage language, const char *path)
{
	SfScan	scan;
	SfSql	   *sql;

	if (language == SF_LANGUAGE_SQL)
	{
		SfExprContext context;

		sf_expr_begin(&context, text, path);
		(void) sf_expr_raw(text);
		sf_expr_end(&context);
		return pstrdup(text);
	}
	sf_scan_begin(&scan, text, language, path);
	sql = sf_convert_parse(&scan);
	if (language == SF_LANGUAGE_MVEL && sf_scan_is_sign(&scan, ";"))
		sf_scan_advance(&scan);
	if (scan.kind != SF_TOKEN_END)
		sf_scan_refuse_token(&scan);
	return sql->text.data;
}
