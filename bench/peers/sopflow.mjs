// sopflow as one more adapter of the peer harness.  Profiles:
//   queue      LISTEN for the doorbell, fetch and ack_many in batches (default)
//   pipelined  the same, with the ack of one batch and the fetch of the next in flight together
//   broadcast  the task itself in the NOTIFY
import { client } from './lib.mjs';

const BATCH = +(process.env.BATCH || 1000);
const iso = (ms) => new Date(ms).toISOString();
const fetchTasks = { name: 'sf_fetch', text: `select task_id, lease_token, subject_id, params from sopflow.fetch(array['NOOP'], ${BATCH})` };
const ackTasks = (rows) => ({ name: 'sf_ack', text: 'select sopflow.ack_many($1::bigint[], $2::bigint[])', values: [rows.map((r) => r.task_id), rows.map((r) => r.lease_token)] });

async function queueWorker(onJob, pipelined) {
  const c = await client(); let run = true, wake = null, rung = false;
  c.on('notification', () => { rung = true; wake?.(); });
  await c.query('listen bench');
  const loop = (async () => {
    let next = null, ack = null;
    while (run) {
      rung = false;
      const { rows } = await (next ?? c.query(fetchTasks)); next = null;
      if (rows.length) {
        for (const r of rows) onJob(+r.subject_id);
        if (pipelined) { ack = c.query(ackTasks(rows)); next = c.query(fetchTasks); await ack; } else await c.query(ackTasks(rows));
      } else if (run && !rung) {
        await new Promise((r) => { const t = setTimeout(r, 1000); wake = () => { clearTimeout(t); r(); }; });
        wake = null;
      }
    }
    await next;
  })();
  return { stop: async () => { run = false; wake?.(); await loop; await c.end(); } };
}

async function broadcastWorker(onJob) {
  const c = await client();
  c.on('notification', (m) => onJob(+JSON.parse(m.payload).subject));
  await c.query('listen bench');
  return { stop: () => c.end() };
}

export const sopflow = {
  tables: ['sopflow.task', 'sopflow.offer', 'sopflow.run', 'sopflow.history', 'sopflow.run_history'],
  async setup(db, profile) {
    await db.query('drop table if exists sf_job; drop extension if exists sopflow cascade; create extension sopflow');
    await db.query(`create table sf_job (i bigint not null default 1, due_at timestamptz not null default now());
      insert into sopflow.action (action, delivery, channel) values ('NOOP', '${profile === 'broadcast' ? 'broadcast' : 'queue'}', 'bench');
      insert into sopflow.sop (sop_id, trigger_event, reentry) values ('bench', 'JOB', 'allow');
      insert into sopflow.sop_node (sop_id, node_id, action) values ('bench', 'n1', 'NOOP')`);
    await db.query(`select sopflow.watch('sf_job', 'JOB', 'i', time_column => 'due_at')`);
    for (let k = 0; k < 100; k++) {
      if (+(await db.query(`select count(*) n from pg_stat_activity where backend_type = 'sopflow worker' and datname = current_database()`)).rows[0].n) break;
      await new Promise((r) => setTimeout(r, 50));
    }
  },
  enqueueSql: 'insert into sf_job default values;',
  async bulk(db, n, base = 0) { await db.query('insert into sf_job (i) select $2::int + g from generate_series(1, $1::int) g', [n, base]); },
  async bulkAt(db, times) { await db.query('insert into sf_job (i, due_at) select ord - 1, t from unnest($1::timestamptz[]) with ordinality u(t, ord)', [times.map(iso)]); },
  async future(db, n) { await db.query(`insert into sf_job (i, due_at) select -1, now() + interval '300 days' + g * interval '1 s' from generate_series(1, $1::int) g`, [n]); },
  async one(db, i) { await db.query({ name: 'one', text: 'insert into sf_job (i) values ($1)', values: [i] }); },
  async pending(db) { return +(await db.query('select (select count(*) from sopflow.offer) + (select count(*) from sopflow.task where due_at <= now()) n')).rows[0].n; },
  work: (onJob, profile) => (profile === 'broadcast' ? broadcastWorker(onJob) : queueWorker(onJob, profile === 'pipelined')),
};
