/*
 * stringinfo.h
 *	  Growing strings, as src/template.c uses them.
 */
#ifndef FUZZ_STRINGINFO_H
#define FUZZ_STRINGINFO_H

typedef struct StringInfoData
{
	char	   *data;
	int			len;
	int			maxlen;
} StringInfoData;

typedef StringInfoData *StringInfo;

extern void initStringInfo(StringInfo str);
extern void resetStringInfo(StringInfo str);
extern void appendStringInfoChar(StringInfo str, char ch);
extern void appendStringInfoString(StringInfo str, const char *text);

#endif							/* FUZZ_STRINGINFO_H */
