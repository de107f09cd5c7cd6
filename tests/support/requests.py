"""Plain requests with any headers, and all addresses of the API."""

import json
from typing import Any

import pytest
from django.test import Client

from conferences.models import Participant
from tests.support.devices import Call

# A refusal before the first query is the same on every database.
before_the_database = pytest.mark.once


def anyone(method: str, path: str, body: Any = None, **headers: str) -> Any:
    """Send a request with these headers only."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    data = "" if body is None else json.dumps(body)
    return Client().generic(method, path, data, content_type="application/json", headers=named)


EVERY_ADDRESS = [
    ("GET", "/sessions"),
    ("POST", "/sessions"),
    ("GET", "/sessions/{session}"),
    ("PUT", "/sessions/{session}"),
    ("DELETE", "/sessions/{session}"),
    ("POST", "/sessions/{session}/away"),
    ("POST", "/mediaConferences"),
    ("GET", "/mediaConferences"),
    ("GET", "/mediaConferences/{conference}"),
    ("PUT", "/mediaConferences/{conference}"),
    ("DELETE", "/mediaConferences/{conference}"),
    ("PUT", "/mediaConferences/{conference}/lock"),
    ("POST", "/mediaConferences/{conference}/knocks"),
    ("GET", "/mediaConferences/{conference}/knocks"),
    ("PUT", "/mediaConferences/{conference}/knocks/{participant}"),
    ("DELETE", "/mediaConferences/{conference}/knocks/{participant}"),
    ("POST", "/mediaConferences/{conference}/participants"),
    ("DELETE", "/mediaConferences/{conference}/participants/{participant}"),
    ("PUT", "/mediaConferences/{conference}/participants/{participant}/hand"),
    ("PUT", "/mediaConferences/{conference}/participants/{participant}/mute"),
    ("PUT", "/mediaConferences/{conference}/participants/{participant}/role"),
    ("PUT", "/mediaConferences/{conference}/participants/{participant}/rating"),
]


def address(path: str, call: Call) -> str:
    """Return the path with IDs that exist."""
    guest = Participant.objects.get(conference=call.id, role="guest")
    return path.format(session=call.bob.id, conference=call.id, participant=guest.pk)


def register(key: str, idempotency_key: str, **fields: Any) -> Any:
    """Register a session as a gateway."""
    return Client().post(
        "/sessions",
        {"username": "dave", **fields},
        content_type="application/json",
        headers={"authorization": f"Api-Key {key}", "idempotency-key": idempotency_key},
    )
