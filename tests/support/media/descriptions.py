"""A description with something changed."""

from media.sdp.description import Description
from tests.support.descriptions import describe

FINGERPRINT = "a=fingerprint:sha-256 " + ":".join(["AB"] * 32)


def changed(old: str, new: str, text: str | None = None) -> str:
    """Return a description with a text replaced. The description must contain that text."""
    text = text or describe()
    assert old in text
    return text.replace(old, new)


def keys(description: Description) -> list[tuple[bool, bool]]:
    """Return for each section whether it has ICE credentials, and whether it has a fingerprint."""
    return [(description.has_ice(section), description.has_fingerprint(section)) for section in description.media]
