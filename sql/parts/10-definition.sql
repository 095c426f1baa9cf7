-- ---------------------------------------------------------------------------
-- Definitions: what authors write with INSERT, UPDATE and DELETE.
-- Checked by triggers (part 30): rights at once, the whole SOP at commit.
-- ---------------------------------------------------------------------------

CREATE TABLE sopflow.action (
	action			text NOT NULL PRIMARY KEY
					CHECK (action <> '' AND length(action) <= 200),
	delivery		text NOT NULL DEFAULT 'queue'
					CHECK (delivery IN ('queue', 'broadcast', 'call')),
	channel			text NOT NULL DEFAULT 'sopflow'
					CHECK (octet_length(channel) BETWEEN 1 AND 63),
	handler			text CHECK ((handler IS NOT NULL) = (delivery = 'call')),
	lease			interval NOT NULL DEFAULT '60s',
	timeout			interval NOT NULL DEFAULT '30s',
	max_attempts	int NOT NULL DEFAULT 5 CHECK (max_attempts BETWEEN 1 AND 10000),
	backoff_base	interval NOT NULL DEFAULT '30s',
	backoff_factor	float8 NOT NULL DEFAULT 2 CHECK (backoff_factor BETWEEN 1 AND 1000),
	backoff_cap		interval NOT NULL DEFAULT '1h',
	jitter			float8 NOT NULL DEFAULT 0.2 CHECK (jitter BETWEEN 0 AND 1),
	alert_after		int DEFAULT 3 CHECK (alert_after > 0),
	enabled			bool NOT NULL DEFAULT true,
	description		text,
	owner			regrole NOT NULL DEFAULT pg_catalog.quote_ident(current_user)::regrole,
	paused			bool NOT NULL DEFAULT false,
	action_id		int GENERATED ALWAYS AS IDENTITY UNIQUE,
	search_path		text,
	revision		bigint NOT NULL DEFAULT 0
);
COMMENT ON TABLE sopflow.action IS 'Named ways to carry out a task';
COMMENT ON SEQUENCE sopflow.action_action_id_seq IS 'Numbers of actions';
COMMENT ON COLUMN sopflow.action.action IS 'Name that SOP nodes refer to';
COMMENT ON COLUMN sopflow.action.delivery IS 'queue: consumers fetch and acknowledge; broadcast: the task in one NOTIFY; call: an SQL function in this database';
COMMENT ON COLUMN sopflow.action.channel IS 'NOTIFY channel of queue and broadcast, 1 to 63 bytes, case-sensitive';
COMMENT ON COLUMN sopflow.action.handler IS 'call only: schema.function taking sopflow.work and returning jsonb';
COMMENT ON COLUMN sopflow.action.lease IS 'How long a consumer that fetched a task holds it';
COMMENT ON COLUMN sopflow.action.timeout IS 'How long a handler may run';
COMMENT ON COLUMN sopflow.action.max_attempts IS 'Attempts before a task is dead; a node may override it';
COMMENT ON COLUMN sopflow.action.backoff_base IS 'Wait before the second attempt';
COMMENT ON COLUMN sopflow.action.backoff_factor IS 'Factor by which each further wait grows';
COMMENT ON COLUMN sopflow.action.backoff_cap IS 'Longest wait between two attempts';
COMMENT ON COLUMN sopflow.action.jitter IS 'Share of the wait by which it varies at random, 0 to 1';
COMMENT ON COLUMN sopflow.action.alert_after IS 'Failures in a row that raise an alert; null for none';
COMMENT ON COLUMN sopflow.action.enabled IS 'false: due tasks of this action are held until it is enabled again';
COMMENT ON COLUMN sopflow.action.description IS 'Free text';
COMMENT ON COLUMN sopflow.action.owner IS 'Role that the handler runs as, and whose members may change this row';
COMMENT ON COLUMN sopflow.action.paused IS 'Set by pause_action and resume_action';
COMMENT ON COLUMN sopflow.action.action_id IS 'Internal number of the action';
COMMENT ON COLUMN sopflow.action.search_path IS 'search_path that the handler runs with: that of the session that inserted the row or last changed handler';
COMMENT ON COLUMN sopflow.action.revision IS 'Raised by every edit';

CREATE TABLE sopflow.sop (
	sop_id			text NOT NULL PRIMARY KEY
					CHECK (sop_id <> '' AND length(sop_id) <= 200),
	name			text,
	description		text,
	trigger_event	text CHECK (trigger_event <> ''),
	enabled			bool NOT NULL DEFAULT true,
	delay_from		text NOT NULL DEFAULT 'event' CHECK (delay_from IN ('event', 'previous')),
	reentry			text NOT NULL DEFAULT 'ignore' CHECK (reentry IN ('ignore', 'restart', 'allow')),
	skip_late_after	interval,
	exit_events		text[] NOT NULL DEFAULT '{}'
					CHECK (CASE WHEN array_ndims(exit_events) > 1 THEN false ELSE array_position(exit_events, NULL) IS NULL END),
	calendar		text,	-- of sopflow.calendar: see the triggers
	subject_relation regclass,
	subject_key		name,
	time_zone_column name,
	max_steps		int NOT NULL DEFAULT 10000 CHECK (max_steps BETWEEN 1 AND 60000),
	owner			regrole NOT NULL DEFAULT pg_catalog.quote_ident(current_user)::regrole,
	paused			bool NOT NULL DEFAULT false,
	search_path		text,
	revision		bigint NOT NULL DEFAULT 0,
	CHECK ((subject_relation IS NULL) = (subject_key IS NULL)),
	CHECK (time_zone_column IS NULL OR subject_relation IS NOT NULL)
);
COMMENT ON TABLE sopflow.sop IS 'Standard operating procedures';
COMMENT ON COLUMN sopflow.sop.sop_id IS 'Name of the SOP';
COMMENT ON COLUMN sopflow.sop.name IS 'Display name; the id where null';
COMMENT ON COLUMN sopflow.sop.description IS 'Free text';
COMMENT ON COLUMN sopflow.sop.trigger_event IS 'Event that starts a run; null: only start() does';
COMMENT ON COLUMN sopflow.sop.enabled IS 'false: a draft, no new runs; running ones go on';
COMMENT ON COLUMN sopflow.sop.delay_from IS 'event: delays count from the event; previous: from the completion of the node before';
COMMENT ON COLUMN sopflow.sop.reentry IS 'What an event does while a run of the same subject is active: ignore it, restart, or allow a second run';
COMMENT ON COLUMN sopflow.sop.skip_late_after IS 'A task later than this is skipped; null: carried out however late';
COMMENT ON COLUMN sopflow.sop.exit_events IS 'Events that end an active run of the subject';
COMMENT ON COLUMN sopflow.sop.calendar IS 'Calendar that tasks with an action keep to; null: any time';
COMMENT ON COLUMN sopflow.sop.subject_relation IS 'Table of the subjects: a run whose subject is gone is cancelled at dispatch';
COMMENT ON COLUMN sopflow.sop.subject_key IS 'Column of subject_relation that holds the subject id';
COMMENT ON COLUMN sopflow.sop.time_zone_column IS 'Column of subject_relation with the time zone of the subject, which then stands for that of the calendar';
COMMENT ON COLUMN sopflow.sop.max_steps IS 'Tasks that one run may create';
COMMENT ON COLUMN sopflow.sop.owner IS 'Role whose rights the SOP has, and whose members may change it';
COMMENT ON COLUMN sopflow.sop.paused IS 'Set by pause and resume';
COMMENT ON COLUMN sopflow.sop.search_path IS 'search_path that conditions and templates are read under: that of the session that inserted the SOP or last wrote a node or a link';
COMMENT ON COLUMN sopflow.sop.revision IS 'Raised by every edit of the SOP, one of its nodes or links';

CREATE SEQUENCE sopflow.sop_node_seq AS int;
COMMENT ON SEQUENCE sopflow.sop_node_seq IS 'Gives nodes their order of insertion';

CREATE TABLE sopflow.sop_node (
	sop_id			text NOT NULL,	-- of sopflow.sop: see the triggers
	node_id			text NOT NULL CHECK (node_id <> '' AND length(node_id) <= 200),
	seq				int NOT NULL DEFAULT nextval('sopflow.sop_node_seq'),
	type			text NOT NULL DEFAULT 'delay',
	delay			interval NOT NULL DEFAULT '0',
	action			text,
	params			jsonb NOT NULL DEFAULT '{}',
	next			text,
	condition		text,
	condition_rules	text,	-- of sopflow.rule_set
	otherwise		text,
	wait_event		text,
	sop_ref			text,
	max_attempts	int CHECK (max_attempts BETWEEN 1 AND 10000),
	on_failure		text NOT NULL DEFAULT 'stop' CHECK (on_failure IN ('stop', 'continue')),
	PRIMARY KEY (sop_id, node_id)
);
ALTER SEQUENCE sopflow.sop_node_seq OWNED BY sopflow.sop_node.seq;
COMMENT ON TABLE sopflow.sop_node IS 'Nodes of SOPs: all of type delay and without next, otherwise or links, they run in parallel from the event; else they are walked from the first by seq';
COMMENT ON COLUMN sopflow.sop_node.sop_id IS 'SOP that the node belongs to';
COMMENT ON COLUMN sopflow.sop_node.node_id IS 'Name of the node within its SOP';
COMMENT ON COLUMN sopflow.sop_node.seq IS 'Order; the first node starts a graph';
COMMENT ON COLUMN sopflow.sop_node.type IS 'delay: a task due after delay; condition: goes to next or otherwise; wait: goes to next when an event comes, otherwise when delay has passed; sop: runs another SOP; end: ends the run';
COMMENT ON COLUMN sopflow.sop_node.delay IS 'Time from the event or from the node before, see sop.delay_from; days are 24 hours, months are counted in UTC';
COMMENT ON COLUMN sopflow.sop_node.action IS 'Action that carries the task out; null: none, the node only waits';
COMMENT ON COLUMN sopflow.sop_node.params IS 'Parameters handed to the action; their strings are templates, {{subject.name}} is filled in at dispatch';
COMMENT ON COLUMN sopflow.sop_node.next IS 'Node that follows; of a condition: where it is true; of a wait: where the event came; null: the branch ends here';
COMMENT ON COLUMN sopflow.sop_node.condition IS 'condition only: SQL expression over event, subject and run';
COMMENT ON COLUMN sopflow.sop_node.condition_rules IS 'condition only: rule set whose verdict decides, in place of an expression';
COMMENT ON COLUMN sopflow.sop_node.otherwise IS 'Node that follows where a condition is not true, where a wait has timed out, or where no link is taken; null: the branch ends here';
COMMENT ON COLUMN sopflow.sop_node.wait_event IS 'wait only: event that is waited for; delay is the longest wait, 0: without end';
COMMENT ON COLUMN sopflow.sop_node.sop_ref IS 'sop only: SOP that is run for the same subject; the node completes with that run';
COMMENT ON COLUMN sopflow.sop_node.max_attempts IS 'Overrides that of the action, or the 5 of nodes without one';
COMMENT ON COLUMN sopflow.sop_node.on_failure IS 'What a dead task does to its run: stop fails it, continue goes on';

CREATE TABLE sopflow.sop_link (
	sop_id			text NOT NULL,	-- of sopflow.sop: see the triggers
	from_node		text NOT NULL,
	to_node			text NOT NULL,
	condition		text,
	seq				int NOT NULL DEFAULT nextval('sopflow.sop_node_seq'),
	PRIMARY KEY (sop_id, from_node, to_node)
);
COMMENT ON TABLE sopflow.sop_link IS 'Ways from node to node that next and otherwise cannot say: from a delay or sop node every link whose condition is true is taken, from a condition node the first';
COMMENT ON COLUMN sopflow.sop_link.sop_id IS 'SOP that the link belongs to';
COMMENT ON COLUMN sopflow.sop_link.from_node IS 'Node that the link leaves';
COMMENT ON COLUMN sopflow.sop_link.to_node IS 'Node that it leads to';
COMMENT ON COLUMN sopflow.sop_link.condition IS 'SQL expression over event, subject and run; null: always';
COMMENT ON COLUMN sopflow.sop_link.seq IS 'Order among the links of a node';

CREATE TABLE sopflow.calendar (
	calendar		text NOT NULL PRIMARY KEY
					CHECK (calendar <> '' AND length(calendar) <= 200),
	time_zone		text NOT NULL DEFAULT 'UTC',
	weekdays		int[] NOT NULL DEFAULT '{1,2,3,4,5}',
	opens			time NOT NULL DEFAULT '00:00',
	closes			time NOT NULL DEFAULT '24:00',
	description		text,
	owner			regrole NOT NULL DEFAULT pg_catalog.quote_ident(current_user)::regrole,
	revision		bigint NOT NULL DEFAULT 0
);
COMMENT ON TABLE sopflow.calendar IS 'When tasks may be carried out: weekdays, hours and time zone';
COMMENT ON COLUMN sopflow.calendar.calendar IS 'Name that SOPs refer to';
COMMENT ON COLUMN sopflow.calendar.time_zone IS 'Name of the time zone that days and hours are those of';
COMMENT ON COLUMN sopflow.calendar.weekdays IS 'Days of the week, 1 Monday to 7 Sunday (ISO 8601)';
COMMENT ON COLUMN sopflow.calendar.opens IS 'Wall-clock time from which tasks may go';
COMMENT ON COLUMN sopflow.calendar.closes IS 'Wall-clock time from which they may not any more, of the next day where it is before opens; 24:00 is the end of the day';
COMMENT ON COLUMN sopflow.calendar.description IS 'Free text';
COMMENT ON COLUMN sopflow.calendar.owner IS 'Role whose members may change the calendar and its holidays';
COMMENT ON COLUMN sopflow.calendar.revision IS 'Raised by every edit';

CREATE TABLE sopflow.holiday (
	calendar		text NOT NULL,	-- of sopflow.calendar: see the triggers
	day				date NOT NULL CHECK (day BETWEEN '0001-01-01' AND '9999-12-31'),
	name			text,
	PRIMARY KEY (calendar, day)
);
COMMENT ON TABLE sopflow.holiday IS 'Days on which a calendar is closed';
COMMENT ON COLUMN sopflow.holiday.calendar IS 'Calendar';
COMMENT ON COLUMN sopflow.holiday.day IS 'Day on which the calendar does not open';
COMMENT ON COLUMN sopflow.holiday.name IS 'What is celebrated';

CREATE TYPE sopflow.run_fact AS (
	run_id			bigint,
	sop_id			text,
	version			int,
	subject_id		text,
	event_at		timestamptz,
	started_at		timestamptz,
	events			jsonb
);
COMMENT ON TYPE sopflow.run_fact IS 'The run as conditions and templates see it, under the name run';
COMMENT ON COLUMN sopflow.run_fact.run_id IS 'Run';
COMMENT ON COLUMN sopflow.run_fact.sop_id IS 'SOP';
COMMENT ON COLUMN sopflow.run_fact.version IS 'Version of the SOP that the run goes through';
COMMENT ON COLUMN sopflow.run_fact.subject_id IS 'Subject';
COMMENT ON COLUMN sopflow.run_fact.event_at IS 'Time of the event that started the run';
COMMENT ON COLUMN sopflow.run_fact.started_at IS 'When the run was written';
COMMENT ON COLUMN sopflow.run_fact.events IS 'Contexts of the events that came since, as far as some node waits for them, by name';

CREATE TABLE sopflow.sop_version (
	version_id		int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	sop_id			text NOT NULL,
	version			int NOT NULL,
	definition		jsonb NOT NULL,
	created_at		timestamptz NOT NULL,
	UNIQUE (sop_id, version)
);
COMMENT ON TABLE sopflow.sop_version IS 'Immutable versions of SOPs, one for each committed change; a run keeps the one it started with';
COMMENT ON SEQUENCE sopflow.sop_version_version_id_seq IS 'Numbers of versions';
COMMENT ON COLUMN sopflow.sop_version.version_id IS 'Number that runs and tasks refer to';
COMMENT ON COLUMN sopflow.sop_version.sop_id IS 'SOP';
COMMENT ON COLUMN sopflow.sop_version.version IS 'Counts from 1 within the SOP';
COMMENT ON COLUMN sopflow.sop_version.definition IS 'The SOP, its nodes and its links as they were checked';
COMMENT ON COLUMN sopflow.sop_version.created_at IS 'When the version was made';

CREATE TABLE sopflow.action_grant (
	action			text NOT NULL,	-- of sopflow.action: see the triggers
	grantee			regrole NOT NULL,
	privilege		text NOT NULL CHECK (privilege IN ('use', 'consume')),
	PRIMARY KEY (action, grantee, privilege)
);
COMMENT ON TABLE sopflow.action_grant IS 'Who may use an action in an SOP (grant_action) and who may fetch its tasks (grant_consumer)';
COMMENT ON COLUMN sopflow.action_grant.action IS 'Action';
COMMENT ON COLUMN sopflow.action_grant.grantee IS 'Role';
COMMENT ON COLUMN sopflow.action_grant.privilege IS 'use or consume';

CREATE TABLE sopflow.watched (
	relation		regclass NOT NULL,
	event			text NOT NULL CHECK (event <> ''),
	subject_key		name NOT NULL,
	context			name[] NOT NULL DEFAULT '{}',
	condition		text,
	time_column		name,
	on_error		text NOT NULL DEFAULT 'fail' CHECK (on_error IN ('fail', 'skip')),
	on_replica		bool NOT NULL DEFAULT false,
	search_path		text,
	condition_tree	text,
	attnums			int2[] NOT NULL DEFAULT '{}',
	PRIMARY KEY (relation, event)
);
COMMENT ON TABLE sopflow.watched IS 'Tables whose INSERTs are events; written by watch and unwatch';
COMMENT ON COLUMN sopflow.watched.relation IS 'Watched table';
COMMENT ON COLUMN sopflow.watched.event IS 'Event that an inserted row is';
COMMENT ON COLUMN sopflow.watched.subject_key IS 'Column that holds the subject id';
COMMENT ON COLUMN sopflow.watched.context IS 'Columns that become the context of the event';
COMMENT ON COLUMN sopflow.watched.condition IS 'SQL expression over the columns of the row; a row for which it is not true is no event';
COMMENT ON COLUMN sopflow.watched.time_column IS 'Column that holds the time of the event; null: the time of the transaction';
COMMENT ON COLUMN sopflow.watched.on_error IS 'fail: an error fails the INSERT; skip: the row is inserted without its event, and an alert says so';
COMMENT ON COLUMN sopflow.watched.on_replica IS 'Whether rows that arrive by logical replication are events too';
COMMENT ON COLUMN sopflow.watched.search_path IS 'search_path that the condition was written under';
COMMENT ON COLUMN sopflow.watched.condition_tree IS 'The parsed condition, from which it is written anew when a column is renamed';
COMMENT ON COLUMN sopflow.watched.attnums IS 'Numbers of the columns named above (key, time column or 0, context), by which renames are followed';
