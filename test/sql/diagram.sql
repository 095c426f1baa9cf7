-- SOPs as diagrams: shapes, edges, labels that are safe, tasks counted.
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS sopflow;
RESET client_min_messages;
SET sopflow.clock = '2030-01-01 12:00:00+00';
SET timezone = 'UTC';
\pset format unaligned
\pset tuples_only on

BEGIN;
INSERT INTO sopflow.action (action) VALUES ('DIAGRAM_GREET'), ('DIAGRAM_CASE');
INSERT INTO sopflow.sop (sop_id, trigger_event) VALUES ('diagram care', 'DIAGRAM_ADD');
INSERT INTO sopflow.sop_node (sop_id, node_id, delay, action) VALUES
	('diagram care', 'now', '0', 'DIAGRAM_GREET'),
	('diagram care', 'greet', '24h', 'DIAGRAM_GREET'),
	('diagram care', 'case', '1 month 2 days 03:04:05.5', 'DIAGRAM_CASE');
COMMIT;

-- parallel: a fan from the start
SELECT sopflow.diagram('diagram care');
SELECT sopflow.diagram('diagram care', 'dot');

-- a draft with everything in it
INSERT INTO sopflow.sop (sop_id, trigger_event, enabled, delay_from, exit_events, calendar, paused)
VALUES ('diagram all', NULL, false, 'previous', '{SIGNED,LOST}', 'diagram hours', true);
INSERT INTO sopflow.sop_node (sop_id, node_id, type, delay, action, next, otherwise, condition, condition_rules, wait_event, sop_ref) VALUES
	('diagram all', 'greet', 'delay', '1 day', 'DIAGRAM_GREET', 'vip', NULL, NULL, NULL, NULL, NULL),
	('diagram all', 'vip', 'condition', '0', NULL, 'fork', 'ask', 'subject.level = ''A''', NULL, NULL, NULL),
	('diagram all', 'ask', 'wait', '3 days', NULL, 'fork', 'remind', NULL, NULL, 'REGISTERED', NULL),
	('diagram all', 'remind', 'delay', '0', NULL, 'ask', NULL, NULL, NULL, NULL, NULL),
	('diagram all', 'fork', 'delay', '0', NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	('diagram all', 'mail', 'delay', '90 min', 'DIAGRAM_CASE', 'both', NULL, NULL, NULL, NULL, NULL),
	('diagram all', 'sub', 'sop', '1 s', NULL, 'both', NULL, NULL, NULL, NULL, 'diagram care'),
	('diagram all', 'both', 'wait', '0', NULL, 'pick', NULL, NULL, NULL, 'PAID', NULL),
	('diagram all', 'pick', 'condition', '0', NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	('diagram all', 'ruled', 'condition', '2 h', NULL, 'over', NULL, NULL, 'diagram rules', NULL, NULL),
	('diagram all', 'over', 'end', '0', NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	('diagram all', 'last', 'delay', '0', NULL, 'nowhere', NULL, NULL, NULL, NULL, NULL);
INSERT INTO sopflow.sop_link (sop_id, from_node, to_node, condition) VALUES
	('diagram all', 'fork', 'mail', NULL),
	('diagram all', 'fork', 'sub', 'event.plan = ''gold'' AND subject.created_at > now() - interval ''2 days'''),
	('diagram all', 'remind', 'over', 'run.events IS NULL'),
	('diagram all', 'pick', 'ruled', 'event.n < 3'),
	('diagram all', 'pick', 'over', 'event.n < 5 AND event.m > 1 OR event.o IN (1, 2, 3, 4, 5, 6, 7, 8, 9)'),
	('diagram all', 'pick', 'last', NULL);
SELECT sopflow.diagram('diagram all');
SELECT sopflow.diagram('diagram all', 'dot');

-- names that the formats would take for their own
INSERT INTO sopflow.sop (sop_id, enabled) VALUES ('diagram "quotes" & <b>; #35; %%{init} `x`', false);
INSERT INTO sopflow.sop_node (sop_id, node_id, type, next, condition, action) VALUES
	('diagram "quotes" & <b>; #35; %%{init} `x`', 'end', 'delay', E'two\n lines\t\\n', NULL, 'a" --> b["x'),
	('diagram "quotes" & <b>; #35; %%{init} `x`', E'two\n lines\t\\n', 'condition', '客户 ü', 'a || ''"'' ~ ''[{|}]'' -- x', NULL),
	('diagram "quotes" & <b>; #35; %%{init} `x`', '客户 ü', 'delay', 'subgraph', NULL, E'\\"'),
	('diagram "quotes" & <b>; #35; %%{init} `x`', 'subgraph', 'delay', 'style: 1:#a;', NULL, '&lt;b&gt;'),
	('diagram "quotes" & <b>; #35; %%{init} `x`', 'style: 1:#a;', 'delay', ' ', NULL, repeat('long ', 20)),
	('diagram "quotes" & <b>; #35; %%{init} `x`', ' ', 'strange', NULL, NULL, NULL);
SELECT sopflow.diagram('diagram "quotes" & <b>; #35; %%{init} `x`');
SELECT sopflow.diagram('diagram "quotes" & <b>; #35; %%{init} `x`', 'dot');

-- nothing in it yet
INSERT INTO sopflow.sop (sop_id, enabled) VALUES ('diagram none', false);
SELECT sopflow.diagram('diagram none');
SELECT sopflow.diagram('diagram none', 'dot');

-- counts: of all versions, and of a node that is gone
SELECT sopflow.emit('DIAGRAM_ADD', s) FROM unnest('{a,b,c}'::text[]) AS s;
BEGIN;
DELETE FROM sopflow.sop_node WHERE sop_id = 'diagram care' AND node_id = 'case';
INSERT INTO sopflow.sop_node (sop_id, node_id, delay, action, next) VALUES ('diagram care', 'later', '48h', 'DIAGRAM_GREET', 'greet');
UPDATE sopflow.sop_node SET next = 'later' WHERE sop_id = 'diagram care' AND node_id = 'now';
COMMIT;
SELECT sopflow.emit('DIAGRAM_ADD', 'd');
SELECT sopflow.run_due();
SELECT task_id > 0 FROM sopflow.fetch('{DIAGRAM_GREET}', 1);
SELECT sopflow.nack(t.task_id, t.lease_token, 'no', retry => false) FROM sopflow.fetch('{DIAGRAM_GREET}', 1) t;
SELECT * FROM sopflow.node_tasks WHERE sop_id = 'diagram care' ORDER BY node_id, status, held_by;
SELECT sopflow.diagram('diagram care', counts => true);
SELECT sopflow.diagram('diagram care', 'dot', true);
SELECT sopflow.diagram('diagram care', 'dot', NULL) = sopflow.diagram('diagram care', 'dot', false);
SET sopflow.clock = '2030-01-03 12:00:00+00';
SELECT sopflow.pause('diagram care');
SELECT sopflow.run_due();
SELECT sopflow.diagram('diagram care', counts => true);

-- the same whatever the session says of intervals
SET intervalstyle = 'sql_standard';
SELECT sopflow.diagram('diagram all') LIKE '%after 1 h 30 min%';
RESET intervalstyle;

-- bad input
SELECT sopflow.diagram('diagram care', 'svg');
SELECT sopflow.diagram('diagram care', NULL);
SELECT sopflow.diagram('nobody knows');
SELECT sopflow.diagram(NULL);

-- rights: nobody, an author, who may see tasks
CREATE ROLE regress_diagram_author;
CREATE ROLE regress_diagram_operator;
SET ROLE regress_diagram_author;
SELECT sopflow.diagram('diagram care');
RESET ROLE;
SELECT sopflow.grant_author('regress_diagram_author');
SET ROLE regress_diagram_author;
SELECT sopflow.diagram('diagram care');
INSERT INTO sopflow.sop (sop_id, trigger_event, enabled) VALUES ('diagram own', 'DIAGRAM_OWN', false);
INSERT INTO sopflow.sop_node (sop_id, node_id) VALUES ('diagram own', 'a');
UPDATE sopflow.sop SET enabled = true WHERE sop_id = 'diagram own';
SELECT sop_id, version, enabled, paused, trigger_event, delay_from, exit_events, calendar, owner, parallel, nodes, links FROM sopflow.sops;
RESET ROLE;
SELECT sopflow.emit('DIAGRAM_OWN', 'a');
SET ROLE regress_diagram_author;
SELECT sopflow.diagram('diagram own', counts => true);
SELECT * FROM sopflow.node_tasks;
RESET ROLE;
GRANT USAGE ON SCHEMA sopflow TO regress_diagram_operator;
GRANT SELECT ON sopflow.sops, sopflow.node_tasks TO regress_diagram_operator;
GRANT EXECUTE ON FUNCTION sopflow.diagram, sopflow.diagram_parts, sopflow.diagram_label, sopflow.diagram_interval TO regress_diagram_operator;
SET ROLE regress_diagram_operator;
SELECT sopflow.diagram('diagram own', counts => true);
RESET ROLE;
GRANT SELECT ON sopflow.tasks TO regress_diagram_operator;
SET ROLE regress_diagram_operator;
SELECT sopflow.diagram('diagram own', counts => true);
RESET ROLE;

SELECT sopflow.cancel(sop_id => 'diagram care'), sopflow.cancel(sop_id => 'diagram own');
DELETE FROM sopflow.dead;
DELETE FROM sopflow.alert WHERE action LIKE 'DIAGRAM%';
DELETE FROM sopflow.sop WHERE sop_id LIKE 'diagram%';
DELETE FROM sopflow.action WHERE action LIKE 'DIAGRAM%';
DROP OWNED BY regress_diagram_author, regress_diagram_operator;
DROP ROLE regress_diagram_author, regress_diagram_operator;
