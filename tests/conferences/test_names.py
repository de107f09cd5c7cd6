"""Names are normalised, and hidden characters are refused (RFC 8265)."""

from typing import Any

import pytest
from django.test import Client

from conferences import serializers
from tests.support.descriptions import offer
from tests.support.devices import Device, gateway_key
from tests.support.focus import ScriptedNode
from tests.support.refusals import refused

pytestmark = pytest.mark.django_db(transaction=True)


def test_two_encodings_of_a_name_are_the_same_name(alice: Device) -> None:
    zoe = Device.register("zo\u00eb")
    assert alice.call("zoe\u0308").status_code == 201
    assert zoe.news_types() == ["invitation-received"]


def test_a_session_is_registered_under_the_normalised_name() -> None:
    assert Device.register("zoe\u0308").row.username == "zo\u00eb"


@pytest.mark.parametrize("name", ["zo\u00eb\u00a0k", "zo\u00eb  k", "\u3000zo\u00eb \u2003k\u202f", "zo\u00eb k"])
def test_names_that_differ_only_in_spaces_are_the_same_name(alice: Device, name: str) -> None:
    zoe = Device.register("zo\u00eb k")
    assert alice.call(name).status_code == 201
    assert zoe.news_types() == ["invitation-received"]


@pytest.mark.parametrize(
    "name",
    [
        "a\x00b",
        "a\x85b",
        "a\u200bb",
        "a\u200db",
        "a\u202eb",
        "a\u2066b",
        "a\ufeffb",
        "a\u2028b",
        "a\u034fb",
        "a\u115fb",
        "a\u17b5b",
        "a\u180bb",
        "a\u2065b",
        "a\u2800b",
        "a\u3164b",
        "a\ufe01b",
        "a\ufe0fb",
        "a\ufff0b",
        "a\uffffb",
        "a\U000e0100b",
        "\U0001d173",
        "\U0001d159",
        "a\U00016fe4b",
        "al+\ufe0fice",
        "al|\ufe0eice",
        "a1\ufe0f",
        "\U000e0000",
        "\u3164",
        "\u2800",
        "\u0301",
        "\ufe0f",
    ],
)
def test_hidden_and_empty_names_are_refused(alice: Device, name: str) -> None:
    refused(400, "malformed", alice.call, name)
    refused(400, "malformed", alice.call, "bob", name=name)


@pytest.mark.parametrize("name", ["a\u200bb", "a\u202eb", "\u3164"])
def test_every_endpoint_refuses_such_names(alice: Device, node: ScriptedNode, name: str) -> None:
    key = gateway_key()
    for body in ({"username": name}, {"username": "bob", "device": name}):
        refused(400, "malformed", post_as_gateway, key, "/sessions", body)
    conference = alice.gather(access="open").json()["id"]
    path = f"/mediaConferences/{conference}/participants"
    refused(400, "malformed", alice.request, "POST", path, {"to": name})


def test_an_invitation_and_a_search_compare_the_normalised_name(alice: Device, node: ScriptedNode) -> None:
    zoe = Device.register("zo\u00eb")
    conference = alice.gather(access="open").json()["id"]
    path = f"/mediaConferences/{conference}/participants"
    assert alice.request("POST", path, {"to": "zoe\u0308"}).status_code == 201
    assert zoe.news_types() == ["invitation-received"]
    listed = Client().get("/sessions", {"username": "zoe\u0308"}, headers={"authorization": f"Api-Key {gateway_key()}"})
    assert [session["id"] for session in listed.json()["sessions"]] == [zoe.id]


def post_as_gateway(key: str, path: str, body: dict[str, str]) -> Any:
    """Make a request with an API key."""
    return Client().post(path, body, content_type="application/json", headers={"authorization": f"Api-Key {key}"})


@pytest.mark.parametrize(
    "name",
    [
        "Zo\u00eb",
        "\u674e\u660e",
        "\u0645\u062d\u0645\u062f",
        "\U0001f600",
        "\u2764\ufe0f",
        "1\ufe0f\u20e3",
        "\u2139\ufe0f",
        "O'Neil 2",
    ],
)
def test_names_of_all_scripts_are_accepted(alice: Device, name: str) -> None:
    assert alice.call(name).status_code == 201


class TestLongBodies:
    """Bodies that are too long are refused before slow processing."""

    @pytest.fixture
    def normalised(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """The texts that are normalised. Normalising takes time quadratic in the length of a run of combining marks."""
        texts: list[str] = []

        def normalize(text: str) -> str:
            texts.append(text)
            return text

        monkeypatch.setattr(serializers, "normalize_name", normalize)
        return texts

    def test_a_long_name_is_not_normalised(self, alice: Device, normalised: list[str]) -> None:
        marks = "a" + 50_000 * "\u0315" + 50_000 * "\u0316"
        refused(400, "malformed", alice.call, marks)
        refused(400, "malformed", alice.call, "bob", name=marks)
        assert max(map(len, normalised)) <= 512

    def test_a_name_that_is_short_after_normalisation_is_accepted(self, alice: Device) -> None:
        # Each letter is followed by two combining marks. In NFC, these three are one character.
        assert alice.call("bob", name=128 * "e\u0302\u0301").json()["name"] == 128 * "\u1ebf"

    def test_a_long_list_of_addresses_is_not_read(self, alice: Device, normalised: list[str]) -> None:
        body = {"to": 1000 * ["bob"], **offer()}
        refused(400, "malformed", alice.request, "POST", "/mediaConferences", body)
        assert normalised == []
