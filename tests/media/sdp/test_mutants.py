"""Any text is either parsed or refused."""

import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from media.sdp.description import Description
from media.sdp.description import parse as read
from media.sdp.syntax import SdpError
from tests.support.depth import examples
from tests.support.descriptions import describe
from tests.support.samples import SAMPLES
from tests.support.yardstick import slowness

pytestmark = pytest.mark.once

VALID = [
    describe(kinds=("audio", "video", "application")),
    SAMPLES["chromium-simulcast"],
    SAMPLES["firefox-simulcast"],
]
NASTY = [
    "\r",
    "\n",
    "\0",
    "\r\n",
    "m=",
    "a=",
    ":",
    " ",
    "/",
    "0",
    "-1",
    "9" * 30,
    "é",
    "\u2028",
    "\ud800",
    "%s",
    "\t",
    "",
]
PIECES = st.sampled_from(NASTY) | st.text(max_size=8)


@st.composite
def mutants(draw: st.DrawFn) -> str:
    """Draw a valid description with a few places cut, replaced, doubled or swapped."""
    text = draw(st.sampled_from(VALID))
    for _ in range(draw(st.integers(1, 5))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 40)))
        kind = draw(st.sampled_from(["replace", "double", "line", "cut"]))
        if kind == "replace":
            text = text[:start] + draw(PIECES) + text[end:]
        elif kind == "double":
            text = text[:end] + text[start:end] * draw(st.integers(1, 20)) + text[end:]
        elif kind == "cut":
            text = text[:start] + text[end:]
        else:
            lines = text.split("\r\n")
            one = draw(st.integers(0, len(lines) - 1))
            other = draw(st.integers(0, len(lines) - 1))
            lines[one], lines[other] = lines[other], lines[one]
            text = "\r\n".join(lines)
    return text


@settings(
    max_examples=examples(300, deep=10_000),
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(mutants())
def test_any_text_is_read_or_refused(text: str) -> None:
    begun = time.thread_time()
    try:
        description = read(text)
    except SdpError:
        pass
    else:
        assert isinstance(description, Description)
        assert len(description.media) == len([line for line in text.split("\n") if line.startswith("m=")])
        assert {line.direction for line in description.media} <= {"sendrecv", "sendonly", "recvonly", "inactive"}
        assert description.version >= 0
    # Measure the machine's slowness only if needed: measuring takes longer than reading most texts.
    assert (took := time.thread_time() - begun) < 1 or took < slowness()
