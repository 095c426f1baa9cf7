/*
 * relay_db.h
 *	  The connection (relay_db.c) and what is said on it (relay_work.c).
 */
#ifndef RELAY_DB_H
#define RELAY_DB_H

#include <stdbool.h>

#include <libpq-fe.h>

/* what happens with a statement; lost: its connection broke, ended will not come */
typedef struct DbStatement
{
	void		(*result)(const PGresult *result);
	void		(*failed)(const char *sqlstate, const char *message);
	void		(*ended)(void);
	void		(*lost)(void);
	const char *what;			/* for messages; NULL: a statement */
} DbStatement;

/* of an idle connection; nparams < 0: several statements without parameters */
extern void db_send(const DbStatement *statement, const char *sql, int nparams,
					const char *const *params);
extern void db_pause(double seconds);
extern bool db_may_pass(const char *sqlstate);

/* send the most urgent statement, if there is any */
extern void work_pump(void);

#endif							/* RELAY_DB_H */
