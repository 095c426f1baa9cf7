/*
 * simulate.c
 *	  What would happen when: a run in memory.
 *
 * The same graph, due times, calendars, joins and expressions as of real runs;
 * only the tables are left out.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/resowner.h"

#include "clock.h"
#include "delivery.h"
#include "flow.h"
#include "position.h"
#include "script.h"
#include "simulate.h"
#include "token.h"

#define MAX_FORECASTS	1000
#define MAX_DEPTH		32		/* of SOPs that run others */

typedef struct SfSimToken
{
	int			node;
	TimestampTz due;
	bool		parked;
	bool		returning;		/* the SOP that the node runs will end then */
	bool		failed;			/* by failing */
	char	   *moved;			/* by a calendar: from when; NULL: it was not */
} SfSimToken;

typedef struct SfSimulation
{
	SfRun	   *run;
	const char *prefix;			/* of node ids: SOPs that run this one */
	int			depth;
	int			ntokens;
	int			maxtokens;
	SfSimToken *tokens;			/* in the order in which they came about */
	int			steps;
	bool		over;			/* an end node was reached, or it failed */
	bool		failed;
	TimestampTz now;
	List	  **forecasts;
} SfSimulation;

static TimestampTz simulate(SfVersion *version, const char *subject_id, Jsonb *context,
							TimestampTz from, const char *prefix, int depth, List **forecasts,
							bool *failed);

static SfForecast *
forecast(SfSimulation *s, TimestampTz at, const char *node_id)
{
	SfForecast *f = palloc0(sizeof(SfForecast));

	f->at = at;
	if (node_id != NULL)
		f->node_id = psprintf("%s%s", s->prefix, node_id);
	*s->forecasts = lappend(*s->forecasts, f);
	return f;
}

static void note(SfForecast *f, const char *format,...) pg_attribute_printf(2, 3);

/* add to what is to be said */
static void
note(SfForecast *f, const char *format,...)
{
	StringInfoData buf;

	initStringInfo(&buf);
	if (f->note != NULL)
		appendStringInfo(&buf, "%s; ", f->note);
	for (;;)
	{
		va_list		args;
		int			needed;

		va_start(args, format);
		needed = appendStringInfoVA(&buf, format, args);
		va_end(args);
		if (needed == 0)
			break;
		enlargeStringInfo(&buf, needed);
	}
	f->note = buf.data;
}

/* --- code of users --- */

typedef struct SfSimCall
{
	SfSimulation *s;
	int			node;
	SfForecast *f;
	int			to;
	char	   *result;			/* of a condition node, see sf_flow_choose */
	int			n;
	int		   *ways;
} SfSimCall;

/*
 * Call something that evaluates expressions.  Its error becomes a note, and
 * false is returned; what it wrote is taken back in any case.
 */
static bool
try_out(void (*fn)(SfSimCall *call), SfSimCall *call)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	TimestampTz before = sf_clock_set(call->s->now);
	ErrorData  *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		fn(call);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
	}
	PG_END_TRY();
	sf_clock_set(before);
	MemoryContextSwitchTo(context);
	RollbackAndReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	if (error == NULL)
		return true;
	if (error->sqlerrcode == ERRCODE_QUERY_CANCELED)
		ReThrowError(error);
	note(call->f, "error: %s", sf_error_text(error));
	return false;
}

static void
try_params(SfSimCall *call)
{
	call->f->params = sf_script_params(call->s->run, call->node);
}

static void
try_choice(SfSimCall *call)
{
	call->result = sf_flow_choose(call->s->run, call->node, true, &call->to);
}

static void
try_links(SfSimCall *call)
{
	call->n = sf_script_links(call->s->run, call->node, false, call->ways);
}

/* --- tokens --- */

static void
set_due(SfSimulation *s, SfSimToken *token, TimestampTz at)
{
	TimestampTz due = sf_token_due(s->run, token->node, at);

	token->due = sf_token_open(s->run, token->node, due);
	if (token->due != due)
		token->moved = psprintf("moved from %s by calendar \"%s\"", timestamptz_to_str(due),
								s->run->version->calendar);
}

static SfSimToken *
add_token(SfSimulation *s, int node)
{
	SfSimToken *token;

	if (s->ntokens == s->maxtokens)
	{
		s->maxtokens *= 2;
		s->tokens = repalloc(s->tokens, s->maxtokens * sizeof(SfSimToken));
	}
	token = &s->tokens[s->ntokens++];
	memset(token, 0, sizeof(*token));
	token->node = node;
	s->steps++;
	return token;
}

static void
go_to(SfSimulation *s, int node)
{
	SfVersion  *version = s->run->version;
	SfSimToken *token;
	bool		join = version->joins && version->nodes[node].nins > 1;

	if (version->nodes[node].type == SF_NODE_END)
	{
		s->over = true;
		return;
	}
	for (int i = 0; join && i < s->ntokens; i++)
		if (s->tokens[i].parked && s->tokens[i].node == node)
			return;
	token = add_token(s, node);
	token->parked = join;
	if (!join)
		set_due(s, token, s->now);
}

static void
release_joins(SfSimulation *s)
{
	int		   *nodes = palloc(s->maxtokens * sizeof(int));
	bool	   *parked = palloc(s->maxtokens * sizeof(bool));
	int			i;

	for (i = 0; i < s->ntokens; i++)
	{
		nodes[i] = s->tokens[i].node;
		parked[i] = s->tokens[i].parked;
	}
	while ((i = sf_token_release(s->run->version, nodes, parked, s->ntokens)) >= 0)
	{
		parked[i] = s->tokens[i].parked = false;
		set_due(s, &s->tokens[i], s->now);
	}
	pfree(nodes);
	pfree(parked);
}

/* the task that would be carried out next, or -1 */
static int
next_token(const SfSimulation *s)
{
	int			best = -1;

	for (int i = 0; i < s->ntokens; i++)
		if (!s->tokens[i].parked && (best < 0 || s->tokens[i].due < s->tokens[best].due))
			best = i;
	return best;
}

/* --- nodes --- */

static const char *
name_of(const SfSimulation *s, int node)
{
	return node < 0 ? "nothing" : psprintf("\"%s\"", s->run->version->nodes[node].node_id);
}

static void
leave_node(SfSimulation *s, int at, SfForecast *f)
{
	SfNode	   *node = &s->run->version->nodes[at];
	SfSimCall	call = {s, at, f};

	if (node->next >= 0)
		go_to(s, node->next);
	if (node->nlinks == 0)
		return;
	call.ways = palloc(node->nlinks * sizeof(int));
	if (!try_out(try_links, &call))
	{
		s->over = s->failed = true;
		return;
	}
	for (int i = 0; i < call.n; i++)
		go_to(s, call.ways[i]);
	if (call.n == 0 && node->otherwise >= 0)
		go_to(s, node->otherwise);
}

/* all attempts fail in the same way */
static void
be_dead(SfSimulation *s, int at, SfForecast *f)
{
	SfNode	   *node = &s->run->version->nodes[at];

	note(f, "it would be dead after its attempts");
	if (!node->go_on)
		s->over = s->failed = true;
	else if (node->type != SF_NODE_CONDITION)
		leave_node(s, at, f);
	else if (node->otherwise >= 0)
		go_to(s, node->otherwise);
}

static void
carry_out_condition(SfSimulation *s, int at, SfForecast *f)
{
	SfNode	   *node = &s->run->version->nodes[at];
	SfSimCall	call = {s, at, f};

	if (!try_out(try_choice, &call))
	{
		be_dead(s, at, f);
		return;
	}
	if (node->nlinks > 0)
		note(f, "leads to %s", name_of(s, call.to));
	else
		note(f, "%s, leads to %s", strstr(call.result, "true") ?
			 (node->condition_rules ? "rule set allows" : "condition is true") :
			 (node->condition_rules ? "rule set denies" : "condition is not true"),
			 name_of(s, call.to));
	if (call.to >= 0)
		go_to(s, call.to);
}

static void
carry_out_sop(SfSimulation *s, int at, SfForecast *f)
{
	SfNode	   *node = &s->run->version->nodes[at];
	SfSop	   *sop = sf_definition_sop(node->sop_ref);
	SfSimToken *token;
	TimestampTz end;
	bool		failed;

	note(f, "runs SOP \"%s\"", node->sop_ref);
	if (sop == NULL || !sop->enabled || sop->version_id == 0)
	{
		note(f, "error: it %s", sop == NULL ? "does not exist" : "is not enabled");
		be_dead(s, at, f);
		return;
	}
	if (s->depth == MAX_DEPTH)
	{
		note(f, "not followed any deeper");
		return;
	}
	end = simulate(sf_definition_version(sop->version_id), s->run->subject_id, s->run->context,
				   s->now, psprintf("%s%s/", s->prefix, node->node_id), s->depth + 1, s->forecasts,
				   &failed);
	if (end == SF_NEVER)
		return;
	token = add_token(s, at);
	token->due = end;
	token->returning = true;
	token->failed = failed;
}

static void
carry_out(SfSimulation *s, const SfSimToken *token)
{
	SfVersion  *version = s->run->version;
	SfNode	   *node = &version->nodes[token->node];
	SfForecast *f;
	SfSimCall	call = {s, token->node};

	if (token->returning)
	{
		f = forecast(s, token->due, node->node_id);
		note(f, "SOP \"%s\" has %s", node->sop_ref, token->failed ? "failed" : "ended");
		if (token->failed)
			be_dead(s, token->node, f);
		else
			leave_node(s, token->node, f);
		return;
	}
	f = forecast(s, s->now, node->node_id);
	f->action = node->action;
	if (token->moved != NULL)
		note(f, "%s", token->moved);
	if (sf_flow_is_late(s->run, token->node, token->due, s->now))
	{
		note(f, "skipped, since it was due %s", timestamptz_to_str(token->due));
		leave_node(s, token->node, f);
		return;
	}
	switch (node->type)
	{
		case SF_NODE_CONDITION:
			carry_out_condition(s, token->node, f);
			break;
		case SF_NODE_WAIT:
			note(f, "no event \"%s\" has come, leads to %s", node->wait_event,
				 name_of(s, node->otherwise));
			if (node->otherwise >= 0)
				go_to(s, node->otherwise);
			break;
		case SF_NODE_SOP:
			carry_out_sop(s, token->node, f);
			break;
		default:
			f->params = node->action != NULL ? node->params : NULL;
			call.f = f;
			if (node->templated && node->action != NULL && !try_out(try_params, &call))
			{
				f->params = NULL;
				be_dead(s, token->node, f);
			}
			else
				leave_node(s, token->node, f);
			break;
	}
}

/* what is left when nothing happens any more */
static void
forecast_rest(SfSimulation *s)
{
	for (int i = 0; i < s->ntokens; i++)
	{
		SfNode	   *node = &s->run->version->nodes[s->tokens[i].node];
		SfForecast *f = forecast(s, SF_NEVER, node->node_id);

		if (s->tokens[i].parked)
			note(f, "waits for other branches");
		else
			note(f, "waits for event \"%s\" without time-out", node->wait_event);
	}
}

/* when the run ends, SF_NEVER: not by itself */
static TimestampTz
simulate(SfVersion *version, const char *subject_id, Jsonb *context, TimestampTz from,
		 const char *prefix, int depth, List **forecasts, bool *failed)
{
	SfRun		run = {0};
	SfSimulation s = {0};
	int			next;
	SfForecast *f;

	check_stack_depth();
	run.version = version;
	run.version_id = version->version_id;
	run.sop_id = version->sop_id;
	run.subject_id = unconstify(char *, subject_id);
	run.event_at = run.started_at = from;
	run.context = context;
	run.events = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum("{}")));
	s.run = &run;
	s.prefix = prefix;
	s.depth = depth;
	s.now = from;
	s.forecasts = forecasts;
	s.maxtokens = Max(16, version->nnodes);
	s.tokens = palloc(s.maxtokens * sizeof(SfSimToken));
	for (int i = 0; i < (version->parallel ? version->nnodes : 1); i++)
		set_due(&s, add_token(&s, i), from);
	while (!s.over && (next = next_token(&s)) >= 0 && s.tokens[next].due != SF_NEVER)
	{
		SfSimToken	token = s.tokens[next];

		CHECK_FOR_INTERRUPTS();
		if (list_length(*forecasts) >= MAX_FORECASTS || s.steps > version->max_steps)
		{
			f = forecast(&s, s.now, NULL);
			note(f, "not followed any further, after %d steps", s.steps);
			*failed = false;
			return SF_NEVER;
		}
		s.ntokens--;
		memmove(&s.tokens[next], &s.tokens[next + 1], (s.ntokens - next) * sizeof(SfSimToken));
		s.now = Max(s.now, token.due);
		carry_out(&s, &token);
		if (!s.over)
			release_joins(&s);
	}
	*failed = s.failed;
	if (!s.over && s.ntokens > 0)
	{
		forecast_rest(&s);
		return SF_NEVER;
	}
	if (depth == 0)
	{
		f = forecast(&s, s.now, NULL);
		note(f, "the run has %s", s.failed ? "failed" : "ended");
	}
	return s.now;
}

static int
compare_times(const ListCell *a, const ListCell *b)
{
	const SfForecast *x = lfirst(a);
	const SfForecast *y = lfirst(b);

	if (x->at != y->at)
		return x->at < y->at ? -1 : 1;
	return x->number - y->number;
}

List *
sf_simulate(SfVersion *version, const char *subject_id, Jsonb *context, TimestampTz from)
{
	List	   *forecasts = NIL;
	ListCell   *lc;
	int			n = 0;
	bool		failed;

	(void) simulate(version, subject_id, context, from, "", 0, &forecasts, &failed);
	/* what SOPs that were run did goes between what others did meanwhile */
	foreach(lc, forecasts)
		((SfForecast *) lfirst(lc))->number = n++;
	list_sort(forecasts, compare_times);
	return forecasts;
}
