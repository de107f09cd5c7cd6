"""What a session description may say in a conference, and that it is forwarded byte for byte."""

import re
import socket
from itertools import product
from typing import Any

import pytest

from tests.support.descriptions import answer, describe, offer
from tests.support.devices import Call, Device, hold, open_call
from tests.support.refusals import all_rows, refused
from tests.support.samples import CASES

pytestmark = pytest.mark.django_db(transaction=True)

MOD, HOLD, RESUME = (f"initiate-conference-{what}" for what in ("mod", "hold", "resume"))
ACCEPT, WITHDRAW = "accept-conference-mod", "rejectCancel-conference-mod"
BARE = {"content_type": "application/sdp"}
DIRECTIONS = ("sendrecv", "sendonly", "recvonly", "inactive")
# RFC 3264 section 6.1.
FITTING = {
    *product(["sendrecv"], DIRECTIONS),
    *product(["sendonly"], ["recvonly", "inactive"]),
    *product(["recvonly"], ["sendonly", "inactive"]),
    ("inactive", "inactive"),
}
ALICE, BOB = 4611731400430051336, 777
# What a description may say is decided alike on every database.
same_everywhere = pytest.mark.once


def mod_by_alice(call: Call, **variation: Any) -> str:
    """Let alice offer something; return the modification's ID."""
    response = call.alice.put(call.id, MOD, offer(**{"version": 3, **variation}))
    assert response.status_code == 204, response.content
    return str(response["x-mod-id"])


def bundled(text: str, groups: str) -> str:
    """Return a description of audio and video with these BUNDLE groups, which `|` separates."""
    lines = "".join(f"a=group:BUNDLE {mids}\r\n" for mids in groups.split("|") if mids)
    return text.replace("a=group:BUNDLE 0 1\r\n", lines)


def in_roles(text: str, *roles: str) -> str:
    """Return a description whose media lines have these DTLS roles."""
    given = iter(roles)
    return re.sub("a=setup:actpass", lambda _: f"a=setup:{next(given)}", text)


def replying(text: str) -> str:
    """Return alice's offer as an answer of bob's."""
    return text.replace(str(ALICE), str(BOB)).replace("a=setup:actpass", "a=setup:active")


class TestForwarding:
    """What is forwarded is byte for byte what was sent."""

    # Unknown attributes, odd spaces, another script, mixed line ends.
    ODD = (
        describe(version=3).replace("s=-", "s= 会议 \t😀 ").replace("a=rtcp-rsize\r\n", "a=x-unknown:ä \u200b\n", 1)
        + "a=candidate:1 1 udp 1 host.invalid 9 typ host\n"
    )

    @pytest.mark.parametrize("bare", [False, True])
    @pytest.mark.parametrize("text", [describe(version=3), describe(version=3).replace("\r\n", "\n"), ODD])
    def test_of_a_modification_and_its_answer(self, call: Call, text: str, bare: bool) -> None:
        body: Any = text if bare else {"type": "offer", "sdp": text}
        response = call.alice.put(call.id, MOD, body, **(BARE if bare else {}))
        assert response.status_code == 204, response.content
        (received,) = call.bob.news()
        assert received["description"] == {"type": "offer", "sdp": text}
        mod, reply = response["x-mod-id"], replying(text)
        if bare:
            accepted = call.bob.put(call.id, ACCEPT, reply, x_mod_id=mod, **BARE)
        else:
            accepted = call.bob.accept(call.id, mod, {"type": "answer", "sdp": reply})
        assert (accepted.status_code, accepted["x-state"]) == (204, "mod-accepted")
        (told,) = call.alice.news()
        assert told["description"] == {"type": "answer", "sdp": reply}

    def test_of_a_call(self, alice: Device, bob: Device) -> None:
        conference = alice.call("bob", sdp=self.ODD).json()["id"]
        assert bob.news()[0]["description"] == {"type": "offer", "sdp": self.ODD}
        reply = replying(self.ODD)
        response = bob.put(conference, "conference-answer", reply, **BARE)
        assert (response.status_code, response["x-state"]) == (204, "accepted")
        assert alice.news()[0]["description"] == {"type": "answer", "sdp": reply}

    @pytest.mark.parametrize("bare", [False, True])
    def test_of_a_move(self, call: Call, bare: bool) -> None:
        phone = Device.register("alice", "phone")
        hold(call, "initiate-call-hold")
        call.alice.delete(call.id)
        call.bob.news()
        text = self.ODD.replace(str(ALICE), "99")
        body: Any = text if bare else {"type": "offer", "sdp": text}
        response = phone.put(call.id, "conference-answer", body, **(BARE if bare else {}))
        assert (response.status_code, response["x-state"]) == (204, "accepted"), response.content
        assert call.bob.news()[1]["description"] == {"type": "offer", "sdp": text}

    def test_of_a_body_that_names_no_type(self, ringing: Call) -> None:
        text = describe(session=BOB, setup="active")
        assert ringing.bob.put(ringing.id, "conference-answer", {"sdp": text}).status_code == 204
        assert ringing.alice.news()[0]["description"] == {"type": "answer", "sdp": text}

    @pytest.mark.parametrize("who", ["alice", "bob"])
    def test_a_bare_sdp_may_stand_beside_a_withdrawal(self, call: Call, who: str) -> None:
        mod = mod_by_alice(call)
        device = call.alice if who == "alice" else call.bob
        response = device.put(call.id, WITHDRAW, describe(), x_mod_id=mod, **BARE)
        assert (response.status_code, response["x-state"]) == (
            204,
            "mod-cancelled" if who == "alice" else "mod-rejected",
        )

    def test_a_withdrawal_needs_no_body(self, call: Call) -> None:
        mod = mod_by_alice(call)
        assert call.bob.put(call.id, WITHDRAW, x_mod_id=mod)["x-state"] == "mod-rejected"


class TestOtherStacks:
    """Offers as other stacks write them (tests/support/samples/cases): between peers they only pass through."""

    @pytest.mark.parametrize("name", CASES)
    def test_they_are_forwarded(self, alice: Device, bob: Device, name: str) -> None:
        text = CASES[name]
        assert alice.call("bob", sdp=text).status_code == 201
        assert bob.news()[0]["description"] == {"type": "offer", "sdp": text}


@same_everywhere
class TestBroken:
    """Text that is no SDP is refused and changes nothing."""

    TEXT = describe(version=3)

    def refuse(self, call: Call, text: str | bytes) -> None:
        refused(422, "sdp-invalid", call.alice.put, call.id, MOD, text, **BARE)
        if isinstance(text, str):
            refused(422, "sdp-invalid", call.alice.put, call.id, MOD, {"type": "offer", "sdp": text})

    def test_truncated_inside_a_line(self, call: Call) -> None:
        for end in [*range(40), *range(60, len(self.TEXT), 97)]:
            if not self.TEXT[:end].endswith("\n"):
                self.refuse(call, self.TEXT[:end])

    def test_truncated_at_a_line_end_before_it_can_connect(self, call: Call) -> None:
        lines = self.TEXT.splitlines(keepends=True)
        complete = next(index for index, line in enumerate(lines) if line.startswith("a=fingerprint"))
        for count in range(complete + 1):
            self.refuse(call, "".join(lines[:count]))

    @pytest.mark.parametrize(
        "separator", ["\r", "\n\r", "\x0b", "\x0c", "\x1c", "\x1e", "\x85", "\u2028", "\u2029", "\0"]
    )
    def test_a_value_that_smuggles_a_line_in(self, call: Call, separator: str) -> None:
        self.refuse(call, self.TEXT.replace("a=mid:0", f"a=mid:0{separator}m=video 9 UDP/TLS/RTP/SAVPF 96"))
        self.refuse(call, self.TEXT.replace("s=-", f"s=-{separator}a=inactive"))

    @pytest.mark.parametrize("text", ["", "\0" * 1000, "v=0", "nonsense\r\n", "{}", "\ufeffv=0\r\n", "\r\n" * 9000])
    def test_nonsense(self, call: Call, text: str) -> None:
        self.refuse(call, text)

    def test_lone_surrogates(self, call: Call) -> None:
        body = {"type": "offer", "sdp": self.TEXT.replace("s=-", "s=\ud800")}
        refused(422, "sdp-invalid", call.alice.put, call.id, MOD, body)

    @pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
    def test_a_bare_sdp_that_is_not_utf_8(self, call: Call, encoding: str) -> None:
        body = self.TEXT.replace("s=-", "s=é").encode(encoding)
        refused(400, "malformed", call.alice.put, call.id, MOD, body, **BARE)

    def test_a_megabyte(self, call: Call) -> None:
        for text in ("v=0\r\n" * 200_000, self.TEXT + "a=x\r\n" * 200_000):
            refused(413, "too-large", call.alice.put, call.id, MOD, text, **BARE)
            refused(413, "too-large", call.alice.put, call.id, MOD, {"type": "offer", "sdp": text})

    @pytest.mark.parametrize(
        "variation",
        [
            {"ufrag": "abc"},
            {"password": "short"},
            {"fingerprint": "AB:CD"},
            {"fingerprint": ":".join(["ZZ"] * 32)},
            {"setup": "both"},
            {"ports": (70000, 9)},
            {"kinds": ()},
        ],
    )
    def test_lines_that_cannot_connect(self, call: Call, variation: dict[str, Any]) -> None:
        self.refuse(call, describe(version=3, **variation))

    @pytest.mark.parametrize("name", ["ice-ufrag", "ice-pwd", "fingerprint"])
    def test_keys_that_are_missing_in_every_line(self, call: Call, name: str) -> None:
        lines = self.TEXT.splitlines(keepends=True)
        self.refuse(call, "".join(line for line in lines if not line.startswith(f"a={name}")))

    @pytest.mark.parametrize("name", ["ice-ufrag", "ice-pwd", "fingerprint"])
    def test_keys_that_are_missing_in_one_line(self, call: Call, name: str) -> None:
        head, video = self.TEXT.split("m=video")
        lines = [line for line in video.splitlines(keepends=True) if not line.startswith(f"a={name}")]
        text = head + "m=video" + "".join(lines)
        # Alone it could not connect; in a bundle the audio line's keys serve for both (RFC 9143 section 7.1.3).
        self.refuse(call, text.replace("a=group:BUNDLE 0 1", "a=group:BUNDLE 0"))
        assert call.alice.put(call.id, MOD, text, **BARE).status_code == 204

    def test_keys_of_the_session_serve_for_every_line(self, call: Call) -> None:
        names = ("a=ice-ufrag", "a=ice-pwd", "a=fingerprint", "a=setup")
        lines = self.TEXT.splitlines(keepends=True)
        keys = "".join(line for line in lines[: len(lines) // 2] if line.startswith(names))
        text = "".join(line for line in lines if not line.startswith((*names, "a=group")))
        self.refuse(call, text)
        assert call.alice.put(call.id, MOD, text.replace("t=0 0\r\n", f"t=0 0\r\n{keys}"), **BARE).status_code == 204

    @pytest.mark.parametrize("line", ["a=fmtp:99 x=1", "a=rtcp-fb:99 nack"])
    def test_parameters_of_a_codec_without_a_name(self, call: Call, line: str) -> None:
        self.refuse(
            call,
            self.TEXT.replace("SAVPF 111 63", "SAVPF 111 63 99").replace("SAVPF 96 97", "SAVPF 96 97 99")
            + line
            + "\r\n",
        )

    @pytest.mark.parametrize("port", ["-1", "65536", "x"])
    def test_a_candidate_with_a_bad_port(self, call: Call, port: str) -> None:
        self.refuse(call, self.TEXT.replace(" 50000 typ", f" {port} typ"))

    def test_a_candidate_with_an_odd_host_is_forwarded_and_never_looked_up(
        self, call: Call, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        looked_up: list[object] = []
        getaddrinfo = socket.getaddrinfo

        def look_up(host: Any, *args: Any, **kwargs: Any) -> Any:
            looked_up.append(host)
            return getaddrinfo(host, *args, **kwargs)

        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        text = self.TEXT.replace("127.0.0.1 50000", "metadata.internal.invalid 80")
        assert call.alice.put(call.id, MOD, text, **BARE).status_code == 204
        assert call.bob.news()[0]["description"]["sdp"] == text
        assert "metadata.internal.invalid" not in looked_up


@same_everywhere
class TestHoldDirections:
    """Only live audio and video lines have a direction that counts."""

    def test_a_data_channel_has_none(self, call: Call) -> None:
        new = offer(kinds=("audio", "application"), directions=("inactive", "sendrecv"), version=3)
        assert call.alice.put(call.id, HOLD, new).status_code == 204

    def test_a_rejected_line_has_none(self, call: Call) -> None:
        new = offer(directions=("recvonly", "sendrecv"), ports=(9, 0), version=3)
        assert call.alice.put(call.id, HOLD, new).status_code == 204

    def test_a_bundle_only_line_is_live(self, call: Call) -> None:
        text = describe(directions=("recvonly", "sendrecv"), ports=(9, 0), version=3)
        text = text.replace("a=mid:1", "a=bundle-only\r\na=mid:1")
        refused(422, "sdp-direction", call.alice.put, call.id, HOLD, text, **BARE)

    def test_the_session_may_state_it(self, call: Call) -> None:
        text = describe(version=3).replace("a=sendrecv\r\n", "")
        refused(422, "sdp-direction", call.alice.put, call.id, HOLD, text, **BARE)
        text = text.replace("t=0 0\r\n", "t=0 0\r\na=inactive\r\n")
        assert call.alice.put(call.id, HOLD, text, **BARE).status_code == 204

    def test_a_session_name_does_not(self, call: Call) -> None:
        text = describe(version=3).replace("a=sendrecv\r\n", "").replace("s=-", "s=inactive")
        refused(422, "sdp-direction", call.alice.put, call.id, HOLD, text, **BARE)

    def test_the_last_of_two_counts_as_in_browsers(self, call: Call) -> None:
        text = describe(version=3).replace("a=sendrecv\r\n", "a=recvonly\r\na=sendrecv\r\n")
        refused(422, "sdp-direction", call.alice.put, call.id, HOLD, text, **BARE)
        text = describe(version=3).replace("a=sendrecv\r\n", "a=sendrecv\r\na=recvonly\r\n")
        assert call.alice.put(call.id, HOLD, text, **BARE).status_code == 204


@same_everywhere
class TestFit:
    """An answer fits its offer (RFC 3264 section 6)."""

    def test_every_pair_of_directions(self, call: Call) -> None:
        for version, (offered, answered) in enumerate(product(DIRECTIONS, repeat=2), start=3):
            mod = mod_by_alice(call, direction=offered, version=version)
            reply = answer(answered, version=version)
            if (offered, answered) in FITTING:
                assert call.bob.accept(call.id, mod, reply).status_code == 204, (offered, answered)
            else:
                refused(422, "sdp-direction", call.bob.accept, call.id, mod, reply)
                assert call.bob.withdraw(call.id, mod).status_code == 204

    @pytest.mark.parametrize(
        "variation",
        [
            {"kinds": ("audio",)},
            {"kinds": ("audio", "video", "video")},
            {"kinds": ("video", "audio")},
            {"kinds": ("audio", "application")},
        ],
    )
    def test_lines_that_are_not_the_offers(self, call: Call, variation: dict[str, Any]) -> None:
        mod = mod_by_alice(call)
        refused(422, "sdp-invalid", call.bob.accept, call.id, mod, answer(version=3, **variation))
        assert call.bob.accept(call.id, mod, answer(version=3)).status_code == 204

    def test_an_answer_calls_lines_as_the_offer_does(self, call: Call) -> None:
        mod = mod_by_alice(call)
        swapped = describe(session=BOB, version=3, setup="active").replace("a=mid:0", "a=mid:x")
        refused(422, "sdp-invalid", call.bob.accept, call.id, mod, {"type": "answer", "sdp": swapped})
        # Some name no line at all.
        unnamed = swapped.replace("a=mid:x\r\n", "").replace("BUNDLE 0 1", "BUNDLE 1")
        assert call.bob.accept(call.id, mod, {"type": "answer", "sdp": unnamed}).status_code == 204

    @pytest.mark.parametrize("kind", ["video", "application"])
    def test_a_line_that_the_offer_rejects_is_not_taken(self, call: Call, kind: str) -> None:
        kinds = ("audio", kind)
        mod = mod_by_alice(call, kinds=kinds, ports=(9, 0))
        refused(422, "sdp-invalid", call.bob.accept, call.id, mod, answer(kinds=kinds, version=3))
        reply = answer(kinds=kinds, ports=(9, 0), version=3)
        assert call.bob.accept(call.id, mod, reply).status_code == 204

    def test_an_answer_may_reject_lines(self, call: Call) -> None:
        mod = mod_by_alice(call)
        assert call.bob.accept(call.id, mod, answer(ports=(9, 0), version=3)).status_code == 204

    def test_the_answer_to_a_call_fits_too(self, ringing: Call) -> None:
        refused(422, "sdp-invalid", ringing.bob.answer, ringing.id, answer(kinds=("audio",)))
        assert ringing.bob.answer(ringing.id, answer("recvonly")).status_code == 204

    def test_the_holder_answers_without_giving_up_the_hold(self, call: Call) -> None:
        hold(call)
        for version, direction in enumerate(DIRECTIONS, start=4):
            response = call.bob.put(call.id, MOD, offer(session=BOB, version=version))
            reply = answer(direction, session=ALICE, version=version)
            if direction == "sendrecv":
                refused(422, "sdp-direction", call.alice.accept, call.id, response["x-mod-id"], reply)
                call.alice.withdraw(call.id, response["x-mod-id"])
            else:
                assert call.alice.accept(call.id, response["x-mod-id"], reply).status_code == 204
        assert call.alice.get(call.id)["participants"][0]["state"] == "on-hold"


@same_everywhere
class TestApplicable:
    """An answer that no browser can apply is refused, instead of opening a call without media."""

    def refuse(self, call: Call, reply: str, **offered: Any) -> None:
        mod = mod_by_alice(call, **offered)
        refused(422, "sdp-invalid", call.bob.accept, call.id, mod, {"type": "answer", "sdp": reply})
        assert call.bob.accept(call.id, mod, answer(**{"version": 3, **offered})).status_code == 204

    @pytest.mark.parametrize("role", ["actpass", "holdconn"])
    def test_it_chooses_its_role(self, call: Call, role: str) -> None:
        self.refuse(call, describe(session=BOB, version=3, setup=role))

    def test_its_role_is_not_the_offers_own(self, call: Call) -> None:
        mod = mod_by_alice(call, setup="active")
        refused(422, "sdp-invalid", call.bob.accept, call.id, mod, answer(version=3, setup="active"))
        assert call.bob.accept(call.id, mod, answer(version=3, setup="passive")).status_code == 204

    def test_it_may_leave_its_role_out(self, call: Call) -> None:
        text = describe(session=BOB, version=3).replace("a=setup:actpass\r\n", "")
        mod = mod_by_alice(call)
        assert call.bob.accept(call.id, mod, {"type": "answer", "sdp": text}).status_code == 204

    def test_only_the_tag_speaks_for_its_bundle(self, call: Call) -> None:
        audio, video = describe(session=BOB, version=3, setup="active").split("m=video")
        mod = mod_by_alice(call)
        text = f"{audio}m=video{video.replace('setup:active', 'setup:actpass')}"
        assert call.bob.accept(call.id, mod, {"type": "answer", "sdp": text}).status_code == 204

    @pytest.mark.parametrize("mids", ["0 1 7", "0 7", "7"])
    def test_its_bundle_has_no_absent_mid(self, call: Call, mids: str) -> None:
        text = describe(session=BOB, version=3, setup="active").replace("BUNDLE 0 1", f"BUNDLE {mids}")
        self.refuse(call, text)
        self.refuse(call, text.replace("a=mid:1\r\n", ""), version=4)

    def test_its_bundle_has_no_rejected_mid(self, call: Call) -> None:
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
    def test_its_bundles_are_parts_of_offered_ones(self, call: Call, offered: str, answered: str, fits: bool) -> None:
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
    def test_its_roles_are_compared_line_by_line(
        self, call: Call, mids: str, offered: tuple[str, ...], answered: tuple[str, ...], fits: bool
    ) -> None:
        """Also where lines have no mids (`mids` are left out), or only the offer's do."""
        text = in_roles(bundled(describe(version=3), ""), *offered)
        mod = call.alice.put(call.id, MOD, {"type": "offer", "sdp": re.sub(mids, "", text)})["x-mod-id"]
        text = in_roles(bundled(describe(session=BOB, version=3), ""), *answered)
        reply = {"type": "answer", "sdp": re.sub("a=mid:.*\r\n", "", text)}
        if fits:
            assert call.bob.accept(call.id, mod, reply).status_code == 204
        else:
            refused(422, "sdp-invalid", call.bob.accept, call.id, mod, reply)

    def test_its_mids_are_distinct(self, call: Call) -> None:
        self.refuse(call, describe(session=BOB, version=3, setup="active").replace("a=mid:1", "a=mid:0"))


@same_everywhere
class TestOrigin:
    """The version in the o= line does not go back; another one with other ICE credentials is another connection."""

    @pytest.mark.parametrize("version", [0, 1])
    def test_a_version_that_has_gone_back(self, call: Call, version: int) -> None:
        refused(422, "sdp-invalid", call.alice.put, call.id, MOD, offer(version=version))

    @pytest.mark.parametrize("version", [2, 3, 2**63, 10**20 - 1])
    def test_a_version_that_has_not(self, call: Call, version: int) -> None:
        assert call.alice.put(call.id, MOD, offer(version=version)).status_code == 204
        assert call.bob.news()[0]["restart"] is False

    def test_what_nobody_accepted_does_not_count(self, call: Call) -> None:
        call.bob.withdraw(call.id, mod_by_alice(call, version=9))
        assert call.bob.accept(call.id, mod_by_alice(call, version=3), answer(version=3)).status_code == 204
        refused(422, "sdp-invalid", call.alice.put, call.id, MOD, offer(version=2))

    def test_an_answer_whose_version_has_gone_back(self, call: Call) -> None:
        mod = mod_by_alice(call)
        refused(422, "sdp-invalid", call.bob.accept, call.id, mod, answer(version=1))
        assert call.bob.accept(call.id, mod, answer(version=2)).status_code == 204

    def test_a_new_session_begins_anew(self, call: Call) -> None:
        assert call.alice.put(call.id, MOD, offer(session=5, version=0)).status_code == 204
        (received,) = call.bob.news()
        assert received["restart"] is True
        assert call.bob.accept(call.id, received["modId"], answer(session=6, version=0)).status_code == 204
        assert call.alice.put(call.id, MOD, offer(session=5, version=1)).status_code == 204
        assert call.bob.news()[-1]["restart"] is False

    @pytest.mark.parametrize(
        "variation", [{"session": 5, "ufrag": f"4ZcD{ALICE}"}, {"session": ALICE, "ufrag": "5ABC"}]
    )
    def test_half_of_it_is_the_same_connection(self, call: Call, variation: dict[str, Any]) -> None:
        # A client that writes another session ID each time; an ICE restart.
        assert call.alice.put(call.id, MOD, offer(version=3, **variation)).status_code == 204
        assert call.bob.news()[0]["restart"] is False

    def test_what_a_rejected_line_says_of_its_keys_is_kept_by_nobody(self, call: Call) -> None:
        # It stands first, and is longer than any column.
        text = offer(kinds=("audio", "video"), ports=(0, 9), version=3)["sdp"]
        absurd = text.replace("a=ice-ufrag:", f"a=ice-ufrag:{'x' * 1000}", 1)
        mod = call.alice.put(call.id, MOD, {"type": "offer", "sdp": absurd})["x-mod-id"]
        assert call.bob.accept(call.id, mod, answer(ports=(0, 9), version=3)).status_code == 204
        again = offer(session=5, version=0, ufrag=f"4ZcD{ALICE}")
        assert call.alice.put(call.id, MOD, again).status_code == 204
        assert call.bob.news()[-1]["restart"] is False

    def test_the_two_sides_count_alone(self, call: Call) -> None:
        call.bob.accept(call.id, mod_by_alice(call, version=100), answer(version=3))
        assert call.bob.put(call.id, MOD, offer(session=BOB, version=4)).status_code == 204

    def test_a_move_begins_anew(self, call: Call) -> None:
        phone = Device.register("alice", "phone")
        hold(call, "initiate-call-hold")
        call.alice.delete(call.id)
        response = phone.answer(call.id, offer(session=ALICE, version=0))
        assert response.status_code == 204
        assert call.bob.accept(call.id, response["x-mod-id"], answer(session=8)).status_code == 204
        refused(422, "sdp-invalid", call.bob.put, call.id, MOD, offer(session=8, version=1))


def test_two_conferences_do_not_meet(alice: Device, bob: Device) -> None:
    one = open_call(alice, bob)
    other = open_call(alice, Device.register("carol"))
    mod = mod_by_alice(one)
    before = all_rows()["Modification"]
    assert other.alice.put(other.id, MOD, offer(version=3)).status_code == 204
    assert len(all_rows()["Modification"]) == len(before) + 1
    assert one.bob.accept(one.id, mod, answer(version=3)).status_code == 204
