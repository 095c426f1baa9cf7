-- fetch: in the order of due times over several actions, each task once, with
-- the lease that was asked for; and what it refuses.
SET client_min_messages = warning;
DROP EXTENSION IF EXISTS sopflow CASCADE;
CREATE EXTENSION sopflow;
RESET client_min_messages;
SET datestyle = 'ISO';
SET timezone = 'UTC';
SET client_min_messages = warning;
DROP ROLE IF EXISTS regress_consumer;
RESET client_min_messages;
CREATE ROLE regress_consumer;
INSERT INTO sopflow.action (action, lease) VALUES ('MAIL', '60s'), ('PHONE', '5 min'), ('FAX', '60s');
INSERT INTO sopflow.action (action, delivery) VALUES ('SHOUT', 'broadcast');
BEGIN;
INSERT INTO sopflow.sop (sop_id, reentry) VALUES ('mail', 'allow'), ('phone', 'allow'), ('fax', 'allow'), ('shout', 'allow');
INSERT INTO sopflow.sop_node (sop_id, node_id, delay, action, params)
	VALUES ('mail', 'a', '1h', 'MAIL', '{"to": "you"}'), ('phone', 'a', '1h', 'PHONE', '{}'), ('fax', 'a', '1h', 'FAX', '{}'),
		('shout', 'a', '1h', 'SHOUT', '{}');
COMMIT;
SET sopflow.clock = '2030-01-07 12:00+00';
-- subject n's event was at 9:00 and n minutes; not in that order
SELECT count(sopflow.start(CASE n % 2 WHEN 0 THEN 'mail' ELSE 'phone' END, n, jsonb_build_object('n', n),
	'2030-01-07 09:00+00'::timestamptz + n * interval '1 min')) FROM unnest(ARRAY[5, 2, 8, 1, 7, 4, 6, 3]) n;
SELECT sopflow.start('fax', 1, occurred_at => '2030-01-07 08:00+00') AS fax, sopflow.start('shout', 1, occurred_at => '2030-01-07 08:00+00') AS shout;

-- Without a worker, fetch takes up what is due by itself, but sends nothing and
-- calls nothing.
CREATE VIEW counts AS SELECT action, status, count(*) FROM sopflow.tasks GROUP BY 1, 2;
SELECT * FROM counts ORDER BY action;
SELECT lease_token > 0 AS leased, run_id, sop_id, node_id, subject_id, action, params, context, attempt, due_at, lease_until
FROM sopflow.fetch('{MAIL,PHONE,MAIL}', 3);
SELECT * FROM counts ORDER BY action, status;
-- an interval of one's own
SELECT subject_id, action, lease_until FROM sopflow.fetch('{PHONE,MAIL}', 2, '1 hour 1 second');
-- one action, then what is left; nothing twice
SELECT subject_id, action, lease_until FROM sopflow.fetch('{MAIL}');
SELECT subject_id, action, lease_until FROM sopflow.fetch('{PHONE,MAIL}', max_tasks => 100);
SELECT * FROM sopflow.fetch('{PHONE,MAIL}');
SELECT * FROM sopflow.fetch('{}');
SELECT * FROM counts ORDER BY action, status;
SELECT count(DISTINCT lease_token), min(lease_token) > 0 AS positive FROM sopflow.offer WHERE lease_token <> 0;
SELECT sopflow.run_due();
SELECT * FROM counts WHERE action IN ('SHOUT', 'FAX');

-- A fetch that is rolled back, to a savepoint or as a whole, took nothing.
BEGIN;
SAVEPOINT s;
SELECT subject_id, attempt FROM sopflow.fetch('{FAX}');
ROLLBACK TO s;
SELECT subject_id, attempt FROM sopflow.fetch('{FAX}');
SELECT subject_id, attempt FROM sopflow.fetch('{FAX}');
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) FROM sopflow.tasks;
SELECT subject_id, attempt FROM sopflow.fetch('{FAX}');
COMMIT;
SELECT subject_id, attempt FROM sopflow.fetch('{FAX}');

-- Not due is not there, not even by a microsecond.
SET sopflow.clock = '2030-01-08 09:00+00';
SELECT sopflow.start('mail', 10) AS run \gset
SET sopflow.clock = '2030-01-08 09:59:59.999999+00';
SELECT subject_id FROM sopflow.fetch('{MAIL}') WHERE run_id = :run;
SET sopflow.clock = '2030-01-08 10:00+00';
SELECT subject_id FROM sopflow.fetch('{MAIL}') WHERE run_id = :run;

-- Refusals.
SELECT * FROM sopflow.fetch(NULL);
SELECT * FROM sopflow.fetch('{MAIL,NULL}');
SELECT * FROM sopflow.fetch('{MAIL,NONE}');
SELECT * FROM sopflow.fetch('{MAIL,SHOUT}');
SELECT * FROM sopflow.fetch('{MAIL}', 0);
SELECT * FROM sopflow.fetch('{MAIL}', 100001);
SELECT * FROM sopflow.fetch('{MAIL}', 1, '0');
SELECT * FROM sopflow.fetch('{MAIL}', 1, '-1s');
SELECT * FROM sopflow.fetch('{MAIL}', 1, '213503983 days');
SELECT * FROM sopflow.fetch('{MAIL}', 1, '178000000 years');
SET ROLE regress_consumer;
SELECT * FROM sopflow.fetch('{MAIL}');
RESET ROLE;
GRANT USAGE ON SCHEMA sopflow TO regress_consumer;
GRANT EXECUTE ON FUNCTION sopflow.fetch(text[], int, interval) TO regress_consumer;
SET ROLE regress_consumer;
SELECT * FROM sopflow.fetch('{MAIL}');
RESET ROLE;
SELECT sopflow.grant_consumer('PHONE', 'regress_consumer');
SET ROLE regress_consumer;
SELECT * FROM sopflow.fetch('{PHONE}', 1) WHERE false;
SELECT * FROM sopflow.fetch('{PHONE,MAIL}');
RESET ROLE;
-- The SQLSTATEs.
\set VERBOSITY sqlstate
SELECT * FROM sopflow.fetch(NULL);
SELECT * FROM sopflow.fetch('{NULL}');
SELECT * FROM sopflow.fetch('{NONE}');
SELECT * FROM sopflow.fetch('{SHOUT}');
SELECT * FROM sopflow.fetch('{MAIL}', -1);
SELECT * FROM sopflow.fetch('{MAIL}', 1, '-1s');
SET ROLE regress_consumer;
SELECT * FROM sopflow.fetch('{MAIL}');
RESET ROLE;
BEGIN READ ONLY;
SELECT * FROM sopflow.fetch('{MAIL}');
ROLLBACK;
\set VERBOSITY default
DROP VIEW counts;
DROP OWNED BY regress_consumer;
DROP ROLE regress_consumer;
