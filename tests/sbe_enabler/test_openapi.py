"""The OpenAPI description is complete, and real responses match its schemas."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jsonschema
import pytest
from django.core.management import call_command
from django.test import Client
from drf_spectacular.generators import SchemaGenerator

from sbe_enabler import description as served
from tests.support.devices import Device, gateway_key, open_call

pytestmark = [pytest.mark.once, pytest.mark.django_db(transaction=True)]


@pytest.fixture(scope="module")
def description() -> dict[str, Any]:
    generator = SchemaGenerator()  # type: ignore[no-untyped-call]
    schema: dict[str, Any] = generator.get_schema(public=True)  # type: ignore[no-untyped-call]
    return schema


def _fits(description: dict[str, Any], shape: str, answer: Any) -> None:
    """Require that a response matches the schema and has no undeclared member."""
    schema = {"$ref": f"#/components/schemas/{shape}", "components": description["components"]}
    # OpenAPI 3.0 writes "or null" as `nullable`.
    jsonschema.Draft202012Validator(_with_nulls(schema)).validate(answer)
    assert set(answer) <= set(description["components"]["schemas"][shape]["properties"])


def _with_nulls(schema: Any) -> Any:
    """Return a schema of OpenAPI 3.0 as a JSON Schema."""
    if isinstance(schema, list):
        return [_with_nulls(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {key: _with_nulls(value) for key, value in schema.items() if key != "nullable"}
    return {"anyOf": [plain, {"type": "null"}]} if schema.get("nullable") is True else plain


def test_the_description_has_no_gaps(capsys: pytest.CaptureFixture[str]) -> None:
    call_command("spectacular", fail_on_warn=True, validate=True)
    assert "mediaConferences" in capsys.readouterr().out


def test_the_description_is_made_by_one_thread_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    make = SchemaGenerator.get_schema

    def get_schema(generator: SchemaGenerator, **options: Any) -> Any:
        made.append(threading.current_thread().name)
        return make(generator, **options)  # type: ignore[no-untyped-call]

    monkeypatch.setattr(SchemaGenerator, "get_schema", get_schema)
    served.generated.cache_clear()
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(served.rendered, 4 * ["application/json"]))
    assert len({*answers}) == len(made) == 1


@pytest.mark.parametrize("address", ["/api/schema", "/api", "/api/"])
def test_the_description_is_served(client: Client, address: str) -> None:
    response = client.get(address, follow=True)
    assert response.status_code == 200
    assert b"x-conference-action" in response.content


@pytest.mark.parametrize("format_", ["application/vnd.oai.openapi", "application/json"])
def test_the_description_is_made_once(client: Client, format_: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first = client.get("/api/schema", headers={"accept": format_})
    assert (first.status_code, first["content-type"]) == (200, f"{format_}; charset=utf-8")
    monkeypatch.delattr(SchemaGenerator, "get_schema")
    # A query string does not make the server generate the description again.
    assert client.get("/api/schema?version=2", headers={"accept": format_}).content == first.content


def test_responses_match_their_schemas(description: dict[str, Any]) -> None:
    gateway = {"authorization": f"Api-Key {gateway_key()}"}
    registered = Client().post("/sessions", {"username": "carol"}, content_type="application/json", headers=gateway)
    _fits(description, "NewSessionShape", registered.json())
    _fits(description, "SessionList", Client().get("/sessions", headers=gateway).json())
    alice, bob = Device.register("alice"), Device.register("bob")
    _fits(description, "OwnSessionShape", alice.request("GET", f"/sessions/{alice.id}").json())
    call = open_call(alice, bob)
    _fits(description, "ConferenceShape", alice.get(call.id))
    _fits(description, "ConferenceList", alice.request("GET", "/mediaConferences").json())
    sample = {"ageMs": 0, "periodMs": 5000, "up": {"bitrate": 1}, "down": {"bitrate": 1, "loss": 0.1, "frozenMs": 5}}
    quality = f"/mediaConferences/{call.id}/quality"
    alice.request("POST", quality, {"device": "phone", "samples": [sample]})
    _fits(description, "QualityList", alice.request("GET", quality).json())
    _fits(description, "Problem", alice.put(call.id, "no-such-action").json())
    _fits(description, "EndedConferenceShape", alice.delete(call.id).json())
