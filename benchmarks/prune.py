"""Measure how late ringing ends while the timekeeper prunes a long history on PostgreSQL.

    python -m benchmarks.prune [--conferences 1000000] [--out file.json]

The benchmark makes conferences that ended long ago. Each has two participants, and every tenth has a modification.
While the timekeeper prunes them, four invitations a second ring for one second each. The result says how late the
ringing ends.
"""

import argparse
import asyncio
import json
import time
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from tests.support.database import analyze, insert, migrated

_RINGS_PER_SECOND = 4.0
_RING = timedelta(seconds=1)
_LOOK_SECONDS = 0.02
_OFFER_BYTES = 2000


def make_history(number: int) -> None:
    """Write conferences that are due for pruning."""
    from django.utils import timezone

    from conferences.models import Conference, Modification, Participant
    from events.models import Session

    old = f"'{(timezone.now() - timedelta(days=400)).isoformat(' ')}'"
    ended = {"created_at": old, "ended_at": old}
    user = {"username": "'user' || i % 10000", "conference_id": "'c' || i", "session_id": "'old'"}
    left = {**user, "state": "'left'", "left_reason": "'hung-up'", "left_at": old}
    insert(Session, 1, 1, id="'old'", state="'ended'", expires_at=old, **ended)
    insert(Conference, 1, number, id="'c' || i", topology="'peer'", state="'session-terminated'", **ended)
    for position, role in enumerate(("host", "guest"), 1):
        insert(Participant, 1, number, id=f"'{role}' || i", role=f"'{role}'", position=str(position), **left)
    offer = f"'{'x' * _OFFER_BYTES}'"
    sides = {"offered_by_id": "'host' || 10 * i", "offered_to_id": "'guest' || 10 * i"}
    instants = dict.fromkeys(("created_at", "expires_at", "settled_at"), old)
    call = {"kind": "'call'", "state": "'mod-accepted'", "offer": offer, "answer": offer}
    insert(Modification, 1, number // 10, id="'m' || i", conference_id="'c' || 10 * i", **sides, **instants, **call)
    analyze()


def ring(number: int) -> tuple[str, datetime]:
    """Make an invitation that rings; return its participant's ID and the instant at which the ringing must end."""
    from django.utils import timezone

    from conferences.machine import ParticipantState
    from conferences.models import Conference, Participant, Role
    from events.models import Session

    now = timezone.now()
    session = Session.objects.create(
        token_hash=f"{number}", username="caller", created_at=now, expires_at=now + timedelta(days=1)
    )
    conference = Conference.objects.create(topology="peer", created_at=now)
    Participant.objects.create(
        conference=conference,
        role=Role.HOST,
        state=ParticipantState.ACCEPTED,
        username="caller",
        session=session,
        position=1,
    )
    due = now + _RING
    participant = Participant.objects.create(conference=conference, role=Role.GUEST, position=2, rings_until=due)
    return participant.pk, due


async def ring_and_watch(number: int) -> float:
    """Make an invitation that rings; return how many seconds late the ringing ended."""
    from django.utils import timezone

    from conferences.models import Participant

    participant, due = await asyncio.to_thread(ring, number)
    await asyncio.sleep((due - timezone.now()).total_seconds())
    while await asyncio.to_thread(Participant.objects.ringing().filter(pk=participant).exists):
        await asyncio.sleep(_LOOK_SECONDS)
    return (timezone.now() - due).total_seconds()


async def measure(conferences: int) -> dict[str, Any]:
    """Prune while invitations ring; return the figures."""
    from conferences.models import Conference
    from sbe_enabler import timekeeper

    due = Conference.objects.filter(ended_at__isnull=False, created_at__lte=datetime.fromisoformat("2026-01-01T00:00Z"))
    timekeeper.PRUNE_SECONDS = 0.5
    keeping = asyncio.create_task(timekeeper.keep_time())
    began = time.monotonic()
    rings: list[asyncio.Task[float]] = []
    while await asyncio.to_thread(due.exists):
        rings.append(asyncio.create_task(ring_and_watch(len(rings))))
        await asyncio.sleep(1 / _RINGS_PER_SECOND)
    seconds = time.monotonic() - began
    late = sorted(await asyncio.gather(*rings))
    keeping.cancel()
    await asyncio.gather(keeping, return_exceptions=True)
    return {
        "conferences": conferences,
        "seconds": round(seconds, 1),
        "conferences_per_second": round(conferences / seconds),
        "rings": len(late),
        "late_ms_median": round(1000 * late[len(late) // 2]),
        "late_ms_p99": round(1000 * late[int(len(late) * 0.99)]),
        "late_ms_max": round(1000 * late[-1]),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--conferences", type=int, default=1_000_000, help="number of conferences to prune")
    parser.add_argument("--out", type=Path, help="write the figures to this file as JSON")
    arguments = parser.parse_args()
    with migrated("postgresql"):
        began = time.monotonic()
        make_history(arguments.conferences)
        print(f"history written in {time.monotonic() - began:.0f} s")
        figures = asyncio.run(measure(arguments.conferences))
    print(json.dumps(figures, indent=2))
    if arguments.out:
        arguments.out.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
