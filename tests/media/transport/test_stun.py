import random
import string
import time
from dataclasses import replace
from struct import pack
from typing import Any

import pytest
from aioice import stun

from media.credentials import Credentials, new_credentials
from media.transport.ice import (
    KEPT_CHECKS,
    MAX_ATTRIBUTES,
    MAX_CHECKS,
    MAX_SENT,
    MAX_TRANSACTIONS,
    Agent,
    Agents,
    Verdict,
)
from media.transport.strangers import LOOKED_AT, MOST_NETWORKS, MOST_UNKNOWN, Strangers, network_of
from tests.support.media.dtls_pair import check, mutate
from tests.support.yardstick import slowness

pytestmark = pytest.mark.once

LOCAL = Credentials("ourUfrag", "ourPasswordOf24Letters++")
REMOTE = Credentials("them", "theirPasswordOf24Letters")
SOURCE = ("192.0.2.7", 50000)
IGNORED: Verdict[Any] = Verdict()


@pytest.fixture
def agents() -> Agents[str]:
    return Agents()


@pytest.fixture
def agent(agents: Agents[str]) -> Agent[str]:
    return agents.open("leg", LOCAL, REMOTE)


def request(local: Credentials = LOCAL, remote: str = "them", *, nominate: bool = False) -> bytes:
    return check(local.ufrag, local.password, remote, **({"USE-CANDIDATE": None} if nominate else {}))


def signed(attributes: bytes, tail: bytes = b"", kind: int = 1, cookie: int = stun.COOKIE) -> bytes:
    """Return a signed message with these raw attributes. `tail` and a fingerprint follow the signature."""
    message = pack("!HHI12s", kind, 0, cookie, b"transaction!") + attributes
    message += pack("!HH", 8, 20) + stun.message_integrity(message, LOCAL.password.encode()) + tail
    message += pack("!HHI", 0x8028, 4, stun.message_fingerprint(message))
    return stun.set_body_length(message, len(message) - 20)


USERNAME = pack("!HH13s3x", 6, 13, b"ourUfrag:them")


def read(reply: bytes | None, password: str = LOCAL.password) -> stun.Message:
    """Read a reply as the other side does, and require a valid signature and a fingerprint."""
    assert reply is not None
    message = stun.parse_message(reply)
    assert message.check_message_integrity(password.encode())
    assert "FINGERPRINT" in message.attributes
    return message


def changed_at_its_end(message: bytes) -> bytes:
    """Return this message with its last bit flipped."""
    return message[:-1] + bytes([message[-1] ^ 1])


def test_a_valid_check_is_answered_with_the_address_it_came_from(agents: Agents[str], agent: Agent[str]) -> None:
    datagram = request()
    verdict = agents.receive(datagram, SOURCE, 5.0)
    answer = read(verdict.reply)
    assert answer.message_class == stun.Class.RESPONSE
    assert answer.transaction_id == datagram[8:20]
    assert answer.attributes["XOR-MAPPED-ADDRESS"] == SOURCE
    assert verdict.agent is agent
    assert not verdict.nominated


@pytest.mark.parametrize(
    ("source", "mapped"),
    [
        (("2001:db8::7", 50000, 0, 0), ("2001:db8::7", 50000)),
        (("::ffff:192.0.2.7", 50000, 0, 0), SOURCE),
        (("fe80::1%eth0", 50000, 0, 2), ("fe80::1", 50000)),
    ],
)
def test_ipv6_is_served(agents: Agents[str], agent: Agent[str], source: Any, mapped: Any) -> None:
    assert read(agents.receive(request(), source, 1.0).reply).attributes["XOR-MAPPED-ADDRESS"] == mapped


def test_use_candidate_nominates(agents: Agents[str], agent: Agent[str]) -> None:
    assert agents.receive(request(nominate=True), SOURCE, 1.0).nominated


@pytest.mark.parametrize(
    "datagram",
    [
        pytest.param(request(local=replace(LOCAL, password="another")), id="wrong password"),
        pytest.param(request(local=replace(LOCAL, ufrag="nobody")), id="unknown ufrag"),
        pytest.param(request(remote="others"), id="wrong remote ufrag"),
        pytest.param(request(remote=""), id="no remote ufrag"),
        pytest.param(request(remote="them:"), id="more behind the remote ufrag"),
        pytest.param(signed(b""), id="no username"),
        pytest.param(signed(USERNAME, kind=0x0011), id="an indication"),
        pytest.param(signed(USERNAME, kind=0x0101), id="a response"),
        pytest.param(signed(USERNAME, kind=0x0111), id="an error"),
        pytest.param(signed(USERNAME, kind=0x0003), id="an allocation"),
        pytest.param(signed(USERNAME, kind=0x0FFF), id="no method at all"),
        pytest.param(signed(USERNAME, cookie=0), id="wrong cookie"),
        pytest.param(changed_at_its_end(request()), id="wrong fingerprint"),
        pytest.param(stun.set_body_length(request()[:-8], len(request()) - 28), id="no fingerprint"),
        pytest.param(signed(USERNAME + pack("!HH", 0x8022, 2000)), id="a length that leads out"),
        pytest.param(signed(USERNAME + pack("!HHH2x", 0x24, 2, 1)), id="a priority of two bytes"),
        pytest.param(signed(USERNAME + pack("!HH4s", 0x8022, 4, b"\xff\xfe\xff\xfe")), id="software that is no text"),
        pytest.param(request() + b"\0\0\0\0", id="longer than it says"),
        pytest.param(b"", id="nothing"),
        pytest.param(signed(USERNAME + pack("!HH1600x", 0x8022, 1600)), id="larger than a packet"),
    ],
)
def test_an_invalid_check_is_met_with_silence(agents: Agents[str], agent: Agent[str], datagram: bytes) -> None:
    assert agents.receive(datagram, SOURCE, 1.0) == IGNORED


def test_a_check_without_integrity_is_met_with_silence(agents: Agents[str], agent: Agent[str]) -> None:
    message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST, attributes={"USERNAME": "ourUfrag:them"})
    message.add_fingerprint()
    assert agents.receive(bytes(message), SOURCE, 1.0) == IGNORED


def many(count: int, username: bytes = USERNAME) -> bytes:
    """Return a signed check with this many additional attributes, of a kind that is cheap to send."""
    return signed(username + pack("!HHI", 0xC057, 4, 0) * count)


def test_more_attributes_than_browsers_send_are_met_with_silence(agents: Agents[str], agent: Agent[str]) -> None:
    # USERNAME, the signature and the fingerprint are three more.
    assert agents.receive(many(MAX_ATTRIBUTES - 3), SOURCE, 1.0).agent is agent
    assert agents.receive(many(MAX_ATTRIBUTES - 2), SOURCE, 1.0) == IGNORED


@pytest.mark.parametrize("count", [0, 100, 178])
def test_nothing_is_parsed_before_the_ufrag_is_known(
    agents: Agents[str], agent: Agent[str], monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    parsed: list[bytes] = []
    monkeypatch.setattr(stun, "parse_message", lambda datagram: parsed.append(datagram))
    unknown = pack("!HH13s3x", 6, 13, b"nobodysU:them")
    for datagram in (many(count, unknown), many(count, b""), many(178)):
        assert agents.receive(datagram, SOURCE, 1.0) == IGNORED
    assert parsed == []


def test_of_two_usernames_the_first_counts(agents: Agents[str], agent: Agent[str]) -> None:
    another = pack("!HH13s3x", 6, 13, b"nobodysU:them")
    assert agents.receive(signed(USERNAME + another), SOURCE, 1.0).agent is agent
    assert agents.receive(signed(another + USERNAME), SOURCE, 1.0) == IGNORED


def test_flood_of_unknown_ufrags_is_dropped_unread_and_locks_nobody_out(
    agents: Agents[str], agent: Agent[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at: list[str] = []
    is_dropped = Strangers.is_dropped

    def counted(strangers: Strangers, host: str, now: float) -> bool:
        dropped = is_dropped(strangers, host, now)
        if not dropped:
            looked_at.append(host)
        return dropped

    monkeypatch.setattr(Strangers, "is_dropped", counted)
    for number in range(8000):
        agents.receive(request(replace(LOCAL, ufrag="nobody")), (f"192.0.2.{number % 256}", number), 1.0)
    assert len(looked_at) <= MOST_UNKNOWN + 8000 / LOOKED_AT
    # A leg's own address, another network and a check in the next second are served. A newcomer gets through by
    # repeating its check.
    assert agents.receive(request(), SOURCE, 1.1, is_known=True).agent is agent
    assert agents.receive(request(), ("192.0.3.7", 1), 1.1).agent is agent
    assert any(agents.receive(request(), SOURCE, 1.1).agent for _ in range(LOOKED_AT))
    assert agents.receive(request(), SOURCE, 2.1).agent is agent


def test_networks_that_are_counted_are_bounded() -> None:
    strangers = Strangers()
    for number in range(100_000):
        host = (
            f"10.{number >> 16 & 255}.{number >> 8 & 255}.1"
            if number % 2
            else f"2001:db8:{number >> 16:x}:{number & 0xFFFF:x}::1"
        )
        if not strangers.is_dropped(host, 1.0):
            strangers.count(host)
    assert strangers.networks <= MOST_NETWORKS + 1
    assert strangers.is_dropped("203.0.113.1", 1.0)


def test_networks_are_counted_separately() -> None:
    assert network_of("192.0.2.7") == network_of("::ffff:192.0.2.9") != network_of("192.0.3.7")
    assert network_of("fe80::1%eth0") == network_of("fe80::2") != network_of("fe80:0:0:1::1")


def test_the_holder_of_another_agents_password_cannot_pass_for_this_one(agents: Agents[str], agent: Agent[str]) -> None:
    other = Credentials("another8", "anotherPasswordOf24Lette")
    agents.open("other", other, REMOTE)
    assert agents.receive(request(local=replace(LOCAL, password=other.password)), SOURCE, 1.0) == IGNORED


def test_a_peer_that_claims_to_be_controlled_learns_of_the_conflict(agents: Agents[str], agent: Agent[str]) -> None:
    datagram = signed(USERNAME + pack("!HHQ", 0x8029, 8, 1))
    verdict = agents.receive(datagram, SOURCE, 1.0)
    answer = read(verdict.reply)
    assert answer.message_class == stun.Class.ERROR
    assert answer.error_code == 487
    assert verdict.agent is None


def test_attributes_that_must_be_understood_and_are_not_are_listed(agents: Agents[str], agent: Agent[str]) -> None:
    datagram = signed(USERNAME + pack("!HH4xHH", 0x7001, 4, 0x001D, 0))
    verdict = agents.receive(datagram, SOURCE, 1.0)
    assert verdict.reply is not None
    assert read(verdict.reply).error_code == 420
    assert pack("!HHHH", 0x000A, 4, 0x7001, 0x001D) in verdict.reply
    assert verdict.agent is None


def test_other_attributes_do_not_matter(agents: Agents[str], agent: Agent[str]) -> None:
    optional = pack("!HH4x", 0xC057, 4)
    assert agents.receive(signed(USERNAME + optional), SOURCE, 1.0).agent is agent


def test_attributes_after_the_signature_are_ignored(agents: Agents[str], agent: Agent[str]) -> None:
    verdict = agents.receive(signed(USERNAME, tail=pack("!HH4xHH", 0x7001, 4, 0x0025, 0)), SOURCE, 1.0)
    assert verdict.agent is agent
    assert not verdict.nominated


def test_no_answer_is_much_longer_than_its_request(agents: Agents[str], agent: Agent[str]) -> None:
    unknown = b"".join(pack("!HH", 0x7000 + i, 0) for i in range(MAX_ATTRIBUTES - 3))
    for datagram in (request(), signed(USERNAME), signed(USERNAME + unknown)):
        reply = agents.receive(datagram, ("2001:db8::1", 1), 1.0).reply
        assert reply
        assert len(reply) <= len(datagram) + 16


def test_a_replayed_check_does_not_move_the_leg(agents: Agents[str], agent: Agent[str]) -> None:
    datagram = request(nominate=True)
    assert agents.receive(datagram, SOURCE, 1.0).nominated
    assert agents.receive(datagram, ("198.51.100.9", 50000), 2.0) == IGNORED


def test_a_repeated_check_is_answered_again_but_keeps_nothing_alive(agents: Agents[str], agent: Agent[str]) -> None:
    datagram = request(nominate=True)
    first = agents.receive(datagram, SOURCE, 1.0)
    assert agents.receive(datagram, SOURCE, 2.0) == Verdict(first.reply)


def test_more_checks_than_a_browser_makes_are_not_looked_at_until_the_next_second(
    agents: Agents[str], agent: Agent[str]
) -> None:
    answered = [agents.receive(request(), SOURCE, 1.0).reply for _ in range(MAX_CHECKS + 10)]
    assert sum(reply is not None for reply in answered) == MAX_CHECKS
    assert agents.receive(request(), SOURCE, 1.9) == IGNORED
    assert agents.receive(request(), SOURCE, 2.0).agent is agent


def test_an_attacker_that_knows_only_the_ufrag_cannot_stop_consent(agents: Agents[str], agent: Agent[str]) -> None:
    assert agents.receive(request(), SOURCE, 1.0).agent is agent
    for port in range(3 * MAX_CHECKS):
        forged = request(local=replace(LOCAL, password="another"))
        assert agents.receive(forged, ("198.51.100.9", port), 1.5) == IGNORED
    answered = [agents.receive(request(), SOURCE, 1.6).reply for _ in range(MAX_CHECKS)]
    assert sum(reply is not None for reply in answered) == KEPT_CHECKS


def test_an_hour_of_checks_is_remembered(agents: Agents[str], agent: Agent[str]) -> None:
    recorded = request(nominate=True)
    for second in range(0, 3600, 2):
        assert agents.receive(request() if second else recorded, SOURCE, float(second)).agent is agent
    assert agents.receive(recorded, ("198.51.100.9", 50000), 3600.0) == IGNORED


def test_the_memory_of_checks_is_bounded(agents: Agents[str], agent: Agent[str]) -> None:
    for now in range(2 * MAX_TRANSACTIONS):
        assert agents.receive(request(), SOURCE, float(now)).agent is agent
    assert agent.remembered_checks == MAX_TRANSACTIONS


def test_old_credentials_are_good_until_new_ones_are_used(agents: Agents[str], agent: Agent[str]) -> None:
    new = new_credentials()
    agents.restart(agent, new, replace(REMOTE, ufrag="newThem"))
    assert agents.receive(request(), SOURCE, 1.0).agent is agent
    assert agents.receive(request(new), SOURCE, 2.0) == IGNORED
    assert agents.receive(request(new, "newThem"), SOURCE, 3.0).agent is agent
    assert agents.receive(request(), SOURCE, 4.0) == IGNORED


def test_the_other_sides_ufrag_may_be_stated_later(agents: Agents[str]) -> None:
    agent = agents.open("leg", LOCAL)
    assert agents.receive(request(remote="any"), SOURCE, 1.0).agent is agent
    agents.restart(agent, LOCAL, REMOTE)
    assert agents.receive(request(remote="any"), SOURCE, 2.0) == IGNORED
    assert agents.receive(request(), SOURCE, 3.0).agent is agent


def test_restarts_that_nobody_uses_do_not_pile_up(agents: Agents[str], agent: Agent[str]) -> None:
    restarts = [new_credentials() for _ in range(20)]
    for each in restarts:
        agents.restart(agent, each, REMOTE)
    assert agents.receive(request(), SOURCE, 1.0).agent is agent
    assert agents.receive(request(restarts[0]), SOURCE, 1.0) == IGNORED
    assert agents.receive(request(restarts[-1]), SOURCE, 1.0).agent is agent
    assert agents.ufrags == 1


def test_a_closed_agent_is_not_reached(agents: Agents[str], agent: Agent[str]) -> None:
    agents.restart(agent, new_credentials())
    agents.close(agent)
    assert agents.receive(request(), SOURCE, 1.0) == IGNORED
    assert agents.ufrags == 0


def test_a_ufrag_belongs_to_one_agent(agents: Agents[str], agent: Agent[str]) -> None:
    with pytest.raises(ValueError, match="taken"):
        agents.open("other", LOCAL)
    other = agents.open("other", new_credentials())
    with pytest.raises(ValueError, match="taken"):
        agents.restart(other, LOCAL)
    assert agents.receive(request(), SOURCE, 1.0).agent is agent


def test_credentials_are_of_ices_characters_and_long_enough() -> None:
    one, other = new_credentials(), new_credentials()
    assert one != other
    assert len(one.ufrag) >= 4
    assert len(one.password) >= 22
    assert set(one.ufrag + one.password) <= set(string.ascii_letters + string.digits + "+/")


def test_mutated_checks_never_raise_and_never_pass(agents: Agents[str], agent: Agent[str]) -> None:
    chance = random.Random(8445)
    seeds = [request(nominate=True), signed(USERNAME + pack("!HHQ", 0x8029, 8, 1)), signed(USERNAME)]
    started = time.thread_time()
    for second in range(20_000):
        datagram = mutate(chance.choice(seeds), chance)
        if datagram not in seeds:
            assert agents.receive(datagram, SOURCE, float(second)) == IGNORED
    assert time.thread_time() - started < 20 * slowness()


def test_signed_nonsense_never_raises(agents: Agents[str], agent: Agent[str]) -> None:
    # The attacker is the participant itself, so the signature is right, whatever the message contains.
    chance = random.Random(8489)
    for second in range(10_000):
        junk = b"".join(_attribute(chance) for _ in range(chance.randrange(4)))
        agents.receive(signed(USERNAME + junk), SOURCE, float(second))


def _attribute(chance: random.Random) -> bytes:
    """Return an attribute. Its type is usually one that the parser knows. Its length may be unexpected."""
    kind = chance.choice([chance.randrange(65536), *stun.ATTRIBUTES_BY_TYPE])
    size = chance.choice([0, 1, 2, 4, 8, 20])
    return pack("!HH", kind, size) + chance.randbytes(size + -size % 4)


def test_a_check_costs_little(agents: Agents[str], agent: Agent[str]) -> None:
    datagrams = [request() for _ in range(500)]
    best = min(_seconds(agents, datagrams[i : i + 50], float(i)) for i in range(0, 500, 50))
    assert best / 50 < 150e-6 * slowness()


def _seconds(agents: Agents[str], datagrams: list[bytes], now: float) -> float:
    started = time.thread_time()
    for datagram in datagrams:
        assert agents.receive(datagram, SOURCE, now).reply
    return time.thread_time() - started


# --- Our own checks -----------------------------------------------------------------------------------------------


def answer(
    check_: bytes, *, password: str = REMOTE.password, kind: stun.Class = stun.Class.RESPONSE, transaction: bytes = b""
) -> bytes:
    """Return a browser's answer to a check of the focus."""
    message = stun.Message(stun.Method.BINDING, kind, transaction or check_[8:20], {"XOR-MAPPED-ADDRESS": SOURCE})
    message.add_message_integrity(password.encode())
    return bytes(message)


def checked(agents: Agents[str], agent: Agent[str]) -> bytes:
    """Return a check of the focus to the other side's address."""
    sent = agent.check(SOURCE)
    assert sent is not None
    return sent


def test_our_check_is_one_that_browsers_answer(agents: Agents[str], agent: Agent[str]) -> None:
    message = read(checked(agents, agent), REMOTE.password)
    assert message.message_class == stun.Class.REQUEST
    assert message.attributes["USERNAME"] == "them:ourUfrag"
    assert {"PRIORITY", "ICE-CONTROLLED"} <= message.attributes.keys()


def test_the_answer_to_our_check_counts_once(agents: Agents[str], agent: Agent[str]) -> None:
    sent = checked(agents, agent)
    assert agent.is_answer(answer(sent), SOURCE)
    assert not agent.is_answer(answer(sent), SOURCE)


@pytest.mark.parametrize(
    ("options", "source"),
    [
        pytest.param({"transaction": b"guessed----!"}, SOURCE, id="guessed transaction"),
        pytest.param({"password": "another"}, SOURCE, id="wrong password"),
        pytest.param({"kind": stun.Class.ERROR}, SOURCE, id="an error"),
        pytest.param({"kind": stun.Class.REQUEST}, SOURCE, id="a request"),
        pytest.param({}, ("192.0.2.7", 50001), id="another port"),
        pytest.param({}, ("192.0.2.8", 50000), id="another host"),
    ],
)
def test_other_answers_do_not_count(agents: Agents[str], agent: Agent[str], options: Any, source: Any) -> None:
    sent = checked(agents, agent)
    assert not agent.is_answer(answer(sent, **options), source)
    # After a wrong answer, the right one still counts.
    assert agent.is_answer(answer(sent), SOURCE)


def test_mutated_answers_never_raise_and_never_count(agents: Agents[str], agent: Agent[str]) -> None:
    chance, genuine = random.Random(7675), answer(checked(agents, agent))
    for _ in range(5_000):
        datagram = mutate(genuine, chance)
        # The signature covers everything but the fingerprint, which is the last eight bytes.
        if datagram[:-8] != genuine[:-8]:
            assert not agent.is_answer(datagram, SOURCE)


def test_checks_of_ours_that_are_remembered_are_bounded(agents: Agents[str], agent: Agent[str]) -> None:
    first, *rest = (checked(agents, agent) for _ in range(MAX_SENT + 1))
    assert not agent.is_answer(answer(first), SOURCE)
    assert all(agent.is_answer(answer(each), SOURCE) for each in rest)


def test_without_the_other_sides_credentials_no_check_is_sent(agents: Agents[str]) -> None:
    agent = agents.open("leg", LOCAL)
    assert agent.check(SOURCE) is None
    agents.restart(agent, LOCAL, REMOTE)
    assert agent.check(SOURCE) is not None
