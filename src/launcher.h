/*
 * launcher.h
 *	  Keeps the workers of every database that has the extension.
 */
#ifndef SF_LAUNCHER_H
#define SF_LAUNCHER_H

#include "postgres.h"

/* register the launcher; to be called while preloading */
extern void sf_launcher_register(void);

extern PGDLLEXPORT void sopflow_launcher_main(Datum arg);

#endif							/* SF_LAUNCHER_H */
