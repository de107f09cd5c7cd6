"""A participant may label the track that it sends in each section."""

import re

import pytest

from media.sdp.negotiation import Negotiation, Section
from tests.support.media.negotiating import (
    BOB,
    BOB_AUDIO,
    CAROL,
    CHROMIUM,
    SAMPLES_SCREEN,
    agreed_by,
    answering,
    changed,
    offered,
    section_text,
    settled,
    without,
)

pytestmark = pytest.mark.once


class TestLabels:
    def test_a_participant_may_send_in_a_section_that_we_added(self) -> None:
        agreed = agreed_by(CHROMIUM)
        leg, _ = settled(CHROMIUM, BOB_AUDIO, BOB)
        leg.receive_answer(answering(offered(leg, BOB_AUDIO, BOB, CAROL, agreed=agreed)))
        assert labels(leg) == ["audio", "video", ""]
        added = section_text(SAMPLES_SCREEN, 2).replace("a=mid:2", "a=mid:f1")
        text = changed(
            SAMPLES_SCREEN.replace(section_text(SAMPLES_SCREEN, 2), added), ("BUNDLE 0 1 2", "BUNDLE 0 1 f1")
        )
        leg.receive_offer(text, agreed)
        leg.create_answer([BOB_AUDIO, BOB, CAROL])
        assert labels(leg) == ["audio", "video", "screen"]
        # The section keeps its label when the participant stops sending and starts again.
        leg.receive_offer(text.replace(added, changed(added, ("a=sendrecv", "a=recvonly"))), agreed)
        leg.create_answer([BOB_AUDIO, BOB, CAROL])
        assert labels(leg) == ["audio", "video", "screen"]

    def test_there_may_be_many(self) -> None:
        head, *sections = re.split(r"(?m)(?=^m=)", without(SAMPLES_SCREEN, "a=ssrc.*"))
        more = [sections[0].replace("a=mid:0", "a=mid:8"), sections[1].replace("a=mid:1", "a=mid:9")]
        text = changed(head + "".join(sections + more), ("BUNDLE 0 1 2", "BUNDLE 0 1 2 8 9"))
        assert labels(settled(text)[0]) == ["audio", "video", "screen", "audio2", "screen2"]


def labels(leg: Negotiation) -> list[str]:
    sections: tuple[Section, ...] = leg.sections
    return [section.label for section in sections]
