-- What of a row becomes the event: key, context, time, condition, of all types.
\pset format unaligned
\pset tuples_only on
\pset null null
SET timezone = 'Europe/Berlin';
SET datestyle = 'ISO';
SET intervalstyle = 'postgres';
SET sopflow.clock = '2030-01-07 10:00:00+00';
BEGIN;
INSERT INTO sopflow.sop (sop_id, trigger_event, reentry) VALUES ('wv', 'WV', 'allow');
INSERT INTO sopflow.sop_node (sop_id, node_id, delay) VALUES ('wv', 'n1', '1h');
INSERT INTO sopflow.sop (sop_id, trigger_event, reentry) VALUES ('wv2', 'WV2', 'allow');
INSERT INTO sopflow.sop_node (sop_id, node_id, delay) VALUES ('wv2', 'n1', '1h');
COMMIT;

\echo --- keys
CREATE DOMAIN wv_key AS text;
CREATE TYPE wv_enum AS ENUM ('x', 'y');
CREATE TABLE wv_keys (b bigint, i int, u uuid, t text, n numeric, d wv_key, c char(4), v varchar, e wv_enum, g bigint GENERATED ALWAYS AS (b * 2) STORED, id bigint GENERATED ALWAYS AS IDENTITY);
CREATE FUNCTION wv_by(key name) RETURNS text LANGUAGE plpgsql AS $$
DECLARE s text;
BEGIN
	PERFORM sopflow.watch('wv_keys', 'WV', key);
	INSERT INTO wv_keys VALUES (9007199254740993, 42, 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', 'Zoë "Ü" 客户', 1.50, 'dom', 'ab', 'v  ', 'y');
	SELECT string_agg('<' || subject_id || '>', ',') INTO s FROM sopflow.runs WHERE sop_id = 'wv' AND state = 'active';
	PERFORM sopflow.cancel(sop_id => 'wv');
	RETURN key || ' ' || s;
END $$;
SELECT wv_by(k) FROM unnest('{b,i,u,t,n,d,c,v,e,g,id}'::name[]) k;
-- a subject is the same by whichever way it comes
SELECT sopflow.watch('wv_keys', 'WV', 'b');
INSERT INTO wv_keys (b) VALUES (7);
SELECT sopflow.emit('WV', 7), sopflow.emit('WV', '7');
SELECT count(*) FROM sopflow.runs WHERE sop_id = 'wv' AND subject_id = '7' AND state = 'active';
SELECT sopflow.cancel('7', 'wv');
-- null starts nothing and is counted; empty and very long are errors
SELECT sopflow.reset_stats();
INSERT INTO wv_keys (b) VALUES (NULL), (8), (NULL);
SELECT subject_id FROM sopflow.runs WHERE sop_id = 'wv' AND state = 'active';
SELECT name, value FROM sopflow.stats WHERE name IN ('events', 'events_null_subject') ORDER BY name;
SELECT sopflow.watch('wv_keys', 'WV', 't');
INSERT INTO wv_keys (t) VALUES ('');
\echo :LAST_ERROR_SQLSTATE
INSERT INTO wv_keys (t) VALUES (repeat('x', 1001));
\echo :LAST_ERROR_SQLSTATE
INSERT INTO wv_keys (t) VALUES (repeat('x', 1000)), (repeat(U&'\5ba2', 333));
SELECT length(subject_id), octet_length(subject_id) FROM sopflow.runs WHERE sop_id = 'wv' AND state = 'active' AND length(subject_id) > 10 ORDER BY 1;
SELECT sopflow.cancel(repeat(U&'\5ba2', 333));

\echo --- keys of one value are one subject, whatever the settings of the session
SELECT sopflow.cancel(sop_id => 'wv');
CREATE TABLE wv_forms (d date, ts timestamp, tz timestamptz, f float8, iv interval, y bytea, r daterange);
CREATE FUNCTION wv_forms(key name) RETURNS text LANGUAGE plpgsql AS $$
DECLARE s text;
BEGIN
	PERFORM sopflow.watch('wv_forms', 'WV', key);
	SET LOCAL datestyle = 'ISO, MDY';
	INSERT INTO wv_forms VALUES ('2030-02-03', '2030-02-03 04:05', '2030-02-03 04:05+00', 0.1::float8 + 0.2, '1 day 02:00', '\xdead', '[2030-02-03,2030-02-05)');
	SET LOCAL datestyle = 'SQL, DMY';
	SET LOCAL timezone = 'Asia/Tokyo';
	SET LOCAL extra_float_digits = 0;
	SET LOCAL intervalstyle = 'iso_8601';
	SET LOCAL bytea_output = 'escape';
	INSERT INTO wv_forms TABLE wv_forms;
	SELECT string_agg(DISTINCT '<' || subject_id || '>', ',') INTO s FROM sopflow.runs WHERE sop_id = 'wv' AND state = 'active';
	PERFORM sopflow.cancel(sop_id => 'wv');
	DELETE FROM wv_forms;
	RETURN key || ' ' || s || ' ' || current_setting('datestyle');
END $$;
SELECT wv_forms(k) FROM unnest('{d,ts,tz,f,iv,y,r}'::name[]) k;
-- and a condition means the same in all sessions
SET datestyle = 'SQL, DMY';
SELECT sopflow.watch('wv_forms', 'WV', 'd', condition => $$d = '02/03/2030'$$);
INSERT INTO wv_forms (d) VALUES ('2030-02-03');
SET datestyle = 'ISO';
INSERT INTO wv_forms (d) VALUES ('2030-02-03'), ('2030-03-02');
SELECT subject_id FROM sopflow.runs WHERE sop_id = 'wv' AND state = 'active';
SELECT sopflow.cancel(sop_id => 'wv');
DROP FUNCTION wv_forms;
SET client_min_messages = error;
DROP TABLE wv_forms;
RESET client_min_messages;

\echo --- context
CREATE TABLE wv_context (id bigint, t text, i int, b bigint, n numeric, f float8, o bool, d date, ts timestamp, tz timestamptz,
	iv interval, u uuid, j json, jb jsonb, a int[], ta text[], e wv_enum, y bytea, r int4range, k wv_keys, "Odd ""name" text);
SELECT sopflow.watch('wv_context', 'WV', 'id', array(SELECT attname FROM pg_attribute WHERE attrelid = 'wv_context'::regclass AND attnum > 1 ORDER BY attnum));
INSERT INTO wv_context VALUES (1, 'Ü "q" \ 客户', -1, 9007199254740993, 1.50, 'NaN', true, '2030-01-02', '2030-01-02 03:04', '2030-01-02 03:04+00',
	'1 day', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', '{"b": 1, "a": [1, null]}', '{"b": 1, "a": {}}', '{1,NULL,3}', '{{a,b},{c,d}}', 'x', '\xdead', '[1,5)', NULL, 'odd'),
	(2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	(3, '', 0, 0, 'NaN', '-0', false, 'infinity', '-infinity', NULL, '0', NULL, 'null', 'null', '{}', '{}', 'y', '', 'empty', ROW(1, 2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)::wv_keys, NULL);
SELECT subject_id, jsonb_pretty(context) FROM sopflow.runs WHERE sop_id = 'wv' AND state = 'active' AND subject_id IN ('1', '2', '3') ORDER BY run_id;
-- big ones, stored out of line
INSERT INTO wv_context (id, t) SELECT 4, string_agg(md5(i::text), '') FROM generate_series(1, 3000) i;
SELECT r.context->>'t' = w.t, length(w.t) FROM sopflow.runs r JOIN wv_context w ON r.subject_id = w.id::text WHERE w.id = 4 AND r.sop_id = 'wv';
-- no context: {}
SELECT sopflow.watch('wv_context', 'WV', 'id');
INSERT INTO wv_context (id, t) VALUES (5, 'x');
SELECT context FROM sopflow.runs WHERE sop_id = 'wv' AND subject_id = '5';
SELECT sopflow.cancel(sop_id => 'wv') > 0;

\echo --- time
CREATE DOMAIN wv_moment AS timestamp;
CREATE TABLE wv_time (id bigint, tz timestamptz, ts timestamp, d date, m wv_moment);
CREATE VIEW wv_at AS SELECT subject_id, event_at, due_at FROM sopflow.runs JOIN sopflow.tasks USING (run_id, subject_id, sop_id) WHERE sop_id = 'wv' AND state = 'active' ORDER BY run_id;
SELECT sopflow.watch('wv_time', 'WV', 'id', time_column => 'tz');
INSERT INTO wv_time (id, tz) VALUES (1, '2029-12-31 23:00+00'), (2, NULL);
SELECT sopflow.watch('wv_time', 'WV', 'id', time_column => 'ts');
INSERT INTO wv_time (id, ts) VALUES (3, '2030-01-01 12:00'), (4, '2030-07-01 12:00');
SELECT sopflow.watch('wv_time', 'WV', 'id', time_column => 'd');
INSERT INTO wv_time (id, d) VALUES (5, '2030-01-01'), (6, '2030-07-01');
SELECT sopflow.watch('wv_time', 'WV', 'id', time_column => 'm');
INSERT INTO wv_time (id, m) VALUES (7, '2030-01-01 12:00');
SELECT * FROM wv_at;
INSERT INTO wv_time (id, m) VALUES (8, 'infinity');
\echo :LAST_ERROR_SQLSTATE
SELECT sopflow.watch('wv_time', 'WV', 'id', time_column => 'd');
INSERT INTO wv_time (id, d) VALUES (8, '-infinity');
SELECT sopflow.watch('wv_time', 'WV', 'id', time_column => 'tz');
-- the due time does not fit
INSERT INTO wv_time (id, tz) VALUES (8, '294276-12-31 23:30+00');
\echo :LAST_ERROR_SQLSTATE
SELECT count(*) FROM wv_time WHERE id = 8;
-- without a time column: the transaction's, one for all rows
SELECT sopflow.watch('wv_time', 'WV', 'id');
RESET sopflow.clock;
BEGIN;
INSERT INTO wv_time VALUES (9);
INSERT INTO wv_time VALUES (10);
SELECT count(*), count(DISTINCT event_at), bool_and(event_at = now()) FROM sopflow.runs WHERE subject_id IN ('9', '10') AND sop_id = 'wv';
ROLLBACK;
SET sopflow.clock = '2030-01-07 10:00:00+00';
SELECT sopflow.cancel(sop_id => 'wv') > 0;

\echo --- conditions
CREATE TABLE wv_cond (id bigint, n int, t text);
SELECT sopflow.watch('wv_cond', 'WV', 'id', condition => '10 / n > 2 and t <> ''x''');
INSERT INTO wv_cond VALUES (1, 1, 'a'), (2, 5, 'a'), (3, NULL, 'a'), (4, 1, NULL), (5, 1, 'x');
SELECT subject_id FROM sopflow.runs WHERE sop_id = 'wv' AND state = 'active';
-- an error in it fails the INSERT, all of it
INSERT INTO wv_cond VALUES (6, 1, 'a'), (7, 0, 'a');
\echo :LAST_ERROR_SQLSTATE
SELECT count(*) FROM wv_cond WHERE id > 5;
SELECT count(*) FROM sopflow.runs WHERE sop_id = 'wv' AND subject_id IN ('6', '7') AND state = 'active';
-- stable functions, settings, qualified names, casts
SELECT sopflow.watch('wv_cond', 'WV', 'id', condition => 'wv_cond.t::date > ''2030-01-01''::date and current_user is not null');
INSERT INTO wv_cond VALUES (8, 1, '2030-01-02'), (9, 1, '2029-01-02');
SELECT subject_id FROM sopflow.runs WHERE sop_id = 'wv' AND state = 'active' ORDER BY run_id;
-- null and false constants; true
SELECT sopflow.watch('wv_cond', 'WV', 'id', condition => 'null');
INSERT INTO wv_cond VALUES (10);
SELECT sopflow.watch('wv_cond', 'WV', 'id', condition => 'true');
INSERT INTO wv_cond VALUES (11);
SELECT subject_id FROM sopflow.runs WHERE sop_id = 'wv' AND state = 'active' ORDER BY run_id;
-- a function that is replaced is used anew
CREATE FUNCTION wv_f(int) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT $1 = 1';
SELECT sopflow.watch('wv_cond', 'WV', 'id', condition => 'wv_f(n)');
INSERT INTO wv_cond VALUES (12, 1), (13, 2);
CREATE OR REPLACE FUNCTION wv_f(int) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT $1 = 2';
INSERT INTO wv_cond VALUES (14, 1), (15, 2);
SELECT subject_id FROM sopflow.runs WHERE sop_id = 'wv' AND state = 'active' AND subject_id IN ('12', '13', '14', '15') ORDER BY run_id;
-- one that is gone: the INSERT says so
DROP FUNCTION wv_f;
INSERT INTO wv_cond VALUES (16, 1);
SELECT sopflow.watch('wv_cond', 'WV', 'id', condition => 'n > 0');

\echo --- two watches on one table, changed and taken back
SELECT sopflow.cancel(sop_id => 'wv') > 0;
SELECT sopflow.watch('wv_cond', 'WV2', 'n', '{t}', 'n > 1');
INSERT INTO wv_cond VALUES (20, 1, 'a'), (21, 2, 'b'), (22, -1, 'c');
SELECT sop_id, subject_id, context FROM sopflow.runs WHERE sop_id IN ('wv', 'wv2') AND state = 'active' ORDER BY run_id;
SELECT count(*) FROM pg_trigger WHERE tgrelid = 'wv_cond'::regclass;
-- called again, it changes the watch
SELECT sopflow.watch('wv_cond', 'WV2', 'id', '{}', 'n < 0');
INSERT INTO wv_cond VALUES (23, -2, 'd');
SELECT sop_id, subject_id, context FROM sopflow.runs WHERE sop_id = 'wv2' AND state = 'active' ORDER BY run_id;
SELECT sopflow.unwatch('wv_cond', 'WV'), sopflow.unwatch('wv_cond', 'WV');
INSERT INTO wv_cond VALUES (24, 3, 'e'), (25, -3, 'f');
SELECT sop_id, subject_id FROM sopflow.runs WHERE sop_id IN ('wv', 'wv2') AND state = 'active' ORDER BY run_id;
SELECT sopflow.unwatch('wv_cond', 'WV2');
SELECT count(*) FROM pg_trigger WHERE tgrelid = 'wv_cond'::regclass;
INSERT INTO wv_cond VALUES (26, -3, 'f');
-- watched and inserted in one transaction, and rolled back
BEGIN;
SELECT sopflow.watch('wv_cond', 'WV', 'id');
INSERT INTO wv_cond VALUES (27);
SAVEPOINT s;
SELECT sopflow.unwatch('wv_cond', 'WV');
INSERT INTO wv_cond VALUES (28);
ROLLBACK TO s;
INSERT INTO wv_cond VALUES (29);
SELECT subject_id FROM sopflow.runs WHERE sop_id = 'wv' AND subject_id > '26' AND state = 'active' ORDER BY run_id;
ROLLBACK;
INSERT INTO wv_cond VALUES (30);
SELECT subject_id FROM sopflow.runs WHERE sop_id = 'wv' AND subject_id > '26' AND state = 'active' ORDER BY run_id;

SELECT sopflow.cancel(sop_id => 'wv') > 0, sopflow.cancel(sop_id => 'wv2') > 0;
DELETE FROM sopflow.sop WHERE sop_id IN ('wv', 'wv2');
DROP VIEW wv_at;
SET client_min_messages = error;
DROP TABLE wv_keys, wv_context, wv_time, wv_cond;
DROP FUNCTION wv_by;
DROP TYPE wv_enum;
DROP DOMAIN wv_key, wv_moment;
