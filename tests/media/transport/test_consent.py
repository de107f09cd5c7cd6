"""Consent: media goes only to addresses that have answered a check of the node's own."""

import pytest

from media.transport.consent import CONSENT_SECONDS, MISSED_SECONDS, MOST_CANDIDATES, MOST_MOVES, RETRY_SECONDS, Consent

pytestmark = pytest.mark.once

HERE, THERE, VICTIM = b"here", b"there", b"victim"


def connected(now: float = 0.0) -> Consent:
    """Return the consent of a leg whose media goes to `HERE`."""
    consent = Consent(now)
    assert consent.reach(HERE, now, nominated=True)
    assert consent.prove(HERE, now)
    return consent


def test_the_first_address_is_used_once_it_has_answered_also_when_it_is_not_nominated() -> None:
    consent = Consent(0.0)
    assert consent.reach(HERE, 1.0, nominated=False)
    assert consent.prove(HERE, 1.1)
    assert consent.proved_at == 1.1


def test_address_that_was_never_asked_proves_nothing() -> None:
    consent = connected()
    assert not consent.prove(VICTIM, 1.0)
    assert consent.proved_at == 0.0


def test_another_address_is_asked_only_when_nominated_and_once() -> None:
    consent = connected()
    assert not consent.reach(THERE, 1.0, nominated=False)
    assert consent.reach(THERE, 1.0, nominated=True)
    assert not consent.reach(THERE, 1.01, nominated=True)
    assert consent.prove(THERE, 1.1)


def test_the_address_that_was_nominated_last_is_used_in_whatever_order_they_answer() -> None:
    consent = connected()
    for name in (THERE, b"last"):
        assert consent.reach(name, 1.0, nominated=True)
    assert consent.prove(b"last", 1.1)
    assert not consent.prove(THERE, 1.2)


def test_address_that_does_not_answer_gets_a_few_checks_and_is_given_up() -> None:
    consent = connected()
    assert consent.reach(VICTIM, 0.0, nominated=True)
    checks = [step / 100 for step in range(100 * 5) if VICTIM in consent.due(step / 100)]
    assert checks == pytest.approx([0.1, 0.3, 0.7, 1.5], abs=0.02)
    assert 1 + len(checks) == len(RETRY_SECONDS)
    assert not consent.prove(VICTIM, 5.0)


def test_forged_checks_of_one_address_by_the_thousand_cost_it_little() -> None:
    consent, sent = connected(), 0
    for step in range(6000):
        now = step / 100
        sent += consent.reach(VICTIM, now, nominated=True)
        sent += consent.due(now).count(VICTIM)
    assert sent <= 60 / sum(RETRY_SECONDS) * len(RETRY_SECONDS) + len(RETRY_SECONDS)


def test_candidates_are_few_and_the_newest_ones_stay() -> None:
    consent = connected()
    names = [number.to_bytes(2, "big") for number in range(1000)]
    asked = [name for name in names if consent.reach(name, 0.0, nominated=True)]
    # `HERE`, the first address, counts as one of the new candidates allowed.
    assert len(asked) == MOST_MOVES - 1
    assert not consent.prove(asked[0], 0.1)
    due = consent.due(RETRY_SECONDS[0])
    assert due == asked[-MOST_CANDIDATES:]


def test_a_second_later_there_is_room_for_one_candidate_more() -> None:
    consent = connected()
    for number in range(MOST_MOVES):
        consent.reach(bytes([number]), 0.0, nominated=True)
    assert not consent.reach(THERE, 0.5, nominated=True)
    assert consent.reach(THERE, 1.1, nominated=True)


def test_the_address_in_use_is_asked_regularly_and_more_often_while_it_does_not_answer() -> None:
    consent = connected()
    assert consent.due(CONSENT_SECONDS - 0.1) == []
    assert consent.due(CONSENT_SECONDS) == [HERE]
    assert consent.due(CONSENT_SECONDS + MISSED_SECONDS - 0.1) == []
    assert consent.due(CONSENT_SECONDS + MISSED_SECONDS) == [HERE]
    assert not consent.prove(HERE, 4.0)
    assert consent.proved_at == 4.0
    assert consent.due(4.0 + CONSENT_SECONDS - 0.1) == []


def test_checks_from_the_address_in_use_are_no_consent() -> None:
    consent = connected()
    for second in range(30):
        consent.reach(HERE, float(second), nominated=True)
    assert consent.proved_at == 0.0
