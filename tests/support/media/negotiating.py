"""A leg and its participants, for tests of negotiation."""

import re
from functools import reduce

from media.sdp.codecs import section_codecs
from media.sdp.description import parse
from media.sdp.negotiation import Agreed, Fingerprint, LocalEnd, Negotiation, Outgoing, read_capabilities
from tests.support.samples import SAMPLES

CHROMIUM, FIREFOX, AIORTC = SAMPLES["chromium-audio-video"], SAMPLES["firefox-audio-video"], SAMPLES["aiortc-data"]
AUDIO = ("opus", "PCMU", "PCMA")
LOCAL = LocalEnd(
    (Fingerprint("sha-256", ":".join(["AB"] * 32)),), (("192.0.2.1", 5000), ("2001:db8::1", 5001), ("10.0.0.1", 5002))
)
BOB_AUDIO = Outgoing("bob-audio", "audio", "bob", "audio", 1000, None, live=True)
BOB = Outgoing("bob-video", "video", "bob", "video", 1001, 1002, live=True)
CAROL = Outgoing("carol-video", "video", "carol", "video", 1003, 1004, live=True)


def changed(text: str, *changes: tuple[str, str]) -> str:
    """Return the description with texts replaced. It must contain each of them."""
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text


def without(text: str, pattern: str) -> str:
    """Return the description without the lines that match."""
    return re.sub(rf"(?m)^{pattern}\r\n", "", text)


def unheard_of(text: str, *codecs: str) -> str:
    """Return the description with unknown codecs instead of these."""
    return re.sub(rf"(a=rtpmap:\d+) ({'|'.join(codecs)})/", r"\1 un\2/", text)


def agreed_by(*texts: str) -> Agreed:
    return reduce(joined, texts, Agreed())


def joined(agreed: Agreed, text: str) -> Agreed:
    return agreed.joined_by(read_capabilities(text), section_codecs(parse(text).live()))


def names(agreed: Agreed, kind: str) -> list[str]:
    return list(dict.fromkeys(codec.name for codec in agreed.codecs[kind]))


def settled(text: str, *outgoing: Outgoing, agreed: Agreed | None = None) -> tuple[Negotiation, str]:
    """Return a leg that has answered the offer, and its answer."""
    leg = Negotiation(LOCAL)
    leg.receive_offer(text, agreed or agreed_by(text))
    return leg, leg.create_answer(outgoing)


def offered(leg: Negotiation, *outgoing: Outgoing, agreed: Agreed) -> str:
    """Return the leg's offer, which must not be None."""
    offer = leg.create_offer(outgoing, agreed)
    assert offer is not None
    return offer


def section_text(text: str, index: int) -> str:
    """Return one m= section."""
    return "m=" + re.split(r"(?m)^m=", text)[1 + index]


def answering(offer: str, by: str = CHROMIUM, directions: dict[str, str] | None = None) -> str:
    """Return an answer: the offer's sections, accepted as they are, with the other side's transport."""
    swapped = {"sendrecv": "sendrecv", "sendonly": "recvonly", "recvonly": "sendonly", "inactive": "inactive"}
    keys = "".join(
        f"{each}\r\n" for each in dict.fromkeys(re.findall(r"a=(?:ice-ufrag|ice-pwd|fingerprint):[^\r]*", by))
    )
    text = without(offer, "a=(ice-lite|ice-ufrag|ice-pwd|fingerprint|setup|ssrc|ssrc-group|msid|candidate).*")
    for media in parse(offer).media:
        direction = (directions or {}).get(media.mid, swapped[media.direction])
        text = text.replace(
            section := section_text(text, parse(offer).media.index(media)),
            re.sub(r"a=(sendrecv|sendonly|recvonly|inactive)", f"a={direction}", section),
        )
    return changed(text, ("t=0 0\r\n", f"t=0 0\r\n{keys}a=setup:active\r\n"))


SAMPLES_SCREEN = re.sub(
    r"(?m)^a=(ice-ufrag|ice-pwd|fingerprint):.*(?=\r)",
    lambda match: re.findall(rf"a={match[1]}:.*", CHROMIUM)[0].strip(),
    SAMPLES["chromium-screen"],
)


def leg_that_offers() -> tuple[Negotiation, str, Agreed]:
    """Return a leg that waits for an answer; the leg's offer, in which carol's video is new; and the agreed codecs."""
    agreed = agreed_by(CHROMIUM)
    leg, _ = settled(CHROMIUM, BOB_AUDIO, BOB)
    return leg, offered(leg, BOB_AUDIO, BOB, CAROL, agreed=agreed), agreed
