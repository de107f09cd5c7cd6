"""The actions of `PUT /mediaConferences/{confId}`: `ACTIONS` maps each name in `x-conference-action` to a class.

The class reads and validates the request. Its `perform` calls one operation.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar

from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request

from conferences.exceptions import ActionMissingError, ActionUnknownError
from conferences.operations.calls import answer_conference
from conferences.operations.modifications import (
    RULES,
    Initiation,
    Outcome,
    accept_modification,
    offer_modification,
    withdraw_modification,
)
from conferences.operations.reading import read_call, read_offer
from conferences.sdp import ValidatedSdp, require_direction
from conferences.serializers import ActionSerializer
from conferences.views.base import ANSWER, description, parse
from events.exceptions import MalformedError
from events.models import Session


class Action:
    """The action of one request. The constructor reads and validates the request, and changes nothing."""

    # The types that the action's SDP may have; empty if the action needs no SDP. Error messages name the first type.
    sdp_types: ClassVar[tuple[str, ...]] = ()

    def __init__(self, request: Request, *, session: Session, conference_id: str) -> None:
        self.session, self.conference_id = session, conference_id
        self.if_match = request.headers.get("if-match")
        self._request, self._data = request, parse(ActionSerializer, request)
        self.read()

    def read(self) -> None:
        """Read and validate the parts of the request that this action needs.

        :raises RefusalError: when one of them is missing or invalid.
        """
        raise NotImplementedError

    def perform(self, *, now: datetime) -> Outcome:
        """Call the operation."""
        raise NotImplementedError

    def _sdp(self) -> ValidatedSdp:
        """Return the validated SDP of the body.

        :raises SdpInvalidError: when it is missing, invalid or of another type.
        """
        return description(self._request, self._data, *self.sdp_types)

    def _modification_id(self) -> str:
        """Return the ID of the modification: `modId` in the body, or else the header `x-mod-id`.

        :raises MalformedError: when the request has no such ID.
        """
        modification_id = self._data.get("modId") or self._request.headers.get("x-mod-id")
        if not modification_id:
            raise MalformedError("Name the modification: send 'modId' in the body, or the header 'x-mod-id'.")
        return str(modification_id)


class Answer(Action):
    """Answer an invitation or join an open conference, with an answer to the caller's offer or with an offer."""

    sdp_types = ("answer", "offer")

    def read(self) -> None:
        self.description = self._sdp()
        self.reading = read_call(session=self.session, conference_id=self.conference_id)

    def perform(self, *, now: datetime) -> Outcome:
        """Answer the conference."""
        return answer_conference(
            session=self.session,
            conference_id=self.conference_id,
            description=self.description,
            reading=self.reading,
            now=now,
            if_match=self.if_match,
        )


class Offer(Action):
    """Offer a modification, a hold or a resume. `initiate-call-hold` offers a hold and arms a move."""

    sdp_types = ("offer",)

    def read(self) -> None:
        self.initiation = Initiation(self._request.headers["x-conference-action"])
        self.offer = self._sdp()
        require_direction(self.offer, RULES[self.initiation])

    def perform(self, *, now: datetime) -> Outcome:
        """Offer the modification."""
        return offer_modification(
            session=self.session,
            conference_id=self.conference_id,
            initiation=self.initiation,
            offer=self.offer,
            now=now,
            if_match=self.if_match,
        )


class Accept(Action):
    """Accept a modification with an answer."""

    sdp_types = ("answer",)

    def read(self) -> None:
        self.modification_id = self._modification_id()
        self.answer = self._sdp()
        self.reading = read_offer(
            session=self.session,
            conference_id=self.conference_id,
            modification_id=self.modification_id,
            answer=self.answer,
        )

    def perform(self, *, now: datetime) -> Outcome:
        """Accept the modification."""
        return accept_modification(
            session=self.session,
            conference_id=self.conference_id,
            modification_id=self.modification_id,
            answer=self.answer,
            reading=self.reading,
            now=now,
            if_match=self.if_match,
        )


class Withdraw(Action):
    """Reject a modification of the other side, or cancel your own."""

    def read(self) -> None:
        self.modification_id = self._modification_id()

    def perform(self, *, now: datetime) -> Outcome:
        """Reject or cancel the modification."""
        return withdraw_modification(
            session=self.session,
            conference_id=self.conference_id,
            modification_id=self.modification_id,
            now=now,
            if_match=self.if_match,
        )


ACTIONS: Mapping[str, type[Action]] = {
    ANSWER: Answer,
    **dict.fromkeys(Initiation, Offer),
    "accept-conference-mod": Accept,
    "rejectCancel-conference-mod": Withdraw,
}


def action_of(request: Request, *, session: Session, conference_id: str) -> Action:
    """Return the action of a request, after validating the request.

    :raises ActionMissingError: when the request names no action.
    :raises ActionUnknownError: when no action has this name.
    :raises RefusalError: when the request is not valid for the action.
    """
    name = request.headers.get("x-conference-action")
    if name is None:
        raise ActionMissingError
    action = ACTIONS.get(name)
    if action is None:
        raise ActionUnknownError(f"There is no action '{name[:64]}'.")
    return action(request, session=session, conference_id=conference_id)


def _described(name: str) -> str:
    """Return the line about an action in the OpenAPI description, with the types of SDP that the action accepts."""
    action = ACTIONS[name]
    sdp = f" SDP: {' or '.join(action.sdp_types)}." if action.sdp_types else ""
    return f"- `{name}`: {(action.__doc__ or '').strip()}{sdp}"


ACTION_HEADER = OpenApiParameter(
    "x-conference-action",
    str,
    OpenApiParameter.HEADER,
    required=True,
    enum=list(ACTIONS),
    description="\n".join(_described(name) for name in ACTIONS),
)
