-- A row that an UPDATE moves to another partition is no new row; what else a
-- statement inserts is.
SET TimeZone = 'UTC';
SET sopflow.clock = '2030-05-01 12:00+00';
CREATE TABLE moved (id bigint, k int) PARTITION BY LIST (k);
CREATE TABLE moved_1 PARTITION OF moved FOR VALUES IN (1);
CREATE TABLE moved_2 PARTITION OF moved FOR VALUES IN (2);
CREATE TABLE beside (id int);
BEGIN;
INSERT INTO sopflow.action (action) VALUES ('MOVED');
INSERT INTO sopflow.sop (sop_id, trigger_event, reentry) VALUES ('moved', 'MOVED', 'allow');
INSERT INTO sopflow.sop_node (sop_id, node_id, delay, action) VALUES ('moved', 'n', '1h', 'MOVED');
COMMIT;
SELECT sopflow.watch('moved', 'MOVED', 'id');
CREATE VIEW seen AS SELECT subject_id, count(*) FROM sopflow.runs WHERE sop_id = 'moved' GROUP BY 1 ORDER BY 1;

INSERT INTO moved VALUES (1, 1), (2, 2);
UPDATE moved SET k = 3 - k;
UPDATE moved SET k = 3 - k WHERE id = 1 RETURNING tableoid::regclass, *;
SELECT * FROM seen;

-- an INSERT made by a trigger of an UPDATE is one
CREATE FUNCTION insert_moved() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO moved VALUES (NEW.id, 1);
	RETURN NULL;
END $$;
CREATE TRIGGER insert_moved AFTER UPDATE ON beside FOR EACH ROW EXECUTE FUNCTION insert_moved();
INSERT INTO beside VALUES (0);
UPDATE beside SET id = 3;
SELECT * FROM seen;

-- and so is one in a WITH of an UPDATE
WITH i AS (INSERT INTO moved VALUES (4, 1) RETURNING id)
	UPDATE beside SET id = 5 FROM i;
SELECT * FROM seen;

DROP TABLE moved, beside CASCADE;
SELECT sopflow.cancel(sop_id => 'moved');
DELETE FROM sopflow.sop WHERE sop_id = 'moved';
DELETE FROM sopflow.action WHERE action = 'MOVED';
DROP FUNCTION insert_moved;
DROP VIEW seen;
