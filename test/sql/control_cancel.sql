-- cancel and exit events: they end runs with all their tasks, wherever these
-- are; a later acknowledgement is refused.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS sopflow CASCADE;
CREATE EXTENSION sopflow;
RESET client_min_messages;
SET datestyle = 'ISO';
SET timezone = 'UTC';
INSERT INTO sopflow.action (action, jitter) VALUES ('MAIL', 0), ('PHONE', 0);
BEGIN;
INSERT INTO sopflow.sop (sop_id, reentry, trigger_event, exit_events)
	VALUES ('one', 'allow', NULL, '{BOUGHT,LEFT}'), ('two', 'allow', 'JOINED', '{LEFT}'), ('three', 'ignore', 'LEFT', '{LEFT}');
INSERT INTO sopflow.sop_node (sop_id, node_id, action, delay) VALUES ('one', 'a', 'MAIL', '1h'), ('one', 'b', 'PHONE', '1h'),
	('one', 'c', 'MAIL', '2h'), ('two', 'a', 'PHONE', '1h'), ('three', 'a', NULL, '1h');
COMMIT;
CREATE VIEW shown AS
	SELECT sop_id, subject_id, node_id, status, held_by, attempt, last_error, finished_at FROM sopflow.tasks ORDER BY task_id;
CREATE VIEW runs AS SELECT sop_id, subject_id, state, ended_at, reason FROM sopflow.runs ORDER BY run_id;

-- Something must be given.
SELECT sopflow.cancel();
\set VERBOSITY sqlstate
SELECT sopflow.cancel(NULL, NULL, NULL);
\set VERBOSITY default
-- By subject, SOP, run, and all that is given together.
SET sopflow.clock = '2030-01-07 09:00+00';
SELECT sopflow.start('one', 'x') AS xone, sopflow.start('two', 'x') AS xtwo, sopflow.start('one', 'y') AS yone,
	sopflow.start('two', 'y') AS ytwo, sopflow.start('two', 'y') AS yagain \gset
SELECT sopflow.cancel('z'), sopflow.cancel(sop_id => 'none'), sopflow.cancel(run_id => 77), sopflow.cancel(run_id => 0),
	sopflow.cancel(run_id => -1), sopflow.cancel(''), sopflow.cancel('x', 'two', :xone), sopflow.cancel('y', run_id => :xone);
SELECT state, count(*) FROM runs GROUP BY state;
SELECT sopflow.cancel('x', 'one');
SELECT sopflow.cancel(run_id => :ytwo);
SELECT * FROM runs;
SELECT sopflow.cancel(sop_id => 'two');
SELECT sopflow.cancel(subject_id => 'y');
SELECT sopflow.cancel(subject_id => 'y');
SELECT * FROM shown;
SELECT state, reason, count(*) FROM runs GROUP BY 1, 2;
SELECT sopflow.run_due();

-- Pending, held, ready, leased, waiting for a retry.
SET sopflow.clock = '2030-02-04 09:00+00';
SELECT sopflow.start('one', 'ready') > 0, sopflow.start('one', 'leased') > 0, sopflow.start('one', 'retried') > 0 AS started;
SET sopflow.clock = '2030-02-04 10:00+00';
SELECT sopflow.run_due();
CREATE TEMP TABLE work AS SELECT * FROM sopflow.fetch('{MAIL}') WHERE subject_id <> 'none';
SELECT subject_id, sopflow.nack(task_id, lease_token, 'busy', '10 min') FROM work WHERE subject_id IN ('retried', 'ready') ORDER BY 1;
SELECT sopflow.run_due();
SELECT subject_id, node_id, status, held_by, attempt FROM shown WHERE subject_id IN ('ready', 'leased', 'retried');
SELECT sopflow.cancel('ready'), sopflow.cancel('leased'), sopflow.cancel('retried');
SELECT subject_id, node_id, status, attempt, last_error, finished_at FROM shown WHERE subject_id IN ('ready', 'leased', 'retried');
SELECT sopflow.ack(task_id, lease_token), sopflow.nack(task_id, lease_token, 'late'), sopflow.extend(task_id, lease_token, '1h')
FROM work WHERE subject_id = 'leased';
SELECT * FROM sopflow.fetch('{MAIL,PHONE}');
SELECT subject_id, node_id, status FROM shown WHERE subject_id = 'leased';
-- a rolled-back cancel never was
SELECT sopflow.start('one', 'kept') > 0 AS started;
BEGIN;
SELECT sopflow.cancel('kept');
ROLLBACK;
SELECT status, count(*) FROM shown WHERE subject_id = 'kept' GROUP BY status;
SELECT sopflow.cancel('kept');
-- dead tasks stay dead, and so does what is done
UPDATE sopflow.sop_node SET on_failure = 'continue' WHERE sop_id = 'one';
SET sopflow.clock = '2030-03-04 09:00+00';
SELECT sopflow.start('one', 'dead') > 0 AS started;
SET sopflow.clock = '2030-03-04 10:00+00';
SELECT sopflow.nack(task_id, lease_token, 'no', retry => false) FROM sopflow.fetch('{MAIL}');
SELECT sopflow.ack(task_id, lease_token) FROM sopflow.fetch('{PHONE}');
SELECT sopflow.cancel('dead');
SELECT node_id, status FROM shown WHERE subject_id = 'dead';
SELECT state, reason FROM runs WHERE subject_id = 'dead';

-- Exit events: of the subject alone, of the SOPs that name the event alone.
SET sopflow.clock = '2030-04-01 09:00+00';
SELECT sopflow.start('one', 'p') > 0, sopflow.start('two', 'p') > 0, sopflow.start('one', 'q') > 0 AS started;
SET sopflow.clock = '2030-04-01 10:00+00';
TRUNCATE work;
INSERT INTO work SELECT * FROM sopflow.fetch('{MAIL}', 1);
SELECT subject_id FROM work;
SELECT sopflow.emit('BOUGHT', 'p');
SELECT sopflow.ack(task_id, lease_token) FROM work;
SELECT sop_id, subject_id, node_id, status FROM shown WHERE subject_id IN ('p', 'q');
SELECT * FROM runs WHERE subject_id IN ('p', 'q');
SELECT sopflow.emit('BOUGHT', 'p'), sopflow.emit('UNHEARD', 'p');
-- an event that ends and starts an SOP at once: first it ends
SELECT sopflow.emit('LEFT', 'q');
SELECT sopflow.emit('LEFT', 'q');
SELECT * FROM runs WHERE subject_id = 'q';
-- a run goes by the exit events of its version, the next one by the new ones
SELECT sopflow.start('one', 'r') > 0 AS started;
UPDATE sopflow.sop SET exit_events = '{WON}' WHERE sop_id = 'one';
SELECT sopflow.start('one', 'r') > 0 AS started;
SELECT sopflow.emit('WON', 'r');
SELECT state, reason FROM runs WHERE subject_id = 'r';
SELECT sopflow.emit('BOUGHT', 'r');
SELECT state, reason FROM runs WHERE subject_id = 'r';
-- the exit events of an SOP that is disabled hold for its runs
SELECT sopflow.start('one', 's') > 0 AS started;
UPDATE sopflow.sop SET enabled = false WHERE sop_id = 'one';
SELECT sopflow.emit('WON', 's');
DROP VIEW shown, runs;
DROP TABLE work;
