"""Remove credentials, keys and addresses from stored session descriptions, and keep the rest for support.

Scrubbing never fails: stored text may be anything that a client has sent.
"""

import json
import re
from typing import Any

# Attributes whose lines are removed: ICE credentials and addresses (RFC 8839), keys and certificates (RFC 4568, 8122,
# 8842).
_SECRETS = frozenset(
    {
        "ice-ufrag", "ice-pwd", "candidate", "remote-candidates", "ice-pacing", "fingerprint", "crypto", "tls-id",
        "identity", "key-mgmt", "zrtp-hash", "source-filter", "path", "dtls-id",
    }
)  # fmt: skip
_LINE = re.compile(r"\s*([a-z])\s*=\s*(.*)", re.IGNORECASE | re.DOTALL)
_NAME = re.compile(r"[^:\s]*")
_IPV4 = re.compile(r"(?<!\d)\d{1,3}(?:\.\d{1,3}){3}(?!\d)")
_IPV6 = re.compile(r"[0-9A-Fa-f:.]{2,}")
# An address after its network and address type: c=IN IP4 …, o=- 1 1 IN IP6 …, a=rtcp:9 IN IP4 ….
_NETWORK_ADDRESS = re.compile(r"(\bIN\s+IP([46])\s+)\S+", re.IGNORECASE)
# The unspecified addresses, which replace all others.
_UNSPECIFIED = {"4": "0.0.0.0", "6": "::"}  # noqa: S104 - no socket is bound to it


def scrub(sdp: str) -> str:
    """Return a description without credentials, keys and addresses. Scrubbing it again changes nothing."""
    lines = re.split(r"(\r\n|\r|\n)", sdp)
    kept = [
        _without_addresses(line) + end
        for line, end in zip(lines[::2], [*lines[1::2], ""], strict=True)
        if not _is_secret(line)
    ]
    return "".join(kept)


def scrub_event(wire: str) -> str:
    """Return an event, in its JSON form, with every description in it scrubbed."""
    if '"sdp"' not in wire:
        return wire
    return json.dumps(_scrub_values(json.loads(wire)), ensure_ascii=False, separators=(",", ":"))


def _scrub_values(value: Any) -> Any:
    """Scrub every string with the key `sdp` in a JSON value."""
    if isinstance(value, dict):
        return {
            key: scrub(each) if key == "sdp" and isinstance(each, str) else _scrub_values(each)
            for key, each in value.items()
        }
    return [_scrub_values(each) for each in value] if isinstance(value, list) else value


def _is_secret(line: str) -> bool:
    """Tell whether a line must be removed."""
    match = _LINE.match(line)
    if match is None:
        return False
    kind, value = match[1].lower(), match[2]
    name = _NAME.match(value)
    return kind == "k" or (kind == "a" and name is not None and name[0].lower() in _SECRETS)


def _without_addresses(line: str) -> str:
    """Return a line with all its addresses replaced by the unspecified address."""
    line = _NETWORK_ADDRESS.sub(lambda match: match[1] + _UNSPECIFIED[match[2]], line)
    line = _IPV4.sub(_UNSPECIFIED["4"], line)
    return _IPV6.sub(lambda match: _without_ipv6(match[0]), line)


def _without_ipv6(token: str) -> str:
    """Return the unspecified address if the token could be an IPv6 address, and the token itself otherwise."""
    return _UNSPECIFIED["6"] if token.count(":") > 1 else token
