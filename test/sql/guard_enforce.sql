-- A guarded table is held to its rules on every path that a row can take into
-- it, whoever writes; and the ways round that are meant to be there.
\pset format unaligned
\pset tuples_only on
\pset null null
CREATE ROLE ge_rules;
CREATE ROLE ge_clerk;
CREATE SCHEMA ge;
SET search_path = ge, public;
CREATE TABLE reps (rep_id int PRIMARY KEY, name text, frozen bool NOT NULL DEFAULT false);
INSERT INTO reps VALUES (1, 'Ada', false), (2, 'Bo', false), (3, 'Cy', true);
CREATE TABLE leads (id int PRIMARY KEY, gone text, owner_id int, status text DEFAULT 'public', amount numeric, note text);
ALTER TABLE leads DROP COLUMN gone;
GRANT USAGE ON SCHEMA ge TO ge_rules, ge_clerk;
GRANT SELECT ON reps TO ge_rules;
GRANT SELECT, UPDATE ON leads TO ge_clerk;

BEGIN;
INSERT INTO sopflow.rule_set (rule_set, owner) VALUES ('leads', 'ge_rules');
INSERT INTO sopflow.rule_fact (rule_set, fact, type, query) VALUES ('leads', 'new', 'leads', NULL), ('leads', 'old', 'leads', NULL),
	('leads', 'rep', 'reps', 'select r from reps r where r.rep_id = new.owner_id');
INSERT INTO sopflow.rule (rule_set, rule, priority, condition, actions) VALUES
	('leads', 'tidy', 1, 'new.note <> trim(new.note)', '[{"set":{"new.note":"trim(new.note)"}}]'),
	('leads', 'held', 2, 'new.owner_id is not null and new.status = ''public''', '[{"set":{"new.status":"''held''"}}]'),
	('leads', 'negative', 3, 'new.amount < 0', '[{"deny":"amount {{new.amount}} of lead {{new.id}} is negative","code":"AMOUNT"}]'),
	('leads', 'frozen', 4, 'rep.frozen', '[{"deny":"{{rep.name}} is frozen","code":"FROZEN"}]'),
	('leads', 'taken', 5, 'old.owner_id <> new.owner_id', '[{"deny":"lead {{old.id}} belongs to {{old.owner_id}}","code":"OWNER"}]'),
	('leads', 'won', 6, 'old.status = ''won'' and new.id is null', '[{"deny":"lead {{old.id}} is won and stays","code":"WON"}]');
COMMIT;
SELECT sopflow.guard('leads', 'leads');

\echo --- INSERT
INSERT INTO leads VALUES (1, NULL, 'public', 10, ' a '), (2, 1, 'public', 20, 'b') RETURNING *;
INSERT INTO leads (id, amount) VALUES (3, 1), (4, -1), (5, 1);
\echo :LAST_ERROR_SQLSTATE
INSERT INTO leads (id, owner_id) SELECT i, 3 FROM generate_series(3, 5) i;
INSERT INTO leads (id, amount, status) SELECT i, i, 'won' FROM generate_series(3, 5) i;
TABLE leads ORDER BY id;
-- what a program is told
CREATE FUNCTION try(sql text) RETURNS TABLE (state text, message text, detail text, rule text, tab text) LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE sql;
	RETURN QUERY SELECT 'passed', NULL, NULL, NULL, NULL;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS state := RETURNED_SQLSTATE, message := MESSAGE_TEXT, detail := PG_EXCEPTION_DETAIL,
		rule := CONSTRAINT_NAME, tab := TABLE_NAME;
	RETURN NEXT;
END $$;
SELECT * FROM try('INSERT INTO leads (id, amount) VALUES (9, -9)');
SELECT state FROM try('INSERT INTO leads (id, amount) VALUES (9, 9)');
SELECT state, rule FROM try('DELETE FROM leads WHERE id = 9');
-- what the last one said stays in memory, and nothing of those before
SELECT DISTINCT t.state FROM generate_series(1, 1000) i, try(format('INSERT INTO leads (id, amount) VALUES (9, -%s)', i)) t;
SELECT count(*), max(total_bytes) < 10000 FROM pg_backend_memory_contexts WHERE name = 'sopflow denial';

\echo --- UPDATE
UPDATE leads SET owner_id = 1, note = ' c ' WHERE id = 1 RETURNING *;
UPDATE leads SET owner_id = 2 WHERE id = 1;
UPDATE leads SET owner_id = owner_id;
-- in bulk: one row that may not fails all
UPDATE leads SET amount = amount - 10;
SELECT id, amount FROM leads ORDER BY id;
UPDATE leads SET amount = amount + 1 WHERE id > 2;
UPDATE leads l SET owner_id = r.rep_id FROM reps r WHERE r.rep_id = 3 AND l.id = 3;
UPDATE leads SET id = id + 100 WHERE id = 3 RETURNING id;
UPDATE leads SET id = 3 WHERE id = 103;
-- in a savepoint
BEGIN;
UPDATE leads SET note = 'kept' WHERE id = 3;
SAVEPOINT s;
UPDATE leads SET amount = -1 WHERE id = 3;
ROLLBACK TO s;
UPDATE leads SET note = note || ' too ' WHERE id = 3;
COMMIT;
SELECT note || '.' FROM leads WHERE id = 3;
-- prepared, of a CTE, in a function, by a cursor
PREPARE raise_by(int, numeric) AS UPDATE leads SET amount = amount + $2 WHERE id = $1;
EXECUTE raise_by(2, 1);
EXECUTE raise_by(2, -100);
WITH u AS (UPDATE leads SET amount = -5 WHERE id = 2 RETURNING 1) SELECT count(*) FROM u;
DO $$ BEGIN UPDATE ge.leads SET amount = -5 WHERE id = 2; EXCEPTION WHEN SQLSTATE 'SF010' THEN RAISE NOTICE 'caught'; END $$;
BEGIN;
DECLARE c CURSOR FOR SELECT * FROM leads WHERE id = 2 FOR UPDATE;
FETCH c;
UPDATE leads SET amount = -5 WHERE CURRENT OF c;
ROLLBACK;

\echo --- DELETE
DELETE FROM leads WHERE id = 3;
DELETE FROM leads WHERE id = 1;
DELETE FROM leads;
SELECT count(*) FROM leads;

\echo --- INSERT ON CONFLICT: as a new row and as a changed one
INSERT INTO leads (id, amount) VALUES (2, 5) ON CONFLICT (id) DO UPDATE SET amount = excluded.amount;
INSERT INTO leads (id, amount) VALUES (2, 5) ON CONFLICT (id) DO UPDATE SET amount = -excluded.amount;
INSERT INTO leads (id, amount) VALUES (2, -5) ON CONFLICT DO NOTHING;
INSERT INTO leads (id, owner_id, amount) VALUES (2, 2, 5) ON CONFLICT (id) DO UPDATE SET owner_id = excluded.owner_id;
INSERT INTO leads (id, note) VALUES (2, ' x '), (6, ' y ') ON CONFLICT (id) DO UPDATE SET note = excluded.note;
SELECT id, note || '.', amount FROM leads WHERE id IN (2, 6) ORDER BY id;

\echo --- MERGE
MERGE INTO leads l USING (VALUES (2, 7), (7, 7)) v(id, amount) ON l.id = v.id
	WHEN MATCHED THEN UPDATE SET amount = v.amount WHEN NOT MATCHED THEN INSERT (id, amount, note) VALUES (v.id, v.amount, ' z');
MERGE INTO leads l USING (VALUES (2, -7)) v(id, amount) ON l.id = v.id WHEN MATCHED THEN UPDATE SET amount = v.amount;
MERGE INTO leads l USING (VALUES (8, -7)) v(id, amount) ON l.id = v.id WHEN NOT MATCHED THEN INSERT (id, amount) VALUES (v.id, v.amount);
MERGE INTO leads l USING (VALUES (3), (7)) v(id) ON l.id = v.id WHEN MATCHED THEN DELETE;
SELECT id, amount, note FROM leads WHERE id IN (2, 7, 8) ORDER BY id;

\echo --- COPY
COPY leads (id, amount, note) FROM stdin;
8	8	 copied 
9	-8	no
\.
COPY leads (id, amount, note) FROM stdin;
8	8	 copied 
\.
SELECT id, note || '.' FROM leads WHERE id > 7;

\echo --- through a view, with rows that the view shows
CREATE VIEW dear AS SELECT id, owner_id, amount, note FROM leads WHERE amount > 5;
UPDATE dear SET amount = -1 WHERE id = 8;
UPDATE dear SET owner_id = 3 WHERE id = 8;
UPDATE dear SET owner_id = 1, note = 'view ' WHERE id = 8;
INSERT INTO dear (id, amount) VALUES (10, -10);
DELETE FROM dear WHERE id = 8;
SELECT * FROM leads WHERE id IN (8, 10);

\echo --- by a foreign key
CREATE TABLE teams (team_id int PRIMARY KEY);
INSERT INTO teams VALUES (1), (2);
ALTER TABLE leads ADD COLUMN team_id int REFERENCES teams ON DELETE CASCADE;
UPDATE leads SET team_id = 1 WHERE id = 3;
UPDATE leads SET team_id = 2 WHERE id = 6;
DELETE FROM teams WHERE team_id = 1;
DELETE FROM teams WHERE team_id = 2;
SELECT id, team_id FROM leads ORDER BY id;

\echo --- a plain role that may only write the table
SET ROLE ge_clerk;
SELECT has_schema_privilege('sopflow', 'USAGE'), has_table_privilege('ge.reps', 'SELECT');
UPDATE leads SET note = ' clerk ' WHERE id = 3;
UPDATE leads SET owner_id = 3 WHERE id = 3;
UPDATE leads SET amount = -3 WHERE id = 3;
SELECT * FROM sopflow.rule;
SELECT sopflow.unguard('leads', 'leads');
ALTER TABLE leads DISABLE TRIGGER ALL;
CREATE TRIGGER t BEFORE UPDATE ON leads FOR EACH ROW EXECUTE FUNCTION sopflow.enforce('leads');
SET session_replication_role = replica;
RESET ROLE;
SELECT note || '.', owner_id, amount FROM leads WHERE id = 3;
-- the rights that count are the rule set's owner's
REVOKE SELECT ON reps FROM ge_rules;
UPDATE leads SET owner_id = 2 WHERE id = 3;
\echo :LAST_ERROR_SQLSTATE
GRANT SELECT ON reps TO ge_rules;

\echo --- a BEFORE trigger that changes the row comes first
CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.amount := -NEW.amount; RETURN NEW; END $$;
CREATE TRIGGER zz_spoil BEFORE INSERT OR UPDATE ON leads FOR EACH ROW EXECUTE FUNCTION spoil();
UPDATE leads SET amount = 1 WHERE id = 3;
UPDATE leads SET amount = -1 WHERE id = 3;
SELECT amount FROM leads WHERE id = 3;
DROP TRIGGER zz_spoil ON leads;

\echo --- a guard of columns
CREATE TABLE things (id int, status text, j json, note text);
INSERT INTO things VALUES (1, 'a', '{}', 'x'), (2, NULL, NULL, NULL);
BEGIN;
INSERT INTO sopflow.rule_set (rule_set, owner) VALUES ('never', 'ge_rules');
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('never', 'new', 'things'), ('never', 'old', 'things');
INSERT INTO sopflow.rule (rule_set, rule, condition, actions) VALUES
	('never', 'never', 'true', '[{"deny":"{{coalesce(old.status, ''-'')}} to {{coalesce(new.status, ''-'')}}"}]');
COMMIT;
SELECT sopflow.guard('things', 'never', '{status,j}');
UPDATE things SET note = 'y', id = id, status = status, j = j;
UPDATE things SET status = 'b' WHERE id = 1;
UPDATE things SET status = 'b' WHERE id = 2;
UPDATE things SET status = NULL WHERE id = 1;
UPDATE things SET j = '{ }' WHERE id = 1;
INSERT INTO things (id, note) VALUES (3, 'z');
INSERT INTO things (id, status) VALUES (3, 'z');
DELETE FROM things WHERE id = 1;
DELETE FROM things WHERE id = 2;
-- changed by another trigger before
CREATE FUNCTION mark() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.status := 'marked'; RETURN NEW; END $$;
CREATE TRIGGER mark BEFORE UPDATE ON things FOR EACH ROW EXECUTE FUNCTION mark();
UPDATE things SET note = 'w' WHERE id = 1;
DROP TRIGGER mark ON things;
SELECT * FROM things ORDER BY id;
-- a draft fires nothing
UPDATE sopflow.rule_set SET enabled = false WHERE rule_set = 'never';
UPDATE things SET status = 'draft' WHERE id = 1;
UPDATE sopflow.rule_set SET enabled = true WHERE rule_set = 'never';
UPDATE things SET status = 'draft again' WHERE id = 1;

\echo --- ways round: a disabled trigger, replication, TRUNCATE
ALTER TABLE things DISABLE TRIGGER "~sopflow_guard_update_never";
UPDATE things SET status = 'disabled' WHERE id = 1;
ALTER TABLE things ENABLE TRIGGER "~sopflow_guard_update_never";
UPDATE things SET status = 'enabled' WHERE id = 1;
SET session_replication_role = replica;
UPDATE things SET status = 'replica' WHERE id = 1;
RESET session_replication_role;
ALTER TABLE things ENABLE ALWAYS TRIGGER "~sopflow_guard_update_never";
SET session_replication_role = replica;
UPDATE things SET status = 'always' WHERE id = 1;
RESET session_replication_role;
SELECT status FROM things WHERE id = 1;
TRUNCATE things;
SELECT sopflow.unguard('things', 'never');
INSERT INTO things VALUES (1, 'free');

\echo --- the trigger function by hand
CREATE TABLE stray (LIKE leads);
CREATE TRIGGER t BEFORE INSERT OR UPDATE OR DELETE ON stray FOR EACH ROW EXECUTE FUNCTION sopflow.enforce('leads');
INSERT INTO stray (id, amount) VALUES (1, 1);
\echo :LAST_ERROR_SQLSTATE
DROP TRIGGER t ON stray;
CREATE TRIGGER t BEFORE INSERT ON stray FOR EACH ROW EXECUTE FUNCTION sopflow.enforce('nothing');
INSERT INTO stray (id, amount) VALUES (1, 1);
\echo :LAST_ERROR_SQLSTATE
DROP TRIGGER t ON stray;
CREATE TRIGGER t BEFORE INSERT ON stray FOR EACH ROW EXECUTE FUNCTION sopflow.enforce();
INSERT INTO stray (id, amount) VALUES (1, 1);
\echo :LAST_ERROR_SQLSTATE
DROP TRIGGER t ON stray;
CREATE TRIGGER t AFTER INSERT ON stray FOR EACH ROW EXECUTE FUNCTION sopflow.enforce('leads');
INSERT INTO stray (id, amount) VALUES (1, 1);
\echo :LAST_ERROR_SQLSTATE
DROP TRIGGER t ON stray;
CREATE TRIGGER t BEFORE INSERT ON stray FOR EACH STATEMENT EXECUTE FUNCTION sopflow.enforce('leads');
INSERT INTO stray (id, amount) VALUES (1, 1);
\echo :LAST_ERROR_SQLSTATE
-- on a table of the right rows, whose owner could change the rules or could not
CREATE TRIGGER t BEFORE UPDATE ON things FOR EACH ROW EXECUTE FUNCTION sopflow.enforce('never');
UPDATE things SET status = 'by hand';
ALTER TABLE things OWNER TO ge_clerk;
UPDATE things SET status = 'by hand';
\echo :LAST_ERROR_SQLSTATE
SELECT sopflow.enforce();

\echo --- partitions, with columns in other orders
CREATE TABLE parts (id int, kind text, amount int, note text) PARTITION BY LIST (kind);
CREATE TABLE parts_a PARTITION OF parts FOR VALUES IN ('a');
CREATE TABLE parts_b (note text, gone int, amount int, kind text, id int) PARTITION BY RANGE (id);
ALTER TABLE parts_b DROP COLUMN gone;
ALTER TABLE parts ATTACH PARTITION parts_b FOR VALUES IN ('b');
CREATE TABLE parts_b1 (gone int, kind text, amount int, id int, note text);
ALTER TABLE parts_b1 DROP COLUMN gone;
ALTER TABLE parts_b ATTACH PARTITION parts_b1 FOR VALUES FROM (0) TO (100);
BEGIN;
INSERT INTO sopflow.rule_set (rule_set, owner) VALUES ('parts', 'ge_rules');
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('parts', 'new', 'parts'), ('parts', 'old', 'parts');
INSERT INTO sopflow.rule (rule_set, rule, priority, condition, actions) VALUES
	('parts', 'tidy', 1, 'new.note <> trim(new.note)', '[{"set":{"new.note":"trim(new.note)"}}]'),
	('parts', 'negative', 2, 'new.amount < 0', '[{"deny":"amount {{new.amount}} of {{new.kind}} {{new.id}} is negative"}]'),
	('parts', 'less', 3, 'new.amount < old.amount', '[{"deny":"{{new.kind}} {{new.id}}: {{old.amount}} to {{new.amount}}"}]'),
	('parts', 'locked', 4, 'old.note = ''locked'' and new.id is null', '[{"deny":"{{old.kind}} {{old.id}} is locked"}]');
COMMIT;
SELECT sopflow.guard('parts', 'parts');
INSERT INTO parts VALUES (1, 'a', 1, ' a '), (2, 'b', 2, ' b ') RETURNING *;
INSERT INTO parts VALUES (3, 'b', -3, '');
INSERT INTO parts_b1 (id, kind, amount, note) VALUES (3, 'b', 3, 'direct ');
INSERT INTO parts_b1 (id, kind, amount) VALUES (4, 'b', -4);
COPY parts FROM stdin;
5	b	-5	copied
\.
COPY parts_b (id, kind, amount, note) FROM stdin;
5	b	5	copied 
\.
UPDATE parts SET amount = amount - 1 WHERE id = 2;
UPDATE parts_b1 SET amount = amount - 1 WHERE id = 3;
UPDATE parts SET amount = amount + 1, note = note || ' ';
SELECT tableoid::regclass, id, kind, amount, note || '.' FROM parts ORDER BY id;
-- moved from one to the other, and changed on the way
UPDATE parts SET kind = 'b', note = ' moved ' WHERE id = 1;
UPDATE parts SET kind = 'a', amount = 0 WHERE id = 1;
UPDATE parts SET kind = 'a', amount = amount + 1 WHERE id IN (1, 2);
SELECT tableoid::regclass, id, kind, amount, note || '.' FROM parts ORDER BY id;
-- a row that moves is deleted there, for triggers
UPDATE parts SET note = 'locked' WHERE id = 2;
DELETE FROM parts WHERE id = 2;
UPDATE parts SET kind = 'b' WHERE id = 2;
MERGE INTO parts p USING (VALUES (1, 'b')) v(id, kind) ON p.id = v.id WHEN MATCHED THEN UPDATE SET kind = v.kind, amount = -1;
-- attached later, detached
CREATE TABLE parts_c (note text, amount int, kind text, id int);
ALTER TABLE parts ATTACH PARTITION parts_c FOR VALUES IN ('c');
INSERT INTO parts VALUES (6, 'c', -6, NULL);
INSERT INTO parts_c (id, kind, amount, note) VALUES (6, 'c', 6, ' c');
-- a partition whose columns have moved since this session last wrote to it
ALTER TABLE parts DETACH PARTITION parts_c;
ALTER TABLE parts_c DROP COLUMN amount, DROP COLUMN note, ADD COLUMN amount int, ADD COLUMN note text;
ALTER TABLE parts ATTACH PARTITION parts_c FOR VALUES IN ('c');
INSERT INTO parts VALUES (9, 'c', -9, NULL);
INSERT INTO parts VALUES (9, 'c', 9, ' moved columns ') RETURNING note || '.';
UPDATE parts_c SET amount = 8 WHERE id = 9;
ALTER TABLE parts DETACH PARTITION parts_a;
INSERT INTO parts_a VALUES (7, 'a', -7, 'detached ');
SELECT id, amount, note || '.' FROM parts_a ORDER BY id;
-- a partition by itself
SELECT sopflow.unguard('parts', 'parts');
SELECT sopflow.guard('parts_b1', 'parts');
INSERT INTO parts VALUES (8, 'b', -8, NULL);
INSERT INTO parts VALUES (8, 'c', -8, NULL);

\echo --- inheritance: each table by itself
CREATE TABLE top (id int, amount int);
CREATE TABLE sub (more text) INHERITS (top);
BEGIN;
INSERT INTO sopflow.rule_set (rule_set, owner) VALUES ('tops', 'ge_rules');
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('tops', 'new', 'top');
INSERT INTO sopflow.rule (rule_set, rule, condition, actions) VALUES
	('tops', 'negative', 'new.amount < 0', '[{"deny":"{{new.id}} is negative"}]');
COMMIT;
SELECT sopflow.guard('top', 'tops');
INSERT INTO sub VALUES (1, -1, 'x');
INSERT INTO top VALUES (1, -1);
SELECT sopflow.guard('sub', 'tops');
INSERT INTO sub VALUES (2, -2, 'x');
INSERT INTO sub VALUES (2, 2, 'x');
UPDATE top SET amount = amount - 5 WHERE id = 2;

SET client_min_messages = error;
DROP SCHEMA ge CASCADE;
DELETE FROM sopflow.rule_set WHERE rule_set IN ('leads', 'never', 'parts', 'tops');
DROP OWNED BY ge_rules, ge_clerk;
DROP ROLE ge_rules, ge_clerk;
