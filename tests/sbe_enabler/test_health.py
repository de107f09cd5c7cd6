"""The health that this process reports to a gateway or a supervisor."""

import asyncio
import threading
import time
from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from django.test import AsyncClient, Client
from django.utils import timezone

from sbe_enabler import __version__, health
from tests.support.focus import beat


@pytest.mark.django_db(transaction=True)
async def test_healthy_process_reports_that_it_is_healthy(async_client: AsyncClient) -> None:
    response = await async_client.get("/healthz")
    assert response.status_code == 200
    assert response.json() == {
        "status": "ok",
        "database": "ok",
        "channelLayer": "ok",
        "mediaNodes": {},
        "version": __version__,
    }
    assert response["cache-control"] == "no-store"


@pytest.mark.django_db(transaction=True)
async def test_live_media_nodes_are_listed_with_their_counters(async_client: AsyncClient) -> None:
    now = timezone.now()
    await sync_to_async(beat)("here", now, counters={"legs": 3})
    await sync_to_async(beat)("gone", now - timedelta(days=1))
    assert (await async_client.get("/healthz")).json()["mediaNodes"] == {"here": {"legs": 3}}


async def test_process_is_unavailable_if_the_database_refuses_connections(
    async_client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise ConnectionError("password=hunter2")

    monkeypatch.setattr(health, "ask_database", refuse)
    response = await async_client.get("/healthz")
    assert response.status_code == 503
    assert response.json()["database"] == "unavailable"
    assert "hunter2" not in response.content.decode()


async def test_health_does_not_wait_for_a_database_that_hangs(
    async_client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on = threading.Event()
    monkeypatch.setattr(health, "ask_database", lambda: goes_on.wait(8) and {})
    started = time.monotonic()
    try:
        answers = await asyncio.gather(*(async_client.get("/healthz") for _ in range(3)))
        seconds = time.monotonic() - started
    finally:
        goes_on.set()
    assert [(each.status_code, each.json()["database"]) for each in answers] == [(503, "unavailable")] * 3
    assert seconds < 3


async def test_health_does_not_wait_for_a_channel_layer_that_hangs(
    async_client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "_TIMEOUT_SECONDS", 0.1)
    monkeypatch.setattr(health, "ask_channel_layer", lambda: asyncio.sleep(60))
    monkeypatch.setattr(health, "ask_database", dict)
    started = time.monotonic()
    response = await async_client.get("/healthz")
    assert (response.status_code, response.json()["channelLayer"]) == (503, "unavailable")
    assert time.monotonic() - started < 30


def test_unknown_address_is_a_problem_document(client: Client) -> None:
    response = client.get("/nothing/here", headers={"x-correlator": "mine"})
    assert response.status_code == 404
    assert response["content-type"] == "application/problem+json"
    body = response.json()
    assert (body["code"], body["status"], body["xCorrelator"]) == ("not-found", 404, "mine")


def test_unknown_address_in_the_admin_is_a_page(client: Client) -> None:
    response = client.get("/admin/nothing")
    assert response.status_code in {302, 404}
    assert response["content-type"].startswith("text/html")


def test_unknown_host_is_refused_with_a_problem_document(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    response = client.get("/sessions", headers={"host": "evil.example"})
    assert (response.status_code, response.json()["code"]) == (400, "malformed")
    assert not caplog.records, "refusals do not fill the log"
