-- A quota holds in one statement as between two: rows that the statement itself
-- has written count, however it is written, and a row that rules hand on counts
-- for whoever gets it.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS sopflow;
RESET client_min_messages;
\set VERBOSITY terse
CREATE TABLE rep (rep_id int PRIMARY KEY);
INSERT INTO rep SELECT generate_series(1, 20);
CREATE TABLE lead (id int PRIMARY KEY, owner_id int DEFAULT 9 REFERENCES rep ON DELETE SET DEFAULT ON UPDATE CASCADE)
	PARTITION BY RANGE (id);
CREATE TABLE lead_low PARTITION OF lead FOR VALUES FROM (1) TO (100);
CREATE TABLE lead_high PARTITION OF lead FOR VALUES FROM (100) TO (200);
INSERT INTO lead SELECT g, NULL FROM generate_series(1, 9) g;
BEGIN;
INSERT INTO sopflow.rule_set (rule_set, param_scopes) VALUES ('claim', '{"''rep:'' || new.owner_id"}');
INSERT INTO sopflow.rule_fact (rule_set, fact, type) VALUES ('claim', 'new', 'lead'), ('claim', 'old', 'lead');
INSERT INTO sopflow.rule_param (rule_set, param, type, value) VALUES ('claim', 'max_hold', 'int', '2');
INSERT INTO sopflow.rule_quota (rule_set, quota, query, lock_key) VALUES
	('claim', 'held', 'SELECT count(*) FROM lead l WHERE l.owner_id = new.owner_id', '''rep:'' || new.owner_id');
INSERT INTO sopflow.rule (rule_set, rule, priority, condition, actions) VALUES
	('claim', 'full', 9, 'new.owner_id IS DISTINCT FROM old.owner_id AND held >= param.max_hold',
		'[{"deny": "rep {{new.owner_id}} has {{held}} of {{param.max_hold}}", "code": "FULL"}]');
COMMIT;
SELECT sopflow.guard('lead', 'claim');
CREATE VIEW held AS SELECT owner_id, count(*) FROM lead WHERE owner_id IS NOT NULL GROUP BY 1 ORDER BY 1;

-- three at once are one too many, in every form; two are not
UPDATE lead SET owner_id = 1 WHERE id <= 3;
UPDATE lead SET owner_id = 1 WHERE id <= 2;
INSERT INTO lead SELECT g, 2 FROM generate_series(101, 103) g;
INSERT INTO lead VALUES (101, 2), (102, 2);
COPY lead FROM stdin;
103	3
104	3
105	3
\.
COPY lead FROM stdin;
103	3
104	3
\.
MERGE INTO lead USING generate_series(3, 5) g (id) ON lead.id = g.id WHEN MATCHED THEN UPDATE SET owner_id = 4;
WITH a AS (UPDATE lead SET owner_id = 4 WHERE id = 3 RETURNING id), b AS (UPDATE lead SET owner_id = 4 WHERE id = 4 RETURNING id),
	c AS (UPDATE lead SET owner_id = 4 WHERE id = 5 RETURNING id) SELECT count(*) FROM a, b, c;
WITH a AS (UPDATE lead SET owner_id = 4 WHERE id = 3 RETURNING id), b AS (INSERT INTO lead VALUES (106, 4) RETURNING id)
	SELECT count(*) FROM a, b;
INSERT INTO lead VALUES (4, 1) ON CONFLICT (id) DO UPDATE SET owner_id = excluded.owner_id;
INSERT INTO lead VALUES (4, 5) ON CONFLICT (id) DO UPDATE SET owner_id = excluded.owner_id;
SELECT * FROM held;

-- what a foreign key does counts too: the leads of one who goes fall to rep 9
DELETE FROM rep WHERE rep_id = 1;
DELETE FROM rep WHERE rep_id = 2;
UPDATE rep SET rep_id = 21 WHERE rep_id = 9;
SELECT * FROM held;

-- a full rep's lead moves to another partition: it is the same one
UPDATE lead SET id = 111 WHERE id = 3;
UPDATE lead SET id = 5, owner_id = 21 WHERE id = 111;
SELECT * FROM held;

-- several calls of one transaction, with what it took back
BEGIN;
UPDATE lead SET owner_id = 6 WHERE id = 5;
SAVEPOINT s;
UPDATE lead SET owner_id = 6 WHERE id = 6;
UPDATE lead SET owner_id = 6 WHERE id = 7;
ROLLBACK TO s;
UPDATE lead SET owner_id = 6 WHERE id = 8;
SAVEPOINT s;
UPDATE lead SET owner_id = 6 WHERE id = 9;
ROLLBACK TO s;
COMMIT;
SELECT * FROM held WHERE owner_id = 6;

-- Handed on by a rule: the count and the limit are those of who gets it.
UPDATE lead SET owner_id = NULL;
INSERT INTO sopflow.rule_param_override (rule_set, param, scope, value) VALUES ('claim', 'max_hold', 'rep:3', '4');
INSERT INTO sopflow.rule (rule_set, rule, priority, condition, actions) VALUES
	('claim', 'hand on', 1, 'new.owner_id = 3 AND held < param.max_hold', '[{"set": {"new.owner_id": "7"}}]');
UPDATE lead SET owner_id = 3 WHERE id = 4;
UPDATE lead SET owner_id = 3 WHERE id IN (5, 6);
UPDATE lead SET owner_id = 3 WHERE id = 5;
UPDATE lead SET owner_id = 3 WHERE id = 6;
SELECT * FROM held;
DELETE FROM sopflow.rule WHERE rule = 'hand on';

-- Facts that are given: asking takes the key and nothing else, also where nothing may be written.
BEGIN READ ONLY;
SELECT v.allowed, v.messages FROM sopflow.fire('claim', '{"new": {"id": 1, "owner_id": 7}, "old": null}') v;
SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory';
COMMIT;
SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory';
-- nobody's key is none
BEGIN;
SELECT v.allowed FROM sopflow.fire('claim', '{"new": {"id": 1, "owner_id": null}, "old": {"id": 1, "owner_id": 7}}') v;
SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory';
COMMIT;

-- A rule that fails and is passed over: who comes after it counts with the key locked.
UPDATE sopflow.rule_set SET on_error = 'false';
INSERT INTO sopflow.rule (rule_set, rule, priority, condition, actions) VALUES
	('claim', 'odd', 1, 'held >= 0 AND 1 / (new.id - new.id) > 0', '[{"deny": "odd"}]');
BEGIN;
UPDATE lead SET owner_id = 8 WHERE id = 6;
SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory';
COMMIT;

SET client_min_messages = warning;
SELECT sopflow.unguard('lead', 'claim');
DELETE FROM sopflow.rule_set WHERE rule_set = 'claim';
DROP TABLE lead, rep CASCADE;
