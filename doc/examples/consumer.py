#!/usr/bin/env python3
"""A consumer of sopflow tasks in Python, with psycopg 3.

    consumer.py --actions SEND_GREETING,FOLLOW_UP [--dsn "host=... dbname=..."]

The loop is the same in every language: LISTEN first, then fetch until nothing
is ready, then wait for a notification, at most 30 seconds. The table is the
truth and the notification only a doorbell, so nothing is lost by a missed one.
Replace handle() by your own work.
"""
import argparse
import json
import random
import select
import signal
import socket
import sys
import time

import psycopg
from psycopg import sql
from psycopg.rows import namedtuple_row

WAIT = 30.0  # seconds without a doorbell after which to look anyway
MAX_BACKOFF = 30.0  # seconds between two attempts to connect, at most


def handle(task, options):
    """Carry out one task; an exception means a failed attempt.

    A task can come a second time after a crash, so that what is done here
    should be idempotent, with task.task_id as its key.
    """
    if options.fail_every and options.counter % options.fail_every == 0:
        raise RuntimeError("failed on purpose")
    if not options.quiet:
        print(f"{task.action} {task.subject_id} {json.dumps(task.params, ensure_ascii=False)}", flush=True)


class Consumer:
    def __init__(self, options):
        self.options = options
        self.options.counter = 0
        self.done = self.failed = self.lost = 0
        self.stopping = False
        self.rung = False
        # A signal makes this socket readable, and so ends a wait at once.
        self.wake, writer = socket.socketpair()
        self.wake.setblocking(False)
        writer.setblocking(False)
        self.writer = writer
        signal.set_wakeup_fd(writer.fileno())
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.stop)

    def stop(self, *_):
        self.stopping = True

    def finished(self):
        return self.stopping or (self.options.max and self.done + self.failed >= self.options.max)

    def run(self):
        backoff = 0.5
        while not self.finished():
            try:
                with psycopg.connect(
                    self.options.dsn, autocommit=True, row_factory=namedtuple_row, client_encoding="utf8"
                ) as conn:
                    backoff = 0.5
                    self.serve(conn)
                    return
            except psycopg.OperationalError as error:
                if self.finished():
                    return
                print(f"connection lost: {str(error).strip()}", file=sys.stderr, flush=True)
                self.pause(backoff * random.uniform(0.5, 1.0))
                backoff = min(MAX_BACKOFF, backoff * 2)

    def serve(self, conn):
        """Work on one connection, until it fails or there is a reason to stop."""
        # psycopg 3.1 hands notifications that arrive during a statement to
        # these handlers only; conn.notifies() alone would miss them.
        conn.add_notify_handler(lambda notify: setattr(self, "rung", True))
        conn.execute(sql.SQL("LISTEN {}").format(sql.Identifier(self.options.channel)))
        while not self.finished():
            self.rung = False
            while self.work(conn):
                if self.finished():
                    return
            if self.options.once:
                return
            self.wait(conn)

    def work(self, conn):
        """Fetch a batch, handle it and report it; the number of tasks fetched."""
        size = self.options.batch
        if self.options.max:
            size = min(size, self.options.max - self.done - self.failed)
        tasks = conn.execute(
            "SELECT * FROM sopflow.fetch(%s::text[], %s::int, %s::interval)",
            (self.options.actions, size, self.options.lease),
        ).fetchall()
        done, failed = [], []
        for task in tasks:
            self.options.counter += 1
            try:
                handle(task, self.options)
                done.append(task)
            except Exception as error:
                failed.append((task, str(error)))
        # A batch in hand is reported even when a signal has come meanwhile.
        accepted = 0
        if done:
            accepted += len(conn.execute(
                "SELECT sopflow.ack_many(%s::bigint[], %s::bigint[])",
                ([t.task_id for t in done], [t.lease_token for t in done]),
            ).fetchall())
        if failed:
            accepted += len(conn.execute(
                "SELECT sopflow.nack_many(%s::bigint[], %s::bigint[], %s::text[])",
                ([t.task_id for t, _ in failed], [t.lease_token for t, _ in failed], [e for _, e in failed]),
            ).fetchall())
        self.done += len(done)
        self.failed += len(failed)
        # Tasks whose lease had run out belong to somebody else by now.
        self.lost += len(tasks) - accepted
        return len(tasks)

    def wait(self, conn):
        """Wait for a doorbell, a signal, or WAIT seconds."""
        deadline = time.monotonic() + WAIT
        while not self.rung and not self.stopping:
            left = deadline - time.monotonic()
            if left <= 0:
                return
            readable, _, _ = select.select([conn.fileno(), self.wake], [], [], left)
            if conn.fileno() in readable:
                conn.pgconn.consume_input()
                while conn.pgconn.notifies():
                    self.rung = True
                if conn.pgconn.status != psycopg.pq.ConnStatus.OK:
                    raise psycopg.OperationalError("the server closed the connection")

    def pause(self, seconds):
        if not self.stopping:
            select.select([self.wake], [], [], seconds)


def main():
    parser = argparse.ArgumentParser(description="Fetch and carry out sopflow tasks.")
    parser.add_argument("--dsn", default="", help="connection string; default: the PG* environment")
    parser.add_argument("--actions", required=True, type=lambda text: text.split(","), help="actions, separated by commas")
    parser.add_argument("--channel", default="sopflow", help="channel of these actions")
    parser.add_argument("--batch", type=int, default=100, help="tasks to fetch at a time")
    parser.add_argument("--lease", help="an interval; default: the action's")
    parser.add_argument("--once", action="store_true", help="stop when nothing is ready")
    parser.add_argument("--max", type=int, default=0, help="stop after so many tasks")
    parser.add_argument("--fail-every", type=int, default=0, help="fail every so many tasks, for tests")
    parser.add_argument("--quiet", action="store_true", help="do not print each task")
    consumer = Consumer(parser.parse_args())
    consumer.run()
    print(f"done {consumer.done} failed {consumer.failed} lost {consumer.lost}", flush=True)


if __name__ == "__main__":
    main()
