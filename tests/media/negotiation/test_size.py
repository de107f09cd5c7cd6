"""An offer of a large conference stays small."""

import re
import secrets

import pytest

from media.sdp.description import parse
from media.sdp.negotiation import Outgoing
from tests.support.media.negotiating import (
    BOB,
    BOB_AUDIO,
    CAROL,
    CHROMIUM,
    agreed_by,
    changed,
    offered,
    section_text,
    settled,
)

pytestmark = pytest.mark.once


class TestSize:
    def test_an_offer_of_thirty_nine_others_has_at_most_forty_kilobytes(self) -> None:
        tracks = [
            Outgoing(
                f"{id_} {label}", kind, id_, label, 2**31 + at, 2**31 + 100 + at if kind == "video" else None, True
            )
            for at, id_ in enumerate(secrets.token_hex(16) for _ in range(39))
            for kind, label in (("audio", "audio"), ("video", "video"))
        ]
        leg, answer = settled(CHROMIUM)
        assert len(answer) < 3_000
        offer = offered(leg, *tracks, agreed=agreed_by(CHROMIUM))
        assert len(parse(offer).media) == 78
        assert len(offer.encode()) <= 40_000

    def test_the_session_and_the_tagged_section_state_the_transport(self) -> None:
        leg, _ = settled(CHROMIUM)
        offer = offered(leg, BOB_AUDIO, BOB, CAROL, agreed=agreed_by(CHROMIUM))
        session, *sections = re.split(r"(?m)^(?=m=)", offer)
        for attribute in ("a=ice-ufrag:", "a=ice-pwd:", "a=fingerprint:", "a=setup:"):
            assert [attribute in each for each in (session, *sections)] == [True, True, False, False]
        # aiortc uses the candidates of the last section.
        assert [each.count("a=candidate:") for each in sections] == [3, 0, 3]

    def test_the_first_live_section_is_the_tagged_one(self) -> None:
        text = changed(CHROMIUM, ("m=audio 37498", "m=audio 0"), ("BUNDLE 0 1", "BUNDLE 1"))
        _, answer = settled(text)
        assert "a=ice-ufrag:" not in section_text(answer, 0)
        assert "a=ice-ufrag:" in section_text(answer, 1)
        assert "a=candidate:" in section_text(answer, 1)
