"""Read stored descriptions before their conference is locked.

Reading takes time in proportion to the SDP. Under the lock, which on SQLite is that of the whole database, others would
wait for it. A stored description never changes, except that its credentials are deleted.
"""

from dataclasses import dataclass

from conferences.machine import ModificationKind, ModificationState
from conferences.models import Modification
from conferences.operations import quotas
from conferences.scrubbing import scrub
from conferences.sdp import JudgedSdp
from events.models import Session
from media.sdp.description import Description, parse


@dataclass(frozen=True)
class OfferReading:
    """What an answer is compared with: the offer of a modification, or the answer as it is kept without credentials."""

    modification_id: str | None = None
    offer: Description | None = None
    scrubbed_answer: str | None = None

    def offer_of(self, modification: Modification) -> Description:
        """Return the offer of a modification. It is read only now if the modification was not there before the lock."""
        if self.offer is not None and self.modification_id == modification.pk:
            return self.offer
        return parse(modification.offer)

    def is_answer_of(self, modification: Modification, answer: JudgedSdp) -> bool:
        """Tell whether a modification was accepted with this answer, also if its credentials have been deleted."""
        if not modification.scrubbed:
            return modification.answer == answer.text
        known = self.scrubbed_answer if self.modification_id == modification.pk else None
        return modification.answer == (scrub(answer.text) if known is None else known)


def read_offer(*, session: Session, conference_id: str, modification_id: str, answer: JudgedSdp) -> OfferReading:
    """Read what an answer to a modification is compared with, if the session has received that modification.

    :raises RateLimitedError: when the session has had too much SDP read.
    """
    known = Modification.objects.filter(pk=modification_id, conference=conference_id, offered_to__session=session)
    row = known.only("state", "scrubbed", "offer").first()
    if row is None:
        return OfferReading()
    if row.state == ModificationState.SENT:
        return _read(session, row)
    return OfferReading(row.pk, scrubbed_answer=scrub(answer.text) if row.scrubbed else None)


def read_call(*, session: Session, conference_id: str) -> OfferReading:
    """Read the offer with which the session's user is called, if the conference is between browsers.

    :raises RateLimitedError: when the session has had too much SDP read.
    """
    calls = Modification.objects.pending().filter(conference=conference_id, kind=ModificationKind.CALL)
    for row in calls.filter(offered_to__isnull=False).select_related("offered_to"):
        if row.offered_to is not None and session.owns(row.offered_to):
            return _read(session, row)
    return OfferReading()


def _read(session: Session, row: Modification) -> OfferReading:
    """Read a stored offer. It is counted, because any number of wrong answers may follow."""
    quotas.require_reading(session, row.pk, row.offer)
    return OfferReading(row.pk, offer=parse(row.offer))
