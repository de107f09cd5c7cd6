"""Offers that are rolled back or revoked leave no trace."""

import re

import pytest

from media.sdp.description import parse
from media.sdp.negotiation import NegotiationError
from tests.support.media.negotiating import (
    BOB,
    BOB_AUDIO,
    CAROL,
    CHROMIUM,
    SAMPLES_SCREEN,
    agreed_by,
    answering,
    leg_that_offers,
    offered,
    settled,
    without,
)

pytestmark = pytest.mark.once


class TestRollback:
    def test_it_forgets_sections_and_tracks(self) -> None:
        leg, _, agreed = leg_that_offers()
        with pytest.raises(NegotiationError, match="pending"):
            leg.create_offer([], agreed)
        leg.rollback()
        assert not leg.offering
        assert len(leg.sections) == 2
        again = offered(leg, BOB_AUDIO, BOB, CAROL, agreed=agreed)
        assert len(parse(again).media) == 3

    def test_the_participants_offer_rolls_ours_back(self) -> None:
        leg, offer, agreed = leg_that_offers()
        leg.receive_offer(SAMPLES_SCREEN, agreed)
        leg.create_answer([BOB_AUDIO, BOB, CAROL])
        assert not leg.offering
        assert [section.mid for section in leg.sections] == ["0", "1", "2"]
        assert leg.sections[2].outgoing == CAROL
        with pytest.raises(NegotiationError):
            leg.receive_answer(answering(offer))

    def test_the_participants_offer_leaves_ours_pending_where_it_is_not_answered(self) -> None:
        leg, offer, agreed = leg_that_offers()
        leg.receive_offer(SAMPLES_SCREEN, agreed)
        leg.rollback()
        leg.receive_answer(answering(offer))
        assert leg.sections[2].outgoing == CAROL

    def test_a_received_offer_can_be_forgotten(self) -> None:
        leg, _ = settled(CHROMIUM)
        leg.receive_offer(SAMPLES_SCREEN, agreed_by(CHROMIUM))
        leg.rollback()
        with pytest.raises(NegotiationError):
            leg.create_answer([])
        assert len(leg.sections) == 2


class TestRevoking:
    def test_it_is_as_before_the_participants_offer(self) -> None:
        leg, _ = settled(CHROMIUM)
        sections, credentials = leg.sections, leg.local_credentials
        restarted = re.sub(r"a=ice-(ufrag|pwd):.*", r"a=ice-\1:anotherUfragAndPassword", SAMPLES_SCREEN)
        leg.receive_offer(restarted, agreed_by(CHROMIUM))
        leg.create_answer([BOB])
        assert leg.sections != sections
        assert leg.local_credentials != credentials
        leg.revoke()
        assert leg.sections == sections
        assert leg.local_credentials == credentials
        assert leg.remote_credentials is not None
        assert leg.remote_credentials.ufrag != "anotherUfragAndPassword"

    def test_an_offer_that_the_answer_overtook_waits_again(self) -> None:
        leg, offer, agreed = leg_that_offers()
        leg.receive_offer(SAMPLES_SCREEN, agreed)
        leg.create_answer([BOB_AUDIO, BOB])
        leg.revoke()
        leg.receive_answer(answering(offer))
        assert [section.mid for section in leg.sections] == ["0", "1", "f1"]
        assert leg.sections[2].outgoing == CAROL

    def test_the_participant_can_receive_what_it_stated_before(self) -> None:
        leg, _ = settled(CHROMIUM)
        assert "video" in leg.capabilities
        leg.receive_offer(without(CHROMIUM, "a=rtpmap:.* VP9/90000"), agreed_by(CHROMIUM))
        leg.create_answer([])
        assert "VP9" not in {codec.name for codec in leg.capabilities["video"]}
        leg.revoke()
        assert "VP9" in {codec.name for codec in leg.capabilities["video"]}

    def test_the_next_description_has_a_version_of_its_own(self) -> None:
        leg, first = settled(CHROMIUM)
        leg.receive_offer(SAMPLES_SCREEN, agreed_by(CHROMIUM))
        never_seen = leg.create_answer([])
        leg.revoke()
        ours = offered(leg, BOB, agreed=agreed_by(CHROMIUM))
        versions = [int(text.split()[3]) for text in (first, never_seen, ours)]
        assert versions == [1, 2, 3]
