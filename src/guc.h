/*
 * guc.h
 *	  Settings of the module.
 */
#ifndef SF_GUC_H
#define SF_GUC_H

#include "postgres.h"

#define SF_MAX_WORKERS				8
#define SF_DEFAULT_WORKERS			1
#define SF_MIN_BATCH_SIZE			1
#define SF_DEFAULT_BATCH_SIZE		1000
#define SF_MAX_BATCH_SIZE			10000
#define SF_MIN_RECONCILE_S			1
#define SF_DEFAULT_RECONCILE_S		60
#define SF_MAX_RECONCILE_S			3600
#define SF_MIN_RETENTION_MIN		60
#define SF_DEFAULT_RETENTION_MIN	(30 * 24 * 60)
#define SF_MAX_RETENTION_MIN		(100 * 365 * 24 * 60)
#define SF_MIN_DATABASES			1
#define SF_DEFAULT_MAX_DATABASES	16
#define SF_MAX_MAX_DATABASES		1024

extern int	sf_guc_batch_size;		/* tasks a transaction */
extern char *sf_guc_clock;			/* testable clock, empty when off */
extern char *sf_guc_databases;		/* databases that the launcher serves */
extern int	sf_guc_history_retention;	/* minutes */
extern int	sf_guc_max_databases;	/* slots in shared memory */
extern int	sf_guc_reconcile_interval;	/* seconds */
extern char *sf_guc_rep_id;		/* of the CRM pack, empty when off */
extern bool sf_guc_restoring;
extern int	sf_guc_workers;			/* workers a database */

extern void sf_guc_init(void);

#endif							/* SF_GUC_H */
