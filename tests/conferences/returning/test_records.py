"""Records of earlier stays."""

import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from conferences.models import Conference, Modification, Participant, Stay
from conferences.operations.retention import Write, prune, scrub_modification
from events.models import Event, Session
from tests.support.crowds import crowd
from tests.support.devices import Device
from tests.support.meeting import Meeting

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("node")]


class TestRecords:
    def test_support_staff_see_each_stay(self, meeting: Meeting, bob: Device) -> None:
        began = meeting.participant(bob).joined_at
        assert began is not None
        bob.delete(meeting.id)
        left = meeting.participant(bob).left_at
        bob.join(meeting.id)
        (stay,) = Stay.objects.all()
        assert (stay.joined_at, stay.left_at, stay.left_reason) == (began, left, "hung-up")
        assert (stay.session_id, stay.participant_id) == (bob.id, meeting.participant(bob).pk)
        joined = meeting.participant(bob).joined_at
        assert joined is not None
        assert joined > stay.left_at
        client = Client()
        client.force_login(User.objects.create_superuser("chief", password="irrelevant"))
        page = client.get(f"/admin/conferences/conference/{meeting.id}/change/").content.decode()
        _, _, stays = page.partition("Earlier stays")
        row, _, _ = stays.partition("</tbody>")
        assert re.findall(r'class="field-participant">([^<]*)<', row) == ["bob"]

    def test_stays_and_their_sessions_are_kept_as_long_as_the_conference(
        self, meeting: Meeting, alice: Device, bob: Device, settings: Settings
    ) -> None:
        bob.delete(meeting.id)
        bob.request("DELETE", f"/sessions/{bob.id}")
        again = Device.register("bob", vtn="+15550101")
        again.join(meeting.id)
        again.request("DELETE", f"/sessions/{again.id}")
        alice.delete(meeting.id)
        alice.request("DELETE", f"/sessions/{alice.id}")
        Event.objects.all().delete()
        crowd(meeting.id, 1_100)
        Session.objects.update(ended_at=timezone.now(), state="ended")
        Conference.objects.update(ended_at=timezone.now() + timedelta(hours=1))
        late = timezone.now() + settings.RECORD_RETENTION
        prune(now=late)
        assert Session.objects.filter(pk__in=[alice.id, bob.id, again.id]).count() == 3
        prune(now=late + timedelta(hours=2))
        for model in (Conference, Participant, Stay, Session):
            assert not model._default_manager.exists(), model

    def test_the_credentials_of_each_stay_are_deleted(self, meeting: Meeting, bob: Device) -> None:
        participant = meeting.participant(bob).pk
        for _ in range(2):
            bob.delete(meeting.id)
            prune(now=timezone.now())
            assert not any("ice-pwd" in text for text in self.descriptions(participant))
            bob.join(meeting.id)
            bob.follow(meeting.id)
            assert any("ice-pwd" in text for text in self.descriptions(participant))
        bob.delete(meeting.id)
        bob.join(meeting.id)
        prune(now=timezone.now())
        assert any("ice-pwd" in text for text in self.descriptions(participant))
        bob.delete(meeting.id)
        prune(now=timezone.now())
        assert not any("ice-pwd" in text for text in self.descriptions(participant))

    def test_descriptions_that_were_scrubbed_earlier_are_not_read_again(self, meeting: Meeting, bob: Device) -> None:
        bob.delete(meeting.id)
        prune(now=timezone.now())
        old = Modification.objects.filter(offered_by=meeting.participant(bob))
        old.update(offer="a=ice-pwd:1", settled_at=timezone.now() - timedelta(hours=1))
        bob.join(meeting.id)
        bob.delete(meeting.id)
        prune(now=timezone.now())
        assert [text for text in self.descriptions(meeting.participant(bob).pk) if "ice-pwd" in text] == ["a=ice-pwd:1"]

    def test_a_participant_that_returns_during_scrubbing_keeps_its_credentials(
        self, meeting: Meeting, bob: Device, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bob.delete(meeting.id)

        def return_first(row: Modification) -> Write:
            monkeypatch.undo()
            bob.join(meeting.id)
            return scrub_modification(row)

        monkeypatch.setattr("conferences.operations.retention.scrub_modification", return_first)
        prune(now=timezone.now())
        participant = meeting.participant(bob)
        assert (participant.state, participant.scrubbed_at, participant.ice_ufrag != "") == ("accepted", None, True)

    def descriptions(self, participant: str) -> list[str]:
        """Return the descriptions of a participant's own offers."""
        return list(Modification.objects.filter(offered_by=participant).values_list("offer", flat=True))
