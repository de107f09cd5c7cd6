"""The parts of the OpenAPI description that drf-spectacular cannot derive from the views: responses and authentication.

These serializers describe what `conferences.wire` renders. `tests/sbe_enabler/test_openapi.py` compares them with
real responses.
"""

from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, NotRequired, Union, get_args, get_origin, get_type_hints, is_typeddict

from django.db.models import Choices
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers

from conferences import shapes
from conferences.operations.calls import EndOutcome, MoveRefusal
from events.clock import Instant

Shape = serializers.Serializer[Any]


@cache
def _described(shape: type[Any]) -> type[Shape]:
    """Return the serializer with the name, docstring and fields of a shape: one class for each shape."""
    hints = get_type_hints(shape, include_extras=True)
    members = {name: _field(hint) for name, hint in hints.items()}
    return type(shape.__name__, (Shape,), {"__doc__": shape.__doc__, **members})


def _field(hint: Any, **options: Any) -> serializers.Field[Any, Any, Any, Any]:
    """Return the serializer field for a type hint.

    :raises KeyError: when there is no serializer field for this type.
    """
    if hint == Instant:
        return serializers.DateTimeField(**options)
    if get_origin(hint) is NotRequired:
        return _field(get_args(hint)[0], required=False, **options)
    if get_origin(hint) is Annotated:
        return _field(get_args(hint)[0], **options)
    if get_origin(hint) in {UnionType, Union}:
        (type_,) = set(get_args(hint)) - {NoneType}
        return _field(type_, allow_null=True, **options)
    if get_origin(hint) is list:
        return _described(get_args(hint)[0])(many=True, **options)
    if is_typeddict(hint):
        return _described(hint)(**options)
    if issubclass(hint, Choices):
        return serializers.ChoiceField(hint.choices, **options)
    if issubclass(hint, StrEnum):
        return serializers.ChoiceField(list(hint), **options)
    return _FIELDS[hint](**options)


_FIELDS: Mapping[Any, type[serializers.Field[Any, Any, Any, Any]]] = {
    str: serializers.CharField,
    bool: serializers.BooleanField,
    int: serializers.IntegerField,
    float: serializers.FloatField,
}
SessionShape = _described(shapes.SessionShape)
ParticipantShape = _described(shapes.ParticipantShape)
ConferenceShape = _described(shapes.ConferenceShape)
QualityShape = _described(shapes.QualityShape)


class EventUrls(Shape):
    """The addresses of a session's event channel."""

    webSocket = serializers.CharField()  # noqa: N815 - the name on the wire
    http = serializers.CharField()


class OwnSessionShape(SessionShape):  # type: ignore[misc, valid-type]
    """A session as its own user sees it."""

    events = EventUrls()
    iceServers = serializers.ListField(child=serializers.DictField())  # noqa: N815


class NewSessionShape(OwnSessionShape):
    """A newly registered session with its token. No other response shows the token."""

    token = serializers.CharField()


class SessionList(Shape):
    """A page of sessions. `next` is the value of `after` for the next page, or null."""

    sessions = SessionShape(many=True)
    next = serializers.CharField(allow_null=True)


class ConferenceList(Shape):
    """A page of conferences. `next` is the value of `after` for the next page, or null."""

    conferences = ConferenceShape(many=True)
    next = serializers.CharField(allow_null=True)


class QualityList(Shape):
    """A page of samples of quality. `next` is the value of `after` for the next page, or null."""

    samples = QualityShape(many=True)
    next = serializers.CharField(allow_null=True)


class OwnKnockShape(Shape):
    """A knock as the session that has knocked sees it."""

    id = serializers.CharField()
    expiresAt = serializers.DateTimeField()  # noqa: N815


class WaitingKnockShape(Shape):
    """A knock that waits for the host."""

    knock = _described(shapes.KnockShape)()
    expiresAt = serializers.DateTimeField()  # noqa: N815


class KnockList(Shape):
    """The knocks that wait for the host."""

    knocks = WaitingKnockShape(many=True)


class EndedConferenceShape(ConferenceShape):  # type: ignore[misc, valid-type]
    """A conference after a DELETE."""

    outcome = serializers.ChoiceField(list(EndOutcome))
    moveRefused = serializers.ChoiceField(list(MoveRefusal), required=False)  # noqa: N815
    ringsUntil = serializers.DateTimeField(required=False)  # noqa: N815


class Problem(Shape):
    """A refusal (RFC 9457)."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    code = serializers.CharField(help_text="A stable name, for programs.")
    detail = serializers.CharField(help_text="An explanation, for people.")
    xCorrelator = serializers.CharField(allow_null=True)  # noqa: N815


REFUSALS = {("4XX", "application/problem+json"): Problem}

IDEMPOTENCY_HEADER = OpenApiParameter("Idempotency-Key", str, OpenApiParameter.HEADER)
IF_MATCH_HEADER = OpenApiParameter("If-Match", str, OpenApiParameter.HEADER)
PAGE = [OpenApiParameter("limit", int), OpenApiParameter("after", str)]


class PrincipalScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Describes `PrincipalAuthentication`: a session's token or an API key."""

    target_class = "events.authentication.PrincipalAuthentication"
    # The one authentication class stands for two schemes.
    name = ["sessionToken", "apiKey"]

    def get_security_definition(self, auto_schema: AutoSchema) -> list[dict[str, Any]]:
        """Return the two security schemes."""
        return [
            {"type": "http", "scheme": "bearer", "description": "The token of a session."},
            {
                "type": "apiKey",
                "in": "header",
                "name": "Authorization",
                "description": "`Api-Key <key>`. If the request needs a session, also `x-session-id` with its ID.",
            },
        ]

    def get_security_requirement(self, auto_schema: AutoSchema) -> list[dict[str, list[Any]]]:
        """Return the two schemes as alternatives."""
        return [{name: []} for name in self.name]
