"""Hypothesis strategy: descriptions of browsers with random faults."""

import re
from collections.abc import Callable

from hypothesis import strategies as st

from tests.support.samples import SAMPLES

NAMES = sorted(SAMPLES)
HUGE = ["0", "-1", "15", "127", "128", "65536", "4294967295", "4294967296", "9" * 30, "1e9", "٣", "0x10", ""]


def deletion(lines: list[str], at: int, other: int, text: str) -> None:
    del lines[at]


def duplication(lines: list[str], at: int, other: int, text: str) -> None:
    lines.insert(other, lines[at])


def swap(lines: list[str], at: int, other: int, text: str) -> None:
    lines[at], lines[other] = lines[other], lines[at]


def huge_number(lines: list[str], at: int, other: int, text: str) -> None:
    numbers = list(re.finditer(r"[0-9]+", lines[at]))
    if numbers:
        chosen = numbers[other % len(numbers)]
        lines[at] = lines[at][: chosen.start()] + HUGE[other % len(HUGE)] + lines[at][chosen.end() :]


def other_text(lines: list[str], at: int, other: int, text: str) -> None:
    cut = other % (len(lines[at]) + 1)
    lines[at] = lines[at][:cut] + text + lines[at][cut + len(text) :]


def words_of_another(lines: list[str], at: int, other: int, text: str) -> None:
    lines[at] = lines[at].partition(":")[0] + ":" + lines[other].partition(":")[2]


MUTATIONS: list[Callable[[list[str], int, int, str], None]] = [
    deletion,
    duplication,
    swap,
    huge_number,
    other_text,
    words_of_another,
]


@st.composite
def mutated(draw: st.DrawFn, name: st.SearchStrategy[str]) -> str:
    """Return a browser's description with up to six faults."""
    lines = SAMPLES[draw(name)].split("\r\n")
    changes = draw(
        st.lists(
            st.tuples(st.sampled_from(MUTATIONS), st.integers(0, 999), st.integers(0, 999), st.text(max_size=4)),
            min_size=1,
            max_size=6,
        )
    )
    for mutate, at, other, text in changes:
        mutate(lines, at % len(lines), other % len(lines), text)
    return "\r\n".join(lines)
