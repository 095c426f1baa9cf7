/*
 * relay_json.h
 *	  Looking into a JSON text without taking it apart.
 *
 * What a task carries goes through as the server wrote it, so that no digit of
 * a number is lost and a task in hand needs no more memory than its text.
 */
#ifndef RELAY_JSON_H
#define RELAY_JSON_H

#include "relay_text.h"

#define JSON_MAX_DEPTH	64

/*
 * Whether a text is one JSON value that the server takes as jsonb, too: strict,
 * valid UTF-8, no \u0000, no half of a surrogate pair, numbers of sane length.
 */
extern bool json_valid(const char *text, size_t len);

/*
 * The part of a valid JSON text at a path of keys and, for arrays, indexes from
 * 0; false where there is none.
 */
extern bool json_find(Slice text, const char *const *path, int depth, Slice *found);

/* what a JSON string says, without its quotes; other values as they are */
extern void json_unquote(Text *text, Slice value);

#endif							/* RELAY_JSON_H */
