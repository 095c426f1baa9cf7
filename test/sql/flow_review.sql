-- Flows where their parts meet: events from handlers, redriven branches, odd subjects.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS sopflow;
RESET client_min_messages;
SET sopflow.clock = '2030-02-01 12:00:00+00';
SET timezone = 'UTC';
\pset format unaligned
\pset tuples_only on
\set SHOW_CONTEXT never

-- an SOP of the event FR_ADD in one go
CREATE FUNCTION review_define(sop text, attrs jsonb, nodes jsonb, links jsonb DEFAULT '[]') RETURNS void LANGUAGE sql AS $$
	INSERT INTO sopflow.sop (sop_id, trigger_event, delay_from, reentry, exit_events, subject_relation, subject_key)
	SELECT $1, coalesce(a.trigger_event, 'FR_ADD ' || $1), coalesce(a.delay_from, 'event'), coalesce(a.reentry, 'ignore'),
		coalesce(a.exit_events, '{}'), a.subject_relation, a.subject_key
	FROM jsonb_to_record(attrs) AS a(trigger_event text, delay_from text, reentry text, exit_events text[],
		subject_relation regclass, subject_key name);
	INSERT INTO sopflow.sop_node (sop_id, node_id, type, delay, action, params, next, otherwise, condition, wait_event, sop_ref, on_failure)
	SELECT $1, n.id, coalesce(n.type, 'delay'), coalesce(n.delay, '0'), n.action, coalesce(n.params, '{}'), n.next, n.otherwise,
		n.condition, n.wait, n.sop, coalesce(n.on_failure, 'stop')
	FROM jsonb_to_recordset(nodes) AS n(id text, type text, delay interval, action text, params jsonb, next text, otherwise text,
		condition text, wait text, sop text, on_failure text);
	INSERT INTO sopflow.sop_link (sop_id, from_node, to_node, condition)
	SELECT $1, l.f, l.t, l.condition FROM jsonb_to_recordset(links) AS l(f text, t text, condition text);
$$;
-- the runs of a subject and their tasks
CREATE FUNCTION review_show(subject text) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT l.line FROM (
		SELECT r.run_id, -1 AS task_id, r.sop_id || ': ' || r.state || coalesce(' (' || r.reason || ')', '') AS line
		FROM sopflow.runs r WHERE r.subject_id = subject AND r.sop_id LIKE 'fr %'
	UNION ALL
		SELECT t.run_id, t.task_id, concat_ws(' ', '   ', t.node_id, t.status || coalesce('/' || t.held_by, ''),
			CASE WHEN t.result ? 'run_id' THEN t.result - 'run_id' ELSE t.result END, t.last_error)
		FROM sopflow.tasks t WHERE t.subject_id = subject AND t.sop_id LIKE 'fr %') l
	ORDER BY l.run_id, l.task_id
$$;
CREATE FUNCTION review_ok(w sopflow.work) RETURNS jsonb LANGUAGE sql AS $$ SELECT w.params $$;
CREATE FUNCTION review_emit(w sopflow.work) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	RETURN jsonb_build_object('led_to', sopflow.emit(w.params->>'event', w.subject_id));
END
$$;
CREATE FUNCTION review_fail(w sopflow.work) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	RAISE EXCEPTION 'not yet';
END
$$;
INSERT INTO sopflow.action (action, delivery, handler, max_attempts) VALUES
	('fr ok', 'call', 'review_ok', 1), ('fr emit', 'call', 'review_emit', 1), ('fr fail', 'call', 'review_fail', 1);

-- a handler's event ends one branch while the tasks of two others are in hand:
-- the run is not over, and what follows comes
SELECT review_define('fr hand', '{"delay_from": "previous"}',
	'[{"id": "start"}, {"id": "emit", "action": "fr emit", "params": {"event": "FR_ANSWER"}, "next": "after"},
	{"id": "wait", "type": "wait", "wait": "FR_ANSWER", "delay": "1 day"}, {"id": "beside", "action": "fr ok"}, {"id": "after", "action": "fr ok"}]',
	'[{"f": "start", "t": "emit"}, {"f": "start", "t": "wait"}, {"f": "start", "t": "beside"}]');
SELECT sopflow.emit('FR_ADD fr hand', 'h1');
SELECT sopflow.run_due();
SELECT review_show('h1');
-- nor is a join passed that they lead to
SELECT review_define('fr hand join', '{"delay_from": "previous"}',
	'[{"id": "start"}, {"id": "emit", "action": "fr emit", "params": {"event": "FR_ANSWER"}, "next": "join"},
	{"id": "wait", "type": "wait", "wait": "FR_ANSWER", "delay": "1 day", "next": "join"}, {"id": "beside", "delay": "1 h", "next": "join"},
	{"id": "join", "action": "fr ok"}]',
	'[{"f": "start", "t": "emit"}, {"f": "start", "t": "wait"}, {"f": "start", "t": "beside"}]');
SELECT sopflow.emit('FR_ADD fr hand join', 'h2');
SELECT sopflow.run_due();
SELECT review_show('h2');
SET sopflow.clock = '2030-02-01 13:00:00+00';
SELECT sopflow.run_due();
SELECT review_show('h2');
-- a handler that failed after its event: nothing of it stays, and the run is settled
CREATE FUNCTION review_emit_fail(w sopflow.work) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	PERFORM sopflow.emit('FR_ANSWER', w.subject_id);
	RAISE EXCEPTION 'after the event';
END
$$;
INSERT INTO sopflow.action (action, delivery, handler, max_attempts) VALUES ('fr emit fail', 'call', 'review_emit_fail', 1);
SELECT review_define('fr hand fail', '{"delay_from": "previous"}',
	'[{"id": "start"}, {"id": "emit", "action": "fr emit fail", "on_failure": "continue"},
	{"id": "wait", "type": "wait", "wait": "FR_ANSWER", "delay": "1 day"}]',
	'[{"f": "start", "t": "emit"}, {"f": "start", "t": "wait"}]');
SELECT sopflow.emit('FR_ADD fr hand fail', 'h3');
SELECT sopflow.run_due();
SELECT review_show('h3');
SELECT sopflow.emit('FR_ANSWER', 'h3');
SELECT review_show('h3');

-- an early answer nested as deep as an event may be stops no dispatch
CREATE FUNCTION review_deep(n int) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	j jsonb := '1';
BEGIN
	FOR i IN 1..n LOOP
		j := jsonb_build_object('a', j);
	END LOOP;
	RETURN j;
END
$$;
SELECT review_define('fr deep', '{"delay_from": "previous"}',
	'[{"id": "start", "delay": "1 h", "next": "wait"}, {"id": "wait", "type": "wait", "wait": "FR_DEEP"}]');
SELECT sopflow.emit('FR_ADD fr deep', 'p1');
SELECT sopflow.emit('FR_DEEP', 'p1', review_deep(10000));
SET sopflow.clock = '2030-02-01 14:00:00+00';
SELECT sopflow.run_due();
SELECT t.node_id, t.status, length(t.result::text) FROM sopflow.tasks t WHERE t.subject_id = 'p1' ORDER BY t.task_id;

-- a dead task that the run went on without, redriven when the run has ended:
-- what follows it is there already
SELECT review_define('fr redrive', '{"delay_from": "previous"}',
	'[{"id": "start"}, {"id": "dead", "action": "fr fail", "on_failure": "continue", "next": "after"}, {"id": "beside"}, {"id": "after"}]',
	'[{"f": "start", "t": "dead"}, {"f": "start", "t": "beside"}]');
SELECT sopflow.emit('FR_ADD fr redrive', 'r1');
SELECT sopflow.run_due();
SELECT review_show('r1');
CREATE OR REPLACE FUNCTION review_fail(w sopflow.work) RETURNS jsonb LANGUAGE sql AS $$ SELECT '{}'::jsonb $$;
SELECT sopflow.redrive(task_ids => ARRAY(SELECT task_id FROM sopflow.dead_tasks WHERE subject_id = 'r1'));
SELECT sopflow.run_due();
SELECT review_show('r1');

-- an error of a sop node that looks like the message that its run has ended
CREATE FUNCTION review_raise() RETURNS bool LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION '{"state": "completed"}'; END $$;
CREATE VIEW review_broken AS SELECT 'b1'::text AS id WHERE review_raise();
SELECT review_define('fr part', '{}', '[{"id": "n"}]');
SELECT review_define('fr brace', '{"delay_from": "previous", "subject_relation": "review_broken", "subject_key": "id"}',
	'[{"id": "sub", "type": "sop", "sop": "fr part"}]');
SELECT sopflow.emit('FR_ADD fr brace', 'b1');
SELECT sopflow.run_due();
SELECT review_show('b1');
SET sopflow.clock = '2030-02-01 15:00:00+00';
SELECT sopflow.run_due();
SELECT review_show('b1');
CREATE OR REPLACE VIEW review_broken AS SELECT 'b1'::text AS id;
SET sopflow.clock = '2030-02-01 17:00:00+00';
SELECT sopflow.run_due();
SELECT sopflow.run_due();
SELECT review_show('b1');

-- another subject_key makes no version, and is in force at once
CREATE TABLE review_key (id text, other text, name text);
INSERT INTO review_key VALUES ('k1', 'o', 'by id'), ('x', 'k1', 'by other');
SELECT review_define('fr key', '{"subject_relation": "review_key", "subject_key": "id"}',
	'[{"id": "n", "action": "fr ok", "params": {"name": "{{subject.name}}"}}]');
SELECT sopflow.emit('FR_ADD fr key', 'k1');
SELECT sopflow.run_due();
UPDATE sopflow.sop SET subject_key = 'other' WHERE sop_id = 'fr key';
SELECT sopflow.emit('FR_ADD fr key', 'k1');
SELECT sopflow.run_due();
SELECT review_show('k1');

-- a key of type character(n) is compared whole
CREATE TABLE review_char (id char(5), name text);
INSERT INTO review_char VALUES ('abc', 'found');
SELECT review_define('fr char', '{"subject_relation": "review_char", "subject_key": "id"}',
	'[{"id": "n", "action": "fr ok", "params": {"name": "{{subject.name}}"}}]');
SELECT sopflow.emit('FR_ADD fr char', 'abc');
SELECT sopflow.run_due();
SELECT review_show('abc');

-- columns whose type takes no null, and that nobody reads
CREATE DOMAIN review_not_null AS text NOT NULL;
CREATE DOMAIN review_check AS int CHECK (value IS NOT NULL);
CREATE TABLE review_domain (id int, a review_not_null, b review_check, name text);
INSERT INTO review_domain VALUES (1, 'a', 1, 'found');
SELECT review_define('fr domain', '{"subject_relation": "review_domain", "subject_key": "id"}',
	'[{"id": "n", "action": "fr ok", "params": {"name": "{{subject.name}}"}}]');
SELECT sopflow.emit('FR_ADD fr domain', '1');
SELECT sopflow.run_due();
SELECT review_show('1');

-- versions that are compiled are not kept for ever
CREATE PROCEDURE review_versions(n int) LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1..n LOOP
		UPDATE sopflow.sop_node SET params = format('{"name": "%s {{subject.name}}"}', i)::jsonb WHERE sop_id = 'fr domain';
		COMMIT;
		PERFORM sopflow.emit('FR_ADD fr domain', '1');
		PERFORM sopflow.run_due();
		COMMIT;
	END LOOP;
END
$$;
CALL review_versions(300);
SELECT count(*) BETWEEN 1 AND 280 FROM pg_backend_memory_contexts WHERE name = 'sopflow rule set';
SELECT t.result FROM sopflow.tasks t WHERE t.sop_id = 'fr domain' ORDER BY t.task_id DESC LIMIT 1;

-- what a run remembers, written over by hand
SELECT review_define('fr memory', '{"delay_from": "previous"}',
	'[{"id": "start"}, {"id": "wait", "type": "wait", "wait": "FR_MEMORY"}, {"id": "beside", "delay": "1 h"}]',
	'[{"f": "start", "t": "wait"}, {"f": "start", "t": "beside"}]');
SELECT sopflow.emit('FR_ADD fr memory', 'm1');
SELECT sopflow.run_due();
UPDATE sopflow.run_state s SET state = s.state || '{"events": {"FR_MEMORY": 1, "x": [1]}, "answered": "x", "passed": {}}'
	FROM sopflow.run r WHERE r.run_id = s.run_id AND r.subject_id = 'm1';
SELECT sopflow.emit('FR_MEMORY', 'm1');
SELECT review_show('m1');

SELECT sopflow.cancel(sop_id => s.sop_id) FROM sopflow.sop s WHERE s.sop_id LIKE 'fr %' ORDER BY s.sop_id;
DELETE FROM sopflow.dead WHERE task_id IN (SELECT t.task_id FROM sopflow.dead_tasks t WHERE t.sop_id LIKE 'fr %');
DELETE FROM sopflow.sop WHERE sop_id LIKE 'fr %';
DELETE FROM sopflow.action WHERE action LIKE 'fr %';
DROP VIEW review_broken;
DROP TABLE review_key, review_char, review_domain;
DROP DOMAIN review_not_null, review_check;
DROP FUNCTION review_define, review_show, review_ok, review_emit, review_fail, review_emit_fail, review_raise, review_deep;
DROP PROCEDURE review_versions;
