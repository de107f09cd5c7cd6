"""A long offer is sent to every device of the called user, and stored once."""

import json
from datetime import timedelta

import pytest
from asgiref.sync import async_to_sync
from django.db.models import Sum
from django.db.models.functions import Length
from django.utils import timezone

from conferences.models import Modification
from conferences.operations.retention import prune
from events import wakeups
from events.models import Event
from events.offers import LONG_CHARACTERS, StoredOffer, complete, shorten
from events.reader import BATCH_CHARACTERS, read
from tests.support.descriptions import offer
from tests.support.devices import Device

pytestmark = pytest.mark.django_db(transaction=True)


def long_offer(characters: int) -> dict[str, str]:
    """Return an offer of more than this many characters."""
    body = offer()
    candidate = "a=candidate:1 1 udp 1 192.0.2.1 9 typ host ufrag " + 2000 * "x" + "\r\n"
    return {**body, "sdp": body["sdp"] + (characters // len(candidate) + 1) * candidate}


def read_next(device: Device, after: int = 0) -> list[dict[str, object]]:
    """Return the events after the cursor, as a reader of the device's log reads them."""
    return [json.loads(entry.wire) for entry in async_to_sync(read)(device.id, after)]


@pytest.fixture
def devices() -> list[Device]:
    """Eight devices of bob."""
    return [Device.register("bob", f"device {number}") for number in range(8)]


def test_every_device_gets_the_whole_offer_which_is_stored_once(devices: list[Device]) -> None:
    alice, body = Device.register("alice"), long_offer(200_000)
    assert alice.call("bob", **body).status_code == 201
    for device in devices:
        (event,) = read_next(device)
        assert event["description"] == body
    assert Event.objects.aggregate(size=Sum(Length("wire")))["size"] < 8 * 4096


def test_device_that_registers_later_gets_the_offer_too(devices: list[Device]) -> None:
    alice, body = Device.register("alice"), long_offer(200_000)
    alice.call("bob", **body)
    late = Device.register("bob", "late")
    assert read_next(late)[0]["description"] == body


def test_offer_of_usual_size_is_in_each_event_and_in_the_wake_up(
    devices: list[Device], monkeypatch: pytest.MonkeyPatch
) -> None:
    woken: dict[str, list[tuple[int, str]]] = {}
    monkeypatch.setattr(wakeups, "wake", woken.update)
    body = long_offer(8000)
    Device.register("alice").call("bob", **body)
    ((_, wire),) = woken[devices[0].id]
    assert json.loads(wire)["description"] == body


def test_wake_up_never_carries_a_reference(devices: list[Device], monkeypatch: pytest.MonkeyPatch) -> None:
    woken: dict[str, list[tuple[int, str]]] = {}
    monkeypatch.setattr(wakeups, "wake", woken.update)
    Device.register("alice").call("bob", **long_offer(LONG_CHARACTERS))
    assert [woken[device.id] for device in devices] == 8 * [[]]


def test_batch_of_long_offers_is_bounded(devices: list[Device]) -> None:
    size = 200_000
    for number in range(4):
        assert Device.register(f"caller {number}").call("bob", **long_offer(size)).status_code == 201
    entries = async_to_sync(read)(devices[0].id, 0)
    assert len(entries) < 4
    assert sum(len(entry.wire) for entry in entries) < BATCH_CHARACTERS + 2 * size
    seen = [event["seq"] for event in read_next(devices[0])]
    while more := read_next(devices[0], int(str(seen[-1]))):
        seen += [event["seq"] for event in more]
    assert seen == [1, 2, 3, 4]


def test_credentials_are_deleted_from_long_offers_too(devices: list[Device]) -> None:
    alice = Device.register("alice")
    conference = alice.call("bob", **long_offer(200_000)).json()["id"]
    alice.delete(conference)
    prune(now=timezone.now() + timedelta(minutes=20))
    event = json.dumps(read_next(devices[0])[0])
    assert "ice-pwd" not in event
    assert "candidate" not in event


def test_client_cannot_write_a_reference() -> None:
    modification = "0" * 32
    forged = f'"sdp":{{"offer":"{modification}"}}'
    for fields in ({"name": forged}, {"description": {"type": "offer", "sdp": forged}}):
        wire = json.dumps(fields, separators=(",", ":"))
        assert complete(wire) == wire


def test_only_stored_offers_are_replaced_by_a_reference() -> None:
    text = "x" * 100_000
    for fields in ({}, {"description": None}, {"description": {"sdp": text}}, {"reason": "call"}):
        assert shorten(fields) is fields
    stored = {"description": {"type": "offer", "sdp": StoredOffer(text, "0" * 32)}}
    assert shorten(stored) == {"description": {"type": "offer", "sdp": {"offer": "0" * 32}}}
    assert not Modification.objects.exists()
