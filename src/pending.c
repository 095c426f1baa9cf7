/*
 * pending.c
 *	  What this transaction changed in definitions and is still to be checked.
 *
 * The definition triggers add what they see changed; it is checked once, at
 * commit or when the changing transaction first uses it.  What was checked is
 * not forgotten but marked, since a rollback to a savepoint may take back what
 * the check made and leave the change: any rollback marks all as unchecked.
 */
#include "postgres.h"

#include "access/xact.h"
#include "nodes/pg_list.h"
#include "utils/memutils.h"

#include "pending.h"

typedef struct SfPending
{
	SfPendingKind kind;
	char	   *name;
	bool		checked;
	uint8		aspects;		/* those whose first change is behind us */
} SfPending;

/* in TopTransactionContext */
static List *pending = NIL;
static int	unchecked = 0;
static uint64 edits = 0;
static SfPendingCheck checks[SF_PENDING_KINDS];

static void
at_transaction_end(XactEvent event, void *arg)
{
	if (event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE)
		return;
	if (pending != NIL && event != XACT_EVENT_COMMIT)
		edits++;
	pending = NIL;
	unchecked = 0;
}

static void
at_subtransaction_end(SubXactEvent event, SubTransactionId mySubid,
					  SubTransactionId parentSubid, void *arg)
{
	ListCell   *lc;

	if (event != SUBXACT_EVENT_ABORT_SUB || pending == NIL)
		return;
	edits++;
	unchecked = list_length(pending);
	foreach(lc, pending)
	{
		SfPending  *p = lfirst(lc);

		p->checked = false;
		p->aspects = 0;
	}
}

void
sf_pending_init(void)
{
	RegisterXactCallback(at_transaction_end, NULL);
	RegisterSubXactCallback(at_subtransaction_end, NULL);
}

void
sf_pending_register(SfPendingKind kind, SfPendingCheck check)
{
	checks[kind] = check;
}

static SfPending *
find(SfPendingKind kind, const char *name)
{
	ListCell   *lc;

	foreach(lc, pending)
	{
		SfPending  *p = lfirst(lc);

		if (p->kind == kind && strcmp(p->name, name) == 0)
			return p;
	}
	return NULL;
}

static SfPending *
find_or_make(SfPendingKind kind, const char *name)
{
	SfPending  *p = find(kind, name);

	if (p == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);

		p = palloc(sizeof(SfPending));
		p->kind = kind;
		p->name = pstrdup(name);
		p->checked = true;
		p->aspects = 0;
		pending = lappend(pending, p);
		MemoryContextSwitchTo(old);
	}
	return p;
}

void
sf_pending_add(SfPendingKind kind, const char *name)
{
	SfPending  *p = find_or_make(kind, name);

	if (p->checked)
		unchecked++;
	p->checked = false;
	edits++;
}

bool
sf_pending_first(SfPendingKind kind, const char *name, int aspect)
{
	SfPending  *p = find_or_make(kind, name);
	bool		first = (p->aspects & (1 << aspect)) == 0;

	p->aspects |= 1 << aspect;
	return first;
}

void
sf_pending_renew(SfPendingKind kind, const char *name)
{
	SfPending  *p = find(kind, name);

	if (p != NULL)
		p->aspects = 0;
}

bool
sf_pending_changed(void)
{
	return pending != NIL;
}

bool
sf_pending_any(void)
{
	return unchecked > 0;
}

uint64
sf_pending_edits(void)
{
	return edits;
}

static void
check_entry(SfPending *p)
{
	MemoryContext work;
	MemoryContext old;

	if (p->checked)
		return;
	/* first the mark: a check reads definitions and must not come back here */
	p->checked = true;
	p->aspects = 0;
	unchecked--;
	work = AllocSetContextCreate(CurrentMemoryContext, "sopflow check", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(work);
	PG_TRY();
	{
		checks[p->kind](p->name);
	}
	PG_CATCH();
	{
		p->checked = false;
		unchecked++;
		PG_RE_THROW();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(old);
	MemoryContextDelete(work);
}

void
sf_pending_check(SfPendingKind kind, const char *name)
{
	SfPending  *p = unchecked > 0 ? find(kind, name) : NULL;

	if (p != NULL)
		check_entry(p);
}

void
sf_pending_check_all(SfPendingKind kind)
{
	if (unchecked == 0)
		return;
	/* by index: checking may add to the list */
	for (int i = 0; i < list_length(pending); i++)
	{
		SfPending  *p = list_nth(pending, i);

		if (p->kind == kind)
			check_entry(p);
	}
}
