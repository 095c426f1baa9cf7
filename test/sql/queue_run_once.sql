-- Two tasks of one run are never offered or leased at once: the second is held
-- until the first has ended.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS sopflow CASCADE;
CREATE EXTENSION sopflow;
RESET client_min_messages;
SET datestyle = 'ISO';
SET timezone = 'UTC';
INSERT INTO sopflow.action (action, jitter, backoff_base) VALUES ('MAIL', 0, '1 min'), ('PHONE', 0, '1 min');
BEGIN;
INSERT INTO sopflow.sop (sop_id, reentry) VALUES ('three', 'allow');
INSERT INTO sopflow.sop_node (sop_id, node_id, delay, action)
	VALUES ('three', 'a', '1h', 'MAIL'), ('three', 'b', '2h', 'PHONE'), ('three', 'c', '3h', 'MAIL');
COMMIT;
CREATE VIEW shown AS
	SELECT run_id, node_id, action, status, held_by, due_at, attempt FROM sopflow.tasks ORDER BY task_id;
SET sopflow.clock = '2030-01-07 09:00+00';
SELECT sopflow.start('three', 1) AS first, sopflow.start('three', 2) AS second;

-- All due at once: the earliest is offered, in each run.
SET sopflow.clock = '2030-01-07 12:00+00';
SELECT sopflow.run_due();
SELECT * FROM shown;
SELECT sopflow.run_due();
CREATE TEMP TABLE work AS SELECT * FROM sopflow.fetch('{MAIL,PHONE}');
SELECT run_id, node_id FROM work ORDER BY 1;
SELECT run_id, node_id FROM sopflow.fetch('{MAIL,PHONE}');
-- acknowledged, the next one goes; failed, too, while the first waits for its retry
SELECT run_id, sopflow.ack(task_id, lease_token) FROM work WHERE run_id = 1;
SELECT run_id, sopflow.nack(task_id, lease_token, 'no') FROM work WHERE run_id = 2;
SELECT * FROM shown;
TRUNCATE work;
INSERT INTO work SELECT * FROM sopflow.fetch('{MAIL,PHONE}');
SELECT run_id, node_id FROM work ORDER BY 1;
SELECT * FROM shown;
-- the retry comes due meanwhile and is held as well
SET sopflow.clock = '2030-01-07 12:01+00';
SELECT sopflow.run_due();
-- that pass took back the leases, which ended: the rest goes by due time
SELECT * FROM shown;
SET sopflow.clock = '2030-01-07 12:02+00';
TRUNCATE work;
CREATE FUNCTION drain(OUT run_id bigint, OUT node_id text) RETURNS SETOF record LANGUAGE plpgsql AS $$
DECLARE
	w sopflow.work;
BEGIN
	LOOP
		SELECT * INTO w FROM sopflow.fetch('{MAIL,PHONE}', 1);
		EXIT WHEN w.task_id IS NULL;
		PERFORM sopflow.ack(w.task_id, w.lease_token);
		run_id := w.run_id;
		node_id := w.node_id;
		RETURN NEXT;
	END LOOP;
END
$$;
SELECT * FROM drain();
SELECT run_id, state, ended_at FROM sopflow.runs ORDER BY run_id;

-- What ends otherwise lets the next one go too: rescheduled, or dead with
-- on_failure = 'continue'.
UPDATE sopflow.sop_node SET on_failure = 'continue';
SET sopflow.clock = '2030-02-04 09:00+00';
SELECT sopflow.start('three', 3) AS run \gset
SET sopflow.clock = '2030-02-04 12:00+00';
SELECT sopflow.run_due();
SELECT sopflow.reschedule(:run * 65536, '2030-02-05 00:00+00');
SELECT sopflow.run_due();
SELECT node_id, status, held_by FROM shown WHERE run_id = :run;
SELECT sopflow.nack(task_id, lease_token, 'no', retry => false) FROM sopflow.fetch('{PHONE}');
SELECT sopflow.run_due();
SELECT node_id, status, held_by FROM shown WHERE run_id = :run;
SELECT sopflow.cancel(run_id => :run);

-- A pause takes back the offer that others of its run wait for.
SET sopflow.clock = '2030-03-04 09:00+00';
SELECT sopflow.start('three', 4) AS run \gset
SET sopflow.clock = '2030-03-04 12:00+00';
SELECT sopflow.run_due();
SELECT node_id, status, held_by FROM shown WHERE run_id = :run;
SELECT sopflow.pause_action('MAIL');
SELECT node_id, status, held_by FROM shown WHERE run_id = :run;
SELECT sopflow.run_due();
SELECT node_id, status, held_by FROM shown WHERE run_id = :run;
SELECT * FROM drain();
SELECT sopflow.resume_action('MAIL');
SELECT * FROM drain();
SELECT state FROM sopflow.runs WHERE run_id = :run;
-- and one that is let go into a pause lets the next one go
SET sopflow.clock = '2030-04-01 09:00+00';
SELECT sopflow.start('three', 5) AS run \gset
SET sopflow.clock = '2030-04-01 12:00+00';
SELECT sopflow.run_due();
SELECT sopflow.pause_action('PHONE');
SELECT node_id, status, held_by FROM shown WHERE run_id = :run;
SELECT * FROM drain();
SELECT node_id, status, held_by FROM shown WHERE run_id = :run;
SELECT sopflow.resume_action('PHONE');
SELECT * FROM drain();
SELECT state FROM sopflow.runs WHERE run_id = :run;
DROP VIEW shown;
DROP FUNCTION drain;
DROP TABLE work;
