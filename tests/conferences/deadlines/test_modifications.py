"""A modification that is not settled expires."""

from datetime import timedelta

import pytest
from django.utils import timezone
from pytest_django import Settings

from conferences.models import Modification
from conferences.operations.deadlines import settle_due
from tests.support.actions import HOLD, MOD
from tests.support.deadlines import INSTANT, assert_all_is_settled
from tests.support.descriptions import answer, offer
from tests.support.devices import Call, hold
from tests.support.refusals import refused

pytestmark = pytest.mark.django_db(transaction=True)


class TestModificationDeadline:
    @pytest.mark.parametrize("action", [MOD, HOLD])
    def test_an_unsettled_modification_expires_for_both_sides(
        self, call: Call, action: str, settings: Settings
    ) -> None:
        before = call.alice.get(call.id)
        mod = call.alice.put(call.id, action, offer("recvonly", version=3))["x-mod-id"]
        call.bob.news()
        row = Modification.objects.get(pk=mod)
        assert row.expires_at - row.created_at == settings.MODIFICATION_LIFETIME
        assert_all_is_settled(row.expires_at - INSTANT)
        assert settle_due(now=row.expires_at) == 1
        for device in (call.alice, call.bob):
            (expired,) = device.news()
            assert (expired["type"], expired["modId"]) == ("mod-expired", mod)
        assert call.alice.get(call.id) == before
        for refuse in (call.alice.withdraw, call.bob.withdraw):
            assert refused(409, "modification-settled", refuse, call.id, mod).json()["state"] == "mod-expired"
        refused(409, "modification-settled", call.bob.accept, call.id, mod, answer(version=3))
        assert_all_is_settled(row.expires_at)
        assert call.bob.put(call.id, MOD, offer(session=777, version=3)).status_code == 204

    def test_the_offer_of_a_call_expires_with_its_ringing(self, ringing: Call) -> None:
        Modification.objects.update(expires_at=timezone.now())
        assert_all_is_settled(timezone.now())

    def test_a_settled_modification_does_not_expire(self, call: Call) -> None:
        hold(call)
        assert_all_is_settled(timezone.now() + timedelta(seconds=60))
