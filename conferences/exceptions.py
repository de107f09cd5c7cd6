"""Refusals that concern conferences, each with its status, code and words (protocol section 8).

`events.exceptions` has those of requests in general.

RefusalError
├── NoSuchConferenceError    404 not-found
├── ActionMissingError       400 action-missing
├── ActionUnknownError       400 action-unknown
├── SdpInvalidError          422 sdp-invalid
├── SdpDirectionError        422 sdp-direction
├── ConferenceNotOpenError   409 conference-not-open
├── ConferenceFullError      409 conference-full
├── NotRingingError          409 not-ringing
├── AlreadyAnsweredError     409 already-answered
├── AlreadyOnHoldError       409 already-on-hold
├── NotOnHoldError           409 not-on-hold
├── ParticipantMovingError   409 participant-moving
├── CalleeBusyError          409 callee-busy
├── TooManyConferencesError  409 too-many-conferences
├── TooManySessionsError     409 too-many-sessions
├── FocusOnlyError           409 focus-only
├── ModificationPendingError 409 modification-pending
├── ModificationSettledError 409 modification-settled
├── NotYoursToSettleError    409 not-yours-to-settle
├── PreconditionFailedError  412 precondition-failed
├── IdempotencyMismatchError 422 idempotency-mismatch
├── IdempotencyExpiredError  409 idempotency-expired
├── TooManyInvitationsError  429 too-many-invitations
├── TooManyOffersError       429 too-many-offers
└── MediaUnavailableError    503 media-unavailable
"""

from events.exceptions import NotFoundError, RefusalError


class ActionMissingError(RefusalError):
    """A `PUT` on a conference names no action."""

    status, code = 400, "action-missing"
    detail = "Name the action in the header 'x-conference-action'."


class ActionUnknownError(RefusalError):
    """A `PUT` on a conference names an action that does not exist."""

    status, code = 400, "action-unknown"
    detail = "There is no such action."


class SdpInvalidError(RefusalError):
    """The session description is missing, broken or does not fit."""

    status, code = 422, "sdp-invalid"
    detail = "The SDP is missing or invalid."


class SdpDirectionError(RefusalError):
    """The directions in the session description do not fit the action."""

    status, code = 422, "sdp-direction"
    detail = "The directions of the media lines do not fit the action."


class NoSuchConferenceError(NotFoundError):
    """The conference does not exist, or not for this session."""

    detail = "There is no such conference."


class ConferenceNotOpenError(RefusalError):
    """The conference has not been answered yet, or has ended."""

    status, code = 409, "conference-not-open"
    detail = "The conference is not open."


class ConferenceFullError(RefusalError):
    """The conference takes no one more."""

    status, code = 409, "conference-full"
    detail = "The conference is full."


class NotRingingError(RefusalError):
    """Nothing rings for this session in this conference."""

    status, code = 409, "not-ringing"
    detail = "The conference does not ring for you."


class AlreadyAnsweredError(RefusalError):
    """Another device was first, or this one has answered before."""

    status, code = 409, "already-answered"
    detail = "The invitation has been answered already."


class AlreadyOnHoldError(RefusalError):
    """A hold by someone who is on hold."""

    status, code = 409, "already-on-hold"
    detail = "You are on hold already: resume first."


class NotOnHoldError(RefusalError):
    """A resume by someone who is not on hold."""

    status, code = 409, "not-on-hold"
    detail = "You are not on hold."


class ParticipantMovingError(RefusalError):
    """The other side is between two devices; `retryAfterMs` says when to look again."""

    status, code = 409, "participant-moving"
    detail = "The participant is moving to another device."


class CalleeBusyError(RefusalError):
    """Somebody who is invited, named in `to`, has `limit` unanswered invitations already."""

    status, code = 409, "callee-busy"
    detail = "The one you call has too many unanswered invitations: try again later."


class TooManyConferencesError(RefusalError):
    """The session takes part in as many conferences as it may, given as `limit`."""

    status, code = 409, "too-many-conferences"
    detail = "This session takes part in too many conferences: leave one first."


class TooManySessionsError(RefusalError):
    """The user has as many live sessions as one user may have, given as `limit`."""

    status, code = 409, "too-many-sessions"
    detail = "This user has too many live sessions: end one first."


class FocusOnlyError(RefusalError):
    """The conference's media does not pass through the enabler."""

    status, code = 409, "focus-only"
    detail = "Only a conference of topology 'focus' can do this: here the media flows between the browsers."


class ModificationPendingError(RefusalError):
    """Another offer between the same two sides waits for its answer (RFC 3264 section 4)."""

    status, code = 409, "modification-pending"
    detail = "Another modification is pending: settle it, then offer again."


class ModificationSettledError(RefusalError):
    """The modification has its final state, given as `state`."""

    status, code = 409, "modification-settled"
    detail = "The modification has been settled."


class NotYoursToSettleError(RefusalError):
    """Only the receiver accepts or rejects, only the initiator cancels."""

    status, code = 409, "not-yours-to-settle"
    detail = "This modification is not yours to settle."


class PreconditionFailedError(RefusalError):
    """The conference has changed since the given ETag."""

    status, code = 412, "precondition-failed"
    detail = "The conference has changed: read it again."


class IdempotencyMismatchError(RefusalError):
    """The Idempotency-Key was used for another request."""

    status, code = 422, "idempotency-mismatch"
    detail = "This Idempotency-Key belongs to another request."


class IdempotencyExpiredError(RefusalError):
    """The first request with this Idempotency-Key made a session that has ended since."""

    status, code = 409, "idempotency-expired"
    detail = "The session of this Idempotency-Key has ended: register again with a new key."


class TooManyInvitationsError(RefusalError):
    """The caller has as many unanswered invitations, or as many to one user, as it may have, given as `limit`."""

    status, code = 429, "too-many-invitations"
    detail = "You have too many unanswered invitations, in all or to this user: wait until some are answered."


class TooManyOffersError(RefusalError):
    """The user has made as many offers in the last minute as one user may make, given as `limit`."""

    status, code = 429, "too-many-offers"
    detail = "You have made too many offers in the last minute, and others renegotiate for each: wait a little."


class MediaUnavailableError(RefusalError):
    """No media node can serve this."""

    status, code = 503, "media-unavailable"
    detail = "No media node can serve a conference of topology 'focus' at this time: try again in a moment."
