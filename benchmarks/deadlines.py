"""Measure the timekeeper: a check that finds nothing due, and many deadlines that are due at once.

    python -m benchmarks.deadlines [--engine sqlite|postgresql] [--participants 100000] [--due 1000] [--keepers 1]
                                   [--spread 0] [--out file.json]

The benchmark makes open conferences of two participants with live sessions. `idle_look_ms` is the time in which the
timekeeper finds that nothing is due. Then `--due` invitations expire at the same instant, or at ten instants spread
evenly over `--spread` seconds. `settled_after_s` is the time from the last of these instants until the timekeepers have
settled all invitations.
"""

import argparse
import asyncio
import contextlib
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from tests.support.database import analyze, insert, migrated

_LOOKS = 30
_PATIENCE_SECONDS = 120.0
# The rows are written this long before their deadlines, so that the other timekeepers have time to start.
_NOTICE_SECONDS = 8.0
# Polling more often would take processor time from the timekeeper.
_SECONDS_BETWEEN_POLLS = 0.1
# With --spread: the number of instants at which invitations expire.
_INSTANTS = 10


def make_conferences(first: int, last: int, *, ring_at: datetime | None = None) -> None:
    """Write open conferences of two participants. With `ring_at`, the guests have not joined and ring until then."""
    from django.utils import timezone

    from conferences.models import Conference, Participant
    from events.models import Session

    now, late = (f"'{(timezone.now() + timedelta(days=days)).isoformat(' ')}'" for days in (0, 1))
    lives = {"created_at": now, "expires_at": late}
    state = "'invitation-sent'" if ring_at else "'session-open'"
    rings = {"state": "'invited'", "session_id": "NULL", "rings_until": f"'{ring_at and ring_at.isoformat(' ')}'"}
    joined = {"state": "'accepted'", "session_id": "'host' || i"}
    for role in ("host", "guest"):
        insert(
            Session, first, last, id=f"'{role}' || i", token_hash=f"'{role}' || i", username=f"'{role}' || i", **lives
        )
    insert(Conference, first, last, id="'c' || i", topology="'peer'", state=state, created_at=now)
    participant = {"conference_id": "'c' || i", "username": "'host' || i"}
    insert(Participant, first, last, id="'host' || i", role="'host'", position="1", **participant, **joined)
    participant = {"conference_id": "'c' || i", "username": "'guest' || i"}
    joined = rings if ring_at else {**joined, "session_id": "'guest' || i"}
    insert(Participant, first, last, id="'guest' || i", role="'guest'", position="2", **participant, **joined)


async def look_when_idle() -> float:
    """Return the median time of a check that finds nothing due, in milliseconds."""
    from sbe_enabler import timekeeper

    seconds = []
    for _ in range(_LOOKS):
        began = time.perf_counter()
        await timekeeper.run_once()
        seconds.append(time.perf_counter() - began)
    return 1000 * statistics.median(seconds)


@contextlib.contextmanager
def other_keepers(number: int) -> Iterator[None]:
    """Run this many timekeepers, each in a separate process."""
    command = [sys.executable, "manage.py", "timekeeper"]
    processes = [subprocess.Popen(command) for _ in range(number)]
    try:
        yield
    finally:
        for process in processes:
            process.terminate()
            process.wait()


def make_ringing(due: int, ring_at: datetime, spread: timedelta) -> None:
    """Write conferences whose guests ring: the first until `ring_at`, the last until `ring_at + spread`."""
    instants = _INSTANTS if spread else 1
    for number in range(instants):
        first, last = (5_000_000 + due * each // instants for each in (number, number + 1))
        make_conferences(first + 1, last, ring_at=ring_at + spread * number / max(1, instants - 1))
    analyze()


async def settle_many(due: int, spread: timedelta) -> float:
    """Make `due` invitations that expire; return the seconds from the last deadline until all of them are settled."""
    from django.utils import timezone

    from conferences.models import Participant
    from sbe_enabler import timekeeper

    ring_at = timezone.now() + timedelta(seconds=_NOTICE_SECONDS)
    await asyncio.to_thread(make_ringing, due, ring_at, spread)
    keeping = asyncio.create_task(timekeeper.keep_time())
    await asyncio.sleep((ring_at + spread - timezone.now()).total_seconds())
    async with asyncio.timeout(_PATIENCE_SECONDS):
        while await asyncio.to_thread(Participant.objects.filter(rings_until__isnull=False).exists):
            await asyncio.sleep(_SECONDS_BETWEEN_POLLS)
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    return (timezone.now() - ring_at - spread).total_seconds()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--participants", type=int, default=100_000, help="number of participants in open conferences")
    parser.add_argument("--due", type=int, default=1000, help="number of invitations that end")
    parser.add_argument("--keepers", type=int, default=1, help="number of timekeepers that run at once")
    parser.add_argument("--spread", type=float, default=0.0, help="seconds from the first deadline to the last")
    parser.add_argument("--out", type=Path, help="write the figures to this file as JSON")
    arguments = parser.parse_args()
    with migrated(arguments.engine):
        make_conferences(1, arguments.participants // 2)
        analyze()
        figures: dict[str, Any] = {
            "engine": arguments.engine,
            "participants": arguments.participants,
            "due": arguments.due,
        }
        figures["keepers"], figures["spread_s"] = arguments.keepers, arguments.spread
        figures["idle_look_ms"] = round(asyncio.run(look_when_idle()), 2)
        with other_keepers(arguments.keepers - 1):
            figures["settled_after_s"] = round(
                asyncio.run(settle_many(arguments.due, timedelta(seconds=arguments.spread))), 2
            )
    print(json.dumps(figures, indent=2))
    if arguments.out:
        arguments.out.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
