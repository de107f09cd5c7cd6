"""The lines and values that a description may contain."""

import pytest

from media.sdp.description import parse as read
from media.sdp.syntax import MAX_MEDIA_SECTIONS, MAX_SECTION_LINES, SdpError
from tests.support.descriptions import describe
from tests.support.media.descriptions import changed

pytestmark = pytest.mark.once


class TestLines:
    def test_bare_line_feeds_are_line_ends_too(self) -> None:
        assert read(describe().replace("\r\n", "\n")) == read(describe())

    def test_line_ends_may_be_mixed(self) -> None:
        head, rest = describe().split("\r\n", 1)
        assert read(f"{head}\n{rest}") == read(describe())

    @pytest.mark.parametrize("end", ["\r", "\n\r", "\r\r\n", "\n\n", "\r\n\r\n", " \x0b", "\x0c", "\x00", ""])
    def test_nothing_else_is_a_line_end(self, end: str) -> None:
        with pytest.raises(SdpError):
            read(describe().replace("\r\n", end))

    @pytest.mark.parametrize(
        "separator", ["\r", "\n\r", "\x00", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x7f", "\x85", "\u2028", "\u2029"]
    )
    def test_a_value_cannot_smuggle_a_line_in(self, separator: str) -> None:
        with pytest.raises(SdpError):
            read(changed("s=-", f"s=-{separator}m=video 9 UDP/TLS/RTP/SAVPF 96"))
        with pytest.raises(SdpError):
            read(changed("a=msid:- track-0", f"a=msid:- track-0{separator}a=inactive"))

    @pytest.mark.parametrize("character", ["\ud800", "\x01", "\x1f", "\x7f"])
    def test_a_value_has_no_controls_and_no_halves_of_characters(self, character: str) -> None:
        with pytest.raises(SdpError):
            read(changed("s=-", f"s={character}"))

    @pytest.mark.parametrize("character", ["é", "漢", "😀", "\t", "\xa0", "\u200b"])
    def test_a_value_may_have_other_characters(self, character: str) -> None:
        assert read(changed("s=-", f"s={character}")) == read(describe())

    @pytest.mark.parametrize("line", ["x", "=", "a=", "a", "A=b", "aa=b", " a=b", "1=2", "é=1"])
    def test_a_line_is_a_letter_and_a_value(self, line: str) -> None:
        with pytest.raises(SdpError):
            read(changed("s=-", line))

    @pytest.mark.parametrize(
        "text", ["", "\n", "\r\n", "v=0", "v=0\r\n", "m=audio 9 RTP 0\r\n", "nonsense", "\ufeff" + describe()]
    )
    def test_text_that_does_not_begin_like_a_description_is_refused(self, text: str) -> None:
        with pytest.raises(SdpError):
            read(text)

    def test_it_is_bounded_in_lines(self) -> None:
        assert read(describe() + "a=x\r\n" * 100)
        with pytest.raises(SdpError):
            read(describe() + "a=x\r\n" * MAX_SECTION_LINES)
        section = "m=audio 0 RTP/AVP 0\r\n"
        head = describe(kinds=())
        assert len(read(head + section * MAX_MEDIA_SECTIONS).media) == MAX_MEDIA_SECTIONS
        with pytest.raises(SdpError):
            read(head + section * (MAX_MEDIA_SECTIONS + 1))


class TestTruncation:
    TEXT = describe(kinds=("audio", "video", "application"))

    def test_at_a_line_end_it_is_either_shorter_or_none(self) -> None:
        lines = self.TEXT.split("\r\n")[:-1]
        for count in range(len(lines)):
            text = "".join(line + "\r\n" for line in lines[:count])
            try:
                description = read(text)
            except SdpError:
                continue
            assert len(description.media) == text.count("\nm=")

    def test_a_cut_inside_a_line_is_refused(self) -> None:
        for end in range(len(self.TEXT)):
            if not self.TEXT[:end].endswith("\n"):
                with pytest.raises(SdpError):
                    read(self.TEXT[:end])
