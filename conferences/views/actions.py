"""What `PUT /mediaConferences/{confId}` can do: one class for each action, by its name in `x-conference-action`.

`ACTIONS` is the whole table. To follow an SDP, begin with the class of its action: it reads the body, and `perform`
calls one operation.
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
from conferences.sdp import JudgedSdp, require_direction
from conferences.serializers import ActionSerializer
from conferences.views.base import ANSWER, description, parse
from events.exceptions import MalformedError
from events.models import Session


class Action:
    """An action that a request asks for. Making it reads and judges the request, and changes nothing."""

    # What its SDP may be; the first is expected. Empty when it needs none.
    sdp_types: ClassVar[tuple[str, ...]] = ()

    def __init__(self, request: Request, *, session: Session, conference_id: str) -> None:
        self.session, self.conference_id = session, conference_id
        self.if_match = request.headers.get("if-match")
        self._request, self._data = request, parse(ActionSerializer, request)
        self.read()

    def read(self) -> None:
        """Read and judge what this action needs of the request.

        :raises RefusalError: when that is missing or wrong.
        """
        raise NotImplementedError

    def perform(self, *, now: datetime) -> Outcome:
        """Call the operation."""
        raise NotImplementedError

    def _sdp(self) -> JudgedSdp:
        """Return the judged SDP of the body.

        :raises SdpInvalidError: when it is missing, broken, or of another type.
        """
        return description(self._request, self._data, *self.sdp_types)

    def _modification_id(self) -> str:
        """Return which modification is meant: `modId` in the body, or `x-mod-id` beside a bare SDP.

        :raises MalformedError: when neither says.
        """
        modification_id = self._data.get("modId") or self._request.headers.get("x-mod-id")
        if not modification_id:
            raise MalformedError("Say which modification: 'modId' in the body, or the header 'x-mod-id'.")
        return str(modification_id)


class Answer(Action):
    """Answer an invitation, or join an open conference: the answer to the caller's offer, or an own offer."""

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
    """Offer a modification, a hold or a resume, or prepare a move. The name says which."""

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
    """Reject a modification, or cancel one's own."""

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
    """Return the action that a request asks for.

    :raises ActionMissingError: when it names none.
    :raises ActionUnknownError: when there is none of this name.
    """
    name = request.headers.get("x-conference-action")
    if name is None:
        raise ActionMissingError
    action = ACTIONS.get(name)
    if action is None:
        raise ActionUnknownError(f"There is no action '{name[:64]}'.")
    return action(request, session=session, conference_id=conference_id)


def _described(name: str) -> str:
    """Return a line of the OpenAPI description: what an action does, and which SDP it takes."""
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
