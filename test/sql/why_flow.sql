-- Why a task is what it is: conditions, waits, joins, SOPs that run SOPs.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS sopflow;
RESET client_min_messages;
SET sopflow.clock = '2030-01-01 12:00:00+00';
SET timezone = 'UTC';
SET datestyle = 'ISO';
\pset format unaligned
\pset tuples_only on

-- the sentences about the newest task of a node, with ids that stay the same
CREATE FUNCTION why_of(node text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	l text;
	t record;
BEGIN
	FOR l IN SELECT sopflow.why(x.task_id) FROM (SELECT * FROM sopflow.tasks x
		WHERE x.subject_id = 'why flow subject' AND x.node_id = node ORDER BY x.task_id DESC LIMIT 1) x
	LOOP
		FOR t IN SELECT x.task_id, x.run_id, x.sop_id FROM sopflow.tasks x WHERE x.subject_id = 'why flow subject' LOOP
			l := regexp_replace(l, '([Tt]ask )' || t.task_id || '\M', '\1r:' || (t.task_id & 65535));
			l := regexp_replace(l, '(\m[Rr]un |"run_id": )' || t.run_id || '\M', '\1r', 'g');
		END LOOP;
		RETURN NEXT l;
	END LOOP;
END $$;

INSERT INTO sopflow.calendar (calendar, opens, closes) VALUES ('why hours', '09:00', '17:00');
INSERT INTO sopflow.action (action) VALUES ('WHY_MAIL');
BEGIN;
INSERT INTO sopflow.sop (sop_id) VALUES ('why child');
INSERT INTO sopflow.sop_node (sop_id, node_id, delay) VALUES ('why child', 'inner', '5 h');
INSERT INTO sopflow.sop (sop_id, trigger_event, delay_from, calendar) VALUES ('why flow', 'WHY_FLOW', 'previous', 'why hours');
INSERT INTO sopflow.sop_node (sop_id, node_id, type, delay, action, next, otherwise, condition, wait_event, sop_ref, on_failure) VALUES
	('why flow', 'gold', 'condition', '1 h', NULL, 'mail', 'reply', 'event.plan = ''gold''', NULL, NULL, 'stop'),
	('why flow', 'mail', 'delay', '5 h', 'WHY_MAIL', 'reply', NULL, NULL, NULL, NULL, 'continue'),
	('why flow', 'reply', 'wait', '3 days', NULL, 'fork', 'over', NULL, 'WHY_REPLY', NULL, 'stop'),
	('why flow', 'fork', 'delay', '0', NULL, NULL, 'over', NULL, NULL, NULL, 'stop'),
	('why flow', 'sub', 'sop', '0', NULL, 'join', NULL, NULL, NULL, 'why child', 'stop'),
	('why flow', 'short', 'delay', '1 h', NULL, 'join', NULL, NULL, NULL, NULL, 'stop'),
	('why flow', 'join', 'condition', '0', NULL, NULL, 'over', NULL, NULL, NULL, 'stop'),
	('why flow', 'for ever', 'wait', '0', NULL, 'over', NULL, NULL, 'WHY_NEVER', NULL, 'stop'),
	('why flow', 'over', 'end', '0', NULL, NULL, NULL, NULL, NULL, NULL, 'stop');
INSERT INTO sopflow.sop_link (sop_id, from_node, to_node, condition) VALUES
	('why flow', 'fork', 'sub', NULL), ('why flow', 'fork', 'short', 'event.plan <> ''silver'''),
	('why flow', 'join', 'over', 'false'), ('why flow', 'join', 'for ever', 'event.plan = ''gold''');
COMMIT;

SELECT sopflow.emit('WHY_FLOW', 'why flow subject', '{"plan": "gold"}');
SELECT * FROM why_of('gold');
SET sopflow.clock = '2030-01-01 13:00:00+00';
SELECT sopflow.run_due();
SELECT * FROM why_of('gold');
-- moved by the calendar to the next morning
SELECT * FROM why_of('mail');
SET sopflow.clock = '2030-01-02 09:00:00+00';
SELECT sopflow.run_due();
SELECT sopflow.ack(task_id, lease_token) FROM sopflow.fetch('{WHY_MAIL}');
SELECT * FROM why_of('reply');
SET sopflow.clock = '2030-01-03 00:00:00+00';
SELECT sopflow.emit('WHY_REPLY', 'why flow subject', '{"text": "yes"}');
SELECT * FROM why_of('reply');
SELECT * FROM why_of('fork');
SELECT sopflow.run_due();
SELECT * FROM why_of('sub');
SELECT * FROM why_of('inner');
SET sopflow.clock = '2030-01-03 01:00:00+00';
SELECT sopflow.run_due();
-- at the join
SELECT * FROM why_of('join');
SELECT sopflow.diagram('why flow', counts => true);
SET sopflow.clock = '2030-01-03 05:00:00+00';
SELECT sopflow.run_due();
SELECT * FROM why_of('sub');
SELECT * FROM why_of('join');
SELECT * FROM why_of('for ever');
SELECT sopflow.cancel(subject_id => 'why flow subject');
SELECT * FROM why_of('for ever');

-- the way through a time-out
SELECT sopflow.emit('WHY_FLOW', 'why flow subject');
SET sopflow.clock = '2030-01-03 06:00:00+00';
SELECT sopflow.run_due();
SET sopflow.clock = '2030-01-06 06:00:00+00';
SELECT * FROM why_of('reply');
SELECT sopflow.run_due();
SELECT * FROM why_of('reply');

DELETE FROM sopflow.sop WHERE sop_id IN ('why flow');
DELETE FROM sopflow.sop WHERE sop_id IN ('why child');
DELETE FROM sopflow.action WHERE action = 'WHY_MAIL';
DELETE FROM sopflow.calendar WHERE calendar = 'why hours';
DROP FUNCTION why_of;
