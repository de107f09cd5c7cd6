"""The origin, the directions and the bundles of a description."""

import re

import pytest

from media.sdp.description import parse as read
from media.sdp.syntax import SdpError
from tests.support.descriptions import describe
from tests.support.media.descriptions import changed, keys

pytestmark = pytest.mark.once


def test_it_says_what_the_enabler_judges() -> None:
    text = describe(kinds=("audio", "video", "application"), directions=("recvonly", "sendonly", "sendrecv"))
    description = read(text)
    assert (description.session_id, description.version) == ("4611731400430051336", 2)
    assert description.bundle == ("0", "1", "2")
    assert [section.kind for section in description.media] == ["audio", "video", "application"]
    assert [section.mid for section in description.media] == ["0", "1", "2"]
    assert [section.direction for section in description.media] == ["recvonly", "sendonly", "sendrecv"]
    assert all(section.live for section in description.media)
    assert keys(description) == [(True, True)] * 3


class TestOrigin:
    @pytest.mark.parametrize("numbers", ["0 0", "1 18446744073709551615", "99999999999999999999 1"])
    def test_its_numbers_are_decimal(self, numbers: str) -> None:
        session_id, version = numbers.split()
        description = read(changed("o=- 4611731400430051336 2 ", f"o=- {numbers} "))
        assert (description.session_id, description.version) == (session_id, int(version))

    @pytest.mark.parametrize("numbers", ["1 -2", "x x", "\u0663 \u0663"])
    def test_a_version_that_is_no_number_cannot_go_back(self, numbers: str) -> None:
        description = read(changed("o=- 4611731400430051336 2 IN IP4", f"o=- {numbers} in ip5"))
        assert (description.session_id, description.version) == (numbers.split()[0], 0)

    @pytest.mark.parametrize(
        "origin", ["o=-", "o=- 1 2 IN IP4", "o= 1 2 IN IP4 x", "o=- 1 " + "9" * 21 + " IN IP4 x", "s=-"]
    )
    def test_a_malformed_origin_is_refused(self, origin: str) -> None:
        with pytest.raises(SdpError):
            read(changed("o=- 4611731400430051336 2 IN IP4 127.0.0.1", origin))


class TestDirections:
    @pytest.mark.parametrize("direction", ["sendrecv", "sendonly", "recvonly", "inactive"])
    def test_the_session_states_one_for_the_lines_that_do_not(self, direction: str) -> None:
        text = changed("t=0 0\r\n", f"t=0 0\r\na={direction}\r\n", describe(kinds=("audio",)))
        assert [section.direction for section in read(text.replace("a=sendrecv\r\na=msid", "a=msid")).media] == [
            direction
        ]
        text = changed("t=0 0\r\n", f"t=0 0\r\na={direction}\r\n", describe("sendonly", kinds=("audio",)))
        assert [section.direction for section in read(text).media] == ["sendonly"]

    def test_nothing_said_is_both_ways(self) -> None:
        assert {section.direction for section in read(changed("a=sendrecv\r\n", "")).media} == {"sendrecv"}

    @pytest.mark.parametrize("line", ["r=inactive", "a=x:inactive", "a=inactive:1"])
    def test_only_the_attribute_states_one(self, line: str) -> None:
        text = changed("t=0 0", f"t=0 0\r\n{line}", changed("a=sendrecv\r\n", ""))
        assert {each.direction for each in read(text).media} == {"sendrecv"}

    def test_the_last_of_several_counts_as_in_browsers(self) -> None:
        text = changed("a=sendrecv\r\n", "a=sendrecv\r\na=recvonly\r\n")
        assert {section.direction for section in read(text).media} == {"recvonly"}


class TestSession:
    @pytest.mark.parametrize("name", ["s", "t"])
    def test_a_required_line_is_missing(self, name: str) -> None:
        with pytest.raises(SdpError):
            read(re.sub(rf"(?m)^{name}=.*\n", "", describe()))

    def test_the_order_is_fixed_up_to_the_times(self) -> None:
        order = "s=-\r\ni=x\r\nu=x\r\ne=x\r\np=x\r\nc=IN IP4 0.0.0.0\r\nb=AS:9\r\nt=0 0\r\nr=1\r\nz=0\r\nk=x"
        assert read(changed("s=-\r\nt=0 0", order)) == read(describe())
        for early in ("t=0 0\r\na=x\r\ni=x", "a=x\r\nt=0 0", "t=0 0\r\ns=-"):
            with pytest.raises(SdpError):
                read(changed("s=-\r\nt=0 0", early))


class TestBundle:
    def bundles(self, *groups: str, text: str | None = None) -> tuple[tuple[str, ...], ...]:
        lines = "".join(f"a=group:{group}\r\n" for group in groups)
        return read(changed("a=group:BUNDLE 0 1\r\n", lines, text)).bundles

    def test_a_group_may_name_only_some_sections(self) -> None:
        assert self.bundles("BUNDLE 1") == (("1",),)

    def test_there_may_be_several_groups_and_other_ones(self) -> None:
        assert self.bundles("BUNDLE 0", "LS 0 1", "BUNDLE", "BUNDLE 1", "BUNDLEX 7") == (("0",), ("1",))

    def test_a_repeated_mid_counts_once(self) -> None:
        assert self.bundles("BUNDLE 1 0 1") == (("1", "0"),)

    @pytest.mark.parametrize("groups", [("BUNDLE 0 1 7",), ("BUNDLE 0 1", "BUNDLE 1")])
    def test_a_mid_that_is_absent_or_in_two_groups_is_refused(self, groups: tuple[str, ...]) -> None:
        with pytest.raises(SdpError):
            self.bundles(*groups)

    def test_a_group_may_name_any_mid_where_a_section_has_none(self) -> None:
        assert self.bundles("BUNDLE 0 1", text=changed("a=mid:1\r\n", "")) == (("0", "1"),)
