/*
 * fileset.h
 *	  Files of definitions that are loaded together, and where in them the
 *	  server finds faults.
 */
#ifndef FILESET_H
#define FILESET_H

#include "client.h"
#include "document.h"

typedef struct File
{
	const char *path;
	Documents	documents;
} File;

/* one object of the array that is sent: a document, or an element of one that is an array */
typedef struct Part
{
	int			file;
	int			document;
	int			element;		/* -1: the document itself */
} Part;

typedef struct FileSet
{
	File	   *files;
	int			file_count;
	Part	   *parts;
	int			part_count;
} FileSet;

/* Read and parse; false after it has said of each file what is wrong with it. */
extern bool fileset_read(FileSet *set, char *const *paths, int count);
/* the same for the text of one file that is at hand */
extern bool fileset_parse(FileSet *set, const char *path, const char *text, size_t len);
extern void fileset_free(FileSet *set);

/* "file:line: error: what", to stderr; what may have several lines */
extern void fileset_fault(const char *path, int line, const char *what);

/*
 * Hand all to sopflow.load_sop(), in the transaction that is open.  NULL after
 * it has said what is wrong, and where: *code is the exit code for it.
 */
extern PGresult *fileset_load(const FileSet *set, PGconn *conn, int *code);

#endif							/* FILESET_H */
