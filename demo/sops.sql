-- What is to be done for a client, and when: definitions are rows, checked as
-- a whole when the transaction commits.

-- The function that carries out SEND_REG_LINK, in the database itself.
CREATE TABLE sent_links (
    task_id   bigint PRIMARY KEY,
    client_id bigint NOT NULL,
    url       text NOT NULL,
    sent_at   timestamptz NOT NULL DEFAULT clock_timestamp()
);

CREATE FUNCTION send_reg_link(task sopflow.work) RETURNS jsonb
LANGUAGE sql SET search_path = public, pg_temp
AS $$
    INSERT INTO sent_links(task_id, client_id, url)
    VALUES (task.task_id, task.subject_id::bigint, task.params ->> 'url')
    RETURNING jsonb_build_object('sent_at', sent_at)
$$;

BEGIN;

-- Three ways to carry out a task: by a consumer that fetches it from a queue,
-- by telling whoever listens, by calling a function.
INSERT INTO sopflow.action(action, delivery, channel, handler) VALUES
    ('SEND_GREETING', 'queue',     'sopflow', NULL),
    ('FOLLOW_UP',     'queue',     'sopflow', NULL),
    ('PUSH_CASE',     'broadcast', 'sopflow', NULL),
    ('SEND_REG_LINK', 'call',      'sopflow', 'public.send_reg_link');

-- Client care: four steps, one after the other, at 1, 3, 4 and 7 days after
-- the client was added.
INSERT INTO sopflow.sop(sop_id, name, trigger_event, delay_from)
VALUES ('customer_care_sop', 'Customer care', 'ADD_CLIENT', 'event');

INSERT INTO sopflow.sop_node(sop_id, node_id, type, delay, action, params, next) VALUES
    ('customer_care_sop', 'node1', 'delay', '24h',  'SEND_GREETING', '{"template": "WELCOME_MSG"}',    'node2'),
    ('customer_care_sop', 'node2', 'delay', '72h',  'PUSH_CASE',     '{"case_id": "CASE_001"}',        'node3'),
    ('customer_care_sop', 'node3', 'delay', '96h',  'SEND_REG_LINK', '{"url": "/register/event123"}',  'node4'),
    ('customer_care_sop', 'node4', 'delay', '168h', 'FOLLOW_UP',     '{"message": "是否查阅案例？"}', NULL);

-- Material: a link at once and a reminder after three days, for every
-- registration of a client.
INSERT INTO sopflow.sop(sop_id, name, trigger_event, reentry)
VALUES ('material_sop', 'Material', 'SUBMIT_APPLICATION', 'allow');

INSERT INTO sopflow.sop_node(sop_id, node_id, delay, action, params) VALUES
    ('material_sop', 'n1', '0',   'SEND_REG_LINK', '{"url": "/register/event123"}'),
    ('material_sop', 'n2', '72h', 'FOLLOW_UP',     '{"message": "是否查阅案例？"}');

COMMIT;

-- An INSERT starts them, in its own transaction; the time of the event is the
-- row's own.
SELECT sopflow.watch('clients', 'ADD_CLIENT', 'client_id', context => '{name}', time_column => 'created_at');
SELECT sopflow.watch('registrations', 'SUBMIT_APPLICATION', 'client_id', time_column => 'submitted_at');
