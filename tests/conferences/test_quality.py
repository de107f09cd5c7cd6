"""Samples of the quality of connections: clients send theirs, and participants and gateways read all of them."""

import json
import re
from datetime import datetime, timedelta
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from conferences.operations import quotas
from conferences.operations.quality import LATE
from conferences.operations.retention import prune
from conferences.serializers import MOST_SAMPLES
from events import clock
from media import samples
from media.models import QualitySample
from media.reports import Direction, Sample, Source
from media.samples import Taken
from tests.support.devices import Call, Device
from tests.support.refusals import problem, refused

pytestmark = pytest.mark.django_db(transaction=True)

# A sample of a client, with all its members.
WHOLE = {
    "ageMs": 1000,
    "periodMs": 5000,
    "up": {"bitrate": 900_000, "loss": 0.01, "roundTripMs": 40, "videos": 1, "framesPerSecond": 30, "width": 640},
    "down": {
        "bitrate": 1_200_000,
        "loss": 0.02,
        "jitterMs": 7,
        "roundTripMs": 40,
        "videos": 2,
        "framesPerSecond": 29,
        "width": 640,
        "height": 360,
        "freezes": 2,
        "frozenMs": 250,
        "concealed": 0.015,
    },
}


def path(conference: str) -> str:
    return f"/mediaConferences/{conference}/quality"


def send(device: Device, conference: str, body: Any) -> Any:
    return device.request("POST", path(conference), body)


def read(device: Device, conference: str, query: str = "") -> Any:
    response = device.request("GET", f"{path(conference)}?{query}")
    assert response.status_code == 200, response.content
    return response.json()


def write(conference: str, *participants: str, **values: Any) -> None:
    """Store a sample of the focus for each participant."""
    samples.store(
        Taken(
            conference,
            timezone.now(),
            Sample(participant=each, source=Source.FOCUS, direction=Direction.DOWN, bitrate=1, **values),
        )
        for each in participants
    )


class TestReading:
    def test_participants_and_gateways_read_the_samples(self, call: Call, key: str) -> None:
        write(call.id, "x", loss=0.5, layers={"h": 2}, queue=0.3, silence=0.1, videos=3, paused=1, estimate=700_000)
        (sample,) = read(call.bob, call.id)["samples"]
        at = sample.pop("at")
        assert abs(timezone.now() - datetime.fromisoformat(at)) < timedelta(seconds=60)
        assert sample == {
            "participant": "x",
            "source": "focus",
            "direction": "down",
            "bitrate": 1,
            "loss": 0.5,
            "queueMs": 300,
            "silenceMs": 100,
            "videos": 3,
            "paused": 1,
            "estimate": 700_000,
            "layers": [{"rid": "h", "videos": 2}],
            "score": 1.0,
        }
        headers = {"authorization": f"Api-Key {key}", "x-session-id": call.bob.id}
        assert len(Client().get(path(call.id), headers=headers).json()["samples"]) == 1

    def test_pages_follow_each_other(self, call: Call) -> None:
        write(call.id, *"abcde")
        write("other", "foreign")
        pages, query = [], "limit=2"
        while query:
            page = read(call.alice, call.id, query)
            pages.append("".join(each["participant"] for each in page["samples"]))
            query = page["next"] and f"limit=2&after={page['next']}"
        assert pages == ["ab", "cd", "e"]

    def test_the_samples_of_one_participant(self, call: Call) -> None:
        write(call.id, *"abab")
        assert [each["participant"] for each in read(call.alice, call.id, "participant=b")["samples"]] == ["b", "b"]
        assert read(call.alice, call.id, "participant=c") == {"samples": [], "next": None}

    def test_a_request_for_one_participant_reads_a_bounded_number_of_samples(
        self, call: Call, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(samples, "WINDOW", 3)
        write(call.id, *"aaaabbbbaab")
        pages, query = [], "participant=b&limit=2"
        while query:
            page = read(call.alice, call.id, query)
            pages.append(len(page["samples"]))
            query = page["next"] and f"participant=b&limit=2&after={page['next']}"
        assert pages == [0, 2, 2, 1]

    def test_the_samples_of_an_ended_conference(self, call: Call) -> None:
        write(call.id, "a")
        call.alice.delete(call.id)
        assert len(read(call.bob, call.id)["samples"]) == 1

    def test_strangers_read_nothing(self, call: Call, carol: Device) -> None:
        write(call.id, "a")
        refused(404, "not-found", carol.request, "GET", path(call.id))
        refused(404, "not-found", carol.request, "GET", path("none"))
        assert Client().get(path(call.id)).status_code == 401

    @pytest.mark.parametrize("query", ["after=x", "after=-1", f"after={1 << 63}", "limit=0", "limit=101", "after=%00"])
    def test_wrong_pages_are_refused(self, call: Call, query: str) -> None:
        refused(400, "malformed", call.alice.request, "GET", f"{path(call.id)}?{query}")

    def test_nul_is_refused(self, call: Call) -> None:
        refused(400, "malformed", call.alice.request, "GET", f"{path(call.id)}?participant=%00")


class TestSending:
    def test_a_client_reports_both_directions(self, call: Call) -> None:
        assert send(call.bob, call.id, {"device": "phone", "samples": [WHOLE]}).status_code == 204
        up, down = read(call.alice, call.id)["samples"]
        own = call.bob.participant(call.id)["id"]
        for sample in (up, down):
            assert (sample["participant"], sample["source"], sample["device"]) == (own, "client", "phone")
        for sample, direction in ((up, "up"), (down, "down")):
            assert sample["direction"] == direction
            sent = WHOLE[direction]
            assert {name: sample[name] for name in sent} == sent  # type: ignore[attr-defined]
        # 5 % of the time was frozen.
        assert down["score"] == 3.1

    def test_the_age_of_a_sample_counts_from_its_arrival(self, call: Call) -> None:
        send(call.bob, call.id, {"samples": [{**WHOLE, "ageMs": 60_000}]})
        for row in QualitySample.objects.all():
            assert abs(row.at - (timezone.now() - timedelta(minutes=1))) < timedelta(seconds=10)

    def test_nobody_is_notified(self, call: Call) -> None:
        before = call.alice.request("GET", f"/mediaConferences/{call.id}")["etag"]
        send(call.bob, call.id, {"samples": [WHOLE]})
        assert call.alice.request("GET", f"/mediaConferences/{call.id}")["etag"] == before
        assert call.alice.news() == call.bob.news() == []

    def test_unknown_members_are_ignored(self, call: Call) -> None:
        sample = {**WHOLE, "up": {"bitrate": 1, "streams": [{}] * 5_000}, "x": 1}
        assert send(call.bob, call.id, {"samples": [sample], "y": {}}).status_code == 204

    def test_the_last_samples_may_come_after_the_end(self, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
        call.alice.delete(call.id)
        assert send(call.bob, call.id, {"samples": [WHOLE]}).status_code == 204
        later = clock.now() + LATE + timedelta(seconds=1)
        monkeypatch.setattr(clock, "now", lambda: later)
        refused(409, "conference-not-open", send, call.bob, call.id, {"samples": [WHOLE]})


class TestRefusals:
    @pytest.mark.parametrize("value", ["1", True, None, -1, -0.001, 1.001, 10**400, [], {}, [0.5]])
    def test_wrong_values_are_refused(self, call: Call, value: Any) -> None:
        body = {"samples": [{**WHOLE, "down": {"bitrate": 1, "loss": value}}]}
        response = refused(400, "malformed", send, call.bob, call.id, body)
        assert "samples" in problem(response)["errors"]

    @pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
    def test_numbers_without_a_value_are_refused(self, call: Call, text: str) -> None:
        body = json.dumps({"samples": [{**WHOLE, "down": {"bitrate": 17}}]}).replace("17", text)
        headers = {"authorization": f"Bearer {call.bob.token}"}
        response = Client().post(path(call.id), body, content_type="application/json", headers=headers)
        assert (response.status_code, problem(response)["code"]) == (400, "malformed")
        assert not QualitySample.objects.exists()

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"samples": []},
            {"samples": None},
            {"samples": {}},
            {"samples": [[]]},
            {"samples": [WHOLE] * (MOST_SAMPLES + 1)},
            {"samples": [WHOLE] * 2_000},
            {"samples": [{**WHOLE, "up": []}]},
            {"samples": [{**WHOLE, "up": {}}]},
            {"samples": [{"up": {"bitrate": 1}}]},
            {"samples": [{**WHOLE, "periodMs": 0}]},
            {"samples": [{**WHOLE, "ageMs": 10**9}]},
            {"samples": [WHOLE], "device": "toaster"},
            {"samples": [WHOLE], "device": ["phone"]},
            {"samples": [WHOLE], "device": None},
        ],
    )
    def test_wrong_bodies_are_refused(self, call: Call, body: Any) -> None:
        refused(400, "malformed", send, call.bob, call.id, body)

    def test_the_largest_values_fit_their_columns(self, call: Call) -> None:
        large = {
            "bitrate": 1e9,
            "loss": 1,
            "jitterMs": 30_000,
            "roundTripMs": 30_000,
            "retransmissions": 1e6,
            "videos": 1_000,
            "framesPerSecond": 1_000,
            "width": 16_384,
            "height": 16_384,
            "freezes": 10_000,
            "frozenMs": 30_000,
            "concealed": 1,
        }
        assert send(call.bob, call.id, {"samples": [{**WHOLE, "up": large}]}).status_code == 204
        write(call.id, "x", jitter=1e300, queue=1e300, round_trip=1e300, silence=1e300, estimate=10**30, videos=10**9)
        write(call.id, "y", layers={str(number): number for number in range(1_000)})
        assert len(read(call.alice, call.id)["samples"][-1]["layers"]) == samples.MOST_LAYERS

    def test_a_flood_is_refused(self, call: Call) -> None:
        full = {"samples": [WHOLE] * MOST_SAMPLES}
        answers = [send(call.bob, call.id, full).status_code for _ in range(4)]
        assert answers == [204, 204, 429, 429]
        assert QualitySample.objects.count() == quotas.SAMPLES_PER_MINUTE
        # It does not affect others.
        assert send(call.alice, call.id, full).status_code == 204

    def test_strangers_cannot_send(self, call: Call, carol: Device) -> None:
        refused(404, "not-found", send, carol, call.id, {"samples": [WHOLE]})
        refused(404, "not-found", send, carol, "none", {"samples": [WHOLE]})
        # Not even a wrong body tells a stranger that the conference exists.
        refused(404, "not-found", send, carol, call.id, {})
        response = Client().post(path(call.id), {"samples": [WHOLE]}, content_type="application/json")
        assert response.status_code == 401

    def test_another_device_of_a_participant_cannot_send(self, call: Call) -> None:
        phone = Device.register("bob", "phone")
        refused(403, "forbidden", send, phone, call.id, {"samples": [WHOLE]})


def test_samples_are_pruned_by_their_age(call: Call, settings: Settings) -> None:
    write(call.id, "a", "b", "c")
    now = timezone.now()
    QualitySample.objects.filter(participant_id="a").update(at=now - settings.QUALITY_RETENTION)
    QualitySample.objects.filter(participant_id="c").update(at=now - 2 * settings.QUALITY_RETENTION)
    assert prune(now=now)["samples of quality"] == 1
    later = now + settings.QUALITY_RETENTION
    assert prune(now=later + timedelta(minutes=1))["samples of quality"] == 2


def test_staff_see_the_newest_samples_with_names(call: Call) -> None:
    send(call.bob, call.id, {"device": "phone", "samples": [{**WHOLE, "down": {"bitrate": 17, "concealed": 0.1}}]})
    write(call.id, "gone", layers={"<b>": 3})
    staff = Client()
    staff.force_login(User.objects.create_superuser("chief", password="irrelevant"))
    page = staff.get(f"/admin/conferences/conference/{call.id}/change/").content.decode()
    table = page[page.index("Quality (the newest") :]
    cells = re.findall(r'<td class="field-([a-z_]+)">(.*?)</td>', table)[: 3 * 18]
    rows = [dict(cells[at : at + 18]) for at in (0, 18, 36)]
    assert [(row["participant_id"], row["direction"], row["device"]) for row in rows] == [
        ("gone", "down", "-"),
        ("bob", "down", "phone"),
        ("bob", "up", "phone"),
    ]
    assert (rows[1]["score"], rows[1]["concealed"]) == ("3.3", "100")
    assert unescape(rows[0]["layers"]) == '{"<b>": 3}'
