-- A temporary table of whoever is connected does not stand for the table that
-- a handler, a watch's condition or a rule of somebody else means.
SET client_min_messages = error;
CREATE TABLE listed (id int);
INSERT INTO listed VALUES (1);
CREATE FUNCTION is_listed(id int) RETURNS bool LANGUAGE plpgsql STABLE AS $$
	BEGIN RETURN EXISTS (SELECT FROM listed l WHERE l.id = is_listed.id); END $$;
CREATE FUNCTION tell(work sopflow.work) RETURNS jsonb LANGUAGE plpgsql AS $$
	BEGIN RETURN jsonb_build_object('listed', is_listed(work.subject_id::int)); END $$;
CREATE TABLE arrivals (id int);
SELECT sopflow.watch('arrivals', 'RT_ARRIVED', 'id', condition => 'is_listed(id)');
BEGIN;
INSERT INTO sopflow.action (action, delivery, handler) VALUES ('RT_TELL', 'call', 'tell');
INSERT INTO sopflow.sop (sop_id, trigger_event) VALUES ('rt', 'RT_ARRIVED');
INSERT INTO sopflow.sop_node (sop_id, node_id, action) VALUES ('rt', 'n', 'RT_TELL');
INSERT INTO sopflow.rule_set (rule_set) VALUES ('rt');
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('rt', 'id', 'int');
INSERT INTO sopflow.rule (rule_set, rule, condition, actions) VALUES ('rt', 'r', 'is_listed(id)', '[]');
COMMIT;

CREATE TEMPORARY TABLE listed (id int);
INSERT INTO pg_temp.listed VALUES (2);
INSERT INTO arrivals VALUES (1), (2);
SELECT subject_id FROM sopflow.runs WHERE sop_id = 'rt' ORDER BY 1;
SELECT sopflow.run_due() > 0 AS carried_out;
SELECT subject_id, status, result FROM sopflow.tasks WHERE sop_id = 'rt' ORDER BY 1;
SELECT id, fired FROM generate_series(1, 2) id, sopflow.fire_rows('rt', id);

SELECT sopflow.unwatch('arrivals', 'RT_ARRIVED');
DROP TABLE pg_temp.listed;
DELETE FROM sopflow.sop WHERE sop_id = 'rt';
DELETE FROM sopflow.rule_set WHERE rule_set = 'rt';
DELETE FROM sopflow.action WHERE action = 'RT_TELL';
DROP TABLE arrivals, listed;
DROP FUNCTION is_listed, tell;
