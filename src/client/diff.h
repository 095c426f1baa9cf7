/*
 * diff.h
 *	  What a load changes, object by object.
 */
#ifndef DIFF_H
#define DIFF_H

#include "document.h"

/*
 * Print how one object becomes another: a line for each field, with its path.
 * Arrays of objects are compared by what names these (id, name, day, from and
 * to), other values as a whole.
 */
extern void diff_print(FILE *out, const cJSON *old, const cJSON *new);

#endif							/* DIFF_H */
