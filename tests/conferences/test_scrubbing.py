"""Credentials and addresses are kept only as long as the leg that they belong to."""

import json
import time

import pytest
from django.utils import timezone

from conferences.models import Modification, Participant
from conferences.operations.retention import prune
from conferences.scrubbing import scrub, scrub_event
from events.models import Event
from media.description import parse
from tests.descriptions import answer, describe, offer
from tests.devices import Call
from tests.focus import ScriptedNode
from tests.yardstick import slowness

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
    """Return a description that has every kind of secret."""
    text = describe(version=version, **variation).replace("c=IN IP4 0.0.0.0", "c=IN IP4 192.0.2.1")  # type: ignore[arg-type]
    return text + "a=candidate:1 1 udp 2130706431 192.0.2.7 5000 typ host\r\na=tls-id:secretsecretsecretsecret\r\n"


class TestADescription:
    def test_it_loses_its_secrets_and_nothing_else(self) -> None:
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

    def test_a_scrubbed_one_stays_as_it_is(self) -> None:
        assert scrub(scrub(private())) == scrub(private())

    @pytest.mark.parametrize("end", ["\r\n", "\n", "\r"])
    @pytest.mark.parametrize("line", HOSTILE.values(), ids=HOSTILE.keys())
    def test_whatever_form_a_secret_has(self, line: str, end: str) -> None:
        text = f"v=0{end}{line}{end}a=mid:0{end}"
        after = scrub(text)
        assert not any(secret in after for secret in ("secretsecret", "c2VjcmV0", "192.0.2.", "2001:db8", "secret."))
        assert after.startswith(f"v=0{end}")
        assert after.endswith(f"a=mid:0{end}")

    @pytest.mark.parametrize("text", ["", "\0", "=", "a", "a=", "\n\n", "🙂" * 9, "a=:", "c=IN IP4", "1:2", "1.2.3"])
    def test_any_text_is_taken(self, text: str) -> None:
        assert scrub(text) == text

    @pytest.mark.parametrize("unit", ["a", "1.", ":", "1:", " ", "\r", "a=", "IN IP4 ", "1.2.3.4"])
    def test_half_a_megabyte_costs_little(self, unit: str) -> None:
        text = unit * (512 * 1024 // len(unit))
        began = time.thread_time()
        scrub(text)
        assert time.thread_time() - began < 5 * slowness()


class TestAnEvent:
    def test_descriptions_are_scrubbed_wherever_they_stand(self) -> None:
        wire = {"seq": 1, "description": {"sdp": private()}, "a": [{"b": {"sdp": private()}}], "sdp": 7, "name": "é"}
        after = scrub_event(json.dumps(wire))
        assert not any(secret in after for secret in SECRETS)
        assert json.loads(after) == {
            **wire,
            "description": {"sdp": scrub(private())},
            "a": [{"b": {"sdp": scrub(private())}}],
        }

    def test_one_without_a_description_stays_as_it_is(self) -> None:
        assert scrub_event('{"seq": 1,  "at": "192.0.2.1"}') == '{"seq": 1,  "at": "192.0.2.1"}'


@pytest.mark.django_db(transaction=True)
class TestWhatIsStored:
    def test_everything_stays_while_the_conference_goes_on(self, call: Call) -> None:
        before = stored()
        prune(now=timezone.now())
        assert stored() == before
        assert any("ice-pwd" in text for text in before)

    def test_nothing_secret_is_left_after_the_end(self, call: Call) -> None:
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

    def test_it_is_done_once(self, call: Call) -> None:
        call.alice.delete(call.id)
        prune(now=timezone.now())
        Modification.objects.update(offer="a=ice-pwd:1")
        prune(now=timezone.now())
        assert set(Modification.objects.values_list("offer", flat=True)) == {"a=ice-pwd:1"}


@pytest.mark.django_db(transaction=True)
class TestAParticipantThatLeaves:
    @pytest.fixture
    def topology(self) -> str:
        return "focus"

    def test_its_descriptions_are_scrubbed_and_those_of_others_stay(self, node: ScriptedNode, call: Call) -> None:
        seat = Participant.objects.get(conference=call.id, session=call.bob.id)
        Participant.objects.filter(pk=seat.pk).update(left_at=timezone.now(), state="left")
        events = list(Event.objects.values_list("wire", flat=True))
        prune(now=timezone.now())
        own: list[str] = []
        others: list[str] = []
        for each in Modification.objects.exclude(state="mod-sent"):
            (own if seat.pk in {each.offered_by_id, each.offered_to_id} else others).extend([each.offer, each.answer])
        assert own
        assert not any("ice-pwd" in text for text in own)
        assert any("ice-pwd" in text for text in others)
        assert list(Event.objects.values_list("wire", flat=True)) == events


def stored() -> list[str]:
    """Return every description that is stored, and every event."""
    modifications = [text for row in Modification.objects.order_by("pk") for text in (row.offer, row.answer)]
    return [*modifications, *Event.objects.order_by("pk").values_list("wire", flat=True)]
