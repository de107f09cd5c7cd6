"""The browser that made an offer must be able to apply the answer: DTLS roles, BUNDLE groups and mids."""

import re
from typing import Any

import pytest

from tests.support.actions import MOD
from tests.support.descriptions import answer, describe
from tests.support.devices import Call
from tests.support.modifications import BOB, mod_by_alice, same_everywhere
from tests.support.refusals import refused

pytestmark = pytest.mark.django_db(transaction=True)


def bundled(text: str, groups: str) -> str:
    """Return a description of audio and video with these BUNDLE groups, separated by `|`."""
    lines = "".join(f"a=group:BUNDLE {mids}\r\n" for mids in groups.split("|") if mids)
    return text.replace("a=group:BUNDLE 0 1\r\n", lines)


def in_roles(text: str, *roles: str) -> str:
    """Return a description whose media sections have these DTLS roles."""
    given = iter(roles)
    return re.sub("a=setup:actpass", lambda _: f"a=setup:{next(given)}", text)


@same_everywhere
class TestApplicableAnswer:
    """An answer that no browser can apply is refused. Otherwise the call would have no media."""

    def refuse(self, call: Call, reply: str, **offered: Any) -> None:
        mod = mod_by_alice(call, **offered)
        refused(422, "sdp-invalid", call.bob.accept, call.id, mod, {"type": "answer", "sdp": reply})
        assert call.bob.accept(call.id, mod, answer(**{"version": 3, **offered})).status_code == 204

    @pytest.mark.parametrize("role", ["actpass", "holdconn"])
    def test_an_answer_must_choose_its_role(self, call: Call, role: str) -> None:
        self.refuse(call, describe(session=BOB, version=3, setup=role))

    def test_the_role_of_an_answer_must_differ_from_the_offers(self, call: Call) -> None:
        mod = mod_by_alice(call, setup="active")
        refused(422, "sdp-invalid", call.bob.accept, call.id, mod, answer(version=3, setup="active"))
        assert call.bob.accept(call.id, mod, answer(version=3, setup="passive")).status_code == 204

    def test_an_answer_can_omit_its_role(self, call: Call) -> None:
        text = describe(session=BOB, version=3).replace("a=setup:actpass\r\n", "")
        mod = mod_by_alice(call)
        assert call.bob.accept(call.id, mod, {"type": "answer", "sdp": text}).status_code == 204

    def test_only_the_tagged_section_must_choose_a_role(self, call: Call) -> None:
        audio, video = describe(session=BOB, version=3, setup="active").split("m=video")
        mod = mod_by_alice(call)
        text = f"{audio}m=video{video.replace('setup:active', 'setup:actpass')}"
        assert call.bob.accept(call.id, mod, {"type": "answer", "sdp": text}).status_code == 204

    @pytest.mark.parametrize("mids", ["0 1 7", "0 7", "7"])
    def test_a_bundle_must_not_name_an_absent_mid(self, call: Call, mids: str) -> None:
        text = describe(session=BOB, version=3, setup="active").replace("BUNDLE 0 1", f"BUNDLE {mids}")
        self.refuse(call, text)
        self.refuse(call, text.replace("a=mid:1\r\n", ""), version=4)

    def test_a_bundle_must_not_name_a_rejected_mid(self, call: Call) -> None:
        text = describe(session=BOB, version=3, setup="active", ports=(9, 0)).replace("BUNDLE 0", "BUNDLE 0 1")
        self.refuse(call, text)

    @pytest.mark.parametrize(
        ("offered", "answered", "fits"),
        [
            ("", "0 1", False),
            ("0|1", "0 1", False),
            ("0 1", "0|1", False),
            ("", "", True),
            ("0|1", "0|1", True),
            ("0|1", "1", True),
            ("0 1", "1 0", True),
            ("0 1", "0", True),
            ("0 1", "", True),
        ],
    )
    def test_bundles_must_be_parts_of_offered_bundles(
        self, call: Call, offered: str, answered: str, fits: bool
    ) -> None:
        mod = call.alice.put(call.id, MOD, {"type": "offer", "sdp": bundled(describe(version=3), offered)})["x-mod-id"]
        reply = {"type": "answer", "sdp": bundled(describe(session=BOB, version=3, setup="active"), answered)}
        if fits:
            assert call.bob.accept(call.id, mod, reply).status_code == 204
        else:
            refused(422, "sdp-invalid", call.bob.accept, call.id, mod, reply)

    @pytest.mark.parametrize("mids", ["", "a=mid:.*\r\n"])
    @pytest.mark.parametrize(
        ("offered", "answered", "fits"),
        [
            (("active", "actpass"), ("active", "active"), False),
            (("actpass", "passive"), ("active", "passive"), False),
            (("actpass", "passive"), ("passive", "active"), True),
        ],
    )
    def test_roles_are_compared_section_by_section(
        self, call: Call, mids: str, offered: tuple[str, ...], answered: tuple[str, ...], fits: bool
    ) -> None:
        """The answer has no mids. In the offer, the lines that match `mids` are removed."""
        text = in_roles(bundled(describe(version=3), ""), *offered)
        mod = call.alice.put(call.id, MOD, {"type": "offer", "sdp": re.sub(mids, "", text)})["x-mod-id"]
        text = in_roles(bundled(describe(session=BOB, version=3), ""), *answered)
        reply = {"type": "answer", "sdp": re.sub("a=mid:.*\r\n", "", text)}
        if fits:
            assert call.bob.accept(call.id, mod, reply).status_code == 204
        else:
            refused(422, "sdp-invalid", call.bob.accept, call.id, mod, reply)

    def test_mids_must_be_distinct(self, call: Call) -> None:
        self.refuse(call, describe(session=BOB, version=3, setup="active").replace("a=mid:1", "a=mid:0"))
