"""ICE-lite (RFC 8445 section 2.5): authenticate the STUN messages that reach the port.

Only a sender that knows a leg's ICE password gets an answer. RFC 8489 section 9.1.3 requires a server to answer other
senders with 400 or 401, but this server does not answer them. A 400 or 401 may go to a forged address, its receiver
cannot authenticate it, and it tells a scanner which ufrags exist. A sender that knows the password gets signed error
responses (420, 487).

A lite agent need not send checks. This agent sends checks to prove that an address receives them
(`media.transport.consent`). This module uses no clock and no socket.
"""

import ipaddress
import logging
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from struct import pack, unpack_from
from typing import Any, Final, Generic, TypeVar

from aioice import stun

from media.credentials import Credentials
from media.transport.strangers import Strangers

logger = logging.getLogger(__name__)

Owner = TypeVar("Owner")

# The address of a sender: host, port, and whatever else distinguishes it from other senders.
Address = tuple[Any, ...]

# The largest size of a message in bytes, and the largest number of its attributes. A browser's check has about 130
# bytes and 8 attributes.
MAX_DATAGRAM = 1024
MAX_ATTRIBUTES = 32
# How many ICE restarts may be pending at the same time. The credentials in use do not count.
MAX_RESTARTS = 3
# How many transactions are remembered, to recognise a replayed check. Chromium checks every 2.5 s, so this is more than
# an hour. After that, an attacker may replay a recorded check from a forged address, with effect until the next real
# check.
MAX_TRANSACTIONS = 2048
# How many checks for one agent are read within a second. A browser that tries many addresses sends about 20.
MAX_CHECKS = 50
# How many of these checks are reserved for the source of the last valid check, so that no other sender can stop its
# consent.
KEPT_CHECKS = 25
# How many of its own checks an agent remembers, to recognise their answers.
MAX_SENT = 64

_REQUEST: Final = stun.Method.BINDING | stun.Class.REQUEST
_RESPONSE: Final = stun.Method.BINDING | stun.Class.RESPONSE
_ERROR: Final = stun.Method.BINDING | stun.Class.ERROR

_ERROR_CODE = 0x0009
_USERNAME = 0x0006
_INTEGRITY = 0x0008
_UNKNOWN_ATTRIBUTES = 0x000A
_XOR_MAPPED_ADDRESS = 0x0020
_PRIORITY = 0x0024
_FINGERPRINT = 0x8028
_ICE_CONTROLLED = 0x8029
# The priority of a peer-reflexive candidate (RFC 8445 section 5.1.2). Our checks discover no such candidate, but every
# check must contain this priority.
_CHECK_PRIORITY = 110 << 24 | 65535 << 8 | 255
# A receiver must understand all attribute types below this (RFC 8489 section 14).
_OPTIONAL = 0x8000
# The attributes of RFC 8489 that this agent handles or may ignore in a request, and PRIORITY and USE-CANDIDATE
# (RFC 8445 section 16.1).
_UNDERSTOOD = frozenset(
    {0x0001, 0x0006, 0x0008, _ERROR_CODE, _UNKNOWN_ATTRIBUTES, 0x0014, 0x0015, _XOR_MAPPED_ADDRESS, 0x0024, 0x0025}
)


class Agent(Generic[Owner]):
    """The ICE end of the leg `owner`, with the credentials of both sides."""

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        # The credentials that are valid now: first those in use, last the newest.
        self._generations: list[_Generation[Owner]] = []
        self._transactions: OrderedDict[bytes, Address] = OrderedDict()
        # Our own checks by transaction ID: the address to which each went, and the key that must sign its answer.
        self._sent: OrderedDict[bytes, tuple[Address, bytes]] = OrderedDict()
        self._source: Address | None = None
        self._checks_left, self._counted_from = MAX_CHECKS, float("-inf")

    @property
    def remembered_checks(self) -> int:
        """How many of the other side's checks are remembered. A repeat of one of them proves nothing."""
        return len(self._transactions)

    def check(self, destination: Address) -> bytes | None:
        """Return a check to send to this address; None while the other side's credentials are unknown."""
        generation = self._generations[0] if self._generations else None
        if generation is None or generation.remote is None:
            return None
        transaction, key = secrets.token_bytes(12), generation.remote.password.encode()
        self._sent[transaction] = destination, key
        if len(self._sent) > MAX_SENT:
            self._sent.popitem(last=False)
        username = f"{generation.remote.ufrag}:{generation.ufrag}".encode()
        attributes = _attribute(_USERNAME, username) + _attribute(_PRIORITY, pack("!I", _CHECK_PRIORITY))
        # Use the smallest tiebreaker, because the other side is always the controlling agent.
        return _signed(_REQUEST, transaction, attributes + _attribute(_ICE_CONTROLLED, bytes(8)), key)

    def is_answer(self, datagram: bytes, source: Address) -> bool:
        """Tell whether a datagram is the success response to a check of ours that went to `source`.

        Only the first response to each check counts.
        """
        transaction = datagram[8:20]
        destination, key = self._sent.get(transaction, (None, b""))
        if destination != source or not _is_authentic_response(datagram, key):
            return False
        del self._sent[transaction]
        return True

    def _affords(self, source: Address, now: float) -> bool:
        """Tell whether a check from this address may still be read in this second. If so, count the check."""
        if now - self._counted_from >= 1:
            self._checks_left, self._counted_from = MAX_CHECKS, now
        if self._checks_left <= (0 if source == self._source else KEPT_CHECKS):
            return False
        self._checks_left -= 1
        return True


@dataclass(eq=False, slots=True)
class _Generation(Generic[Owner]):
    """One set of an agent's credentials."""

    agent: Agent[Owner]
    ufrag: str
    key: bytes
    remote: Credentials | None


@dataclass(frozen=True, slots=True)
class Verdict(Generic[Owner]):
    """The result of reading a STUN datagram."""

    # The answer to send to the source.
    reply: bytes | None = None
    # If the datagram is a valid new check: the agent to which it was sent.
    agent: Agent[Owner] | None = None
    # Whether this check nominates its address for media (USE-CANDIDATE).
    nominated: bool = False


_IGNORED: Final[Verdict[Any]] = Verdict()


class Agents(Generic[Owner]):
    """The agents of a node, by ufrag."""

    def __init__(self) -> None:
        self._generations: dict[bytes, _Generation[Owner]] = {}
        self._strangers = Strangers()

    @property
    def ufrags(self) -> int:
        """How many ufrags are valid now."""
        return len(self._generations)

    def open(self, owner: Owner, local: Credentials, remote: Credentials | None = None) -> Agent[Owner]:
        """Make an agent. Without `remote`, any ufrag of the other side is accepted, until `restart` sets it.

        :raises ValueError: when another agent has this ufrag.
        """
        agent = Agent(owner)
        self._admit(agent, local, remote)
        return agent

    def restart(self, agent: Agent[Owner], local: Credentials, remote: Credentials | None = None) -> None:
        """Give an agent new credentials. The old credentials stay valid until the other side uses the new ones.

        If `local` is the same as before, this only sets the other side's credentials.

        :raises ValueError: when another agent has this ufrag.
        """
        known = self._generations.get(local.ufrag.encode())
        if known is not None and known.agent is agent and known.key == local.password.encode():
            known.remote = remote or known.remote
            return
        self._admit(agent, local, remote)
        if len(agent._generations) > MAX_RESTARTS + 1:
            self._forget(agent._generations.pop(1))

    def close(self, agent: Agent[Owner]) -> None:
        """Forget an agent. Checks for it are no longer answered."""
        for generation in agent._generations:
            self._forget(generation)
        agent._generations.clear()

    def receive(self, datagram: bytes, source: Address, now: float, *, is_known: bool = False) -> Verdict[Owner]:
        """Authenticate a STUN datagram from `source`, and return the verdict. Never raises.

        :param is_known: whether a leg uses this address. Checks from a known address are read even while its network
            floods the node.
        """
        try:
            generation = self._wanted(datagram, source, now, is_known=is_known)
            return self._judge(generation, datagram, source, now) if generation is not None else _IGNORED
        except Exception:
            # The parser raises any exception for broken input. Anybody can send such input, so log it only for
            # debugging.
            logger.debug("A STUN datagram of %d bytes could not be read", len(datagram), exc_info=True)
            return _IGNORED

    def _wanted(self, datagram: bytes, source: Address, now: float, *, is_known: bool) -> _Generation[Owner] | None:
        """Return the credentials that a request names, or None. This is cheap, so that a flood costs little."""
        if not is_known and self._strangers.is_dropped(source[0], now):
            return None
        username = _username(datagram)
        ufrag, _, remote_ufrag = username.partition(b":")
        generation = self._generations.get(ufrag)
        if generation is None:
            self._strangers.count(source[0])
        elif generation.remote is not None and remote_ufrag != generation.remote.ufrag.encode():
            return None
        return generation

    def _judge(self, generation: _Generation[Owner], datagram: bytes, source: Address, now: float) -> Verdict[Owner]:
        unknown = _screen(datagram)
        if unknown is None:
            return _IGNORED
        # This checks the fingerprint, and raises ValueError when it is wrong.
        request = stun.parse_message(datagram)
        if not generation.agent._affords(source, now) or not request.check_message_integrity(generation.key):
            return _IGNORED
        transaction = request.transaction_id
        if unknown:
            return Verdict(_error(transaction, 420, "Unknown Attribute", generation.key, _list(unknown)))
        # A lite agent is always controlled: the other side must change its role (RFC 8445 section 7.3.1.1).
        if "ICE-CONTROLLED" in request.attributes:
            return Verdict(_error(transaction, 487, "Role Conflict", generation.key))
        return self._accept(generation, request, source, now)

    def _accept(
        self, generation: _Generation[Owner], request: stun.Message, source: Address, now: float
    ) -> Verdict[Owner]:
        """Answer an authentic check, and accept it if it is new."""
        agent, transaction = generation.agent, request.transaction_id
        first_source = agent._transactions.get(transaction)
        if first_source not in (None, source):
            # This is a replayed check from another address. An attacker may want the media to go to that address.
            return _IGNORED
        reply = _signed(_RESPONSE, transaction, _mapped_address(transaction, source), generation.key)
        if first_source is not None:
            # This is a repeated check. Either our answer was lost, or an attacker with a forged address tries to keep
            # consent alive.
            return Verdict(reply)
        if source != agent._source:
            agent._source = source
        # The transactions of one source share one tuple.
        agent._transactions[transaction] = agent._source
        if len(agent._transactions) > MAX_TRANSACTIONS:
            agent._transactions.popitem(last=False)
        while agent._generations[0] is not generation:
            self._forget(agent._generations.pop(0))
        return Verdict(reply, agent, "USE-CANDIDATE" in request.attributes)

    def _admit(self, agent: Agent[Owner], local: Credentials, remote: Credentials | None) -> None:
        if local.ufrag.encode() in self._generations:
            raise ValueError("This ufrag is taken")
        generation = _Generation(agent, local.ufrag, local.password.encode(), remote)
        self._generations[local.ufrag.encode()] = generation
        agent._generations.append(generation)

    def _forget(self, generation: _Generation[Owner]) -> None:
        del self._generations[generation.ufrag.encode()]


def _username(datagram: bytes) -> bytes:
    """Return the value of USERNAME in a binding request, or no bytes. Read at most MAX_ATTRIBUTES attributes.

    This function does not check the signature, and `_screen` must still check the message.
    """
    size = len(datagram)
    if not stun.HEADER_LENGTH <= size <= MAX_DATAGRAM or datagram[:8] != pack(
        "!HHI", _REQUEST, size - stun.HEADER_LENGTH, stun.COOKIE
    ):
        return b""
    position = stun.HEADER_LENGTH
    for _ in range(MAX_ATTRIBUTES):
        if position + 4 > size:
            break
        attribute, length = unpack_from("!HH", datagram, position)
        position += 4
        if attribute == _USERNAME:
            return datagram[position : position + length]
        if attribute == _INTEGRITY:
            break
        position += length + stun.padding_length(length)
    return b""


def _screen(datagram: bytes) -> list[int] | None:
    """Return a binding request's unknown attributes of types below `_OPTIONAL`; None for a malformed request.

    `_username` has already checked the header. This function is needed because the parser is lenient. The parser
    ignores unknown attributes, a wrong cookie, lengths beyond the end of the message, and a fingerprint that is missing
    or not the last attribute (RFC 8489 section 14.7).
    """
    size = len(datagram)
    unknown: list[int] = []
    position, attribute, signed = stun.HEADER_LENGTH, 0, False
    for _ in range(MAX_ATTRIBUTES):
        if position >= size:
            break
        attribute, length = unpack_from("!HH", datagram, position)
        # Attributes after the signature are not authentic.
        signed = signed or attribute == _INTEGRITY
        if attribute < _OPTIONAL and attribute not in _UNDERSTOOD and not signed:
            unknown.append(attribute)
        position += 4 + length + stun.padding_length(length)
    return unknown if position == size and attribute == _FINGERPRINT else None


def _is_authentic_response(datagram: bytes, key: bytes) -> bool:
    """Tell whether a datagram is a success response that is signed with this key."""
    if len(datagram) > MAX_DATAGRAM or datagram[:8] != pack("!HHI", _RESPONSE, len(datagram) - 20, stun.COOKIE):
        return False
    try:
        message = stun.parse_message(datagram)
        return "FINGERPRINT" in message.attributes and message.check_message_integrity(key)
    except Exception:
        # The parser raises any exception for broken input, as in `Agents.receive`.
        return False


def _signed(kind: int, transaction: bytes, attributes: bytes, key: bytes) -> bytes:
    """Return a signed message with a fingerprint."""
    message = pack("!HHI12s", kind, 0, stun.COOKIE, transaction) + attributes
    message += _attribute(_INTEGRITY, stun.message_integrity(message, key))
    message += _attribute(_FINGERPRINT, pack("!I", stun.message_fingerprint(message)))
    return stun.set_body_length(message, len(message) - stun.HEADER_LENGTH)


def _error(transaction: bytes, code: int, reason: str, key: bytes, attributes: bytes = b"") -> bytes:
    """Return a signed error (RFC 8489 section 14.8)."""
    return _signed(_ERROR, transaction, _attribute(_ERROR_CODE, stun.pack_error_code((code, reason))) + attributes, key)


def _list(unknown: list[int]) -> bytes:
    """Return the attribute UNKNOWN-ATTRIBUTES (RFC 8489 section 14.13)."""
    return _attribute(_UNKNOWN_ATTRIBUTES, b"".join(pack("!H", each) for each in unknown))


def _mapped_address(transaction: bytes, source: Address) -> bytes:
    """Return XOR-MAPPED-ADDRESS (RFC 8489 section 14.2)."""
    address = ipaddress.ip_address(source[0])
    # An IPv6 socket that also serves IPv4 returns mapped addresses. The other side knows the IPv4 address.
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    value = pack("!xBH", 1 if address.version == 4 else 2, source[1] ^ (stun.COOKIE >> 16))
    pad = stun.COOKIE.to_bytes(4, "big") + transaction
    packed = address.packed
    mask = int.from_bytes(pad[: len(packed)], "big")
    return _attribute(_XOR_MAPPED_ADDRESS, value + (int.from_bytes(packed, "big") ^ mask).to_bytes(len(packed), "big"))


def _attribute(kind: int, value: bytes) -> bytes:
    return pack("!HH", kind, len(value)) + value + bytes(stun.padding_length(len(value)))
