/*
 * pg_list.h
 *	  Lists of pointers, as src/template.c uses them.
 */
#ifndef FUZZ_PG_LIST_H
#define FUZZ_PG_LIST_H

typedef struct List
{
	int			length;
	void	  **elements;
} List;

#define NIL ((List *) NULL)

extern List *lappend(List *list, void *datum);

#endif							/* FUZZ_PG_LIST_H */
