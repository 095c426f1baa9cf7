/*
 * statement.c
 *	  Statements of rule files in MVEL and SpEL -> actions of rules.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "convert.h"
#include "convert_private.h"

static void
push_string(JsonbParseState **state, JsonbIteratorToken token, const char *string)
{
	JsonbValue	value;

	value.type = jbvString;
	value.val.string.val = pstrdup(string);
	value.val.string.len = strlen(string);
	pushJsonbValue(state, token, &value);
}

/*
 * The text of a message action.  A literal that holds what templates give a
 * meaning, or would make one with what follows, is written as an expression.
 */
static char *
message_text(SfSql *sql)
{
	StringInfoData buf;
	ListCell   *lc;

	initStringInfo(&buf);
	foreach(lc, sf_convert_parts(sql))
	{
		SfPart	   *part = lfirst(lc);

		if (part->literal == NULL)
			appendStringInfo(&buf, "{{%s}}", part->sql);
		else if (strpbrk(part->literal, "{\\") != NULL)
			appendStringInfo(&buf, "{{%s}}", quote_literal_cstr(part->literal));
		else
			appendStringInfoString(&buf, part->literal);
	}
	return buf.data;
}

/* behind System: .out.println(text) */
static void
parse_print(SfScan *scan, JsonbParseState **state)
{
	const char *at;
	SfSql	   *sql;

	sf_scan_expect(scan, ".");
	if (!sf_scan_is_word(scan, "out") && !sf_scan_is_word(scan, "err"))
		sf_scan_refuse_token(scan);
	sf_scan_advance(scan);
	sf_scan_expect(scan, ".");
	if (!sf_scan_is_word(scan, "println") && !sf_scan_is_word(scan, "print"))
		sf_scan_refuse(scan, ERRCODE_FEATURE_NOT_SUPPORTED, scan->start,
					   "only println and print of System.out are supported");
	sf_scan_advance(scan);
	sf_scan_expect(scan, "(");
	at = scan->start;
	sql = sf_convert_demand(scan, sf_convert_parse(scan), at);
	sf_scan_expect(scan, ")");
	pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	push_string(state, WJB_KEY, "message");
	push_string(state, WJB_VALUE, message_text(sql));
	pushJsonbValue(state, WJB_END_OBJECT, NULL);
}

/* fact.getX().setField(value) or fact.field = value */
static void
parse_assignment(SfScan *scan, JsonbParseState **state)
{
	const char *start = scan->start;
	SfSql	   *target;
	SfSql	   *value = NULL;

	if (sf_scan_is_sign(scan, "@"))
		sf_scan_refuse(scan, ERRCODE_FEATURE_NOT_SUPPORTED, start,
					   "a call is no action; write {\"call\": \"schema.function\"} or a set action in its place");
	target = sf_convert_fact(scan);
	while (value == NULL && sf_scan_is_sign(scan, "."))
	{
		sf_scan_advance(scan);
		if (scan->kind == SF_TOKEN_NAME && sf_convert_has_prefix(scan->value, "set") &&
			sf_scan_before(scan, '('))
		{
			appendStringInfoChar(&target->text, '.');
			sf_convert_append_name(&target->text, scan->value + 3);
			sf_scan_advance(scan);
			sf_scan_expect(scan, "(");
			value = sf_convert_parse(scan);
			sf_scan_expect(scan, ")");
		}
		else
		{
			target = sf_convert_member(scan, target);
			if (sf_scan_is_sign(scan, "="))
			{
				sf_scan_advance(scan);
				value = sf_convert_parse(scan);
			}
		}
	}
	if (value == NULL)
		sf_scan_refuse(scan, ERRCODE_FEATURE_NOT_SUPPORTED, start,
					   "only assignments to fields of facts and System.out.println are supported as actions");
	pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	push_string(state, WJB_KEY, "set");
	pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	push_string(state, WJB_KEY, target->text.data);
	push_string(state, WJB_VALUE, value->text.data);
	pushJsonbValue(state, WJB_END_OBJECT, NULL);
	pushJsonbValue(state, WJB_END_OBJECT, NULL);
}

static void
parse_statement(SfScan *scan, JsonbParseState **state)
{
	if (scan->language == SF_LANGUAGE_SPEL && sf_scan_is_word(scan, "T") && sf_scan_before(scan, '('))
	{
		const char *at = scan->start;

		sf_scan_advance(scan);
		sf_scan_advance(scan);
		if (sf_scan_is_word(scan, "java"))
		{
			sf_scan_advance(scan);
			sf_scan_expect(scan, ".");
			if (!sf_scan_is_word(scan, "lang"))
				sf_scan_refuse_token(scan);
			sf_scan_advance(scan);
			sf_scan_expect(scan, ".");
		}
		if (!sf_scan_is_word(scan, "System"))
			sf_scan_refuse(scan, ERRCODE_FEATURE_NOT_SUPPORTED, at, "a static method is no action");
		sf_scan_advance(scan);
		sf_scan_expect(scan, ")");
		parse_print(scan, state);
	}
	else if (sf_scan_is_word(scan, "System"))
	{
		sf_scan_advance(scan);
		parse_print(scan, state);
	}
	else
		parse_assignment(scan, state);
}

Jsonb *
sf_convert_action(const char *text, SfLanguage language, const char *path)
{
	SfScan	scan;
	JsonbParseState *state = NULL;

	if (language == SF_LANGUAGE_SQL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 path != NULL ?
				 errmsg("rule file is not valid: %s: an action of text must be MVEL or SpEL", path) :
				 errmsg("an action of text must be MVEL or SpEL"),
				 errhint("Write an object such as {\"set\": {\"fact.field\": \"expression\"}}, or name the language in \"rule-factory-type\".")));
	sf_scan_begin(&scan, text, language, path);
	pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	do
	{
		parse_statement(&scan, &state);
		if (scan.kind != SF_TOKEN_END)
			sf_scan_expect(&scan, ";");
	} while (scan.kind != SF_TOKEN_END);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_ARRAY, NULL));
}
