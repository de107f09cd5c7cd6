"""Offers that Chromium can use are accepted. Offers that it refuses are refused too, or listed in `LENIENT`."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from conferences.exceptions import SdpInvalidError
from conferences.sdp import require_fit, validate
from media.credentials import Fingerprint
from media.sdp.codecs import Agreed
from media.sdp.description import parse
from media.sdp.negotiation import Negotiation, NegotiationError
from media.sdp.writer import LocalEnd
from tests.support.chromium import launch_chromium
from tests.support.depth import DEEP, examples
from tests.support.media.mutations import OFFERS, mutations
from tests.support.services import ROOT

pytestmark = pytest.mark.once

LOCAL = LocalEnd((Fingerprint("sha-256", ":".join(["AB"] * 32)),), (("127.0.0.1", 5000),))
# A page can create only a few hundred connections in its lifetime.
_PER_PAGE = 100
_TIMEOUT = 900 if DEEP else 60  # seconds
_TAKEN = """
async ([module, offers]) => {
  const {withoutUnlisted} = await import(`data:text/javascript,${encodeURIComponent(module)}`);
  return offers.map(withoutUnlisted);
}
"""
_SCRIPT = """
async (offers) => {
  const verdicts = [];
  for (const sdp of offers) {
    const pc = new RTCPeerConnection({bundlePolicy: "balanced"});
    try {
      await pc.setRemoteDescription({type: "offer", sdp});
      await pc.setLocalDescription();
      verdicts.push(["", pc.localDescription.sdp]);
    } catch (error) {
      verdicts.push([error.message, ""]);
    }
    pc.close();
  }
  return verdicts;
}
"""
# For each pair of BUNDLE groups: the offer and the answer with these groups, and Chromium's refusal of the answer.
_ANSWERED = """
async (pairs) => {
  const judged = [];
  const bundled = (sdp, groups) => {
    const lines = groups.split("|").filter(Boolean).map((mids) => `a=group:BUNDLE ${mids}\\r\\n`);
    return sdp.replace(/a=group:BUNDLE .*\\r\\n/g, "").replace("t=0 0\\r\\n", `t=0 0\\r\\n${lines.join("")}`);
  };
  for (const [offered, answered] of pairs) {
    const [one, two] = [0, 1].map(() => new RTCPeerConnection({bundlePolicy: "balanced"}));
    for (const kind of ["audio", "video"]) one.addTransceiver(kind);
    const offer = bundled((await one.createOffer()).sdp, offered);
    await one.setLocalDescription({type: "offer", sdp: offer});
    await two.setRemoteDescription({type: "offer", sdp: offer});
    const answer = bundled((await two.createAnswer()).sdp, answered);
    const error = await one.setRemoteDescription({type: "answer", sdp: answer}).then(() => "", ({message}) => message);
    judged.push([offer, answer, error]);
    for (const each of [one, two]) each.close();
  }
  return judged;
}
"""

# Offers that Chromium refuses and the enabler accepts: patterns of Chromium's error message, each with what the offer
# contains.
LENIENT = {
    # Other media types and protocols are ignored, or forwarded to a peer that may know them.
    r"Unsupported protocol|m=.*Invalid value": "other protocols and formats",
    # Chromium invents mids for sections without one, and then refuses these mids itself.
    r"Duplicate a=mid|matching no m= section": "mids that it made up, or left empty",
    # The codec is ignored, because another peer may know it. Firefox leaves parameters of codecs that its m= line does
    # not list. `SbeClient` removes these parameters, and Firefox itself accepts them.
    r"statically assigned|send parameters|Failed to parse codecs|a=rtpmap:": "codecs that it does not know",
    # Between peers the text is forwarded, because another stack may need no rtcp-mux. The focus serves only a transport
    # with rtcp-mux.
    r"(?i)rtcp-mux": "peers without rtcp-mux",
    # One section may carry the transport's attributes for its bundle (RFC 9143 section 7.1.3).
    r"Invalid ICE parameters|without ice-ufrag|without DTLS fingerprint": "bundled sections without keys",
    # A payload type or SSRC must have one meaning in a bundle. The focus refuses a collision; in `peer`, the other side
    # decides.
    r"codec collision|Failed to add remote stream ssrc|Duplicate SSRC": "collisions of numbers in a bundle",
    # RFC 8122 section 5: several fingerprints are allowed, and unknown digests are ignored.
    r"a=fingerprint:": "fingerprints that it cannot use",
    # With ICE, no endpoint connects to the address in c=, and none has to understand each candidate.
    r"^\S*c=|connection data|a=candidate:": "addresses that it cannot use",
    # The focus answers such a section without simulcast. Chromium accepts simulcast only with the RID extension and
    # exactly one `a=simulcast`.
    r"negotiates simulcast but does not negotiate the RID|Multiple Simulcast": "simulcast that it cannot take",
    r"Two different track IDs|a=msid:": "two tracks of one section",
    r"a=ssrc-group:": "groups of sources that it cannot read: they are passed over",
    # The focus rejects only the section of the data channels.
    r"a=sctp-port": "data channels without a port",
    # RFC 8285 section 5 forbids extensions at both levels. The parser reads only those of the section.
    r"a=extmap MUST be either": "extensions of the session and of sections",
    r"Failed to set local answer|transport is missing": "offers that it takes and cannot answer",
}
_CLIENT = ROOT / "templates" / "static" / "sbe" / "sdp.js"
_FORWARDED = {"opus", "pcmu", "pcma", "vp8", "vp9", "h264", "av1"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium() -> AsyncIterator[Browser]:
    """Run one Chromium for all these tests."""
    async with async_playwright() as driver:
        browser = await launch_chromium(driver)
        yield browser
        await browser.close()


async def evaluated(chromium: Browser, script: str, argument: object) -> Any:
    """Run a JavaScript function in a new page, and return its result."""
    async with asyncio.timeout(_TIMEOUT):
        page = await chromium.new_page()
        value = await page.evaluate(script, argument)
        await page.close()
    return value


async def verdicts(chromium: Browser, offers: list[str]) -> list[tuple[str, str]]:
    """Return, for each offer, Chromium's error and Chromium's answer. One of them is empty."""
    found: list[tuple[str, str]] = []
    for start in range(0, len(offers), _PER_PAGE):
        found += map(tuple, await evaluated(chromium, _SCRIPT, offers[start : start + _PER_PAGE]))
    return found


def refusal_in_peer(offer: str) -> str:
    try:
        validate("offer", offer)
    except SdpInvalidError as error:
        return str(error.detail)
    return ""


def refusal_of_answer(offer: str, answer: str) -> str:
    try:
        require_fit(validate("answer", answer), parse(offer))
    except SdpInvalidError as error:
        return str(error.detail)
    return ""


def refusal_in_focus(offer: str) -> str:
    leg = Negotiation(LOCAL)
    try:
        leg.receive_offer(offer, Agreed())
    except NegotiationError as error:
        return str(error)
    answer = parse(leg.create_answer([]))
    return "" if answer.live() else "Every section is rejected."


def usable(answer: str) -> bool:
    """Tell whether Chromium's answer accepts any section."""
    return bool(re.search(r"(?m)^m=\S+ 0*[1-9]", answer))


def is_beyond_the_focus(offer: str, answer: str) -> bool:
    """Tell whether the focus may refuse an offer that Chromium can use: no known codec, or two ICE-lite sides."""
    sections = [each for each in re.split(r"(?m)^m=", answer)[1:] if not re.match(r"\S+ 0 ", each)]
    names = {name.lower() for each in sections for name in re.findall(r"a=rtpmap:\d+ ([^/\r]+)", each)}
    is_data = any(each.startswith("application") and "a=sctp-port" in each for each in sections)
    # Two ICE-lite sides never check each other, so they never connect (RFC 8445 section 6.1.1).
    return "\r\na=ice-lite" in offer or not (is_data or names & _FORWARDED)


def disagreement(offer: str, error: str, answer: str) -> str:
    """Return a disagreement with Chromium that has no listed reason, or an empty text."""
    peer = refusal_in_peer(offer)
    if usable(answer) and peer:
        return f"refused in peer: {peer}"
    if usable(answer) and (focus := refusal_in_focus(offer)) and not is_beyond_the_focus(offer, answer):
        return f"refused in focus: {focus}"
    reason = re.sub(r"^Failed to execute .*?: |Failed to parse SessionDescription\. ", "", error)
    if error and not peer and not any(re.search(pattern, reason) for pattern in LENIENT):
        return f"accepted, and Chromium says: {reason}"
    return ""


@pytest.mark.asyncio(loop_scope="module")
async def test_chromium_and_we_agree_on_changed_offers(chromium: Browser) -> None:
    offers = [*OFFERS.items(), *mutations(examples(60, deep=2000), seed=1)]
    judged = await verdicts(chromium, [offer for _, offer in offers])
    found = {
        name: words
        for (name, offer), (error, answer) in zip(offers, judged, strict=True)
        if (words := disagreement(offer, error, answer))
    }
    assert found == {}
    # If few offers or all of them were accepted, the comparison would prove nothing.
    accepted = sum(usable(answer) for _, answer in judged)
    assert len(offers) / 3 < accepted < len(offers)


# BUNDLE groups of the offer and of the answer; `|` separates groups.
_BUNDLES = [
    ("0 1", "0 1"),
    ("0 1", "1 0"),
    ("0 1", "0"),
    ("0 1", ""),
    ("0 1", "0|1"),
    ("0 1", "0 1|0 1"),
    ("0|1", "0|1"),
    ("0|1", "0 1"),
    ("", ""),
    ("", "0 1"),
]


@pytest.mark.asyncio(loop_scope="module")
async def test_chromium_and_we_agree_on_the_bundle_groups_of_answers(chromium: Browser) -> None:
    judged = await evaluated(chromium, _ANSWERED, _BUNDLES)
    ours = [refusal_of_answer(offer, answer) for offer, answer, _ in judged]
    assert [bool(refusal) for refusal in ours] == [bool(error) for _, _, error in judged], (ours, judged)
    assert {bool(refusal) for refusal in ours} == {True, False}


@pytest.mark.asyncio(loop_scope="module")
async def test_a_chromium_page_takes_the_offer_of_a_firefox_page_that_prefers_codecs(chromium: Browser) -> None:
    offer = OFFERS["firefox-preferences"]
    listed = {"audio": ["109"], "video": ["120", "124"]}
    (text, *same) = await evaluated(chromium, _TAKEN, [_CLIENT.read_text(), [offer, *OFFERS.values()]])
    for media in parse(text).media:
        assert list(media.formats) == listed[media.kind]
        named = [*media.attributes["fmtp"], *media.attributes["rtcp-fb"]]
        assert {value.split(" ")[0] for value in named} == set(media.formats)
    # Nothing else is changed. Offers that list all their codecs are not changed at all.
    assert set(text.splitlines()) < set(offer.splitlines())
    assert [name for name, each in zip(OFFERS, same, strict=True) if each != OFFERS[name]] == ["firefox-preferences"]
    (before, _), (after, answer) = await verdicts(chromium, [offer, text])
    assert "Failed to parse codecs" in before
    assert (after, usable(answer)) == ("", True)


@pytest.mark.parametrize("name", sorted(OFFERS))
def test_every_original_is_accepted_between_peers(name: str) -> None:
    assert refusal_in_peer(OFFERS[name]) == ""


def test_the_same_seed_makes_the_same_changes() -> None:
    assert list(mutations(50, seed=3)) == list(mutations(50, seed=3)) != list(mutations(50, seed=4))
