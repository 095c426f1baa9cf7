-- Second act: leads go from a public pool to sales reps and back, under rules
-- that are rows. The pack makes the tables; here are five reps and 12 leads.
\pset footer off
\pset null ''
\o /dev/null

CREATE EXTENSION sopflow;
SELECT sopflow.create_crm();

INSERT INTO crm.sales_reps (name, category, team) VALUES
    ('Ada',  'phone',    'north'),
    ('Ben',  'phone',    'north'),
    ('Cleo', 'computer', 'south'),
    ('Dan',  'phone',    'south'),
    ('Eve',  'phone',    'south');
UPDATE crm.sales_reps SET active = false WHERE name = 'Eve';    -- has left
INSERT INTO crm.opportunities (category) SELECT 'phone' FROM generate_series(1, 12);

-- The limits of the pack are 100 leads and 10 days. Small ones, to meet them soon.
UPDATE sopflow.rule_param SET value = '3' WHERE (rule_set, param) = ('opportunity_claim', 'max_hold');

-- What operations answered, for printing.
CREATE TABLE answers (n int GENERATED ALWAYS AS IDENTITY, rep text, call text, lead bigint, ok bool, code text, message text);
CREATE FUNCTION try(rep text, call text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('INSERT INTO answers (rep, call, lead, ok, code, message)
        SELECT %L, %L, opportunity_id, ok, code, message FROM crm.%s', rep, call, call);
END
$$;

-- Rep 1 is Ada, 2 Ben, 3 Cleo, 4 Dan, 5 Eve.
SELECT try('Ada',  $$claim('{1,2,3,4}', 1)$$);           -- three fit
SELECT try('Ben',  $$claim('{1,99}', 2)$$);              -- Ada's; there is none
SELECT try('Ada',  $$release('{2}', 'NO_ANSWER')$$);
SELECT try('Ada',  $$claim('{2}', 1)$$);                 -- not at once again
SELECT try('Ben',  $$claim('{2}', 2)$$);                 -- but another may
SELECT try('Cleo', $$claim('{5}', 3)$$);                 -- sells computers
INSERT INTO crm.rep_tasks (opportunity_id, title) VALUES (6, 'Check the address');
SELECT try('Dan',  $$claim('{6}', 4)$$);
SELECT try('-',    $$freeze('{7}', now() + interval '1 day')$$);
SELECT try('Dan',  $$claim('{7}', 4)$$);
UPDATE crm.opportunities SET locked = 'manual' WHERE opportunity_id = 8;
SELECT try('Dan',  $$claim('{8}', 4)$$);
SELECT try('Dan',  $$log_contact(1, 4)$$);               -- Ada's
-- Two checks that are off until they have a value.
UPDATE sopflow.rule_param SET value = '1' WHERE (rule_set, param) = ('opportunity_claim', 'max_claims_per_day');
SELECT try('Dan',  $$claim('{9}', 4)$$);
SELECT try('Dan',  $$release('{9}')$$);
SELECT try('Dan',  $$claim('{10}', 4)$$);                -- claimed one today, whatever became of it
UPDATE sopflow.rule_param SET value = NULL WHERE (rule_set, param) = ('opportunity_claim', 'max_claims_per_day');
UPDATE sopflow.rule_param SET value = '1 hour' WHERE (rule_set, param) = ('opportunity_claim', 'new_data_delay');
SELECT try('Dan',  $$claim('{10}', 4)$$);
UPDATE sopflow.rule_param SET value = NULL WHERE (rule_set, param) = ('opportunity_claim', 'new_data_delay');
SELECT try('-',    $$assign('{11}', 5)$$);

\o
SELECT rep, call, lead, CASE WHEN ok THEN 'done' ELSE code END AS answer, message FROM answers ORDER BY n;
