/* sopflow 1.0: joined by make from sql/parts in the order of the file names. */

\echo Use "CREATE EXTENSION sopflow" to load this file. \quit

CREATE SCHEMA sopflow;
COMMENT ON SCHEMA sopflow IS 'SOPs, tasks and rules of the sopflow extension';
