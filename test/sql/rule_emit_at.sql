-- The time of an event that a rule emits: delays are counted from it, in the
-- past and in the future, by fire() and on a guarded table.
\pset format unaligned
\pset tuples_only on
\pset null null
SET timezone = 'UTC';
SET datestyle = 'ISO';
SET sopflow.clock = '2030-01-07 10:00:00+00';
CREATE SCHEMA ea;
CREATE TABLE ea.leads (id int PRIMARY KEY, claimed_at timestamptz, deadline timestamptz, day date, hours int, note text);
BEGIN;
INSERT INTO sopflow.action (action, delivery) VALUES ('ea_a', 'broadcast');
INSERT INTO sopflow.sop (sop_id, trigger_event, reentry) VALUES ('ea_sop', 'EA', 'allow');
INSERT INTO sopflow.sop_node (sop_id, node_id, delay, action) VALUES ('ea_sop', 'n1', '1h', 'ea_a');
INSERT INTO sopflow.rule_set (rule_set) VALUES ('ea');
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('ea', 'new', 'ea.leads');
COMMIT;
CREATE FUNCTION ea.act(VARIADIC actions jsonb[]) RETURNS void LANGUAGE sql AS $$
	DELETE FROM sopflow.rule WHERE rule_set = 'ea';
	INSERT INTO sopflow.rule (rule_set, rule, priority, actions) SELECT 'ea', 'r' || n, n, a FROM unnest(actions) WITH ORDINALITY u (a, n)
$$;
CREATE VIEW ea.runs AS SELECT r.subject_id, r.event_at, t.due_at FROM sopflow.runs r JOIN sopflow.tasks t USING (run_id)
	WHERE r.sop_id = 'ea_sop' ORDER BY r.run_id;

\echo --- fire: at once, in the past, in the future
SELECT ea.act('[{"emit": "EA", "subject": "new.id", "at": "new.deadline"}]');
SELECT fired FROM sopflow.fire('ea', '{"new": {"id": 1, "deadline": "2030-01-09 10:00+00"}}');
SELECT fired FROM sopflow.fire('ea', '{"new": {"id": 2, "deadline": "2029-01-01 00:00+00"}}');
SELECT fired FROM sopflow.fire_rows('ea', (3, NULL, '2030-01-10 10:00+00', NULL, NULL, NULL)::ea.leads);
-- without it, as ever, and with the other keys
SELECT ea.act('[{"emit": "EA", "subject": "new.id"}, {"emit": "EA", "at": "new.claimed_at - interval ''1 day''", "context": {"hours": "{{new.hours}}"}, "subject": "''x'' || new.id"}]');
SELECT fired FROM sopflow.fire('ea', '{"new": {"id": 4, "claimed_at": "2030-01-07 09:00+00", "hours": 5}}');
SELECT * FROM ea.runs;
SELECT context FROM sopflow.runs WHERE sop_id = 'ea_sop' AND subject_id = 'x4';

\echo --- it reads the facts as earlier actions and rules have left them
SELECT ea.act('[{"set": {"new.deadline": "sopflow.now() + interval ''1 day''"}}, {"emit": "EA", "subject": "''own'' || new.id", "at": "new.deadline"}, {"set": {"new.deadline": "new.deadline + interval ''1 day''"}}]',
	'[{"emit": "EA", "subject": "''next'' || new.id", "at": "new.deadline"}]');
SELECT fired FROM sopflow.fire('ea', '{"new": {"id": 5, "deadline": "2000-01-01 00:00+00"}}');
SELECT * FROM ea.runs WHERE subject_id LIKE '%5';

\echo --- a guarded table
SELECT sopflow.guard('ea.leads', 'ea');
INSERT INTO ea.leads (id, deadline) VALUES (6, '2000-01-01 00:00+00') RETURNING deadline;
SELECT * FROM ea.runs WHERE subject_id LIKE '%6';
SELECT ea.act('[{"emit": "EA", "subject": "new.id", "at": "new.claimed_at + make_interval(hours => new.hours)"}]', '[{"set": {"new.claimed_at": "null"}}]');
INSERT INTO ea.leads (id, claimed_at, hours) VALUES (7, '2030-01-07 09:00+00', 72), (8, '2030-01-01 00:00+00', 1);
UPDATE ea.leads SET claimed_at = '2031-01-01 00:00+00' WHERE id = 7 RETURNING claimed_at;
SELECT * FROM ea.runs WHERE subject_id IN ('7', '8');
-- a date and a text literal are times as in an assignment
SELECT ea.act('[{"emit": "EA", "subject": "new.id", "at": "new.day"}, {"emit": "EA", "subject": "new.id", "at": "''2030-02-01 12:00+00''"}]');
INSERT INTO ea.leads (id, day) VALUES (9, '2030-01-20');
SELECT * FROM ea.runs WHERE subject_id = '9';
-- denied rows emit nothing
SELECT ea.act('[{"emit": "EA", "subject": "new.id", "at": "new.deadline"}]', '[{"deny": "no"}]');
INSERT INTO ea.leads (id, deadline) VALUES (10, '2030-01-20 00:00+00');

\echo --- times that cannot be
SELECT ea.act('[{"emit": "EA", "subject": "new.id", "at": "new.deadline"}]');
INSERT INTO ea.leads (id) VALUES (11);
\echo :LAST_ERROR_SQLSTATE
SELECT fired FROM sopflow.fire('ea', '{"new": {"id": 11}}');
\echo :LAST_ERROR_SQLSTATE
INSERT INTO ea.leads (id, deadline) VALUES (11, 'infinity');
\echo :LAST_ERROR_SQLSTATE
SELECT fired FROM sopflow.fire('ea', '{"new": {"id": 11, "deadline": "294276-01-01 00:00+00"}}');
\echo :LAST_ERROR_SQLSTATE
-- under on_error = 'false' the rule is undone and the row passes, fire or trigger
UPDATE sopflow.rule_set SET on_error = 'false' WHERE rule_set = 'ea';
INSERT INTO ea.leads (id) VALUES (11);
INSERT INTO ea.leads (id, deadline) VALUES (12, 'infinity');
SELECT fired FROM sopflow.fire('ea', '{"new": {"id": 13}}');
SELECT id FROM ea.leads WHERE id > 9 ORDER BY id;
SELECT count(*) FROM ea.runs WHERE subject_id IN ('10', '11', '12', '13');

\echo --- refused when it is defined
SELECT ea.act('[{"emit": "EA", "subject": "new.id", "at": "new.hours"}]');
\echo :LAST_ERROR_SQLSTATE
SELECT ea.act('[{"emit": "EA", "subject": "new.id", "at": "new.note"}]');
SELECT ea.act('[{"emit": "EA", "subject": "new.id", "at": "''soon''"}]');
SELECT ea.act('[{"emit": "EA", "subject": "new.id", "at": "new.nothing"}]');
SELECT ea.act('[{"emit": "EA", "subject": "new.id", "at": "clock_timestamp()"}]');
SELECT ea.act('[{"emit": "EA", "subject": "new.id", "at": "(select now())"}]');
SELECT ea.act('[{"emit": "EA", "subject": "new.id", "at": ""}]');
SELECT ea.act('[{"emit": "EA", "subject": "new.id", "at": 5}]');
SELECT ea.act('[{"emit": "EA", "subject": "new.id", "at": null}]');
SELECT ea.act('[{"emit": "EA", "at": "new.deadline"}]');
SELECT ea.act('[{"emit": "EA", "subject": "new.id", "when": "new.deadline"}]');
SELECT ea.act('[{"message": "x", "at": "new.deadline"}]');

\echo --- a rule file keeps it
SELECT ea.act('[{"emit": "EA", "subject": "new.id", "at": "new.deadline"}]');
SELECT sopflow.load_rules('ea', sopflow.export_rules('ea'));
SELECT actions FROM sopflow.rule WHERE rule_set = 'ea';

SELECT sopflow.cancel(sop_id => 'ea_sop') > 0;
DELETE FROM sopflow.sop WHERE sop_id = 'ea_sop';
DELETE FROM sopflow.action WHERE action = 'ea_a';
SELECT sopflow.unguard('ea.leads', 'ea');
DELETE FROM sopflow.rule_set WHERE rule_set = 'ea';
SET client_min_messages = warning;
DROP SCHEMA ea CASCADE;
