/*
 * action.h
 *	  Actions as cached by each session.
 */
#ifndef SF_ACTION_H
#define SF_ACTION_H

#include "postgres.h"
#include "fmgr.h"
#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

#include "path.h"

typedef enum SfDelivery
{
	SF_DELIVERY_QUEUE,
	SF_DELIVERY_BROADCAST,
	SF_DELIVERY_CALL
} SfDelivery;

typedef enum SfActionRight
{
	SF_ACTION_USE,				/* name it in an SOP */
	SF_ACTION_CONSUME			/* fetch its tasks */
} SfActionRight;

/* stays until the transaction ends at least */
typedef struct SfAction
{
	int32		action_id;
	char	   *name;
	SfDelivery	delivery;
	char	   *channel;
	char	   *handler;		/* qualified name */
	int64		lease;			/* microseconds, as the next four */
	int64		timeout;
	int			max_attempts;
	int64		backoff_base;
	double		backoff_factor;
	int64		backoff_cap;
	double		jitter;
	int			alert_after;	/* 0: none */
	bool		held;			/* paused or not enabled */
	Oid			owner;
	SfPath		path;
	List	   *users;			/* OIDs of roles with SF_ACTION_USE */
	List	   *consumers;		/* and with SF_ACTION_CONSUME */
	Oid			handler_oid;	/* resolved on first use */
	FmgrInfo	handler_fn;
} SfAction;

extern void sf_action_init(void);
extern void sf_action_changed(void);
extern SfAction *sf_action_named(const char *name);
extern SfAction *sf_action_numbered(int32 action_id);
extern bool sf_action_allows(const SfAction *action, Oid role, SfActionRight right);

/*
 * The handler function, ready to be called; an error when it is gone, has
 * another signature, or its owner may not have it run.
 */
extern FmgrInfo *sf_action_handler(SfAction *action);

/* resolve a handler's name under the current search_path; an error if it is unfit */
extern char *sf_action_resolve(const char *name, Oid owner, const char *action);

/* wait before attempt number `attempt` + 1: see decision in doc/reference.md */
extern int64 sf_action_backoff(const SfAction *action, int attempt);

/* an interval as microseconds, months of 30 days; the extreme where it does not fit */
extern int64 sf_interval_usec(const Interval *interval);

#endif							/* SF_ACTION_H */
