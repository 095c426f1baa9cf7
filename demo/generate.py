#!/usr/bin/env python3
"""Write clients.csv (10,000 rows) and registrations.csv (2,000 rows).

    generate.py DIR NOW FROM TO

NOW is a Unix time; the same NOW gives the same files. The rows are spread over
the ten days before NOW, most of them on the last, so that some tasks are
long due and most are still to come. A few hundred rows are placed so that one of
their tasks comes due between FROM and TO seconds after NOW.
"""
import csv
import random
import sys
from datetime import datetime, timedelta, timezone

CLIENTS = 10_000
REGISTRATIONS = 2_000
HOUR = 3600
DAYS = 10
LAST_DAY = 0.8  # share of the rows that belong to the last of the days
CARE = (24, 72, 96, 168)  # hours after which customer_care_sop acts
CLIENTS_PER_STEP = 60
REGISTRATIONS_AHEAD = 60  # these are dated after NOW: their first task is due at once

SURNAMES = "Chen Li Wang Zhang Liu Zhao Huang Zhou Wu Xu Sun Ma Zhu Hu Guo He".split()
GIVEN = "An Bo Chun Dan Fei Gang Hua Jie Kai Lan Mei Na Ping Qing Rui Tao Wei Xin Yan Zhen".split()


def main():
    directory, now, first, last = sys.argv[1], float(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])
    base = datetime.fromtimestamp(now, timezone.utc)
    rng = random.Random(20)

    def at(offset):
        return (base + timedelta(seconds=offset)).isoformat(timespec="milliseconds")

    def spread():
        """Seconds before NOW, back to the start of the ten days."""
        if rng.random() < LAST_DAY:
            return -rng.uniform(0, 24 * HOUR)
        return -rng.uniform(24 * HOUR, DAYS * 24 * HOUR)

    def soon():
        return rng.uniform(first, last)

    created = [soon() - hours * HOUR for hours in CARE for _ in range(CLIENTS_PER_STEP)]
    created += [spread() for _ in range(CLIENTS - len(created))]
    created.sort()
    with open(f"{directory}/clients.csv", "w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["client_id", "name", "phone", "created_at"])
        for number, offset in enumerate(created, 1):
            name = f"{rng.choice(SURNAMES)} {rng.choice(GIVEN)}"
            out.writerow([number, name, f"1{rng.randrange(3, 10)}{rng.randrange(10**9):09d}", at(offset)])

    submitted = [soon() for _ in range(REGISTRATIONS_AHEAD)]
    submitted += [spread() for _ in range(REGISTRATIONS - len(submitted))]
    submitted.sort()
    with open(f"{directory}/registrations.csv", "w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerow(["registration_id", "client_id", "form_data", "submitted_at"])
        for number, offset in enumerate(submitted, 1):
            out.writerow([number, rng.randrange(1, CLIENTS + 1), '{"event": "event123"}', at(offset)])


if __name__ == "__main__":
    main()
