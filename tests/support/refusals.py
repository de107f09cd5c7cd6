"""Checks of a refusal: it is a problem document, and no row has changed."""

from collections.abc import Callable
from typing import Any

from django.db import connection
from django.db.models import Model

from conferences.models import Conference, KeptAnswer, Knock, Modification, Participant
from events.models import Event, Session
from events.problems import reason_phrase
from media.models import MediaTask, QualitySample

_MODELS: tuple[type[Model], ...] = (
    *(Session, Conference, Participant, Modification, Knock, Event, KeptAnswer),
    *(MediaTask, QualitySample),
)


def all_rows() -> dict[str, list[tuple[Any, ...]]]:
    """Return all rows of the service. It reads them without the ORM, which would take ten times as long."""
    rows = {}
    with connection.cursor() as cursor:
        for model in _MODELS:
            table, key = model._meta.db_table, model._meta.pk.column
            cursor.execute(f"SELECT * FROM {table} ORDER BY {key}")
            rows[model.__name__] = cursor.fetchall()
    return rows


def refused(status: int, code: str, request: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Send a request that must be refused with this status and code, and change nothing; return the response."""
    before = all_rows()
    response = request(*args, **kwargs)
    assert (response.status_code, problem(response)["code"]) == (status, code), response.content
    assert all_rows() == before
    return response


def problem(response: Any) -> dict[str, Any]:
    """Return the body of a problem document, whose shape is checked (RFC 9457)."""
    assert response["content-type"] == "application/problem+json", response.content
    body: dict[str, Any] = response.json()
    assert body["type"] == "about:blank"
    assert body["status"] == response.status_code
    assert body["title"] == reason_phrase(response.status_code)
    assert body["detail"].strip()
    assert body["xCorrelator"] == response["x-correlator"]
    return body
