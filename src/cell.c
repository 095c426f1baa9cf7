/*
 * cell.c
 *	  The text of a decision table's cell -> a test.
 *
 * What begins with an operator is a test; all else is a value.  Words that may
 * begin both (between, like, not) are refused where no test follows, so that
 * nothing is taken for a value by mistake.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "parser/scansup.h"

#include "decisiontable_private.h"

static const char *
skip_space(const char *p)
{
	while (scanner_isspace(*p))
		p++;
	return p;
}

/* what follows the word, or NULL where it does not stand here by itself */
static const char *
after_word(const char *p, const char *word)
{
	size_t		len = strlen(word);

	if (pg_strncasecmp(p, word, len) != 0)
		return NULL;
	p += len;
	return *p == '\0' || scanner_isspace(*p) || *p == '\'' || *p == '(' ? p : NULL;
}

/* the two words, with space between them; NULL otherwise */
static const char *
after_words(const char *p, const char *first, const char *second)
{
	p = after_word(p, first);
	return p != NULL && scanner_isspace(*p) ? after_word(skip_space(p), second) : NULL;
}

/* the end of a quoted literal, NULL where it has none */
static const char *
after_quoted(const char *p)
{
	for (p++; *p != '\0'; p++)
		if (*p == '\'' && *++p != '\'')
			return p;
	return NULL;
}

/* whether [ or ( begins two bounds with ".." between them */
static bool
starts_interval(const char *p)
{
	bool		dots = false;

	if (*p != '[' && *p != '(')
		return false;
	for (p++; *p != '\0' && *p != ']' && *p != ')'; p++)
	{
		if (*p == '\'')
		{
			p = after_quoted(p);
			if (p == NULL)
				return false;
			p--;
		}
		else if (p[0] == '.' && p[1] == '.')
			dots = true;
	}
	return dots && *p != '\0';
}

static const char *
after_in(const char *p)
{
	p = after_word(p, "in");
	return p != NULL && *skip_space(p) == '(' ? skip_space(p) + 1 : NULL;
}

/* whether a test with an operator begins here, so that it is no bare literal */
static bool
starts_test(const char *p)
{
	const char *end;

	if (strchr("=<>'", *p) != NULL && *p != '\0')
		return true;
	if (*p == '!')
		return p[1] == '=';
	if (starts_interval(p) || after_in(p) != NULL)
		return true;
	if (after_words(p, "is", "null") != NULL)
		return true;
	end = after_words(p, "is", "not");
	if (end != NULL && after_word(skip_space(end), "null") != NULL)
		return true;
	/* words that a value may begin with too: refused later where no test follows */
	return after_word(p, "between") != NULL || after_word(p, "like") != NULL ||
		after_word(p, "ilike") != NULL ||
		(after_word(p, "not") != NULL && *skip_space(after_word(p, "not")) != '\0');
}

/*
 * Whether "and" or "or", and a test behind it, stand here.  In strings the words
 * may be part of a value, so that the test must have an operator.
 */
static bool
starts_joint(SfCellReader *reader, const char *p)
{
	const char *end = after_word(p, "and");

	if (end == NULL)
		end = after_word(p, "or");
	if (end == NULL)
		return false;
	end = skip_space(end);
	return reader->column->is_string ? starts_test(end) : *end != '\0';
}

/* where a bare literal ends */
typedef enum SfStop
{
	STOP_JOINT,					/* before and, or, as starts_joint says */
	STOP_AND,					/* before the "and" of a between */
	STOP_LIST,					/* before , or ) */
	STOP_DOTS,					/* before .. */
	STOP_BRACKET				/* before ] or ) */
} SfStop;

static bool
stops_at(SfCellReader *reader, const char *start, const char *p, SfStop stop)
{
	bool		after_space = p > start && scanner_isspace(p[-1]);

	switch (stop)
	{
		case STOP_JOINT:
			return after_space && starts_joint(reader, p);
		case STOP_AND:
			return after_space && after_word(p, "and") != NULL;
		case STOP_LIST:
			return *p == ',' || *p == ')';
		case STOP_DOTS:
			return p[0] == '.' && p[1] == '.';
		case STOP_BRACKET:
			return *p == ']' || *p == ')';
	}
	return true;
}

/* The next literal; the text is empty where there is none. */
static char *
read_text(SfCellReader *reader, SfStop stop, bool *quoted)
{
	const char *start = skip_space(reader->p);
	const char *end;
	char	   *text;

	*quoted = *start == '\'';
	if (*quoted)
	{
		char	   *to;

		end = after_quoted(start);
		if (end == NULL)
			sf_cell_fault(reader, NULL, "a quote is not closed in %s", start);
		text = to = palloc(end - start);
		for (const char *from = start + 1; from < end - 1; from++)
		{
			*to++ = *from;
			if (*from == '\'')
				from++;
		}
		*to = '\0';
		reader->p = skip_space(end);
		return text;
	}
	for (end = start; *end != '\0' && !stops_at(reader, start, end, stop); end++)
		;
	reader->p = end;
	while (end > start && scanner_isspace(end[-1]))
		end--;
	text = pnstrdup(start, end - start);
	return text;
}

static SfLiteral
read_literal(SfCellReader *reader, SfStop stop)
{
	bool		quoted;
	char	   *text = read_text(reader, stop, &quoted);

	if (!quoted && *text == '\0')
		sf_cell_fault(reader, NULL, "a value is missing");
	if (!quoted && strchr("=<>!", *text) != NULL)
		sf_cell_fault(reader, "Put a value that begins with an operator in single quotes.",
				   "an operator stands where a value is expected: \"%s\"", text);
	return sf_cell_literal(reader, text, quoted);
}

/* between A and B, behind the word */
static SfTest *
read_between(SfCellReader *reader)
{
	SfLiteral	low = read_literal(reader, STOP_AND);
	const char *end = after_word(reader->p, "and");

	if (end == NULL)
		sf_cell_fault(reader, "Put a value that begins with this word in single quotes.",
				   "\"between\" has no \"and\"");
	reader->p = end;
	return sf_test_both(sf_test_compare(SF_COMPARE_GE, low),
				sf_test_compare(SF_COMPARE_LE, read_literal(reader, STOP_JOINT)));
}

/* the list of an IN, behind its parenthesis */
static SfTest *
read_list(SfCellReader *reader)
{
	SfTest	   *test = sf_test_make(SF_TEST_IN, NULL, NULL);

	for (;;)
	{
		sf_test_add_literal(test, read_literal(reader, STOP_LIST));
		if (*reader->p == ')')
			break;
		if (*reader->p != ',')
			sf_cell_fault(reader, NULL, "the list has no \")\"");
		reader->p++;
	}
	reader->p++;
	if (test->nliterals == 1)
		return sf_test_compare(SF_COMPARE_EQ, test->literals[0]);
	return test;
}

/* one bound of an interval: NULL where there is none */
static SfTest *
read_bound(SfCellReader *reader, SfStop stop, SfCompare compare)
{
	bool		quoted;
	char	   *text = read_text(reader, stop, &quoted);

	if (!quoted && *text == '\0')
		return NULL;
	return sf_test_compare(compare, sf_cell_literal(reader, text, quoted));
}

static SfTest *
read_interval(SfCellReader *reader)
{
	bool		low_in = *reader->p++ == '[';
	SfTest	   *low = read_bound(reader, STOP_DOTS, low_in ? SF_COMPARE_GE : SF_COMPARE_GT);
	SfTest	   *high;

	if (reader->p[0] != '.' || reader->p[1] != '.')
		sf_cell_fault(reader, NULL, "\"..\" must stand between the bounds");
	reader->p += 2;
	high = read_bound(reader, STOP_BRACKET, SF_COMPARE_LE);
	if (*reader->p != ']' && *reader->p != ')')
		sf_cell_fault(reader, NULL, "the interval is not closed");
	if (high != NULL && *reader->p == ')')
		high->compare = SF_COMPARE_LT;
	reader->p++;
	if (low == NULL && high == NULL)
		sf_cell_fault(reader, "Write is not null for any value but null.", "the interval has no bounds");
	return sf_test_both(low, high);
}

static SfTest *
read_operator(SfCellReader *reader)
{
	static const struct
	{
		const char *text;
		SfCompare	compare;
	}			operators[] = {
		{"<>", SF_COMPARE_NE},
		{"!=", SF_COMPARE_NE},
		{"<=", SF_COMPARE_LE},
		{">=", SF_COMPARE_GE},
		{"=", SF_COMPARE_EQ},
		{"<", SF_COMPARE_LT},
		{">", SF_COMPARE_GT},
	};

	for (int i = 0; i < lengthof(operators); i++)
		if (strncmp(reader->p, operators[i].text, strlen(operators[i].text)) == 0)
		{
			reader->p += strlen(operators[i].text);
			return sf_test_compare(operators[i].compare, read_literal(reader, STOP_JOINT));
		}
	return NULL;
}

static SfTest *
read_like(SfCellReader *reader, const char *like)
{
	SfTest	   *test = sf_test_make(SF_TEST_LIKE, NULL, NULL);

	if (!reader->column->is_string)
		sf_cell_fault(reader, NULL, "\"%s\" needs a field of a string type", like);
	if (*skip_space(reader->p) != '\'')
		sf_cell_fault(reader, "Put the pattern in single quotes, or the whole, if it is a value.",
				   "\"%s\" has no pattern in quotes", like);
	test->like = like;
	sf_test_add_literal(test, read_literal(reader, STOP_JOINT));
	return test;
}

static SfTest *read_factor(SfCellReader *reader);

static SfTest *
read_not(SfCellReader *reader)
{
	const char *p = skip_space(reader->p);

	if (reader->column->is_string && !starts_test(p))
		sf_cell_fault(reader, "Write <> for any other value; put a value that begins with this word in single quotes.",
				   "\"not\" has no test behind it");
	reader->p = p;
	return sf_test_make(SF_TEST_NOT, read_factor(reader), NULL);
}

/* a test without and, or; the cell is at its first character */
static SfTest *
read_factor(SfCellReader *reader)
{
	const char *end;
	SfTest	   *test;

	check_stack_depth();
	if ((test = read_operator(reader)) != NULL)
		return test;
	if (starts_interval(reader->p))
		return read_interval(reader);
	if ((end = after_in(reader->p)) != NULL)
	{
		reader->p = end;
		return read_list(reader);
	}
	if ((end = after_words(reader->p, "is", "null")) != NULL)
	{
		reader->p = end;
		return sf_test_make(SF_TEST_NULL, NULL, NULL);
	}
	if ((end = after_words(reader->p, "is", "not")) != NULL &&
		(end = after_word(skip_space(end), "null")) != NULL)
	{
		reader->p = end;
		return sf_test_make(SF_TEST_NOT, sf_test_make(SF_TEST_NULL, NULL, NULL), NULL);
	}
	if (starts_test(reader->p) && *reader->p != '\'')
	{
		static const char *const likes[] = {"like", "ilike"};

		for (int i = 0; i < lengthof(likes); i++)
			if ((end = after_word(reader->p, likes[i])) != NULL)
			{
				reader->p = end;
				return read_like(reader, likes[i]);
			}
		if ((end = after_word(reader->p, "between")) != NULL)
		{
			reader->p = end;
			return read_between(reader);
		}
		if ((end = after_word(reader->p, "not")) != NULL)
		{
			reader->p = end;
			return read_not(reader);
		}
	}
	return sf_test_compare(SF_COMPARE_EQ, read_literal(reader, STOP_JOINT));
}

/* tests joined by and, or; and binds more tightly */
SfTest *
sf_cell_read_text(SfCellReader *reader, const char *cell)
{
	SfTest	   *result = NULL;
	SfTest	   *product = NULL;

	reader->p = skip_space(cell);
	if (*reader->p == '\0' || (*reader->p == '-' && *skip_space(reader->p + 1) == '\0'))
		return sf_test_make(SF_TEST_ANY, NULL, NULL);
	for (;;)
	{
		const char *end;

		product = sf_test_both(product, read_factor(reader));
		reader->p = skip_space(reader->p);
		if (*reader->p == '\0')
			break;
		if (!starts_joint(reader, reader->p))
			sf_cell_fault(reader, "Put a value that holds quotes, operators or brackets in single quotes.",
					   "\"%s\" cannot be read", reader->p);
		end = after_word(reader->p, "and");
		if (end == NULL)
		{
			end = after_word(reader->p, "or");
			result = result == NULL ? product : sf_test_make(SF_TEST_OR, result, product);
			product = NULL;
		}
		reader->p = skip_space(end);
	}
	return result == NULL ? product : sf_test_make(SF_TEST_OR, result, product);
}
