-- Every way by which rows come into a watched table is an event, once: plain,
-- partitioned and inherited tables, and tables that become one or the other.
\pset format unaligned
\pset tuples_only on
SET sopflow.clock = '2030-01-07 10:00:00+00';
CREATE FUNCTION wf_form(rel regclass) RETURNS text LANGUAGE sql AS $$
	SELECT coalesce((SELECT CASE WHEN t.tgtype & 1 = 1 THEN 'row' ELSE 'statement' END || CASE WHEN t.tgparentid <> 0 THEN ' of its parent' ELSE '' END
		FROM pg_trigger t WHERE t.tgrelid = rel AND t.tgfoid = 'sopflow.intake'::regproc), 'none') $$;
-- subjects since the last look
CREATE TABLE wf_seen (run_id bigint);
CREATE FUNCTION wf_new() RETURNS text LANGUAGE sql AS $$
	WITH n AS (INSERT INTO wf_seen SELECT run_id FROM sopflow.runs WHERE sop_id = 'wf' AND run_id NOT IN (SELECT run_id FROM wf_seen) RETURNING run_id)
	SELECT string_agg(r.subject_id || coalesce(' ' || (r.context->>'name'), ''), ', ' ORDER BY r.run_id) FROM sopflow.runs r JOIN n USING (run_id) $$;
BEGIN;
INSERT INTO sopflow.sop (sop_id, trigger_event, reentry) VALUES ('wf', 'WF', 'allow');
INSERT INTO sopflow.sop_node (sop_id, node_id, delay) VALUES ('wf', 'n1', '1h');
COMMIT;

\echo --- plain
CREATE TABLE wf_plain (id int PRIMARY KEY, name text);
SELECT sopflow.watch('wf_plain', 'WF', 'id', '{name}');
SELECT wf_form('wf_plain');
INSERT INTO wf_plain VALUES (3, 'c'), (1, 'a'), (2, 'b');
SELECT wf_new();
INSERT INTO wf_plain SELECT i, 's' FROM generate_series(4, 5) i;
COPY wf_plain FROM stdin;
6	copy
7	copy
\.
INSERT INTO wf_plain VALUES (1, 'conflict'), (8, 'new') ON CONFLICT DO NOTHING;
INSERT INTO wf_plain VALUES (1, 'updated'), (9, 'upsert') ON CONFLICT (id) DO UPDATE SET name = excluded.name;
SELECT wf_new();
MERGE INTO wf_plain w USING (VALUES (1, 'merged'), (10, 'merged')) v(id, name) ON w.id = v.id
	WHEN MATCHED THEN UPDATE SET name = v.name WHEN NOT MATCHED THEN INSERT VALUES (v.id, v.name);
WITH i AS (INSERT INTO wf_plain VALUES (11, 'cte') RETURNING id) INSERT INTO wf_plain SELECT id + 1, 'cte2' FROM i;
PREPARE wf_insert AS INSERT INTO wf_plain VALUES ($1, 'prepared');
EXECUTE wf_insert(13);
EXECUTE wf_insert(14);
DO $$ BEGIN FOR i IN 15..16 LOOP INSERT INTO wf_plain VALUES (i, 'loop'); END LOOP; END $$;
SELECT wf_new();
-- not: updates, deletes, no rows, rows refused, what is rolled back
UPDATE wf_plain SET id = id + 100 WHERE id = 16;
DELETE FROM wf_plain WHERE id = 116;
INSERT INTO wf_plain SELECT 1, 'x' WHERE false;
INSERT INTO wf_plain VALUES (17, 'x'), (1, 'duplicate');
BEGIN;
INSERT INTO wf_plain VALUES (18, 'rolled back');
SELECT wf_new();
ROLLBACK;
BEGIN;
INSERT INTO wf_plain VALUES (19, 'kept');
SAVEPOINT s;
INSERT INTO wf_plain VALUES (20, 'taken back');
ROLLBACK TO s;
INSERT INTO wf_plain VALUES (21, 'kept');
SAVEPOINT s2;
INSERT INTO wf_plain VALUES (22, 'kept');
RELEASE s2;
COMMIT;
SELECT wf_new();
SELECT count(*) FROM sopflow.tasks WHERE subject_id IN ('18', '20') AND sop_id = 'wf';
-- a BEFORE trigger that changes or drops rows comes first; a foreign key after does not matter
CREATE FUNCTION wf_before() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
	IF NEW.name = 'drop' THEN RETURN NULL; END IF; NEW.name := upper(NEW.name); RETURN NEW; END $$;
CREATE TRIGGER b BEFORE INSERT ON wf_plain FOR EACH ROW EXECUTE FUNCTION wf_before();
INSERT INTO wf_plain VALUES (23, 'drop'), (24, 'upper');
SELECT wf_new();
-- a trigger that inserts into the table itself
CREATE FUNCTION wf_again() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
	IF NEW.id < 27 THEN INSERT INTO wf_plain VALUES (NEW.id + 1, 'again'); END IF; RETURN NULL; END $$;
CREATE TRIGGER a AFTER INSERT ON wf_plain FOR EACH ROW EXECUTE FUNCTION wf_again();
INSERT INTO wf_plain VALUES (25, 'first');
SELECT wf_new();
-- replication role replica: other triggers do not fire, nor this one, unless asked for
SET session_replication_role = replica;
INSERT INTO wf_plain VALUES (30, 'replica');
SELECT wf_new();
RESET session_replication_role;
SELECT sopflow.watch('wf_plain', 'WF', 'id', '{name}', on_replica => true);
SET session_replication_role = replica;
INSERT INTO wf_plain VALUES (31, 'replica');
RESET session_replication_role;
SELECT wf_new();

\echo --- partitioned, columns in another order, two levels
CREATE TABLE wf_parts (id int, kind text, name text) PARTITION BY LIST (kind);
CREATE TABLE wf_parts_a PARTITION OF wf_parts FOR VALUES IN ('a');
CREATE TABLE wf_parts_b (gone int, name text, kind text, id int);
ALTER TABLE wf_parts_b DROP COLUMN gone;
ALTER TABLE wf_parts ATTACH PARTITION wf_parts_b FOR VALUES IN ('b');
CREATE TABLE wf_parts_c (name text, kind text, id int) PARTITION BY RANGE (id);
CREATE TABLE wf_parts_c1 (id int, name text, kind text);
ALTER TABLE wf_parts_c ATTACH PARTITION wf_parts_c1 FOR VALUES FROM (0) TO (1000);
SELECT sopflow.watch('wf_parts', 'WF', 'id', '{name}', 'wf_parts.name <> ''no''');
ALTER TABLE wf_parts ATTACH PARTITION wf_parts_c FOR VALUES IN ('c');
SELECT wf_form('wf_parts'), wf_form('wf_parts_a'), wf_form('wf_parts_b'), wf_form('wf_parts_c1');
INSERT INTO wf_parts VALUES (1, 'a', 'one'), (2, 'b', 'two'), (3, 'c', 'three'), (4, 'b', 'no');
SELECT wf_new();
INSERT INTO wf_parts_a VALUES (5, 'a', 'direct');
INSERT INTO wf_parts_b (id, kind, name) VALUES (6, 'b', 'direct'), (7, 'b', 'no');
INSERT INTO wf_parts_c1 (id, kind, name) VALUES (8, 'c', 'direct');
SELECT wf_new();
COPY wf_parts FROM stdin;
9	a	copy
10	b	copy
11	c	copy
\.
COPY wf_parts_b (id, kind, name) FROM stdin;
12	b	copied into it
\.
SELECT wf_new();
-- a partition that comes later
CREATE TABLE wf_parts_d PARTITION OF wf_parts FOR VALUES IN ('d');
INSERT INTO wf_parts VALUES (13, 'd', 'later');
SELECT wf_new();
-- renamed columns, in the parent
ALTER TABLE wf_parts RENAME COLUMN id TO client_id;
ALTER TABLE wf_parts RENAME COLUMN name TO title;
SELECT subject_key, context, condition FROM sopflow.watched WHERE relation = 'wf_parts'::regclass;
INSERT INTO wf_parts VALUES (14, 'b', 'renamed'), (15, 'c', 'no');
SELECT subject_id, context FROM sopflow.runs WHERE sop_id = 'wf' ORDER BY run_id DESC LIMIT 1;
SELECT wf_new();
-- detached, it is not watched any more; dropped without a word
ALTER TABLE wf_parts DETACH PARTITION wf_parts_a;
SELECT wf_form('wf_parts_a');
INSERT INTO wf_parts_a VALUES (16, 'a', 'detached');
SELECT wf_new();
DROP TABLE wf_parts_d;

\echo --- a watched table that becomes a partition, and one no more
CREATE TABLE wf_child (id int, name text);
CREATE TABLE wf_parent (id int, name text) PARTITION BY RANGE (id);
SELECT sopflow.watch('wf_child', 'WF', 'id', '{name}');
SELECT wf_form('wf_child');
ALTER TABLE wf_parent ATTACH PARTITION wf_child FOR VALUES FROM (0) TO (100);
SELECT wf_form('wf_child'), wf_form('wf_parent');
INSERT INTO wf_parent VALUES (1, 'through the parent');
INSERT INTO wf_child VALUES (2, 'direct');
SELECT wf_new();
ALTER TABLE wf_parent DETACH PARTITION wf_child;
SELECT wf_form('wf_child');
INSERT INTO wf_child VALUES (3, 'by itself');
SELECT wf_new();
-- parent and child both
SELECT sopflow.watch('wf_parent', 'WF', 'id', '{name}');
ALTER TABLE wf_parent ATTACH PARTITION wf_child FOR VALUES FROM (0) TO (100);
SELECT sopflow.unwatch('wf_child', 'WF');
ALTER TABLE wf_parent ATTACH PARTITION wf_child FOR VALUES FROM (0) TO (100);
SELECT wf_form('wf_child');
INSERT INTO wf_child VALUES (4, 'of the parent');
SELECT wf_new();
SELECT sopflow.watch('wf_child', 'WF', 'id');
SELECT sopflow.unwatch('wf_child', 'WF');
SELECT sopflow.unwatch('wf_parent', 'WF');
SELECT wf_form('wf_child'), wf_form('wf_parent');

\echo --- inheritance
CREATE TABLE wf_top (id int, name text);
SELECT sopflow.watch('wf_top', 'WF', 'id', '{name}');
SELECT wf_form('wf_top');
CREATE TABLE wf_mid (more int) INHERITS (wf_top);
SELECT wf_form('wf_top'), wf_form('wf_mid');
INSERT INTO wf_top VALUES (1, 'top');
-- a child is a table of its own, to be watched by itself
INSERT INTO wf_mid VALUES (2, 'mid');
SELECT wf_new();
CREATE TABLE wf_low () INHERITS (wf_mid);
SELECT sopflow.watch('wf_low', 'WF', 'id', '{name}', 'name like ''l%''');
SELECT wf_form('wf_low');
INSERT INTO wf_low VALUES (3, 'low'), (4, 'not');
SELECT wf_new();
-- a column renamed two levels up
ALTER TABLE wf_top RENAME COLUMN id TO key;
ALTER TABLE wf_top RENAME COLUMN name TO title;
SELECT relation, subject_key, context, condition FROM sopflow.watched WHERE event = 'WF' AND relation IN ('wf_top'::regclass, 'wf_low'::regclass) ORDER BY 1;
INSERT INTO wf_low VALUES (5, 'low again'), (6, 'not');
INSERT INTO wf_top VALUES (7, 'top again');
SELECT subject_id, context FROM sopflow.runs WHERE sop_id = 'wf' ORDER BY run_id DESC LIMIT 2;
ALTER TABLE wf_low NO INHERIT wf_mid;
SELECT wf_form('wf_low');
INSERT INTO wf_low VALUES (8, 'low alone');
SELECT count(*) FROM sopflow.runs WHERE sop_id = 'wf' AND subject_id = '8' AND context->>'title' = 'low alone';

SELECT sopflow.cancel(sop_id => 'wf') > 0;
DELETE FROM sopflow.sop WHERE sop_id = 'wf';
SET client_min_messages = error;
DROP TABLE wf_plain, wf_parts, wf_parts_a, wf_parent, wf_top, wf_mid, wf_low, wf_seen CASCADE;
DROP FUNCTION wf_form, wf_new, wf_before, wf_again;
