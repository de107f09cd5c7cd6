"""The support desk: the data that staff can and cannot see, and their one action."""

import re
import time
from collections.abc import Callable
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from conferences.admin import NEWEST
from conferences.models import Conference, Modification, Participant
from events.models import Event, Session
from tests.support.descriptions import answer, offer
from tests.support.devices import Call, Device
from tests.support.queries import Queries
from tests.support.refusals import all_rows

pytestmark = pytest.mark.django_db(transaction=True)

LIST = "/admin/conferences/conference/"
# Texts that every description of `tests.support.descriptions` contains, and that no page may show.
SECRETS = ("2/1muCWoOi3uLifh0NuRHlRg", "4ZcD", "AB:AB", "a=", "v=0")


@pytest.fixture
def staff() -> Client:
    """The browser of a superuser."""
    client = Client()
    client.force_login(User.objects.create_superuser("chief", password="irrelevant"))
    return client


@pytest.fixture
def desk() -> Callable[..., Client]:
    """Return a function: given names of permissions, it returns the browser of a staff member who has only these."""

    def log_in(*codenames: str) -> Client:
        user = User.objects.create_user(f"desk{User.objects.count()}", is_staff=True)
        permissions = Permission.objects.filter(
            codename__in=codenames, content_type__app_label__in=["conferences", "events"]
        )
        assert len(permissions) == len(codenames)
        user.user_permissions.set(permissions)
        client = Client()
        client.force_login(user)
        return client

    return log_in


def text(response: Any) -> str:
    """Return the text of a page, without its markup."""
    assert response.status_code == 200, response
    return unescape(re.sub(r"<[^>]*>", " ", response.content.decode()))


def shown(client: Client, query: str = "") -> set[str]:
    """Return the IDs of the conferences in the list."""
    response = client.get(LIST + query)
    assert response.status_code == 200, response
    return set(re.findall(rf'href="{LIST}([0-9a-f]{{32}})/change/', response.content.decode()))


def page(conference: str) -> str:
    """Return the address of a conference's page."""
    return f"{LIST}{conference}/change/"


def ask_to_end(client: Client, *conferences: str, **fields: str) -> Any:
    """Choose the action that ends conferences, as a user of the list or of a conference's page does."""
    return client.post(LIST, {"action": "end_conference", "_selected_action": conferences, **fields}, follow=True)


def end(client: Client, *conferences: str) -> Any:
    """End conferences, and confirm the action."""
    return ask_to_end(client, *conferences, confirmed="yes")


@pytest.mark.any_engine
def test_every_page_requires_a_staff_login(call: Call) -> None:
    client = Client()
    client.force_login(User.objects.create_user("visitor"))
    for visitor in (Client(), client):
        for path in ("/admin/", LIST, page(call.id), "/admin/events/session/"):
            response = visitor.get(path)
            assert (response.status_code, response.headers["location"].split("?")[0]) == (302, "/admin/login/")


def test_list_shows_live_conferences_unless_asked_otherwise(staff: Client, call: Call, carol: Device) -> None:
    ended = carol.call("bob").json()["id"]
    carol.delete(ended)
    assert shown(staff) == {call.id}
    assert shown(staff, "?live=ended") == {ended}
    assert shown(staff, "?live=all") == {call.id, ended}
    assert shown(staff, "?state=session-open") == {call.id}
    assert shown(staff, "?state=invitation-sent") == set()
    assert shown(staff, "?topology=peer&live=all") == {call.id, ended}


def test_row_shows_participants_and_pending_modifications(staff: Client, call: Call) -> None:
    call.bob.put(call.id, "initiate-conference-mod", offer(version=3, session=777))
    words = text(staff.get(LIST))
    assert "alice (accepted)" in words
    assert "bob (accepted)" in words
    row = re.search(r'field-pending_offers">(\d+)<', staff.get(LIST).content.decode())
    assert row
    assert row[1] == "1"


@pytest.mark.parametrize("what", ["username", "number", "confId", "beginning", "modId", "name"])
def test_conference_is_found(staff: Client, alice: Device, bob: Device, carol: Device, what: str) -> None:
    started = alice.call("tel:+15550101", name="Lunch")
    wanted, other = started.json()["id"], carol.call("dave").json()["id"]
    assert bob.answer(wanted).status_code == 204
    alice.put(wanted, "initiate-conference-mod", offer(version=3))
    terms = {
        "username": "alice",
        "number": "%2B15550101",
        "confId": wanted,
        "beginning": wanted[:12],
        "modId": started["x-mod-id"],
        "name": "Lunch",
    }
    assert shown(staff) == {wanted, other}
    assert shown(staff, f"?q={terms[what]}") == {wanted}
    assert shown(staff, "?q=nobody") == set()


@pytest.mark.parametrize("term", ["%00", "%27%20OR%201=1--", "%ff", "x" * 200, "%25"])
def test_hostile_search_finds_nothing(staff: Client, call: Call, term: str) -> None:
    assert staff.get(f"{LIST}?q={term}", follow=True).status_code == 200
    if "00" not in term:
        assert shown(staff, f"?q={term}") == set()


@pytest.mark.any_engine
def test_page_shows_everything_about_a_conference_except_its_secrets(staff: Client, call: Call) -> None:
    mod = call.alice.put(call.id, "initiate-conference-hold", offer("recvonly", version=3))["x-mod-id"]
    call.bob.accept(call.id, mod, answer("sendonly", version=3))
    pending = call.bob.put(call.id, "initiate-conference-mod", offer(version=4, session=777))["x-mod-id"]
    words = text(staff.get(page(call.id)))
    for expected in (call.id, "alice", "bob", "+15550101", "on-hold", mod, pending, "mod-accepted", "mod-sent"):
        assert expected in words, expected
    for type_ in set(Event.objects.values_list("type", flat=True)):
        assert type_ in words, type_
    hashes = Session.objects.values_list("token_hash", flat=True)
    tokens = [call.alice.token, call.bob.token]
    addresses = [LIST, page(call.id), "/admin/", "/admin/events/session/", f"{LIST}{call.id}/history/"]
    addresses += [f"/admin/events/session/{device.id}/change/" for device in (call.alice, call.bob)]
    for address in addresses:
        everything = unescape(staff.get(address).content.decode())
        for secret in [*tokens, *hashes, *SECRETS[:3], *(f"\n{line}" for line in SECRETS[3:])]:
            assert secret not in everything, (address, secret)


def test_live_sessions_are_listed_first_and_can_be_found(staff: Client, call: Call) -> None:
    gone = Device.register("erin")
    gone.request("DELETE", f"/sessions/{gone.id}")
    address = "/admin/events/session/"
    assert "erin" not in text(staff.get(address))
    assert "erin" in text(staff.get(f"{address}?live=ended"))
    found = text(staff.get(f"{address}?q=%2B15550101"))
    assert "bob" in found
    assert "alice" not in found


@pytest.mark.any_engine
@pytest.mark.parametrize("kind", ["conferences/conference", "events/session"])
def test_staff_cannot_add_change_or_delete_rows(staff: Client, call: Call, kind: str) -> None:
    row = call.id if kind == "conferences/conference" else call.alice.id
    base = f"/admin/{kind}/"
    before = all_rows()
    page_ = staff.get(f"{base}{row}/change/").content.decode()
    for control in ('name="_save', "deletelink", "add-row"):
        assert control not in page_
    assert not re.search(r'<(input|select|textarea)[^>]*name="(name|state|participants-\d+-state|username)"', page_)
    prefixes = ("participants", "modifications", "events")
    forms = {f"{prefix}-{what}_FORMS": 0 for prefix in prefixes for what in ("TOTAL", "INITIAL")}
    for path, data in (
        ("add/", {"name": "x", "state": "session-open", **forms}),
        (f"{row}/change/", {"name": "x", "state": "session-terminated", "username": "x", **forms}),
        (f"{row}/delete/", {"post": "yes"}),
        ("", {"action": "delete_selected", "_selected_action": row, "post": "yes"}),
    ):
        status = staff.post(base + path, data).status_code
        assert status == 403 or path == "", path
    assert staff.get(f"{base}add/").status_code == 403
    assert all_rows() == before


@pytest.mark.any_engine
@pytest.mark.parametrize("model", [Participant, Modification, Event])
def test_parts_of_a_conference_have_no_pages(staff: Client, model: type[Any]) -> None:
    assert staff.get(f"/admin/{model._meta.app_label}/{model._meta.model_name}/").status_code == 404


@pytest.mark.any_engine
def test_action_ends_a_conference_and_notifies_its_participants(staff: Client, call: Call, carol: Device) -> None:
    dave = Device.register("dave")
    ringing = carol.call("dave").json()["id"]
    carol.news(), dave.news()
    response = end(staff, call.id, ringing)
    assert "2 ended." in text(response)
    for device in (call.alice, call.bob, carol):
        (terminated,) = device.news()
        assert (terminated["type"], terminated["reason"]) == ("session-terminated", "ended-by-support")
        assert terminated["conference"]["state"] == "session-terminated"
    assert dave.news_types() == ["invitation-cancelled"]
    assert shown(staff) == set()
    assert "0 ended." in text(end(staff, call.id))
    assert call.alice.news() == []


@pytest.mark.any_engine
def test_ending_must_be_confirmed(staff: Client, call: Call, carol: Device) -> None:
    carol.call("dave")
    before = all_rows()
    asked = ask_to_end(staff, call.id)
    assert "ends the conference immediately" in text(asked)
    assert re.search(r"alice \(accepted\),\s+bob \(accepted\)", text(asked))
    assert "carol" not in text(asked)
    assert f'value="{call.id}"' in asked.content.decode()
    assert "End 2 conferences" in ask_to_end(staff, *shown(staff)).content.decode()
    assert all_rows() == before


@pytest.mark.any_engine
def test_page_of_a_live_conference_has_a_button_that_ends_it(
    staff: Client, desk: Callable[..., Client], call: Call
) -> None:
    def button(client: Client) -> list[tuple[str, str]]:
        form = client.get(page(call.id)).content.decode().partition(f'action="{LIST}"')[2].partition("</form>")[0]
        return re.findall(r'name="(action|_selected_action)" value="([^"]+)"', form)

    assert button(staff) == [("action", "end_conference"), ("_selected_action", call.id)]
    assert button(desk("view_conference", "change_conference")) != []
    assert button(desk("view_conference")) == []
    end(staff, call.id)
    assert button(staff) == []


@pytest.mark.any_engine
def test_home_links_to_the_live_conferences(staff: Client, desk: Callable[..., Client], call: Call) -> None:
    home = staff.get("/admin/").content.decode()
    assert re.search(rf'href="{LIST}"><strong>1</strong> live conference<', home)
    assert "API Key Permissions" not in home
    assert "live conference" not in desk("view_session").get("/admin/").content.decode()
    assert re.search(r"\d\d:\d\d:\d\d UTC", text(staff.get(LIST)))


@pytest.mark.any_engine
def test_ending_requires_the_permission_to_change(desk: Callable[..., Client], call: Call) -> None:
    looking = desk("view_conference")
    before = all_rows()
    assert shown(looking) == {call.id}
    assert "end_conference" not in looking.get(LIST).content.decode()
    end(looking, call.id)
    assert all_rows() == before
    nobody = desk("view_session")
    assert nobody.get(LIST).status_code == nobody.get(page(call.id)).status_code == 403
    assert ask_to_end(nobody, call.id, confirmed="yes").status_code == 403
    assert all_rows() == before
    end(desk("view_conference", "change_conference"), call.id)
    assert Conference.objects.get(pk=call.id).state == "session-terminated"


@pytest.mark.any_engine
def test_action_refuses_a_page_of_another_origin(staff: Client, call: Call) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = staff.cookies
    assert ask_to_end(strict, call.id, confirmed="yes").status_code == 403
    assert call.alice.get(call.id)["state"] == "session-open"


def test_long_conference_opens_with_a_bounded_number_of_queries(staff: Client, call: Call) -> None:
    def queries(address: str) -> int:
        with Queries() as captured:
            assert staff.get(address).status_code == 200
        return captured.count

    staff.get(page(call.id))
    few_on_page, few_in_list = queries(page(call.id)), queries(LIST)
    now = timezone.now()
    alice = Session.objects.get(pk=call.alice.id)
    Event.objects.bulk_create(
        Event(
            session=alice,
            seq=seq,
            type="mod-received",
            conference_id=call.id,
            wire="{}",
            at=now + timedelta(seconds=seq),
        )
        for seq in range(100, 600)
    )
    for version in range(3, 13):
        mod = call.alice.put(call.id, "initiate-conference-mod", offer(version=version))["x-mod-id"]
        call.alice.withdraw(call.id, mod)
    Participant.objects.bulk_create(
        Participant(
            conference_id=call.id,
            role="guest",
            state="left",
            left_at=now,
            username="x",
            session=alice,
            position=position,
        )
        for position in range(3, 13)
    )
    for number in range(10):
        caller = Device.register(f"caller{number}")
        caller.call(f"called{number}")
    assert queries(page(call.id)) <= few_on_page
    assert queries(LIST) <= few_in_list
    words = text(staff.get(page(call.id)))
    assert f"events (the newest {NEWEST})" in words.lower()
    newest = Event.objects.filter(conference_id=call.id).order_by("-pk")[:NEWEST]
    assert staff.get(page(call.id)).content.decode().count('class="field-seq"') == NEWEST == len(newest)


def test_page_of_a_conference_does_not_slow_down_with_the_rows_it_omits(staff: Client, call: Call) -> None:
    now, alice = timezone.now(), Session.objects.get(pk=call.alice.id)
    left = {"role": "guest", "state": "left", "listed": False, "left_at": now, "session": alice}

    def add(numbers: range) -> None:
        Participant.objects.bulk_create(
            Participant(conference_id=call.id, username=f"guest {number}", position=number, **left)
            for number in numbers
        )
        Event.objects.bulk_create(
            Event(session=alice, seq=number, type="mod-received", conference_id=call.id, wire="{}", at=now)
            for number in numbers
        )

    def seconds() -> float:
        began = time.thread_time()
        assert staff.get(page(call.id)).status_code == 200
        return time.thread_time() - began

    add(range(100, 100 + 2 * NEWEST))
    few = min(seconds() for _ in range(3))
    add(range(1_000, 4_000))
    # If the time grew with the number of rows, it would be more than ten times as long.
    assert min(seconds() for _ in range(3)) < 4 * few


@pytest.mark.any_engine
def test_staff_see_only_the_rows_that_they_are_permitted_to_see(desk: Callable[..., Client], call: Call) -> None:
    words = text(desk("view_conference", "view_participant").get(page(call.id))).lower()
    assert "participants (the newest" in words
    assert "modifications (the newest" not in words


def test_api_keys_are_created_shown_once_and_revoked(staff: Client) -> None:
    base = "/admin/rest_framework_api_key/apikey/"

    def status(key: str) -> int:
        return Client().get("/sessions", headers={"authorization": f"Api-Key {key}"}).status_code

    created = staff.post(f"{base}add/", {"name": "gateway"}, follow=True)
    found = re.search(r"[A-Za-z0-9]{8}\.[A-Za-z0-9]{32}", text(created))
    assert found
    key, prefix = found[0], found[0].partition(".")[0]
    assert status(key) == 200
    row = re.search(rf'href="{base}([^"]+)/change/', staff.get(base).content.decode())
    assert row
    change = f"{base}{row[1]}/change/"
    for address in (base, change):
        assert key not in unescape(staff.get(address).content.decode())
    assert prefix in text(staff.get(base))
    staff.post(change, {"name": "gateway", "revoked": "on"}, follow=True)
    assert status(key) == 401


# --- Requests of hostile staff ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    [
        "name__regex=(",
        "name__iregex=^(.*a%2B)%2B$",
        "version__gt=0",
        "id__in=1,2",
        "created_at__date=9999999-1-1",
        "media_node__startswith=n",
        "participants__username__regex=(",
        "participants__session__token_hash__startswith=a",
    ],
)
def test_conferences_are_filtered_only_as_the_page_offers(staff: Client, call: Call, query: str) -> None:
    assert staff.get(f"{LIST}?{query}").status_code == 400


def test_sessions_are_not_filtered_by_their_secrets(staff: Client, call: Call) -> None:
    assert staff.get("/admin/events/session/?token_hash__startswith=a").status_code == 400


@pytest.mark.parametrize("query", ["state=session-open", "topology=peer", "live=all", "state__isnull=False"])
def test_filters_of_the_page_work(staff: Client, call: Call, query: str) -> None:
    assert shown(staff, f"?{query}") == {call.id}
    now = timezone.now()
    assert shown(staff, f"?{query}&created_at__year={now.year}&created_at__month={now.month}") == {call.id}


@pytest.mark.parametrize("query", ["q=" + 201 * "x", "q=a+b+c+d+e+f", "o=" + 33 * "1."])
def test_query_that_no_page_links_to_is_refused(staff: Client, call: Call, query: str) -> None:
    response = staff.get(f"{LIST}?{query}")
    assert (response.status_code, response["location"]) == (302, f"{LIST}?e=1")


@pytest.mark.parametrize(
    "query",
    [
        "auth/user/?last_login__year=99999",
        "auth/user/?email__iregex=(",
        "rest_framework_api_key/apikey/?created__year=99999",
        "rest_framework_api_key/apikey/?hashed_key__regex=(",
    ],
)
def test_lists_of_other_applications_refuse_values_that_the_database_cannot_store(staff: Client, query: str) -> None:
    assert staff.get(f"/admin/{query}").status_code == 400


def test_action_on_impossible_rows_is_refused(staff: Client) -> None:
    chosen = {"action": "delete_selected", "_selected_action": "abc", "index": "0"}
    assert staff.post("/admin/auth/user/", chosen).status_code == 400


def test_search_finds_each_word_in_any_field(staff: Client, call: Call, carol: Device) -> None:
    other = carol.call("bob", name="Lunch").json()["id"]
    assert shown(staff, "?q=bob+alice") == {call.id}
    assert shown(staff, "?q=bob+carol+lunc") == {other}
    assert shown(staff, "?q=bob") == {call.id, other}
    assert shown(staff, "?q=alice+carol") == set()


def test_list_counts_and_sorts_without_joining_other_rows(staff: Client, call: Call, carol: Device) -> None:
    carol.call("bob")
    with Queries() as queries:
        assert len(shown(staff, "?live=all&q=bob&o=-2.5")) == 2
    conferences = [query["sql"] for query in queries if 'FROM "conferences_conference"' in query["sql"]]
    assert conferences
    assert not any("GROUP BY" in sql or "JOIN" in sql for sql in conferences), conferences


def test_the_number_of_conferences_ended_at_once_is_bounded(
    staff: Client, call: Call, carol: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conferences.admin.MAX_ENDED", 1)
    other = carol.call("bob").json()["id"]
    before = all_rows()
    for confirmed in ({}, {"confirmed": "yes"}):
        for chosen in ({"select_across": "1"}, {}):
            response = ask_to_end(staff, call.id, other, **chosen, **confirmed)
            assert "Select at most 1 conferences." in text(response)
    assert all_rows() == before
    end(staff, other)
    assert shown(staff) == {call.id}
