#!/usr/bin/env node
// A consumer of sopflow tasks in Node, with the package "pg":
//
//   npm install && node consumer.mjs --actions SEND_GREETING,FOLLOW_UP
//
// The loop is the same in every language: LISTEN first, then fetch until
// nothing is ready, then wait for a notification, at most 30 seconds. The
// table is the truth and the notification only a doorbell, so nothing is lost
// by a missed one. Replace handle() by your own work.

import { parseArgs } from 'node:util'
import pg from 'pg'

const WAIT = 30_000 // ms without a doorbell after which to look anyway
const MAX_BACKOFF = 30_000 // ms between two attempts to connect, at most

const { values: options } = parseArgs({
  options: {
    dsn: { type: 'string' }, // default: the PG* environment
    actions: { type: 'string' }, // separated by commas
    channel: { type: 'string', default: 'sopflow' },
    batch: { type: 'string', default: '100' },
    lease: { type: 'string' }, // an interval; default: the action's
    once: { type: 'boolean', default: false }, // stop when nothing is ready
    max: { type: 'string', default: '0' }, // stop after so many tasks
    'fail-every': { type: 'string', default: '0' }, // for tests
    quiet: { type: 'boolean', default: false },
  },
})
if (!options.actions) {
  console.error('usage: consumer.mjs --actions A,B [--dsn DSN] [--channel C] [--batch N] [--lease I] [--once] [--max N]')
  process.exit(2)
}
const actions = options.actions.split(',')
const batch = Number(options.batch)
const max = Number(options.max)
const failEvery = Number(options['fail-every'])

const count = { done: 0, failed: 0, lost: 0, begun: 0 }
let stopping = false
let rung = false
let ring = () => {} // ends the wait that is under way

// Carry out one task; an exception means a failed attempt. A task can come a
// second time after a crash, so that what is done here should be idempotent,
// with task.task_id as its key. (bigint columns come as strings.)
async function handle(task) {
  if (failEvery && count.begun % failEvery === 0) throw new Error('failed on purpose')
  if (!options.quiet) console.log(`${task.action} ${task.subject_id} ${JSON.stringify(task.params)}`)
}

const finished = () => stopping || (max > 0 && count.done + count.failed >= max)

// Sleep until ring() is called or the time is up.
function sleep(ms) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms)
    ring = () => {
      clearTimeout(timer)
      resolve()
    }
  })
}

// Fetch a batch, handle it and report it; the number of tasks fetched.
async function work(client) {
  const size = max > 0 ? Math.min(batch, max - count.done - count.failed) : batch
  const { rows: tasks } = await client.query('SELECT * FROM sopflow.fetch($1::text[], $2::int, $3::interval)', [
    actions,
    size,
    options.lease ?? null,
  ])
  const done = []
  const failed = []
  for (const task of tasks) {
    count.begun++
    try {
      await handle(task)
      done.push(task)
    } catch (error) {
      failed.push({ ...task, error: error.message })
    }
  }
  // A batch in hand is reported even when a signal has come meanwhile.
  const ids = (list) => list.map((task) => task.task_id)
  const tokens = (list) => list.map((task) => task.lease_token)
  let accepted = 0
  if (done.length) {
    const result = await client.query('SELECT sopflow.ack_many($1::bigint[], $2::bigint[])', [ids(done), tokens(done)])
    accepted += result.rows.length
  }
  if (failed.length) {
    const result = await client.query('SELECT sopflow.nack_many($1::bigint[], $2::bigint[], $3::text[])', [
      ids(failed),
      tokens(failed),
      failed.map((task) => task.error),
    ])
    accepted += result.rows.length
  }
  count.done += done.length
  count.failed += failed.length
  // Tasks whose lease had run out belong to somebody else by now.
  count.lost += tasks.length - accepted
  return tasks.length
}

// Work on one connection, until it fails or there is a reason to stop.
async function serve(client, broken) {
  await client.query(`LISTEN ${client.escapeIdentifier(options.channel)}`)
  while (!finished()) {
    rung = false
    while (await work(client)) {
      if (finished()) return
    }
    if (options.once) return
    if (!rung && !stopping && !broken.error) await sleep(WAIT)
    if (broken.error) throw broken.error
  }
}

// Errors that a new connection cannot mend: those that the server gave for a
// statement, unless it is going down (57P01 to 57P03) or full (53...).
const hopeless = (error) => /^[0-9A-Z]{5}$/.test(error.code ?? '') && !/^(08|53|57P0[123])/.test(error.code)

for (const signal of ['SIGTERM', 'SIGINT']) {
  process.on(signal, () => {
    stopping = true
    ring()
  })
}

let backoff = 500
while (!finished()) {
  const broken = { error: null }
  const client = new pg.Client(options.dsn ? { connectionString: options.dsn } : {})
  client.on('notification', () => {
    rung = true
    ring()
  })
  client.on('error', (error) => {
    broken.error = error
    ring()
  })
  try {
    await client.connect()
    backoff = 500
    await serve(client, broken)
    break
  } catch (error) {
    if (hopeless(error)) throw error
    if (finished()) break
    console.error(`connection lost: ${error.message}`)
    await sleep(backoff * (0.5 + Math.random() / 2))
    backoff = Math.min(MAX_BACKOFF, backoff * 2)
  } finally {
    await client.end().catch(() => {})
  }
}
console.log(`done ${count.done} failed ${count.failed} lost ${count.lost}`)
