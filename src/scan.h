/*
 * scan.h
 *	  The tokens of a text in MVEL or SpEL, one at a time.
 */
#ifndef SF_SCAN_H
#define SF_SCAN_H

#include "postgres.h"

#include "compat.h"
#include "convert.h"

typedef enum SfTokenKind
{
	SF_TOKEN_END,
	SF_TOKEN_NAME,
	SF_TOKEN_NUMBER,
	SF_TOKEN_STRING,
	SF_TOKEN_SIGN
} SfTokenKind;

typedef struct SfScan
{
	const char *text;
	const char *end;
	const char *path;			/* place of the text in a rule file, or NULL */
	SfLanguage	language;
	/* the current token */
	SfTokenKind kind;
	const char *start;
	const char *next;			/* behind it */
	char	   *value;			/* NAME, STRING: its value; NUMBER, SIGN: its text */
	bool		fraction;		/* NUMBER */
} SfScan;

/* name of a language as it is written in messages */
extern const char *sf_scan_language(SfLanguage language);

/* at the first token; an error when there is none */
extern void sf_scan_begin(SfScan *scan, const char *text, SfLanguage language, const char *path);
extern void sf_scan_advance(SfScan *scan);

/* what the current token is; SpEL has words for some operators (or NULL) */
extern bool sf_scan_is_sign(SfScan *scan, const char *sign);
extern bool sf_scan_is_word(SfScan *scan, const char *word);
extern bool sf_scan_is_operator(SfScan *scan, const char *sign, const char *word);

/* whether this character comes behind the current token */
extern bool sf_scan_before(SfScan *scan, char c);

/* pass the sign, which must be there */
extern void sf_scan_expect(SfScan *scan, const char *sign);

/* the text cannot be converted, because of what stands at a place in it */
sf_noreturn extern void sf_scan_refuse(SfScan *scan, int code, const char *at,
									   const char *format,...) pg_attribute_printf(4, 5);

/* the current token cannot stand here */
sf_noreturn extern void sf_scan_refuse_token(SfScan *scan);

/* a word of the languages that is not converted */
extern bool sf_scan_is_reserved(const char *name);

#endif							/* SF_SCAN_H */
