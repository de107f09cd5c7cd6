"""Session descriptions like Chromium's, with options for everything that tests vary."""

from media.sdp.description import parse

_FINGERPRINT = ":".join(["AB"] * 32)

_AUDIO = """m=audio {port} UDP/TLS/RTP/SAVPF 111 63
c=IN IP4 0.0.0.0
a=rtcp:9 IN IP4 0.0.0.0
a=candidate:1 1 udp 2122260223 127.0.0.1 50000 typ host generation 0 network-id 1
a=ice-ufrag:{ufrag}
a=ice-pwd:{password}
a=ice-options:trickle
a=fingerprint:sha-256 {fingerprint}
a=setup:{setup}
a=mid:{mid}
a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level
a={direction}
a=msid:- track-{mid}
a=rtcp-mux
a=rtcp-rsize
a=rtpmap:111 opus/48000/2
a=rtcp-fb:111 transport-cc
a=fmtp:111 minptime=10;useinbandfec=1
a=rtpmap:63 red/48000/2
a=fmtp:63 111/111
a=ssrc:{ssrc} cname:c
"""

_VIDEO = """m=video {port} UDP/TLS/RTP/SAVPF 96 97
c=IN IP4 0.0.0.0
a=rtcp:9 IN IP4 0.0.0.0
a=ice-ufrag:{ufrag}
a=ice-pwd:{password}
a=ice-options:trickle
a=fingerprint:sha-256 {fingerprint}
a=setup:{setup}
a=mid:{mid}
a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid
a={direction}
a=msid:- track-{mid}
a=rtcp-mux
a=rtcp-rsize
a=rtpmap:96 VP8/90000
a=rtcp-fb:96 nack pli
a=rtpmap:97 rtx/90000
a=fmtp:97 apt=96
a=ssrc-group:FID {ssrc} {rtx}
a=ssrc:{ssrc} cname:c
a=ssrc:{rtx} cname:c
"""

_DATA = """m=application {port} UDP/DTLS/SCTP webrtc-datachannel
c=IN IP4 0.0.0.0
a=ice-ufrag:{ufrag}
a=ice-pwd:{password}
a=fingerprint:sha-256 {fingerprint}
a=setup:{setup}
a=mid:{mid}
a=sctp-port:5000
a=max-message-size:262144
"""

_SECTIONS = {"audio": _AUDIO, "video": _VIDEO, "application": _DATA}


def describe(
    direction: str = "sendrecv",
    *,
    kinds: tuple[str, ...] = ("audio", "video"),
    directions: tuple[str, ...] | None = None,
    ports: tuple[int, ...] | None = None,
    mids: tuple[str, ...] | None = None,
    session: int = 4611731400430051336,
    version: int = 2,
    setup: str = "actpass",
    ufrag: str | None = None,
    password: str = "2/1muCWoOi3uLifh0NuRHlRg",
    fingerprint: str = _FINGERPRINT,
) -> str:
    """Return a description; `directions`, `ports` and `mids` give each media section its own.

    Each `session` (the ID in the o= line) has its own ICE user fragment by default.
    """
    directions = directions or (direction,) * len(kinds)
    ports = ports or (9,) * len(kinds)
    mids = mids or tuple(map(str, range(len(kinds))))
    bundled = " ".join(mid for mid, port in zip(mids, ports, strict=False) if port)
    head = (
        f"v=0\no=- {session} {version} IN IP4 127.0.0.1\ns=-\nt=0 0\na=group:BUNDLE {bundled}\na=msid-semantic: WMS\n"
    )
    sections = [
        _SECTIONS[kind].format(
            port=ports[number],
            mid=mids[number],
            ssrc=1001 + 2 * number,
            rtx=1002 + 2 * number,
            direction=directions[number],
            setup=setup,
            ufrag=f"4ZcD{session}" if ufrag is None else ufrag,
            password=password,
            fingerprint=fingerprint,
        )
        for number, kind in enumerate(kinds)
    ]
    return (head + "".join(sections)).replace("\n", "\r\n")


def offer(direction: str = "sendrecv", **variation: object) -> dict[str, str]:
    """Return an offer in its JSON form."""
    return {"type": "offer", "sdp": describe(direction, **variation)}  # type: ignore[arg-type]


def answer(direction: str = "sendrecv", **variation: object) -> dict[str, str]:
    """Return an answer, from another peer connection than `offer`'s."""
    variation = {"session": 777, "setup": "active", **variation}
    return {"type": "answer", "sdp": describe(direction, **variation)}  # type: ignore[arg-type]


# For each offered direction: the direction in the answer of a participant that accepts everything.
_MIRRORED = {"sendrecv": "sendrecv", "sendonly": "recvonly", "recvonly": "sendonly", "inactive": "inactive"}


def mirror(offer_text: str, *, holds: bool = False, **variation: object) -> str:
    """Return an answer that accepts every live section of an offer. With `holds`, its sender only receives."""
    sections = parse(offer_text).media
    directions = [_MIRRORED[section.direction] for section in sections]
    if holds:
        directions = [
            "recvonly" if section.direction in {"sendrecv", "sendonly"} else "inactive" for section in sections
        ]
    return describe(
        kinds=tuple(section.kind for section in sections),
        directions=tuple(directions),
        ports=tuple(9 if section.live else 0 for section in sections),
        mids=tuple(section.mid or str(number) for number, section in enumerate(sections)),
        **{"setup": "active", **variation},  # type: ignore[arg-type]
    )
