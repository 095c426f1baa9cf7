-- call: a handler may use sopflow itself, also on the run that it works for.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS sopflow CASCADE;
CREATE EXTENSION sopflow;
RESET client_min_messages;
SET datestyle = 'ISO';
SET timezone = 'UTC';
CREATE FUNCTION handle(w sopflow.work) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	n bigint;
BEGIN
	CASE w.params->>'do'
		WHEN 'nothing' THEN n := 0;
		WHEN 'cancel_own' THEN n := sopflow.cancel(run_id => w.run_id);
		WHEN 'cancel_subject' THEN n := sopflow.cancel(subject_id => w.subject_id);
		WHEN 'cancel_and_fail' THEN
			n := sopflow.cancel(subject_id => w.subject_id);
			RAISE EXCEPTION 'failed after it cancelled %', n;
		WHEN 'exit_own' THEN n := sopflow.emit('BOUGHT', w.subject_id);
		WHEN 'restart_own' THEN n := sopflow.emit('AGAIN', w.subject_id);
		WHEN 'start_other' THEN n := sopflow.emit('OTHER', w.subject_id);
		WHEN 'reschedule_next' THEN
			n := sopflow.reschedule(w.task_id + 1, '2030-06-01 00:00+00')::int;
		WHEN 'pause_own' THEN
			PERFORM sopflow.pause(w.sop_id);
		WHEN 'run_due' THEN n := sopflow.run_due();
	END CASE;
	RETURN jsonb_build_object('n', n);
END
$$;
INSERT INTO sopflow.action (action, delivery, handler, max_attempts, jitter, backoff_base)
	VALUES ('HANDLE', 'call', 'handle', 2, 0, '1 min');
CREATE FUNCTION define(name text, VARIADIC what text[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO sopflow.sop (sop_id) VALUES (name);
	INSERT INTO sopflow.sop_node (sop_id, node_id, action, params)
		SELECT name, ord || ' ' || w, 'HANDLE', jsonb_build_object('do', w) FROM unnest(what) WITH ORDINALITY u(w, ord);
END
$$;
CREATE VIEW shown AS
	SELECT sop_id, run_id, node_id, status, due_at, attempt, last_error, result FROM sopflow.tasks;
SET sopflow.clock = '2030-01-07 09:00+00';

-- It ends its own run, in each of the three ways: its task is done, the others
-- of the run are cancelled, other runs of the batch are as ever.
SELECT define('cancels', 'nothing', 'cancel_own', 'nothing');
SELECT define('exits', 'nothing', 'exit_own', 'nothing');
SELECT define('restarts', 'nothing', 'restart_own', 'nothing');
SELECT define('other', 'nothing', 'nothing');
UPDATE sopflow.sop SET exit_events = '{BOUGHT}' WHERE sop_id = 'exits';
UPDATE sopflow.sop SET reentry = 'restart', trigger_event = 'AGAIN' WHERE sop_id = 'restarts';
-- the second run is due later, so that there is an end to it
UPDATE sopflow.sop_node SET delay = '1h' WHERE sop_id = 'restarts';
SELECT sopflow.start('cancels', 1) AS cancels, sopflow.start('exits', 1) AS exits,
	sopflow.start('restarts', 1, occurred_at => '2030-01-07 08:00+00') AS restarts, sopflow.start('other', 1) AS other;
SELECT sopflow.run_due();
SELECT run_id, sop_id, node_id, status, attempt, last_error, result FROM shown ORDER BY run_id, node_id;
SELECT run_id, sop_id, state, reason FROM sopflow.runs ORDER BY run_id;
SELECT sopflow.cancel('1');

-- It ends all runs of its subject, one of which has tasks later in this batch.
SELECT define('ends_all', 'cancel_subject', 'nothing');
SELECT define('behind', 'nothing', 'nothing');
SELECT sopflow.start('ends_all', 2) AS ends_all, sopflow.start('behind', 2) AS behind,
	sopflow.start('behind', 3) AS another \gset
SELECT sopflow.run_due();
SELECT sop_id, run_id = :another AS another, node_id, status, last_error, result FROM shown WHERE run_id >= :ends_all ORDER BY run_id, node_id;
SELECT sop_id, run_id = :another AS another, state, reason FROM sopflow.runs WHERE run_id >= :ends_all ORDER BY run_id;

-- A failed handler has cancelled nothing.
SELECT define('fails', 'cancel_and_fail', 'nothing');
SELECT sopflow.start('fails', 4) AS fails \gset
SELECT sopflow.run_due();
SELECT node_id, status, attempt, last_error, result FROM shown WHERE run_id = :fails ORDER BY node_id;
SELECT state, reason FROM sopflow.runs WHERE run_id = :fails;
SELECT sopflow.cancel('4');

-- It starts other runs, moves tasks, pauses its own SOP.
SELECT define('also', 'nothing');
UPDATE sopflow.sop SET trigger_event = 'OTHER' WHERE sop_id = 'also';
SELECT define('starts', 'start_other');
SELECT define('moves', 'reschedule_next', 'nothing');
UPDATE sopflow.sop_node SET delay = '1h' WHERE sop_id = 'moves' AND node_id = '2 nothing';
SELECT define('pauses', 'pause_own', 'nothing');
UPDATE sopflow.sop_node SET delay = '1h' WHERE sop_id = 'pauses' AND node_id = '2 nothing';
SELECT sopflow.start('starts', 5) AS first, sopflow.start('moves', 5), sopflow.start('pauses', 5) \gset
SELECT sopflow.run_due();
SET sopflow.clock = '2030-01-07 10:00+00';
SELECT sopflow.run_due();
SELECT sop_id, node_id, status, due_at, result FROM shown WHERE run_id >= :first ORDER BY sop_id, node_id;
SELECT sop_id, held_by FROM sopflow.tasks WHERE held_by IS NOT NULL;
SELECT sopflow.resume('pauses');
SELECT sopflow.cancel('5');

-- It dispatches: what is taken up already is not taken up again.
SELECT define('dispatches', 'nothing', 'run_due', 'nothing');
SELECT sopflow.start('dispatches', 6) AS run \gset
SELECT sopflow.run_due();
SELECT node_id, status, attempt, result FROM shown WHERE run_id = :run ORDER BY node_id;
SELECT state FROM sopflow.runs WHERE run_id = :run;
DROP VIEW shown;
DROP FUNCTION handle, define;
