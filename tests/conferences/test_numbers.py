"""Numbers in requests: hostile ones are refused or ignored, and never cause an internal error."""

import re
from typing import Any
from urllib.parse import quote

import pytest
from django.contrib.auth.models import User
from django.test import Client

from events.models import Session
from events.numbers import NumberError, RangeError, read_number
from tests.support.depth import DEEP
from tests.support.descriptions import describe
from tests.support.devices import Device, gateway_key

pytestmark = pytest.mark.django_db(transaction=True)

NO_NUMBERS = ["", " ", " 1", "1\n", "-1", "+1", "1_0", "1.0", "1e3", "0x1", "\u0663", "\u00b2", "1\0", "\0", "nan"]
TOO_LARGE = ["101", "000000001999", "4294967297", "9" * 19, "9" * 5000, "0" * 5000 + "101"]
HOSTILE = [*NO_NUMBERS, *TOO_LARGE, "0", "0" * 5000]
HOSTILE_IN_SDP = ["-1", "+1", "1_0", "\u0663", "9" * 19, "9" * 5000, "", "0" * 5000]


# --- `read_number` ----------------------------------------------------------------------------------------


@pytest.mark.once
@pytest.mark.parametrize(("text", "number"), [("1", 1), ("100", 100), ("0007", 7), ("0" * 5000 + "42", 42)])
def test_number_in_range_is_read(text: str, number: int) -> None:
    assert read_number(text, least=1, most=100) == number


@pytest.mark.once
@pytest.mark.parametrize("text", [*TOO_LARGE, "0", "0" * 5000])
def test_number_out_of_range_is_refused(text: str) -> None:
    with pytest.raises(RangeError):
        read_number(text, least=1, most=100)


@pytest.mark.once
@pytest.mark.parametrize("text", NO_NUMBERS)
def test_text_that_is_not_a_number_is_refused(text: str) -> None:
    with pytest.raises(NumberError) as caught:
        read_number(text, most=100)
    assert not isinstance(caught.value, RangeError)


# --- Numbers in requests ----------------------------------------------------------------------------------


@pytest.fixture
def alice() -> Device:
    return Device.register("alice")


def test_page_is_never_longer_than_the_limit_allows(alice: Device) -> None:
    row = alice.row
    Session.objects.bulk_create(
        Session(token_hash=str(number), username=f"user{number}", created_at=row.created_at, expires_at=row.expires_at)
        for number in range(150)
    )
    headers = {"authorization": f"Api-Key {gateway_key()}"}
    for limit in HOSTILE:
        response = Client().get(f"/sessions?limit={quote(limit)}", headers=headers)
        assert (response.status_code, response.json()["code"]) == (400, "malformed"), limit
    assert len(Client().get("/sessions?limit=0100", headers=headers).json()["sessions"]) == 100


def test_hostile_numbers_in_queries_and_headers_are_refused_or_ignored(alice: Device) -> None:
    events = f"/sessions/{alice.id}/events"
    for text in HOSTILE:
        seen = [
            alice.request("GET", f"/mediaConferences?limit={quote(text)}"),
            alice.request("GET", f"/mediaConferences?after={quote(text)}"),
            alice.request("GET", f"{events}?wait=0&after={quote(text)}"),
            alice.request("GET", f"{events}?after={quote(text)}&wait=0", accept="application/json"),
            alice.request("PUT", f"/sessions/{alice.id}", if_match=text, idempotency_key=text),
            alice.request("GET", f"/mediaConferences/{quote(text) or '0'}"),
            alice.request("GET", f"/sessions/{quote(text) or '0'}/events?wait=0"),
        ]
        assert all(response.status_code in {200, 400, 404} for response in seen), (text, seen)


def test_hostile_wait_is_refused_unless_it_is_only_too_long(alice: Device) -> None:
    for text in NO_NUMBERS:
        response = alice.request("GET", f"/sessions/{alice.id}/events?after=5&wait={quote(text)}")
        assert (response.status_code, response.json()["code"]) == (400, "malformed"), text


def test_hostile_numbers_in_a_body_are_refused(alice: Device) -> None:
    for number in ("1" * 5000, "-1", "1e400", "1_0", "NaN", "Infinity", "\u0663"):
        for body in (f'{{"to": {number}}}', f'{{"name": {number}}}', f'{{"to": [{number}]}}', f'{{"sdp": {number}}}'):
            response = alice.request("POST", "/mediaConferences", body)
            assert (response.status_code, response.json()["code"]) == (400, "malformed"), body


@pytest.mark.once
@pytest.mark.parametrize("line", range(len(describe().splitlines())))
def test_hostile_numbers_in_an_sdp_are_refused_or_forwarded(alice: Device, settings: Any, line: int) -> None:
    settings.CONFERENCES_PER_SESSION = settings.INVITATIONS_PER_CALLER = settings.INVITATIONS_PER_CALLEE = 10_000
    lines = describe().splitlines()
    for found in re.finditer(r"\d+", lines[line]):
        # In deep runs, each number is replaced with every hostile text; otherwise with one of them.
        for text in HOSTILE_IN_SDP if DEEP else [HOSTILE_IN_SDP[line % len(HOSTILE_IN_SDP)]]:
            changed = lines[line][: found.start()] + text + lines[line][found.end() :]
            sdp = "\r\n".join([*lines[:line], changed, *lines[line + 1 :], ""])
            seen = [alice.call("bob", sdp=sdp), alice.gather(access="open", type="offer", sdp=sdp)]
            assert all(response.status_code in {201, 422, 503} for response in seen), (changed, seen)


def test_hostile_numbers_in_the_admin_cause_no_error(alice: Device) -> None:
    staff = Client(raise_request_exception=False)
    staff.force_login(User.objects.create_superuser("chief", password="irrelevant"))
    names = ("p", "o", "q", "live", "created_at__year", "created_at__month", "created_at__day")
    for text in ("-1", "1_0", "\u0663", "\0", "0", "9999", "10000", "9" * 19, "9" * 5000):
        for kind in ("conference", "session"):
            page = f"/admin/conferences/{kind}/"
            seen = [staff.get(f"{page}?{name}={quote(text)}") for name in names]
            seen.append(staff.get(f"{page}{quote(text) or '0'}/change/"))
            seen.append(staff.post(page, {"action": "end_conference", "_selected_action": text, "index": text}))
            assert all(response.status_code < 500 for response in seen), (kind, text, seen)
