"""Measure what samples of quality cost: storing, reading and pruning them, and the size of a row.

    python -m benchmarks.samples [--rows 1000000] [--engine postgresql] [--out file.json]

The rows belong to calls of two that run at the same time, and to one conference whose samples are read. Each hundredth
row is of that conference.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from tests.support.database import analyze, migrated

_BATCH = 500
# The rate of 10,000 legs with a sample each per five seconds, or of 5,000 legs with both directions.
_ROWS_PER_SECOND = 2_000
_CALLS = 2_500
_READINGS = 20


def rows(conference: str, number: int, first: int, at: datetime) -> list[Any]:
    """Return samples as a node takes them, of both directions of two participants in each of many calls."""
    from media.reports import Direction, Sample, Source
    from media.samples import Taken

    taken = []
    for place in range(first, first + number):
        call = f"{place // 4 % _CALLS:032x}" if place % 100 else conference
        direction = Direction.DOWN if place % 2 else Direction.UP
        sample = Sample(
            participant=f"{place // 2 % (2 * _CALLS):032x}",
            source=Source.FOCUS,
            direction=direction,
            bitrate=900_000 + place % 1000,
            loss=0.001 * (place % 30),
            jitter=0.004,
            round_trip=0.04,
            retransmissions=place % 20,
            estimate=2_000_000 if direction is Direction.DOWN else None,
            queue=0.01 if direction is Direction.DOWN else None,
            silence=1.2,
            videos=1,
            paused=0 if direction is Direction.DOWN else None,
            layers={"h": 1},
        )
        taken.append(Taken(call, at, sample))
    return taken


def store(conference: str, number: int) -> dict[str, float]:
    """Store rows in batches; return how fast that was, and what it cost this process."""
    from media import samples

    began, processor, longest = time.monotonic(), time.thread_time(), 0.0
    at = datetime.fromisoformat("2026-01-01T00:00:00+00:00")
    for first in range(0, number, _BATCH):
        batch = rows(conference, min(_BATCH, number - first), first, at + timedelta(seconds=first / _ROWS_PER_SECOND))
        stored = time.monotonic()
        samples.store(batch)
        longest = max(longest, time.monotonic() - stored)
    seconds, processor = time.monotonic() - began, time.thread_time() - processor
    return {
        "rows_per_second": round(number / seconds),
        "longest_batch_ms": round(1000 * longest, 1),
        # Of one core of the process that stores, at the rate of 10,000 legs. It includes making the samples.
        "core_percent": round(100 * processor / number * _ROWS_PER_SECOND, 1),
    }


def sizes(number: int) -> dict[str, float]:
    """Return the bytes of a row, with its share of the indexes."""
    from django.db import connection

    from media.models import QualitySample

    table = QualitySample._meta.db_table
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("SELECT pg_relation_size(%s), pg_indexes_size(%s)", [table, table])
            heap, indexes = cursor.fetchone()
            return {"row_bytes": round(heap / number), "index_bytes": round(indexes / number)}
        cursor.execute("PRAGMA page_count")
        (pages,) = cursor.fetchone()
        cursor.execute("PRAGMA page_size")
        (size,) = cursor.fetchone()
    return {"row_and_index_bytes": round(pages * size / number)}


def read(device: Any, conference: str, number: int) -> dict[str, float]:
    """Read pages of the conference; return the median of the whole requests, in milliseconds."""
    path, middle = f"/mediaConferences/{conference}/quality", number // 2
    return {
        "first_page_ms": _median_ms(lambda: _get(device, path)),
        "middle_page_ms": _median_ms(lambda: _get(device, f"{path}?after={middle}")),
        "one_participant_ms": _median_ms(lambda: _get(device, f"{path}?participant={0:032x}")),
        "nobody_ms": _median_ms(lambda: _get(device, f"{path}?participant=nobody")),
    }


def _get(device: Any, path: str) -> None:
    response = device.request("GET", path)
    assert response.status_code == 200, response.content


def _median_ms(work: Callable[[], None]) -> float:
    times = []
    for _ in range(_READINGS):
        began = time.monotonic()
        work()
        times.append(time.monotonic() - began)
    return round(1000 * sorted(times)[_READINGS // 2], 1)


def _batches() -> Iterator[tuple[float, int]]:
    """Prune everything; yield the seconds and the rows of each batch."""
    from conferences.operations.retention import prune_in_batches

    batches = prune_in_batches(now=datetime.fromisoformat("2027-01-01T00:00:00+00:00"))
    while True:
        began = time.monotonic()
        batch = next(batches, None)
        if batch is None:
            return
        if batch[0] == "samples of quality":
            yield time.monotonic() - began, batch[1]


def prune() -> dict[str, float]:
    """Prune everything; return how fast that was."""
    times, pruned = zip(*_batches(), strict=True)
    return {"rows_per_second": round(sum(pruned) / sum(times)), "longest_batch_ms": round(1000 * max(times), 1)}


def measure(number: int) -> dict[str, Any]:
    """Measure everything."""
    from django.conf import settings

    from tests.support.devices import open_call, register

    # A test client makes all requests of this benchmark within a minute.
    settings.REQUESTS_PER_MINUTE, settings.ALLOWED_HOSTS = 1_000_000, ["testserver"]
    alice, bob = register("alice", "bob")
    conference = open_call(alice, bob).id
    stored = store(conference, number)
    analyze()
    figures = {"rows": number, "store": stored, "size": sizes(number), "read": read(alice, conference, number)}
    return {**figures, "prune": prune()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--engine", choices=["sqlite", "postgresql"], default="postgresql")
    parser.add_argument("--out", type=Path, help="write the figures to this file as JSON")
    arguments = parser.parse_args()
    with migrated(arguments.engine):
        figures = measure(arguments.rows)
    print(json.dumps(figures, indent=2))
    if arguments.out:
        arguments.out.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
