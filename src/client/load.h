/*
 * load.h
 *	  What load and its watch share.
 */
#ifndef LOAD_H
#define LOAD_H

#include "fileset.h"

/*
 * Load in one transaction and say what changed; an exit code.  dry: show what
 * would change, field by field, and undo it.
 */
extern int	load_set(const FileSet *set, PGconn *conn, bool dry);

/* Load each file when it changes, until SIGTERM or SIGINT. */
extern int	load_watch(char *const *paths, int count);

#endif							/* LOAD_H */
