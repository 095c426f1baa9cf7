/*
 * path.h
 *	  A search_path that is saved with a user's code, and set while it runs.
 */
#ifndef SF_PATH_H
#define SF_PATH_H

#include "postgres.h"

typedef struct SfPath
{
	char	   *saved;			/* NULL: none */
	char	   *temp_last;		/* the same, where no temporary table goes before another */
} SfPath;

/* in the current memory context; saved may be NULL */
extern SfPath sf_path_make(const char *saved);

/* set it, where it differs from what is set, until the current level of settings ends */
extern void sf_path_set(const SfPath *path);

#endif							/* SF_PATH_H */
