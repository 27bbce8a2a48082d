#!/usr/bin/env python3
"""Writes oracle.tsv: what croniter, an implementation that shares no code with ours, says of random crontab expressions.

    pip install croniter==7.0.0 && python3 oracle.py > oracle.tsv

Seeded, so the same version of croniter gives the same file. One row per expression: the expression, the zone, the start
in seconds since 1970, and the next five times as seconds since the one before, with commas.

Left out is what croniter does by other rules than ours; hand-made tables (schedules_days.rs, schedules_clock.rs) have
those cases:

- changes of the clock: the zones had none from 1990 on and have none to come;
- a day field that starts with `*` but is not `*`, beside a restricted one: both must match, croniter takes either.
"""

import datetime
import random
import zoneinfo

from croniter import croniter

ROWS = 2_400
TIMES = 5
ZONES = [
    "UTC",
    "Asia/Tokyo",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Africa/Lagos",
    "America/Phoenix",
    "Pacific/Marquesas",
    "Pacific/Pago_Pago",
    "Pacific/Kiritimati",
]
MONTHS = "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC".split()
DAYS = "SUN MON TUE WED THU FRI SAT".split()

dice = random.Random(20260307)


def name(names, base, value):
    """The value, now and then by its name, in upper, lower or mixed case."""
    if names and value - base < len(names) and dice.random() < 0.4:
        text = names[value - base]
        return dice.choice([text, text.lower(), text.title()])
    return str(value)


def item(low, high, names):
    shape = dice.random()
    if shape < 0.5:
        return name(names, low, dice.randint(low, high))
    first = dice.randint(low, high - 1)
    last = dice.randint(first + 1, high)
    text = name(names, low, first) + "-" + name(names, low, last)
    if shape < 0.75:
        return text
    return f"{text}/{dice.randint(1, last - first)}"


def field(low, high, names=(), star=0.4):
    shape = dice.random()
    if shape < star:
        return "*"
    if shape < star + 0.15:
        return f"*/{dice.randint(1, (high - low + 1) // 2)}"
    return ",".join(item(low, high, names) for _ in range(dice.choice([1, 1, 1, 2, 3])))


def by_other_rules(day, weekday):
    """Whether croniter and we are bound to differ: see above."""
    return day != "*" and weekday != "*" and (day.startswith("*") or weekday.startswith("*"))


def main():
    print("# expression\tzone\tstart\ttimes")
    rows = 0
    while rows < ROWS:
        fields = [field(0, 59), field(0, 23), field(1, 31), field(1, 12, MONTHS), field(0, 7, DAYS, 0.5)]
        if by_other_rules(fields[2], fields[4]):
            continue
        expression = " ".join(fields)
        zone = dice.choice(ZONES)
        start = dice.randint(946_684_800, 3_786_912_000)  # from 2000 to 2089
        local = datetime.datetime.fromtimestamp(start, zoneinfo.ZoneInfo(zone))
        if not croniter.is_valid(expression):
            continue
        times = croniter(expression, local, max_years_between_matches=60)
        try:
            found = [start] + [int(times.get_next(float)) for _ in range(TIMES)]
        except Exception:
            continue  # never fires; or, as for 29 February, not often enough before the end of the calendar
        if found[-1] >= 4_102_444_800:  # 2100
            continue
        steps = ",".join(str(after - before) for before, after in zip(found, found[1:]))
        print(f"{expression}\t{zone}\t{start}\t{steps}")
        rows += 1


if __name__ == "__main__":
    main()
