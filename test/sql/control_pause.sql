-- Pauses: due times stay, what comes due is held and says by what, what was
-- offered is taken back, a lease runs on; then everything goes on.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS sopflow CASCADE;
CREATE EXTENSION sopflow;
RESET client_min_messages;
SET datestyle = 'ISO';
SET timezone = 'UTC';
CREATE FUNCTION handle(sopflow.work) RETURNS jsonb LANGUAGE sql AS $$ SELECT '{}'::jsonb $$;
INSERT INTO sopflow.action (action, delivery, handler, jitter)
	VALUES ('MAIL', 'queue', NULL, 0), ('SHOUT', 'broadcast', NULL, 0), ('CALL', 'call', 'handle', 0);
BEGIN;
INSERT INTO sopflow.sop (sop_id, trigger_event, reentry)
	VALUES ('mail', 'E', 'allow'), ('shout', 'E', 'allow'), ('call', 'E', 'allow'), ('plain', 'E', 'allow');
INSERT INTO sopflow.sop_node (sop_id, node_id, action, delay)
	VALUES ('mail', 'a', 'MAIL', '1h'), ('shout', 'a', 'SHOUT', '1h'), ('call', 'a', 'CALL', '1h'), ('plain', 'a', NULL, '1h');
COMMIT;
CREATE VIEW shown AS
	SELECT sop_id, subject_id, status, held_by, due_at, attempt, lease_until FROM sopflow.tasks ORDER BY task_id;
CREATE VIEW waiting AS
	SELECT (SELECT count(*) FROM sopflow.task) AS task, (SELECT count(*) FROM sopflow.held) AS held, (SELECT count(*) FROM sopflow.offer) AS offer;

-- SOPs: new events still start runs; what is due is held, whatever its delivery,
-- and costs the next pass nothing.
SET sopflow.clock = '2030-01-07 09:00+00';
SELECT sopflow.pause(sop_id) FROM sopflow.sop ORDER BY sop_id;
SELECT sopflow.pause('mail');
SELECT sopflow.emit('E', 1);
SET sopflow.clock = '2030-01-07 10:00+00';
SELECT sopflow.run_due();
SELECT * FROM shown;
SELECT * FROM waiting;
SELECT sopflow.run_due();
SELECT * FROM sopflow.fetch('{MAIL}');
SELECT sopflow.resume('shout'), sopflow.resume('call');
SELECT * FROM waiting;
SELECT sopflow.run_due();
SELECT sopflow.resume('mail'), sopflow.resume('plain'), sopflow.resume('plain');
SELECT sopflow.run_due();
SELECT * FROM shown;
-- ready: taken back; leased: stays, can be acknowledged or fail
SELECT count(sopflow.start('mail', i, occurred_at => '2030-01-07 09:00+00')) FROM generate_series(2, 3) i;
CREATE TEMP TABLE work AS SELECT * FROM sopflow.fetch('{MAIL}', 2);
SELECT subject_id FROM work;
SELECT sopflow.pause('mail');
SELECT * FROM shown WHERE sop_id = 'mail';
SELECT * FROM sopflow.fetch('{MAIL}');
SELECT subject_id, CASE subject_id WHEN '1' THEN sopflow.ack(task_id, lease_token) ELSE sopflow.nack(task_id, lease_token, 'no', '0') END
FROM work;
SELECT sopflow.run_due();
SELECT * FROM shown WHERE sop_id = 'mail';
SELECT sopflow.resume('mail');
SELECT subject_id, attempt, sopflow.ack(task_id, lease_token) FROM sopflow.fetch('{MAIL}');

-- Actions: the same, for all SOPs that use them; and enabled = false.
TRUNCATE work;
SELECT sopflow.emit('E', 4), sopflow.emit('E', 5) WHERE set_config('sopflow.clock', '2030-02-04 09:00+00', false) <> '';
SET sopflow.clock = '2030-02-04 10:00+00';
INSERT INTO work SELECT * FROM sopflow.fetch('{MAIL}', 1);
SELECT sopflow.pause_action('MAIL'), sopflow.pause_action('SHOUT'), sopflow.pause_action('CALL');
SELECT sopflow.run_due();
SELECT sop_id, status, held_by, due_at, attempt FROM shown WHERE subject_id IN ('4', '5');
SELECT * FROM sopflow.fetch('{MAIL}');
SELECT sopflow.ack(task_id, lease_token) FROM work;
SELECT sopflow.resume_action('MAIL'), sopflow.resume_action('SHOUT'), sopflow.resume_action('CALL');
SELECT sopflow.run_due();
SELECT sop_id, status, held_by, attempt FROM shown WHERE subject_id IN ('4', '5');
UPDATE sopflow.action SET enabled = false;
SELECT sop_id, status, held_by FROM shown WHERE sop_id = 'mail' AND subject_id = '5';
SELECT * FROM sopflow.fetch('{MAIL}');
SELECT sopflow.emit('E', 6, occurred_at => '2030-02-04 09:00+00');
SELECT sopflow.run_due();
SELECT sop_id, status, held_by FROM shown WHERE subject_id = '6';
-- both hold: one of them is not enough to let go
SELECT sopflow.pause_action('MAIL');
UPDATE sopflow.action SET enabled = true;
SELECT sopflow.run_due();
SELECT sop_id, status, held_by FROM shown WHERE subject_id IN ('5', '6');
SELECT sopflow.pause('mail');
SELECT sopflow.resume_action('MAIL');
SELECT sopflow.run_due();
SELECT sop_id, subject_id, status, held_by FROM shown WHERE held_by IS NOT NULL;
SELECT sopflow.resume('mail');
SELECT subject_id, attempt, due_at, sopflow.ack(task_id, lease_token) FROM sopflow.fetch('{MAIL}');
SELECT * FROM waiting;
SELECT state, count(*) FROM sopflow.runs GROUP BY state;
-- a pause that is rolled back held nothing
SELECT sopflow.start('mail', 7, occurred_at => '2030-02-04 09:00+00') > 0 AS started;
SELECT sopflow.run_due();
BEGIN;
SELECT sopflow.pause_action('MAIL');
SELECT status, held_by FROM shown WHERE subject_id = '7';
ROLLBACK;
SELECT status, held_by FROM shown WHERE subject_id = '7';
-- a held run can be cancelled
SELECT sopflow.pause_action('MAIL');
SELECT sopflow.cancel('7');
SELECT sopflow.resume_action('MAIL');
SELECT status, held_by FROM shown WHERE subject_id = '7';

SELECT sopflow.pause('none');
SELECT sopflow.resume('none');
SELECT sopflow.pause_action('none');
SELECT sopflow.resume_action('none');
\set VERBOSITY sqlstate
SELECT sopflow.pause('none');
SELECT sopflow.pause_action('none');
SELECT sopflow.pause(NULL);
SELECT sopflow.resume_action(NULL);
\set VERBOSITY default
DROP VIEW shown, waiting;
DROP TABLE work;
DROP FUNCTION handle CASCADE;
