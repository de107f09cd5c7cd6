"""RTP headers: extensions are translated in place, retransmissions wrapped and unwrapped, nonsense is refused."""

import random
from collections.abc import Callable

import pytest

from media.forward import rtp

# No test in this module uses the database.
pytestmark = pytest.mark.once


def packet(
    *, first: int = 0x80, payload_type: int = 96, sequence: int = 7, extension: bytes = b"", body: bytes = b"media"
) -> bytes:
    """Return an RTP packet. `extension` is a complete header extension; if there is one, the X bit is set."""
    return rtp.HEADER.pack(first | (0x10 if extension else 0), payload_type, sequence, 1000, 42) + extension + body


def one_byte(*elements: tuple[int, bytes]) -> bytes:
    """Return a header extension of one-byte elements (RFC 8285 section 4.2), padded to whole words."""
    data = b"".join(bytes([id_ << 4 | len(value) - 1]) + value for id_, value in elements)
    data += bytes(-len(data) % 4)
    return b"\xbe\xde" + (len(data) // 4).to_bytes(2, "big") + data


def two_bytes(*elements: tuple[int, bytes]) -> bytes:
    """Return a header extension of two-byte elements (RFC 8285 section 4.3)."""
    data = b"".join(bytes([id_, len(value)]) + value for id_, value in elements)
    data += bytes(-len(data) % 4)
    return b"\x10\x00" + (len(data) // 4).to_bytes(2, "big") + data


@pytest.mark.parametrize("form", [one_byte, two_bytes])
def test_elements_are_found(form: Callable[..., bytes]) -> None:
    given = packet(extension=form((3, b"abc"), (5, b"x")))
    assert [(id_, given[data:end]) for id_, _, data, end in rtp.elements(given)] == [(3, b"abc"), (5, b"x")]
    assert rtp.element(given, 5) == b"x"
    assert rtp.element(given, 9) is None


def test_packet_without_extension_has_no_elements() -> None:
    assert list(rtp.elements(packet())) == []


@pytest.mark.parametrize("form", [one_byte, two_bytes])
def test_translation_changes_ids_blanks_what_the_receiver_does_not_know_and_moves_nothing(
    form: Callable[..., bytes],
) -> None:
    given = packet(extension=form((1, b"mid"), (3, b"\x85"), (4, b"time")))
    translated = rtp.translate_extensions(given, {3: 7, 4: 4})
    assert len(translated) == len(given)
    assert [(id_, translated[data:end]) for id_, _, data, end in rtp.elements(translated)] == [
        (7, b"\x85"),
        (4, b"time"),
    ]
    assert b"mid" not in translated
    assert translated.endswith(b"media")


def test_id_that_does_not_fit_one_byte_is_blanked() -> None:
    translated = rtp.translate_extensions(packet(extension=one_byte((3, b"ab"))), {3: 15})
    assert list(rtp.elements(translated)) == []


@pytest.mark.parametrize("extension", [b"", one_byte((3, b"abc"))])
def test_retransmission_comes_back_as_the_original(extension: bytes) -> None:
    given = packet(extension=extension)
    wrapped = rtp.wrap(given, payload_type=97, sequence=500, ssrc=43)
    _, second, sequence, timestamp, ssrc = rtp.HEADER.unpack_from(wrapped)
    assert (second & 0x7F, sequence, timestamp, ssrc) == (97, 500, 1000, 43)
    assert rtp.unwrap(wrapped, payload_type=96, ssrc=42) == given


def test_marker_survives_a_retransmission() -> None:
    given = packet(payload_type=96 | 0x80)
    assert rtp.unwrap(rtp.wrap(given, payload_type=97, sequence=1, ssrc=2), payload_type=96, ssrc=42) == given


def test_probe_of_padding_alone_carries_no_original() -> None:
    assert rtp.unwrap(packet(first=0xA0, body=bytes(9) + b"\x0a"), payload_type=96, ssrc=42) is None
    assert rtp.unwrap(packet(body=b""), payload_type=96, ssrc=42) is None


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(packet(first=0x8F, body=b"x"), id="fifteen sources, none there"),
        pytest.param(packet(first=0x90, body=b"\xbe\xde"), id="extension's header cut off"),
        pytest.param(packet(extension=b"\xbe\xde\xff\xff"), id="extension longer than the packet"),
        pytest.param(packet(extension=b"\xbe\xde\x00\x01\x3f\x00\x00\x00"), id="element longer than the extension"),
        pytest.param(packet(extension=b"\x10\x00\x00\x01\x00\x00\x00\x03"), id="element cut off"),
        pytest.param(packet(extension=two_bytes(*[(3, b"")] * 33)), id="more elements than any sender needs"),
        pytest.param(packet(extension=one_byte(*[(3, b"x")] * 33)), id="more elements of one byte"),
        pytest.param(packet(extension=b"\xbe\xde\0\x11" + b"\x30x" * 32 + b"\xf0\0\0\0"), id="the end after too many"),
        pytest.param(packet(extension=b"\xbe\xde\0\x19" + b"\x30x\0\0" * 25), id="many runs of padding"),
        pytest.param(packet(first=0xA0, body=b"\xff"), id="padding longer than the packet"),
        pytest.param(packet(first=0xA0, body=b"media\x00"), id="padding of nothing"),
    ],
)
def test_broken_packet_is_not_sound(broken: bytes) -> None:
    assert rtp.element_ids(broken) == -1


def test_packet_with_everything_is_sound() -> None:
    given = packet(first=0xB1, extension=b"", body=b"csrc" + one_byte((3, b"abc")) + b"media\x02\x02")
    assert rtp.element_ids(given) == 1 << 3


@pytest.mark.parametrize("form", [one_byte, two_bytes])
def test_ids_of_elements_are_read(form: Callable[..., bytes]) -> None:
    assert (
        rtp.element_ids(packet(extension=form((1, b"mid"), (3, b"\x85"), (14, b"time")))) == 1 << 1 | 1 << 3 | 1 << 14
    )


@pytest.mark.parametrize("form", [one_byte, two_bytes])
def test_packet_with_many_elements_and_much_padding_is_sound(form: Callable[..., bytes]) -> None:
    extension = form(*[(3, b"\0")] * (rtp.MOST_ELEMENTS - 1))
    padded = extension[:2] + ((len(extension) - 4) // 4 + 200).to_bytes(2, "big") + extension[4:] + bytes(800)
    assert rtp.element_ids(packet(extension=padded)) == 1 << 3
    assert len(list(rtp.elements(packet(extension=padded)))) == rtp.MOST_ELEMENTS - 1


def test_nothing_but_a_value_error_comes_of_noise() -> None:
    chance = random.Random(1)
    for _ in range(20_000):
        noise = chance.choice([b"", b"\x90\x60" + bytes(10) + b"\xbe\xde\0"]) + chance.randbytes(chance.randint(12, 60))
        ids = rtp.element_ids(noise)
        if ids >= 0:
            assert ids == sum(1 << id_ for id_ in {id_ for id_, _, _, _ in rtp.elements(noise)})
            assert len(rtp.translate_extensions(noise, {1: 2})) == len(noise)
