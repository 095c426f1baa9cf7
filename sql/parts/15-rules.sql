-- ---------------------------------------------------------------------------
-- Rule sets: what authors write with INSERT, UPDATE and DELETE.
-- Checked by triggers (part 35): rights at once, the whole set at commit.
-- ---------------------------------------------------------------------------

CREATE TABLE sopflow.rule_set (
	rule_set		text NOT NULL PRIMARY KEY
					CHECK (rule_set <> '' AND length(rule_set) <= 200),
	description		text,
	skip_on_first_applied bool NOT NULL DEFAULT false,
	skip_on_first_failed bool NOT NULL DEFAULT false,
	skip_on_first_non_triggered bool NOT NULL DEFAULT false,
	priority_threshold int NOT NULL DEFAULT 2147483647,
	denials			text NOT NULL DEFAULT 'first' CHECK (denials IN ('first', 'all')),
	on_error		text NOT NULL DEFAULT 'abort' CHECK (on_error IN ('abort', 'false')),
	param_scopes	text[] NOT NULL DEFAULT '{}',
	inference		bool NOT NULL DEFAULT false,
	max_steps		int NOT NULL DEFAULT 1000 CHECK (max_steps > 0),
	trace			text NOT NULL DEFAULT 'off' CHECK (trace IN ('off', 'fired', 'full')),
	order_by		text NOT NULL DEFAULT 'asc' CHECK (order_by IN ('asc', 'desc', 'seq')),
	before_fire		text,
	after_fire		text,
	before_evaluate	text,
	after_evaluate	text,
	on_success		text,
	on_failure		text,
	enabled			bool NOT NULL DEFAULT true,
	owner			regrole NOT NULL DEFAULT pg_catalog.quote_ident(current_user)::regrole,
	search_path		text,
	revision		bigint NOT NULL DEFAULT 0,
	param_revision	bigint NOT NULL DEFAULT 0
);
COMMENT ON TABLE sopflow.rule_set IS 'Sets of rules that are fired together';
COMMENT ON COLUMN sopflow.rule_set.rule_set IS 'Name of the set';
COMMENT ON COLUMN sopflow.rule_set.description IS 'Free text';
COMMENT ON COLUMN sopflow.rule_set.skip_on_first_applied IS 'Stop after the first rule that was applied';
COMMENT ON COLUMN sopflow.rule_set.skip_on_first_failed IS 'Stop after the first rule whose actions failed (on_error = false)';
COMMENT ON COLUMN sopflow.rule_set.skip_on_first_non_triggered IS 'Stop at the first rule whose condition is not true';
COMMENT ON COLUMN sopflow.rule_set.priority_threshold IS 'Rules and groups of a greater priority number are left out';
COMMENT ON COLUMN sopflow.rule_set.denials IS 'first: the first denial ends the firing; all: denials are collected';
COMMENT ON COLUMN sopflow.rule_set.on_error IS 'abort: an error in a rule ends the statement; false: the rule counts as not triggered or not carried out, with a warning';
COMMENT ON COLUMN sopflow.rule_set.param_scopes IS 'SQL expressions, the most specific first; the first whose value is the scope of an override of a parameter gives its value';
COMMENT ON COLUMN sopflow.rule_set.inference IS 'Fire again and again, until nothing new triggers';
COMMENT ON COLUMN sopflow.rule_set.max_steps IS 'With inference: rules that one call may fire, more are an error; also rules that one proof may try';
COMMENT ON COLUMN sopflow.rule_set.trace IS 'What verdict.trace tells: off, fired or full';
COMMENT ON COLUMN sopflow.rule_set.order_by IS 'Order of rules: asc or desc by priority, then by name; seq: as they were inserted';
COMMENT ON COLUMN sopflow.rule_set.before_fire IS 'Function f(sopflow.rule_event) returns bool, called before the first rule';
COMMENT ON COLUMN sopflow.rule_set.after_fire IS 'Function called after the last rule';
COMMENT ON COLUMN sopflow.rule_set.before_evaluate IS 'Function called before each rule; when it returns false, the rule is left out';
COMMENT ON COLUMN sopflow.rule_set.after_evaluate IS 'Function called after each evaluation, with its result';
COMMENT ON COLUMN sopflow.rule_set.on_success IS 'Function called after a rule''s actions';
COMMENT ON COLUMN sopflow.rule_set.on_failure IS 'Function called when a rule''s actions failed (on_error = false)';
COMMENT ON COLUMN sopflow.rule_set.enabled IS 'false: a draft; it fires nothing and is not checked';
COMMENT ON COLUMN sopflow.rule_set.owner IS 'Role whose rights its conditions, queries and actions have, and whose members may change it';
COMMENT ON COLUMN sopflow.rule_set.search_path IS 'search_path under which its texts are read; where none was given, that of the session that inserted it';
COMMENT ON COLUMN sopflow.rule_set.revision IS 'Raised by every edit of the set and what belongs to it';
COMMENT ON COLUMN sopflow.rule_set.param_revision IS 'Raised by every edit of its parameters'' values';

CREATE SEQUENCE sopflow.rule_seq;
COMMENT ON SEQUENCE sopflow.rule_seq IS 'Gives facts and rules their order of insertion';

CREATE TABLE sopflow.rule_fact (
	rule_set		text NOT NULL,	-- of sopflow.rule_set, here and below: see the triggers
	fact			name NOT NULL CHECK (fact <> ''),
	type			regtype NOT NULL,
	seq				bigint NOT NULL DEFAULT nextval('sopflow.rule_seq'),
	query			text,
	missing			text NOT NULL DEFAULT 'error' CHECK (missing IN ('error', 'null')),
	PRIMARY KEY (rule_set, fact)
);
COMMENT ON TABLE sopflow.rule_fact IS 'Facts that the rules of a set read';
COMMENT ON COLUMN sopflow.rule_fact.rule_set IS 'Rule set';
COMMENT ON COLUMN sopflow.rule_fact.fact IS 'Name of the fact; new and old are the row of a trigger';
COMMENT ON COLUMN sopflow.rule_fact.type IS 'Row type of a table, composite type, jsonb or a scalar type';
COMMENT ON COLUMN sopflow.rule_fact.seq IS 'Order of the arguments of fire_rows, then the name';
COMMENT ON COLUMN sopflow.rule_fact.query IS 'SELECT of at most one row of this type, run when a rule first needs the fact; null: the caller gives it';
COMMENT ON COLUMN sopflow.rule_fact.missing IS 'jsonb only, what a key that is not there means: error, or null';

CREATE TABLE sopflow.rule_quota (
	rule_set		text NOT NULL,
	quota			name NOT NULL CHECK (quota <> ''),
	query			text NOT NULL,
	lock_key		text NOT NULL,
	PRIMARY KEY (rule_set, quota)
);
COMMENT ON TABLE sopflow.rule_quota IS 'Counted facts that are guarded by a lock';
COMMENT ON COLUMN sopflow.rule_quota.rule_set IS 'Rule set';
COMMENT ON COLUMN sopflow.rule_quota.quota IS 'Name under which conditions read it';
COMMENT ON COLUMN sopflow.rule_quota.query IS 'SELECT of one number';
COMMENT ON COLUMN sopflow.rule_quota.lock_key IS 'SQL expression; who counts for the same key waits for the other''s transaction';

CREATE TABLE sopflow.rule_param (
	rule_set		text NOT NULL,
	param			name NOT NULL CHECK (param <> ''),
	type			regtype NOT NULL,
	value			text,
	description		text,
	PRIMARY KEY (rule_set, param)
);
COMMENT ON TABLE sopflow.rule_param IS 'Thresholds and texts of a rule set, read as param.NAME';
COMMENT ON COLUMN sopflow.rule_param.rule_set IS 'Rule set';
COMMENT ON COLUMN sopflow.rule_param.param IS 'Name';
COMMENT ON COLUMN sopflow.rule_param.type IS 'Type';
COMMENT ON COLUMN sopflow.rule_param.value IS 'Value, in the type''s text form';
COMMENT ON COLUMN sopflow.rule_param.description IS 'Free text';

CREATE TABLE sopflow.rule_param_override (
	rule_set		text NOT NULL,
	param			name NOT NULL,
	scope			text NOT NULL CHECK (scope <> ''),
	value			text,
	PRIMARY KEY (rule_set, param, scope)
);
COMMENT ON TABLE sopflow.rule_param_override IS 'Values of parameters for a team, a level, a person';
COMMENT ON COLUMN sopflow.rule_param_override.rule_set IS 'Rule set';
COMMENT ON COLUMN sopflow.rule_param_override.param IS 'Parameter';
COMMENT ON COLUMN sopflow.rule_param_override.scope IS 'Value of one of rule_set.param_scopes for which this holds';
COMMENT ON COLUMN sopflow.rule_param_override.value IS 'Value, in the text form of the parameter''s type';

CREATE TABLE sopflow.rule_group (
	rule_set		text NOT NULL,
	rule_group		text NOT NULL CHECK (rule_group <> '' AND length(rule_group) <= 200),
	kind			text NOT NULL CHECK (kind IN ('unit', 'activation', 'conditional', 'unique', 'any', 'collect')),
	priority		int NOT NULL DEFAULT 2147483646,
	parent			text,
	description		text,
	PRIMARY KEY (rule_set, rule_group)
);
COMMENT ON TABLE sopflow.rule_group IS 'Rules that count as one in their set';
COMMENT ON COLUMN sopflow.rule_group.rule_set IS 'Rule set';
COMMENT ON COLUMN sopflow.rule_group.rule_group IS 'Name of the group';
COMMENT ON COLUMN sopflow.rule_group.kind IS 'unit: all or none; activation: the first that triggers; conditional: the first gates the others; of decision tables unique: at most one may trigger, any: those that trigger must say the same, collect: all that trigger, their results in lists';
COMMENT ON COLUMN sopflow.rule_group.priority IS 'Place among the rules of the set or of the parent';
COMMENT ON COLUMN sopflow.rule_group.parent IS 'Group that this one is a member of; null: none';
COMMENT ON COLUMN sopflow.rule_group.description IS 'Free text';

CREATE TABLE sopflow.rule (
	rule_set		text NOT NULL,
	rule			text NOT NULL CHECK (rule <> '' AND length(rule) <= 200),
	description		text,
	priority		int NOT NULL DEFAULT 2147483646,
	condition		text NOT NULL DEFAULT 'true',
	actions			jsonb NOT NULL DEFAULT '[]',
	rule_group		text,
	enabled			bool NOT NULL DEFAULT true,
	valid			tstzrange,
	seq				bigint NOT NULL DEFAULT nextval('sopflow.rule_seq'),
	rule_id			int GENERATED ALWAYS AS IDENTITY UNIQUE,
	PRIMARY KEY (rule_set, rule)
);
ALTER SEQUENCE sopflow.rule_seq OWNED BY sopflow.rule.seq;
COMMENT ON TABLE sopflow.rule IS 'Rules: a condition and what to do when it is true';
COMMENT ON SEQUENCE sopflow.rule_rule_id_seq IS 'Numbers of rules';
COMMENT ON COLUMN sopflow.rule.rule_set IS 'Rule set';
COMMENT ON COLUMN sopflow.rule.rule IS 'Name, unique in the set';
COMMENT ON COLUMN sopflow.rule.description IS 'Free text';
COMMENT ON COLUMN sopflow.rule.priority IS 'Lower goes first; rules of the same priority by name';
COMMENT ON COLUMN sopflow.rule.condition IS 'SQL expression over the facts; null is not true';
COMMENT ON COLUMN sopflow.rule.actions IS 'What is done, in order: deny, message, set, result, emit, call';
COMMENT ON COLUMN sopflow.rule.rule_group IS 'Group that the rule is a member of; null: none';
COMMENT ON COLUMN sopflow.rule.enabled IS 'false: as if the rule were not there';
COMMENT ON COLUMN sopflow.rule.valid IS 'When the rule is in force; null: always';
COMMENT ON COLUMN sopflow.rule.seq IS 'Order of insertion';
COMMENT ON COLUMN sopflow.rule.rule_id IS 'Internal number of the rule';

CREATE TABLE sopflow.rule_grant (
	rule_set		text NOT NULL,
	grantee			regrole NOT NULL,
	PRIMARY KEY (rule_set, grantee)
);
COMMENT ON TABLE sopflow.rule_grant IS 'Who may fire a rule set, besides members of its owner';
COMMENT ON COLUMN sopflow.rule_grant.rule_set IS 'Rule set';
COMMENT ON COLUMN sopflow.rule_grant.grantee IS 'Role';

CREATE TABLE sopflow.guarded (
	relation		regclass NOT NULL,
	rule_set		text NOT NULL,
	columns			name[],
	relation_owner	regrole NOT NULL,
	rule_set_owner	regrole NOT NULL,
	PRIMARY KEY (relation, rule_set)
);
COMMENT ON TABLE sopflow.guarded IS 'Tables whose rows are held to a rule set; written by guard and unguard';
COMMENT ON COLUMN sopflow.guarded.relation IS 'Guarded table';
COMMENT ON COLUMN sopflow.guarded.rule_set IS 'Rule set';
COMMENT ON COLUMN sopflow.guarded.columns IS 'Columns whose change the rules look at; null: every write';
COMMENT ON COLUMN sopflow.guarded.relation_owner IS 'Owner of the table when it was guarded';
COMMENT ON COLUMN sopflow.guarded.rule_set_owner IS 'Owner of the rule set then';

CREATE TYPE sopflow.verdict AS (
	allowed			bool,
	fired			text[],
	messages		text[],
	codes			text[],
	facts			jsonb,
	trace			jsonb
);
COMMENT ON TYPE sopflow.verdict IS 'The outcome of firing a rule set';
COMMENT ON COLUMN sopflow.verdict.allowed IS 'false: a rule denied';
COMMENT ON COLUMN sopflow.verdict.fired IS 'Rules whose actions were carried out, in order';
COMMENT ON COLUMN sopflow.verdict.messages IS 'Texts of deny and message actions';
COMMENT ON COLUMN sopflow.verdict.codes IS 'Their codes, null where an action has none';
COMMENT ON COLUMN sopflow.verdict.facts IS 'Facts as they stand (fire_rows: those that changed), and result';
COMMENT ON COLUMN sopflow.verdict.trace IS 'What was evaluated, see rule_set.trace; null: off';

CREATE TYPE sopflow.rule_event AS (
	rule_set		text,
	rule			text,
	hook			text,
	triggered		bool,
	facts			jsonb,
	error			text
);
COMMENT ON TYPE sopflow.rule_event IS 'What a hook function of a rule set is given';
COMMENT ON COLUMN sopflow.rule_event.rule_set IS 'Rule set';
COMMENT ON COLUMN sopflow.rule_event.rule IS 'Rule; null for before_fire and after_fire';
COMMENT ON COLUMN sopflow.rule_event.hook IS 'Which hook: before_fire, before_evaluate, ...';
COMMENT ON COLUMN sopflow.rule_event.triggered IS 'after_evaluate: result of the condition; null where it is NULL';
COMMENT ON COLUMN sopflow.rule_event.facts IS 'Facts as they stand';
COMMENT ON COLUMN sopflow.rule_event.error IS 'on_failure: the error';
