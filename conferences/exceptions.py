"""Refusals of requests about conferences, each with its status, code and detail (protocol section 8).

`events.exceptions` defines the refusals of requests in general.

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
├── ParticipantAwayError     409 participant-away
├── CalleeBusyError          409 callee-busy
├── TooManyConferencesError  409 too-many-conferences
├── TooManySessionsError     409 too-many-sessions
├── FocusOnlyError           409 focus-only
├── OpenOnlyError            409 open-only
├── ConferenceLockedError    403 locked
├── NotLockedError           409 not-locked
├── LobbyFullError           409 lobby-full
├── KnockSettledError        409 knock-settled
├── RatingClosedError        409 rating-closed
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
    """A `PUT` on a conference has no header `x-conference-action`."""

    status, code = 400, "action-missing"
    detail = "Name the action in the header 'x-conference-action'."


class ActionUnknownError(RefusalError):
    """A `PUT` on a conference names an action that does not exist."""

    status, code = 400, "action-unknown"
    detail = "There is no such action."


class SdpInvalidError(RefusalError):
    """The session description is missing, is not well-formed, or does not fit the offer."""

    status, code = 422, "sdp-invalid"
    detail = "The SDP is missing or invalid."


class SdpDirectionError(RefusalError):
    """The directions of the media sections do not fit the action or the offer."""

    status, code = 422, "sdp-direction"
    detail = "The directions of the media sections do not fit the action."


class NoSuchConferenceError(NotFoundError):
    """The conference does not exist, or this session may not see it."""

    detail = "There is no such conference."


class ConferenceNotOpenError(RefusalError):
    """The conference has not been answered yet, or has ended. `state` is the state that forbids the action."""

    status, code = 409, "conference-not-open"
    detail = "The conference is not open."


class ConferenceFullError(RefusalError):
    """The conference has no space for another participant."""

    status, code = 409, "conference-full"
    detail = "The conference is full."


class NotRingingError(RefusalError):
    """The session has no invitation to this conference that still rings."""

    status, code = 409, "not-ringing"
    detail = "You have no invitation to this conference that still rings."


class AlreadyAnsweredError(RefusalError):
    """Another device of the user, or this device, has answered already."""

    status, code = 409, "already-answered"
    detail = "The invitation has been answered already."


class AlreadyOnHoldError(RefusalError):
    """A participant that is already on hold has offered a hold."""

    status, code = 409, "already-on-hold"
    detail = "You are on hold already: resume first."


class NotOnHoldError(RefusalError):
    """A participant that is not on hold has offered a resume."""

    status, code = 409, "not-on-hold"
    detail = "You are not on hold."


class ParticipantMovingError(RefusalError):
    """The client's own participant is moving, or the participant that it wants to negotiate with.

    In the second case, `retryAfterMs` says when to try again.
    """

    status, code = 409, "participant-moving"
    detail = "The participant is moving to another device."


class ParticipantAwayError(RefusalError):
    """A participant whose page has closed or reloads cannot become the host: it may never come back."""

    status, code = 409, "participant-away"
    detail = "The participant's page has closed or reloads."


class CalleeBusyError(RefusalError):
    """The number of invitations that ring for the invited user has reached `limit`. `to` is the user's address."""

    status, code = 409, "callee-busy"
    detail = "The user has too many unanswered invitations: try again later."


class TooManyConferencesError(RefusalError):
    """The number of conferences in which the session takes part has reached `limit`."""

    status, code = 409, "too-many-conferences"
    detail = "This session takes part in too many conferences: leave one first."


class TooManySessionsError(RefusalError):
    """The number of the user's live sessions has reached `limit`."""

    status, code = 409, "too-many-sessions"
    detail = "This user has too many live sessions: end one first."


class FocusOnlyError(RefusalError):
    """The request needs a focus, but the media of this conference flows between the browsers."""

    status, code = 409, "focus-only"
    detail = "Only a conference of topology 'focus' can do this. Here the media flows between the browsers."


class OpenOnlyError(RefusalError):
    """The request needs a conference with access "open"."""

    status, code = 409, "open-only"
    detail = "Only a conference with access 'open' can do this. Here only invited users can join."


class ConferenceLockedError(RefusalError):
    """The host has locked the open conference, and the session was not admitted."""

    status, code = 403, "locked"
    detail = "The conference is locked: knock, and wait until the host admits you."


class NotLockedError(RefusalError):
    """A session knocks that may join without knocking."""

    status, code = 409, "not-locked"
    detail = "You may join this conference without knocking."


class LobbyFullError(RefusalError):
    """The number of knocks that wait for the host has reached `limit`."""

    status, code = 409, "lobby-full"
    detail = "Too many others wait for the host: try again later."


class KnockSettledError(RefusalError):
    """The knock was answered already, was withdrawn or has expired. `state` is its state."""

    status, code = 409, "knock-settled"
    detail = "The knock no longer waits for an answer."


class RatingClosedError(RefusalError):
    """The participant left too long ago to rate the call."""

    status, code = 409, "rating-closed"
    detail = "You left the call too long ago to rate it."


class ModificationPendingError(RefusalError):
    """Another offer between the same two sides is pending (RFC 3264 section 4).

    `modId` is the ID of that offer, and `retryAfterMs` says when to try again.
    """

    status, code = 409, "modification-pending"
    detail = "Another modification is pending: settle it, then offer again."


class ModificationSettledError(RefusalError):
    """The modification is settled already. `state` is its final state."""

    status, code = 409, "modification-settled"
    detail = "The modification is settled already."


class NotYoursToSettleError(RefusalError):
    """Only the receiver may accept or reject a modification, and only the initiator may cancel it."""

    status, code = 409, "not-yours-to-settle"
    detail = "This modification is not yours to settle."


class PreconditionFailedError(RefusalError):
    """The conference has changed since the ETag in `If-Match`. `etag` is the current ETag."""

    status, code = 412, "precondition-failed"
    detail = "The conference has changed: read it again."


class IdempotencyMismatchError(RefusalError):
    """The `Idempotency-Key` belongs to a different request."""

    status, code = 422, "idempotency-mismatch"
    detail = "This Idempotency-Key belongs to a different request: use a new key."


class IdempotencyExpiredError(RefusalError):
    """The first request with this `Idempotency-Key` returned a session that has ended since."""

    status, code = 409, "idempotency-expired"
    detail = "The session of this Idempotency-Key has ended: register again with a new key."


class TooManyInvitationsError(RefusalError):
    """The number of the caller's unanswered invitations, in total or to one user, has reached `limit`."""

    status, code = 429, "too-many-invitations"
    detail = "You have too many unanswered invitations, in total or to this user: wait until some are answered."


class TooManyOffersError(RefusalError):
    """The number of offers that the user has made in the last minute has reached `limit`."""

    status, code = 429, "too-many-offers"
    detail = "You have made too many offers in the last minute: wait as long as the header 'Retry-After' says."


class MediaUnavailableError(RefusalError):
    """No media node can serve a conference of topology `focus` now."""

    status, code = 503, "media-unavailable"
    detail = "No media node can serve a conference of topology 'focus' now: try again in a few seconds."
