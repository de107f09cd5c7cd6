"""Parse stored descriptions before their conference is locked.

Parsing takes time in proportion to the SDP. If it happened under the lock, other requests for the conference would
wait for it; on SQLite, all requests that write would wait. A stored description never changes, except that its
credentials are deleted.
"""

from dataclasses import dataclass

from conferences.machine import ModificationKind, ModificationState
from conferences.models import Modification
from conferences.operations import quotas
from conferences.scrubbing import scrub
from conferences.sdp import ValidatedSdp
from events.models import Session
from media.sdp.description import Description, parse


@dataclass(frozen=True)
class OfferReading:
    """Input for checking an answer to a modification.

    It holds the parsed offer or, if the modification is settled and scrubbed, the scrubbed form of the answer to check.
    """

    modification_id: str | None = None
    offer: Description | None = None
    scrubbed_answer: str | None = None

    def offer_of(self, modification: Modification) -> Description:
        """Return the parsed offer of a modification. Parse the offer now if this reading is of another modification."""
        if self.offer is not None and self.modification_id == modification.pk:
            return self.offer
        return parse(modification.offer)

    def is_answer_of(self, modification: Modification, answer: ValidatedSdp) -> bool:
        """Tell whether a modification was accepted with this answer, even if the stored answer is scrubbed by now."""
        if not modification.scrubbed:
            return modification.answer == answer.text
        known = self.scrubbed_answer if self.modification_id == modification.pk else None
        return modification.answer == (scrub(answer.text) if known is None else known)


def read_offer(*, session: Session, conference_id: str, modification_id: str, answer: ValidatedSdp) -> OfferReading:
    """Prepare the check of an answer to a modification, if the session has received that modification.

    :raises RateLimitedError: when too much SDP was parsed for the session.
    """
    known = Modification.objects.filter(pk=modification_id, conference=conference_id, offered_to__session=session)
    row = known.only("state", "scrubbed", "offer").first()
    if row is None:
        return OfferReading()
    if row.state == ModificationState.SENT:
        return _read(session, row)
    return OfferReading(row.pk, scrubbed_answer=scrub(answer.text) if row.scrubbed else None)


def read_call(*, session: Session, conference_id: str) -> OfferReading:
    """Parse the pending offer with which the host calls the session's user. Such an offer exists only in `peer`.

    :raises RateLimitedError: when too much SDP was parsed for the session.
    """
    calls = Modification.objects.pending().filter(conference=conference_id, kind=ModificationKind.CALL)
    for row in calls.filter(offered_to__isnull=False).select_related("offered_to"):
        if row.offered_to is not None and session.owns(row.offered_to):
            return _read(session, row)
    return OfferReading()


def _read(session: Session, row: Modification) -> OfferReading:
    """Parse a stored offer, and count its characters: a client may send any number of wrong answers."""
    quotas.require_reading(session, row.pk, row.offer)
    return OfferReading(row.pk, offer=parse(row.offer))
