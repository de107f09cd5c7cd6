"""Store, read and delete samples of the quality of connections."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile
from operator import itemgetter

from media.models import QualitySample
from media.reports import Sample
from media.score import score

# The most rows that one statement writes.
BATCH = 500
# The most samples that are read to find those of one participant.
WINDOW = 2_000
# The most layers that a row names: those in which most videos are sent. Clients choose the names.
MOST_LAYERS = 6
# The largest values of the columns.
_SMALL, _LARGE = (1 << 15) - 1, (1 << 31) - 1


@dataclass(frozen=True, slots=True)
class Taken:
    """A sample, its conference, and the instant at which its period ended."""

    conference: str
    at: datetime
    sample: Sample


def store(samples: Iterable[Taken]) -> None:
    """Write samples. Values that are too large for their columns are lowered."""
    QualitySample.objects.bulk_create([_row(each) for each in samples], batch_size=BATCH)


def page(
    conference_id: str, *, limit: int, after: int = 0, participant_id: str = ""
) -> tuple[list[QualitySample], int | None]:
    """Return samples of a conference in the order in which they were written, and where the next page begins.

    :param limit: the most samples. With `participant_id` there may be fewer, even none, although more pages follow: a
        page considers at most WINDOW samples of the conference. Otherwise a request could read all of them.
    :param after: the second value that the last page has returned.
    :param participant_id: return only the samples of this participant; of all if it is empty.
    """
    rows = QualitySample.objects.filter(conference_id=conference_id, pk__gt=after).order_by("pk")
    end = None
    if participant_id:
        end = next(iter(rows.values_list("pk", flat=True)[WINDOW - 1 : WINDOW]), None)
        rows = rows.filter(participant_id=participant_id, **({} if end is None else {"pk__lte": end}))
    found = list(rows[: limit + 1])
    return (found[:limit], found[limit - 1].pk) if len(found) > limit else (found, end)


def prune(*, until: datetime, limit: int) -> int:
    """Delete at most `limit` samples that were taken by `until`. Return how many were deleted.

    The oldest rows have the lowest primary keys. A younger row among them ends the batch.
    """
    # The condition changes nothing. With it, SQLite's plan names the search by the primary key.
    oldest = QualitySample.objects.filter(pk__gt=0).order_by("pk").values_list("pk", "at")[:limit]
    ids = [pk for pk, _ in takewhile(lambda row: row[1] <= until, oldest)]
    if not ids:
        return 0
    rows = QualitySample.objects.filter(pk__gte=ids[0], pk__lte=ids[-1])
    return rows._raw_delete(rows.db)


def _row(taken: Taken) -> QualitySample:
    sample = taken.sample
    return QualitySample(
        conference_id=taken.conference,
        participant_id=sample.participant,
        at=taken.at,
        source=sample.source,
        direction=sample.direction,
        score=round(score(sample), 1),
        bitrate=min(_LARGE, sample.bitrate),
        loss=_thousandths(sample.loss),
        jitter_ms=_thousandths(sample.jitter),
        round_trip_ms=_thousandths(sample.round_trip),
        retransmissions=_at_most(_LARGE, sample.retransmissions),
        estimate=_at_most(_LARGE, sample.estimate),
        queue_ms=_thousandths(sample.queue),
        silence_ms=_thousandths(sample.silence),
        videos=_at_most(_SMALL, sample.videos),
        paused=_at_most(_SMALL, sample.paused),
        layers=_most_common(sample.layers),
        frame_rate=_at_most(_SMALL, sample.frame_rate),
        width=_at_most(_SMALL, sample.width),
        height=_at_most(_SMALL, sample.height),
        freezes=_at_most(_SMALL, sample.freezes),
        frozen_ms=_thousandths(sample.frozen),
        concealed=_thousandths(sample.concealed),
        device=sample.device or "",
    )


def _at_most(largest: int, value: float | None) -> int | None:
    return None if value is None else round(min(largest, value))


def _thousandths(value: float | None) -> int | None:
    return None if value is None else round(min(_SMALL, max(0.0, 1000 * value)))


def _most_common(layers: Mapping[str, int]) -> dict[str, int]:
    """Return the layers in which most videos are sent."""
    return dict(sorted(layers.items(), key=itemgetter(1), reverse=True)[:MOST_LAYERS])
