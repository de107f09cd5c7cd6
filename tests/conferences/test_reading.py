"""Stored descriptions are read before their conference is locked, or not at all."""

import pytest
from django.db import transaction

from conferences import sdp
from conferences.models import Modification
from conferences.operations.reading import OfferReading, read_call, read_offer
from conferences.scrubbing import scrub
from conferences.sdp import validate
from media.sdp import description
from tests.support.descriptions import answer, describe, offer
from tests.support.devices import Call, Device
from tests.support.refusals import refused

pytestmark = pytest.mark.django_db(transaction=True)

MOD, ACCEPT = "initiate-conference-mod", "accept-conference-mod"


@pytest.fixture(params=[False, True], ids=["plain", "with a key"])
def headers(request: pytest.FixtureRequest) -> dict[str, str]:
    return {"idempotency_key": "k1"} if request.param else {}


@pytest.mark.parametrize("module", [sdp, description])
def test_reading_in_a_transaction_fails_these_tests(module: object) -> None:
    with transaction.atomic(), pytest.raises(AssertionError, match="parse was called in a transaction"):
        module.parse(describe())  # type: ignore[attr-defined]


def test_wrong_answer_to_a_modification_is_refused_after_reading_the_offer_early(
    call: Call, headers: dict[str, str]
) -> None:
    mod = call.alice.put(call.id, MOD, offer("recvonly", version=3))["x-mod-id"]
    wrong = {"modId": mod, **answer("recvonly", version=3)}
    refused(422, "sdp-direction", call.bob.put, call.id, ACCEPT, wrong, **headers)
    right = {"modId": mod, **answer("sendonly", version=3)}
    assert call.bob.put(call.id, ACCEPT, right).status_code == 204


def test_wrong_answer_to_a_call_is_refused_after_reading_the_offer_early(
    ringing: Call, headers: dict[str, str]
) -> None:
    wrong = answer(setup="actpass")
    refused(422, "sdp-invalid", ringing.bob.put, ringing.id, "conference-answer", wrong, **headers)
    assert ringing.bob.put(ringing.id, "conference-answer", answer()).status_code == 204


def test_an_offer_is_read_only_for_its_receiver(call: Call, carol: Device) -> None:
    mod = call.alice.put(call.id, MOD, offer(version=3))["x-mod-id"]
    judged = validate("answer", describe(setup="active"))
    for device, conference, is_read in (
        (call.bob, call.id, True),
        (call.alice, call.id, False),
        (carol, call.id, False),
        (call.bob, "elsewhere", False),
    ):
        reading = read_offer(session=device.row, conference_id=conference, modification_id=mod, answer=judged)
        assert (reading.offer is not None) == is_read


def test_the_description_of_a_call_is_read_only_for_the_callee(ringing: Call, carol: Device) -> None:
    for device, is_read in ((ringing.bob, True), (ringing.alice, False), (carol, False)):
        assert (read_call(session=device.row, conference_id=ringing.id).offer is not None) == is_read


def test_offer_made_after_the_reading_is_read_separately() -> None:
    modification = Modification(offer=describe(version=3))
    for reading in (OfferReading(), OfferReading("another", description.parse(describe(version=4)))):
        assert reading.offer_of(modification).version == 3
    read = description.parse(describe(version=5))
    assert OfferReading(modification.pk, read).offer_of(modification) is read


def test_repeated_answer_is_recognised_after_its_credentials_are_deleted(call: Call) -> None:
    mod = call.alice.put(call.id, MOD, offer(version=3))["x-mod-id"]
    body = {"modId": mod, **answer(version=3)}
    call.bob.put(call.id, ACCEPT, body)
    row = Modification.objects.get(pk=mod)
    Modification.objects.filter(pk=mod).update(offer=scrub(row.offer), answer=scrub(row.answer), scrubbed=True)
    assert call.bob.put(call.id, ACCEPT, body).status_code == 204
    other = {"modId": mod, **answer(version=4)}
    refused(409, "modification-settled", call.bob.put, call.id, ACCEPT, other)
    judged = validate("answer", body["sdp"])
    # An empty reading, as if the modification had not been scrubbed yet when the reading was made.
    assert OfferReading().is_answer_of(Modification.objects.get(pk=mod), judged)
