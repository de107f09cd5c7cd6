"""The management commands: keeping time, pruning, drawing the state machine, and making API keys."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.core.management import CommandError, call_command
from django.utils import timezone
from rest_framework_api_key.models import APIKey

from conferences.event_types import EVENTS, EventType
from conferences.machine import TABLE, ConferenceState, ModificationState, MoveState, ParticipantState
from conferences.models import KeptAnswer
from events.models import Event
from sbe_enabler.management.commands import diagram, reference
from sbe_enabler.management.commands import serve as serving
from tests.support.devices import Device, open_call
from tests.support.endpoints import UNLIMITED, Endpoint, Endpoints, until
from tests.support.services import ROOT, SECRET_KEY, Backend, Backends, Server, copied, free_port, manage
from tests.support.zygote import Copy

Serve = Callable[..., Server]
in_database = pytest.mark.django_db(transaction=True)


# --- The timekeeper ---------------------------------------------------------------------------------------


def timekeeper(backend: Backend, log: Path) -> AbstractContextManager[Copy]:
    """Run `manage.py timekeeper`."""
    return copied(log, "manage.py", "timekeeper", variables={"SBE_STATE_DIR": str(log.parent), **backend.variables})


@pytest.mark.once
@pytest.mark.parametrize("kind", [pytest.param("sqlite", marks=pytest.mark.deep), "grown"])
async def test_two_timekeepers_settle_each_deadline_once_and_end_on_request(
    serve: Serve, backends: Backends, endpoints: Endpoints, tmp_path: Path, kind: str
) -> None:
    backend = backends.grown() if kind == "grown" else backends.sqlite()
    server = serve(backend, **UNLIMITED, SBE_TIMEKEEPER="0", SBE_MODIFICATION_SECONDS="0.3")
    calls = [await endpoints.call(server) for _ in range(5)]
    for caller, _, conference in calls:
        assert (await caller.modify(conference)).status_code == 204
    sides: list[Endpoint] = [side for caller, called, _ in calls for side in (caller, called)]
    logs = [tmp_path / f"keeper-{number}.log" for number in range(2)]

    async def types(side: Endpoint) -> list[str]:
        return [event["type"] for event in await side.log()]

    async def all_have_expired() -> bool:
        return all(["mod-expired" in await types(side) for side in sides])

    assert not await all_have_expired()
    with ExitStack() as stack:
        processes = [stack.enter_context(timekeeper(backend, log)) for log in logs]
        await until(all_have_expired, "the modifications expire", seconds=30)
        # The timekeepers also settle this later offer. Until its expiry, each timekeeper checks the
        # deadlines many times.
        caller, called, conference = calls[0]
        assert (await caller.modify(conference)).status_code == 204

        async def has_expired_again() -> bool:
            return (await types(called)).count("mod-expired") == 2

        await until(has_expired_again, "another modification expires", seconds=30)
        for number, process in enumerate(processes):
            process.send_signal(signal.SIGINT if number else signal.SIGTERM)
        assert [process.wait(10) for process in processes] == [0, 0]
    for side in sides:
        assert (await types(side)).count("mod-expired") == (2 if side in (caller, called) else 1)
    for log in logs:
        assert not re.search("Traceback|ERROR|locked|deadlock", log.read_text()), log.read_text()[-2000:]


# --- Pruning ----------------------------------------------------------------------------------------------


@in_database
def test_prune_prints_what_it_deleted(alice_and_bob: tuple[Device, Device]) -> None:
    alice, bob = alice_and_bob
    open_call(alice, bob)
    output = StringIO()
    call_command("prune", stdout=output)
    assert output.getvalue() == "0 events, 0 answers, 0 conferences, 0 sessions, 0 media tasks, 0 samples of quality\n"
    old = timezone.now() - timedelta(days=2)
    events = Event.objects.update(at=old)
    KeptAnswer.objects.create(key_hash="a", request_hash="b", created_at=old)
    output = StringIO()
    call_command("prune", stdout=output)
    assert (
        output.getvalue()
        == f"{events} events, 1 answers, 0 conferences, 0 sessions, 0 media tasks, 0 samples of quality\n"
    )
    assert events > 0
    assert not Event.objects.exists()


@pytest.fixture
def alice_and_bob() -> tuple[Device, Device]:
    return Device.register("alice"), Device.register("bob")


# --- The diagrams -----------------------------------------------------------------------------------------


@pytest.mark.once
def test_diagrams_in_the_docs_are_up_to_date() -> None:
    assert (ROOT / "docs" / "states.md").read_text() == diagram.render(), "run `make diagram`"


@pytest.mark.once
def test_diagrams_draw_every_transition_and_no_other() -> None:
    drawn = set(re.findall(r"^    (\w+) --> (\w+): (\S+)$", diagram.render(), re.MULTILINE))
    wanted = {
        (before.name.lower(), after.name.lower(), str(action))
        for before, actions in TABLE.items()
        for action, after in actions.items()
    }
    assert drawn == wanted
    for states in (ConferenceState, ParticipantState, MoveState, ModificationState):
        assert all(f'"{state}" as ' in diagram.render() for state in states)


@pytest.mark.once
def test_diagram_writes_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagram, "PATH", tmp_path / "states.md")
    output = StringIO()
    call_command("diagram", stdout=output)
    assert output.getvalue().strip() == str(tmp_path / "states.md")
    assert (tmp_path / "states.md").read_text() == diagram.render()


# --- The reference of events ------------------------------------------------------------------------------


@pytest.mark.once
def test_reference_of_events_is_up_to_date() -> None:
    document = (ROOT / "docs" / "protocol.md").read_text()
    assert document == reference.with_reference(document), "run `make reference`"
    types = (ROOT / "templates" / "static" / "sbe" / "event-types.js").read_text()
    assert types == reference.render_types(), "run `make reference`"


@pytest.mark.once
def test_reference_has_every_type_of_event() -> None:
    assert sorted(event.type for event in EVENTS) == sorted(EventType)
    headings = re.findall(r"^#### `(.*)`$", reference.render_reference(), re.MULTILINE)
    assert headings == [event.type for event in EVENTS]


@pytest.mark.once
def test_reference_writes_both_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "protocol.md").write_text(f"before\n{reference.BEGIN}old\n{reference.END}after\n")
    monkeypatch.setattr(reference, "PROTOCOL", tmp_path / "protocol.md")
    monkeypatch.setattr(reference, "CLIENT", tmp_path / "types.js")
    call_command("reference", stdout=StringIO())
    assert (tmp_path / "protocol.md").read_text() == f"before\n{reference.render_reference()}after\n"
    assert (tmp_path / "types.js").read_text() == reference.render_types()


# --- API keys ---------------------------------------------------------------------------------------------


@in_database
def test_standard_output_has_only_the_new_api_key() -> None:
    output, words = StringIO(), StringIO()
    call_command("create_api_key", "gateway", stdout=output, stderr=words)
    key = output.getvalue().removesuffix("\n")
    assert re.fullmatch(r"\w{8}\.\w{32}", key)
    assert key not in words.getvalue()
    assert "gateway" in words.getvalue()
    assert APIKey.objects.get_from_key(key).name == "gateway"


@in_database
def test_a_second_api_key_of_the_same_name_is_announced() -> None:
    first, second = StringIO(), StringIO()
    for words in (first, second):
        call_command("create_api_key", "gateway", stdout=StringIO(), stderr=words)
    assert "already" not in first.getvalue()
    assert "There is another API key for gateway already." in second.getvalue()


@in_database
@pytest.mark.parametrize("name", ["", "   ", "x" * 51])
def test_name_of_an_api_key_is_bounded(name: str) -> None:
    with pytest.raises(CommandError, match="1 to 50 characters"):
        call_command("create_api_key", name)
    assert not APIKey.objects.exists()


# --- Processes without their database ---------------------------------------------------------------------


@pytest.mark.once
@pytest.mark.parametrize("command", ["serve", "timekeeper", "medianode"])
def test_no_process_starts_before_the_migrations(command: str, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"^manage.py \w+: CommandError: .* run `manage.py migrate` first\.$"):
        manage(command, variables={"SBE_STATE_DIR": str(tmp_path)})


@pytest.mark.once
@pytest.mark.parametrize("command", ["serve", "timekeeper", "medianode", "quickstart"])
def test_no_process_starts_without_a_database(command: str, tmp_path: Path) -> None:
    away = f"postgresql://nobody@127.0.0.1:{free_port()}/nothing"
    variables = {"SBE_STATE_DIR": str(tmp_path), "DATABASE_URL": away}
    with pytest.raises(RuntimeError, match=r"^manage.py \w+: CommandError: The database cannot be used: .* refused"):
        manage(command, variables=variables)


# --- Errors of commands -----------------------------------------------------------------------------------


@pytest.mark.once
@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"SBE_RING_SECONDS": "soon"}, "SBE_RING_SECONDS"),
        ({"SBE_SECRET_KEY": "short"}, "SBE_SECRET_KEY must have at least 50 random characters"),
        ({"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing"}, "127.0.0.1"),
    ],
)
def test_a_command_names_what_is_missing_without_a_traceback(
    tmp_path: Path, variables: dict[str, str], said: str
) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "SBE_SECRET_KEY": SECRET_KEY,
        "SBE_STATE_DIR": str(tmp_path),
        **variables,
    }
    done = subprocess.run(
        [sys.executable, "manage.py", "migrate"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.once
@pytest.mark.parametrize(
    ("bind", "media", "node", "stays"),
    [
        ("0.0.0.0", "127.0.0.1", True, True),
        ("::", "::1", True, True),
        ("0.0.0.0", "127.0.0.1", False, False),
        ("0.0.0.0", "0.0.0.0", True, False),
        ("127.0.0.1", "127.0.0.1", True, False),
        ("localhost", "127.0.0.1", True, False),
    ],
)
def test_media_on_loopback_is_detected_if_the_server_listens_elsewhere(
    settings: LazySettings, bind: str, media: str, node: bool, stays: bool
) -> None:
    settings.MEDIA_BIND, settings.MEDIA_NODE = media, node
    assert serving.is_media_local_only(bind) is stays
