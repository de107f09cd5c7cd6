"""Credentials and addresses are stored only as long as their leg exists."""

import json
import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.utils import timezone

from conferences.models import Modification, Participant
from conferences.operations.deadlines import settle_due
from conferences.operations.nodes import adopt_orphans
from conferences.operations.retention import prune, prune_in_batches
from conferences.scrubbing import scrub, scrub_event
from events.models import Event
from media.models import MediaNode
from media.sdp.description import parse
from tests.support.descriptions import answer, describe, offer
from tests.support.devices import Call, Device, hold
from tests.support.focus import ScriptedNode, scripted_node
from tests.support.yardstick import slowness

SECRETS = ("ice-ufrag", "ice-pwd", "fingerprint", "candidate:", "tls-id", "192.0.2.", "2001:db8")
HOSTILE = {
    "upper case": "A=ICE-PWD:secretsecretsecretsecret",
    "spaces around": "  a = ice-pwd:secretsecretsecretsecret",
    "without a value": "a=ice-pwd",
    "SDES key": "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:c2VjcmV0c2VjcmV0",
    "key line": "k=base64:c2VjcmV0c2VjcmV0",
    "candidate": "a=candidate:1 1 udp 2130706431 192.0.2.7 5000 typ host raddr 2001:db8::7",
    "mDNS candidate": "a=candidate:1 1 udp 2130706431 secret-secret.local 5000 typ host",
    "name of a host": "c=IN IP4 secret.example",
    "origin": "o=- 1 2 IN IP6 2001:db8::9",
    "rtcp": "a=rtcp:5001 IN IP4 192.0.2.7",
    "mapped": "c=IN IP6 ::ffff:192.0.2.7",
    "with a port": "a=x-relay:192.0.2.7:5000",
    "in brackets": "a=x-relay:[2001:db8::7]:5000",
    "zone": "a=x-relay:2001:db8::7%secret-interface",
}


def private(version: int = 2, **variation: object) -> str:
    """Return a description with every kind of secret."""
    text = describe(version=version, **variation).replace("c=IN IP4 0.0.0.0", "c=IN IP4 192.0.2.1")  # type: ignore[arg-type]
    return text + "a=candidate:1 1 udp 2130706431 192.0.2.7 5000 typ host\r\na=tls-id:secretsecretsecretsecret\r\n"


@pytest.mark.once
class TestDescription:
    def test_scrubbing_removes_only_the_secrets(self) -> None:
        before = private()
        after = scrub(before)
        assert not any(secret in after for secret in SECRETS)
        assert [line for line in before.splitlines() if line in after.splitlines()] == [
            line
            for line in before.splitlines()
            if not line.startswith(("a=ice-ufrag", "a=ice-pwd", "a=fingerprint", "a=candidate", "a=tls-id"))
            and "192.0.2." not in line
            and "127.0.0.1" not in line
        ]
        assert len(parse(after).media) == len(parse(before).media)

    def test_scrubbing_twice_changes_nothing(self) -> None:
        assert scrub(scrub(private())) == scrub(private())

    @pytest.mark.parametrize("end", ["\r\n", "\n", "\r"])
    @pytest.mark.parametrize("line", HOSTILE.values(), ids=HOSTILE.keys())
    def test_secrets_of_every_form_are_scrubbed(self, line: str, end: str) -> None:
        text = f"v=0{end}{line}{end}a=mid:0{end}"
        after = scrub(text)
        assert not any(secret in after for secret in ("secretsecret", "c2VjcmV0", "192.0.2.", "2001:db8", "secret."))
        assert after.startswith(f"v=0{end}")
        assert after.endswith(f"a=mid:0{end}")

    @pytest.mark.parametrize("text", ["", "\0", "=", "a", "a=", "\n\n", "🙂" * 9, "a=:", "c=IN IP4", "1:2", "1.2.3"])
    def test_any_text_can_be_scrubbed(self, text: str) -> None:
        assert scrub(text) == text

    @pytest.mark.parametrize("unit", ["a", "1.", ":", "1:", " ", "\r", "a=", "IN IP4 ", "1.2.3.4"])
    def test_half_a_megabyte_is_scrubbed_quickly(self, unit: str) -> None:
        text = unit * (512 * 1024 // len(unit))
        began = time.thread_time()
        scrub(text)
        assert time.thread_time() - began < 5 * slowness()


@pytest.mark.once
class TestEvent:
    def test_descriptions_are_scrubbed_in_every_field(self) -> None:
        wire = {"seq": 1, "description": {"sdp": private()}, "a": [{"b": {"sdp": private()}}], "sdp": 7, "name": "é"}
        after = scrub_event(json.dumps(wire))
        assert not any(secret in after for secret in SECRETS)
        assert json.loads(after) == {
            **wire,
            "description": {"sdp": scrub(private())},
            "a": [{"b": {"sdp": scrub(private())}}],
        }

    def test_an_event_without_a_description_does_not_change(self) -> None:
        assert scrub_event('{"seq": 1,  "at": "192.0.2.1"}') == '{"seq": 1,  "at": "192.0.2.1"}'


@pytest.mark.django_db(transaction=True)
class TestStoredRows:
    def test_secrets_are_kept_during_the_conference(self, call: Call) -> None:
        before = stored()
        prune(now=timezone.now())
        assert stored() == before
        assert any("ice-pwd" in text for text in before)

    def test_all_secrets_are_deleted_after_the_end(self, call: Call) -> None:
        mod = call.alice.put(call.id, "initiate-conference-mod", offer(version=3))["x-mod-id"]
        call.bob.accept(call.id, mod, answer(version=3))
        call.alice.delete(call.id)
        before = stored()
        prune(now=timezone.now())
        assert stored() == [scrub_event(text) if text.startswith("{") else scrub(text) for text in before]
        assert not any("ice-pwd" in text or "fingerprint" in text for text in stored())
        assert any("m=audio" in text for text in stored())
        assert set(Participant.objects.values_list("ice_ufrag", flat=True)) == {""}
        assert not Participant.objects.filter(scrubbed_at=None).exists()

    def test_rows_are_scrubbed_once(self, call: Call) -> None:
        call.alice.delete(call.id)
        prune(now=timezone.now())
        Modification.objects.update(offer="a=ice-pwd:1")
        prune(now=timezone.now())
        assert set(Modification.objects.values_list("offer", flat=True)) == {"a=ice-pwd:1"}


@pytest.mark.django_db(transaction=True)
class TestLeavingParticipant:
    @pytest.fixture
    def topology(self) -> str:
        return "focus"

    def test_only_the_descriptions_of_the_leaving_participant_are_scrubbed(
        self, node: ScriptedNode, call: Call
    ) -> None:
        participant = Participant.objects.get(conference=call.id, session=call.bob.id)
        Participant.objects.filter(pk=participant.pk).update(left_at=timezone.now(), state="left")
        events = list(Event.objects.values_list("wire", flat=True))
        prune(now=timezone.now())
        own: list[str] = []
        others: list[str] = []
        for each in Modification.objects.exclude(state="mod-sent"):
            (own if participant.pk in {each.offered_by_id, each.offered_to_id} else others).extend(
                [each.offer, each.answer]
            )
        assert own
        assert not any("ice-pwd" in text for text in own)
        assert any("ice-pwd" in text for text in others)
        assert list(Event.objects.values_list("wire", flat=True)) == events


@pytest.mark.django_db(transaction=True)
class TestReplacedLeg:
    """The conference continues with all participants, but some descriptions no longer belong to a leg."""

    @pytest.fixture(params=["peer", "focus"])
    def topology(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    @pytest.fixture
    def other(self) -> Iterator[ScriptedNode]:
        with scripted_node("other") as other:
            MediaNode.objects.filter(pk="other").update(legs=100)
            yield other

    def test_a_move_deletes_the_secrets_of_the_old_device(self, node: ScriptedNode, call: Call) -> None:
        phone = Device.register("alice", "phone")
        hold(call, "initiate-call-hold")
        call.alice.delete(call.id)
        assert phone.join(call.id).status_code == 204
        call.bob.follow(call.id), phone.follow(call.id)
        prune(now=timezone.now())
        assert with_credentials() == newest_accepted()
        assert Modification.objects.filter(pk__in=newest_accepted(), kind="move").exists()

    @pytest.mark.parametrize("topology", ["focus"])
    def test_a_new_leg_on_another_node_replaces_the_secrets_of_the_old_one(
        self, node: ScriptedNode, other: ScriptedNode, call: Call
    ) -> None:
        MediaNode.objects.filter(pk=node.id).update(heartbeat_at=timezone.now() - timedelta(days=1))
        adopt_orphans(now=timezone.now(), watched=timedelta(minutes=1))
        prune(now=timezone.now())
        # No participant has accepted a new connection yet.
        assert len(with_credentials()) == 4
        call.follow()
        prune(now=timezone.now())
        assert with_credentials() == newest_accepted()

    @pytest.mark.parametrize("topology", ["focus"])
    def test_a_node_can_still_be_replaced(self, node: ScriptedNode, other: ScriptedNode, call: Call) -> None:
        prune(now=timezone.now())
        MediaNode.objects.filter(pk=node.id).update(heartbeat_at=timezone.now() - timedelta(days=1))
        adopt_orphans(now=timezone.now(), watched=timedelta(minutes=1))
        (task, _) = other.done[0]
        assert len(task.payload["restarts"]) == 2
        assert all("ice-pwd" in each["sdp"] for each in task.payload["restarts"])

    @pytest.mark.parametrize("topology", ["peer"])
    @pytest.mark.parametrize("end", ["cancelled", "rejected", "expired"])
    def test_an_unaccepted_offer_is_scrubbed(self, call: Call, end: str) -> None:
        (accepted,) = newest_accepted()
        mod = call.alice.put(call.id, "initiate-conference-mod", offer(version=3))["x-mod-id"]
        prune(now=timezone.now())
        assert with_credentials() == {accepted, mod}
        if end == "expired":
            Modification.objects.filter(pk=mod).update(expires_at=timezone.now())
            settle_due(now=timezone.now())
        else:
            (call.alice if end == "cancelled" else call.bob).withdraw(call.id, mod)
        prune(now=timezone.now())
        assert with_credentials() == {accepted}
        assert "m=audio" in Modification.objects.get(pk=mod).offer

    @pytest.mark.parametrize("topology", ["peer"])
    def test_a_repeated_acceptance_is_recognised_without_its_credentials(self, call: Call) -> None:
        first, second = (self.modify(call, version) for version in (3, 4))
        prune(now=timezone.now())
        assert with_credentials() == {second}
        assert call.bob.accept(call.id, first, answer(version=3)).status_code == 204
        assert call.bob.accept(call.id, first, answer("recvonly", version=3)).json()["code"] == "modification-settled"
        assert call.bob.accept(call.id, second, answer(version=4)).status_code == 204

    @pytest.mark.parametrize("topology", ["peer"])
    @pytest.mark.parametrize("batch", [1, 2, 50])
    def test_many_are_scrubbed_in_batches(self, monkeypatch: pytest.MonkeyPatch, call: Call, batch: int) -> None:
        monkeypatch.setattr("conferences.operations.retention.SCRUB_BATCH", batch)
        for version in (3, 4, 5):
            last = self.modify(call, version)
        assert [number for kind, number in prune_in_batches(now=timezone.now()) if kind == "descriptions"] == {
            1: [1, 1, 1],
            2: [2, 1],
            50: [3],
        }[batch]
        assert with_credentials() == {last}
        assert not list(prune_in_batches(now=timezone.now()))

    def modify(self, call: Call, version: int) -> str:
        """Make a modification that alice offers and bob accepts; return its ID."""
        mod: str = call.alice.put(call.id, "initiate-conference-mod", offer(version=version))["x-mod-id"]
        assert call.bob.accept(call.id, mod, answer(version=version)).status_code == 204
        return mod


def with_credentials() -> set[str]:
    """Return the IDs of the modifications that have a description with a password."""
    return {row.pk for row in Modification.objects.all() if "ice-pwd" in row.offer + row.answer}


def newest_accepted() -> set[str]:
    """Return, for each pair of sides, the ID of the modification that was accepted last."""
    accepted = Modification.objects.filter(state="mod-accepted").order_by("settled_at")
    return set({pair: row for row, pair in accepted.values_list("pk", "pair")}.values())


def stored() -> list[str]:
    """Return every description that is stored, and every event."""
    modifications = [text for row in Modification.objects.order_by("pk") for text in (row.offer, row.answer)]
    return [*modifications, *Event.objects.order_by("pk").values_list("wire", flat=True)]
