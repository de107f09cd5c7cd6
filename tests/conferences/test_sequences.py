"""Random sequences of client requests, sensible or not. Each step must keep the invariants of the machine."""

import json
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from django.conf import settings as django_settings
from django.db import connection, transaction
from django.utils import timezone
from hypothesis import HealthCheck, Phase
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from pytest_django import Settings

from conferences import exceptions
from conferences.machine import TABLE, ConferenceState, ModificationState, ParticipantState, State
from conferences.models import Conference, Modification, Participant
from conferences.operations.deadlines import settle_due
from conferences.operations.locking import lock
from events import exceptions as general
from events import wakeups
from events.exceptions import RefusalError
from events.models import Event, Session
from events.throttles import PrincipalThrottle
from media.messages import Refusal, RefusalCode
from media.models import MediaTask
from tests.support.depth import examples
from tests.support.descriptions import describe, mirror
from tests.support.devices import Device
from tests.support.focus import ScriptedNode
from tests.support.refusals import problem

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(900)]

# The refusals that well-formed requests can get.
CODES = {
    error.code: error.status
    for error in (vars(exceptions) | vars(general)).values()
    if isinstance(error, type) and issubclass(error, RefusalError) and error is not RefusalError
    if error is general.MalformedError
    or (error.status in {401, 403, 404, 409, 422} and error is not exceptions.IdempotencyMismatchError)
}
BEGINNINGS: dict[type, set[str]] = {
    Conference: {"invitation-sent"},
    Participant: {"accepted", "invited"},
    Modification: {"mod-sent"},
}
STATES: dict[type, type[ConferenceState] | type[ParticipantState] | type[ModificationState]] = {
    Conference: ConferenceState,
    Participant: ParticipantState,
    Modification: ModificationState,
}

NUMBERS = st.integers(0, 4)
MEMBERS = st.integers(0, 3)
CHOICES = st.integers(0, 1000)
DIRECTIONS = st.sampled_from(["sendrecv", "sendrecv", "recvonly", "recvonly", "sendonly", "inactive"])
INITIATIONS = st.sampled_from(
    ["initiate-conference-mod", "initiate-conference-hold", "initiate-conference-resume", "initiate-call-hold"]
)
View = dict[str, Any]


class Clients(RuleBasedStateMachine):
    """Alice and bob, who have two devices each, and carol, who is not in any conference."""

    devices: ClassVar[list[Device]] = []
    sequences: ClassVar[int] = 0
    beginnings: ClassVar[dict[type, set[str]]] = BEGINNINGS

    def __init__(self) -> None:
        super().__init__()
        type(self).sequences += 1
        for model in (Event, Modification, Participant, Conference):
            model._default_manager.all().delete()
        Session.objects.update(
            state="active", last_seq=0, ended_at=None, expires_at=timezone.now() + timedelta(hours=1)
        )
        self.newest_event = 0
        self.seq: Counter[str] = Counter()
        self.states: dict[type, dict[str, str]] = {model: {} for model in STATES}
        self.version = 1
        # Each device's view of each conference that it follows, by (session, conference).
        self.views: dict[tuple[str, str], View] = {}
        # The conference in each invitation, until the invitation is answered, by (session, conference).
        self.invitations: dict[tuple[str, str], View] = {}
        self.ring_for: dict[tuple[str, str], str] = {}

    # --- Setup --------------------------------------------------------------------------------------------

    @initialize(begin=st.sampled_from(["ringing", "open", "open", "on hold", "pending", "moving"]), order=st.booleans())
    def begin(self, begin: str, order: bool) -> None:
        """Begin in the middle of a call, so that short sequences reach many states."""
        caller, callee = (0, 2) if order else (2, 0)
        self.call(caller, "sendrecv")
        if begin != "ringing":
            self.answer(callee, 0, "sendrecv", "answer")
        if begin == "pending":
            self.initiate(callee, 0, "sendonly", "initiate-conference-mod")
        if begin == "moving":
            self.initiate(caller, 0, "recvonly", "initiate-call-hold")
            self.delete(caller, 0)
        if begin == "on hold":
            self.initiate(caller, 0, "recvonly", "initiate-call-hold")
            self.accept_as_it_should_be("inactive")

    # --- Requests of clients ------------------------------------------------------------------------------

    @property
    def conferences(self) -> list[str]:
        return list(self.states[Conference])

    def pick(self, choice: int) -> str:
        """Return one of the conferences, usually the newest."""
        return self.conferences[-1 if choice % 3 else choice % len(self.conferences)]

    def participants_of(self, conference: str) -> list[str]:
        """Return the IDs of all participants in a fixed order, so that a sequence can be repeated."""
        participants = Participant.objects.filter(conference=conference)
        return list(participants.order_by("position").values_list("pk", flat=True))

    def number_of(self, session: str | None) -> int:
        """Return the number of the device with this session."""
        (number,) = (number for number, device in enumerate(self.devices) if device.id == session)
        return number

    def sdp(self, number: int, type_: str, direction: str) -> dict[str, str]:
        self.version += 1
        return {"type": type_, "sdp": describe(direction, session=100 + number, version=self.version, kinds=("audio",))}

    @rule(number=MEMBERS, direction=DIRECTIONS)
    def call(self, number: int, direction: str) -> None:
        caller = self.devices[number]
        callee = "bob" if caller.username == "alice" else "alice"
        response = caller.call(callee, **self.sdp(number, "offer", direction))
        if response.status_code == 201:
            body = response.json()
            self.views[caller.id, body["id"]] = body
        self.check(caller, response, {201})

    @rule(number=NUMBERS, choice=CHOICES, direction=DIRECTIONS, type_=st.sampled_from(["answer", "offer"]))
    def answer(self, number: int, choice: int, direction: str, type_: str) -> None:
        self.answer_in(number, self.pick(choice), self.sdp(number, type_, direction))

    def answer_in(self, number: int, conference: str, description: dict[str, str]) -> None:
        device = self.devices[number]
        response = device.answer(conference, description)
        if response.status_code == 204:
            assert response["x-state"] == "accepted"
            self.follow(device, conference)
        self.check(device, response, {204})

    @precondition(lambda self: self.invitations)
    @rule(choice=CHOICES)
    def answer_as_it_should_be(self, choice: int) -> None:
        session, conference = list(self.invitations)[choice % len(self.invitations)]
        participants = self.invitations[session, conference]["participants"]
        type_ = "offer" if any(participant["state"] == "moving" for participant in participants) else "answer"
        self.answer_in(self.number_of(session), conference, self.sdp(self.number_of(session), type_, "inactive"))

    def follow(self, device: Device, conference: str) -> None:
        """After a device has joined, update its copy of the conference, which came with the invitation."""
        view = self.invitations.pop((device.id, conference))
        view["state"] = "session-open"
        (participant,) = (
            participant
            for participant in view["participants"]
            if participant["id"] == self.ring_for[device.id, conference]
        )
        participant.update(state="accepted", sessionId=device.id, username=participant["username"] or device.username)
        self.views[device.id, conference] = view

    @rule(number=NUMBERS, choice=CHOICES)
    def delete(self, number: int, choice: int) -> None:
        device, conference = self.devices[number], self.pick(choice)
        response = device.delete(conference)
        if response.status_code == 200:
            self.invitations.pop((device.id, conference), None)
            if (device.id, conference) in self.views:
                self.views[device.id, conference] = response.json()
        self.check(device, response, {200})

    @rule(number=NUMBERS, choice=CHOICES, direction=DIRECTIONS, action=INITIATIONS)
    def initiate(self, number: int, choice: int, direction: str, action: str) -> None:
        device, conference = self.devices[number], self.pick(choice)
        response = device.put(conference, action, self.sdp(number, "offer", direction))
        if response.status_code == 204:
            assert response["x-state"] == "mod-sent"
        self.check(device, response, {204})

    @rule(number=MEMBERS, action=INITIATIONS)
    def initiate_as_it_should_be(self, number: int, action: str) -> None:
        direction = "recvonly" if action.endswith("hold") else "sendrecv"
        self.initiate(number, 1, direction, action)

    @rule(number=MEMBERS)
    def move(self, number: int) -> None:
        self.initiate(number, 1, "recvonly", "initiate-call-hold")
        self.delete(number, 1)

    @rule(
        number=NUMBERS,
        choice=CHOICES,
        direction=DIRECTIONS,
        accepts=st.booleans(),
        which=st.sampled_from(["pending", "any", "none"]),
    )
    def settle(self, number: int, choice: int, direction: str, accepts: bool, which: str) -> None:
        device, conference = self.devices[number], self.pick(choice)
        mods = [
            mod for mod, state in self.states[Modification].items() if which == "any" or state == ModificationState.SENT
        ]
        mod = mods[choice % len(mods)] if mods and which != "none" else "nonsense"
        foreign = not Modification.objects.filter(pk=mod, conference=conference).exists()
        if accepts:
            response = device.accept(conference, mod, self.sdp(number, "answer", direction))
        else:
            response = device.withdraw(conference, mod)
        assert not (foreign and response.status_code == 204)
        self.check(device, response, {204})

    @precondition(lambda self: ModificationState.SENT in self.states[Modification].values())
    @rule(direction=DIRECTIONS)
    def accept_as_it_should_be(self, direction: str) -> None:
        mod = Modification.objects.pending().select_related("offered_to").latest("created_at")
        assert mod.offered_to is not None
        if mod.offered_to.session_id is not None:
            number = self.number_of(mod.offered_to.session_id)
            device = self.devices[number]
            response = device.accept(mod.conference_id, mod.pk, self.sdp(number, "answer", direction))
            self.check(device, response, {204})

    @rule(number=NUMBERS, choice=CHOICES)
    def remove(self, number: int, choice: int) -> None:
        device, conference = self.devices[number], self.pick(choice)
        participants = self.participants_of(conference)
        path = f"/mediaConferences/{conference}/participants/{participants[choice % len(participants)]}"
        response = device.request("DELETE", path)
        if response.status_code == 204:
            self.follow_after_removing(device, conference)
        self.check(device, response, {204})

    def follow_after_removing(self, device: Device, conference: str) -> None:
        """Forget the device's view: the removal ended this peer conference, and the response contains no conference."""
        self.views.pop((device.id, conference), None)

    @rule(seconds=st.sampled_from([1, 6, 31]), choice=CHOICES)
    def time_passes(self, seconds: int, choice: int) -> None:
        if choice % 2:
            settle_due(now=timezone.now() + timedelta(seconds=seconds))
            self.check_rows()

    @rule(number=MEMBERS, choice=CHOICES)
    def expire(self, number: int, choice: int) -> None:
        if choice % 8 == 0:
            now = timezone.now()
            Session.objects.filter(pk=self.devices[number].id, state="active").update(expires_at=now)
            settle_due(now=now)
            self.check_rows()

    # --- Invariants ---------------------------------------------------------------------------------------

    def check(self, device: Device, response: Any, successes: set[int]) -> None:
        """Require an expected status or refusal, and then all invariants."""
        if response.status_code not in successes:
            body = problem(response)
            assert CODES.get(body["code"]) == response.status_code, body
            if device is self.devices[4]:
                assert body["code"] == "not-found"
        else:
            assert device is not self.devices[4]
        self.check_rows()

    def check_rows(self) -> None:
        """Require the invariants of all rows."""
        participants = list(Participant.objects.order_by("position"))
        mods = list(Modification.objects.only("state", "pair", "conference").order_by("created_at"))
        self.check_transitions(Conference, list(Conference.objects.only("state").order_by("created_at")))
        self.check_transitions(Participant, participants)
        self.check_transitions(Modification, mods)
        self.check_conferences(participants, [mod for mod in mods if mod.state == ModificationState.SENT])
        sessions = list(Session.objects.all())
        self.check_logs(sessions)
        now = timezone.now()
        self.check_views({session.pk for session in sessions if session.is_live(now)}, participants)

    def check_transitions(self, model: type, rows: Sequence[Conference | Participant | Modification]) -> None:
        """Require that each row's state has changed since the last check by at most one legal transition."""
        known, machine = self.states[model], STATES[model]
        now = {row.pk: row.state for row in rows}
        for pk, state in now.items():
            before = known.get(pk)
            if before is None:
                assert state in self.beginnings[model]
            elif before != state:
                legal: set[State] = set(TABLE[machine(before)].values())
                assert machine(state) in legal, (before, state)
        assert set(known) <= set(now)
        self.states[model] = now

    def check_conferences(self, rows: list[Participant], pending: list[Modification]) -> None:
        """Require that conferences, participants and pending modifications are consistent."""
        assert max(Counter(mod.pair for mod in pending).values(), default=0) <= 1
        for conference, state in self.states[Conference].items():
            participants = [participant for participant in rows if participant.conference_id == conference]
            present = [participant for participant in participants if not participant.has_left]
            joined = [participant.session_id for participant in present if participant.is_joined]
            assert len(set(joined)) == len(joined)
            if state == ConferenceState.SESSION_TERMINATED:
                assert not present
                assert conference not in {mod.conference_id for mod in pending}
            else:
                assert len(present) == 2
                assert len([participant for participant in present if participant.is_ringing]) <= 1
                assert any(participant.state == ParticipantState.INVITED for participant in present) == (
                    state == "invitation-sent"
                )
            for participant in participants:
                assert (participant.rings_until is not None) == participant.is_ringing
                assert (participant.left_reason != "") == participant.has_left == (participant.left_at is not None)
                assert participant.move_until is None or participant.is_joined

    def check_logs(self, sessions: list[Session]) -> None:
        """Require event numbers without gaps, and apply each new event to the view of its device."""
        for event in Event.objects.filter(pk__gt=self.newest_event).order_by("pk"):
            self.newest_event = event.pk
            self.seq[event.session_id] += 1
            assert event.seq == self.seq[event.session_id]
            self.read(event)
        assert all(session.last_seq == self.seq[session.pk] for session in sessions)

    def read(self, event: Event) -> None:
        """Apply an event to the view of its device."""
        wire, key = event_wire(event), (event.session_id, event.conference_id)
        if event.type == "invitation-received":
            self.invitations[key] = wire["conference"]
            self.ring_for[key] = wire["participant"]["id"]
        elif event.type == "invitation-cancelled":
            self.invitations.pop(key, None)
        view = self.views.get(key)
        if view is None:
            return
        if "conference" in wire:
            view = self.views[key] = wire["conference"]
        if "participant" in wire:
            stated = wire["participant"]
            participant = self.participant_in(view, stated)
            if event.type == "host-changed":
                self.participant_in(view, {"id": wire["from"]["participant"]})["role"] = "guest"
            was_mine = participant["sessionId"] == event.session_id
            participant.update(stated)
            if was_mine and (stated["sessionId"] != event.session_id or stated["state"] == "left"):
                # The participant has moved to another device or left, so this device gets no more events of the
                # conference.
                del self.views[key]

    def participant_in(self, view: View, stated: dict[str, Any]) -> dict[str, Any]:
        """Return the participant that an event is about."""
        (participant,) = (participant for participant in view["participants"] if participant["id"] == stated["id"])
        assert isinstance(participant, dict)
        return participant

    def check_views(self, live: set[str], rows: list[Participant]) -> None:
        """Require that each device's view, which the device built from its events, equals the rows."""
        for (session, conference), view in self.views.items():
            if session in live:
                assert view["state"] == self.states[Conference][conference]
                assert [
                    (participant["id"], participant["state"], participant["sessionId"], participant["username"])
                    for participant in view["participants"]
                ] == [
                    (participant.pk, participant.state, participant.session_id, participant.username)
                    for participant in rows
                    if participant.conference_id == conference
                ]

    def teardown(self) -> None:
        """Compare the view of one device with a fresh GET."""
        live = set(Session.objects.live(timezone.now()).values_list("pk", flat=True))
        for (session, conference), view in self.views.items():
            if session in live:
                fresh = self.devices[self.number_of(session)].get(conference)
                assert fresh["state"] == view["state"]
                assert essential(fresh) == essential(view)
                break


class Gatherings(Clients):
    """The same users in focus conferences. The focus works at once, or waits while other requests happen."""

    node: ClassVar[ScriptedNode]
    # New rows may already have a later state: a focus that works at once settles offers, and ends invitations of busy
    # users.
    beginnings = {
        Conference: {"invitation-sent", "session-terminated"},
        Participant: {"accepted", "invited", "left"},
        Modification: {"mod-sent", "mod-accepted", "mod-rejected"},
    }

    def __init__(self) -> None:
        super().__init__()
        MediaTask.objects.all().delete()
        self.node.works, self.node.refusal = True, None
        self.node.legs.clear()
        self.versions: dict[str, int] = {}

    @initialize(
        begin=st.sampled_from(["ringing", "busy", "open", "open", "three", "pending", "moving"]), access=st.booleans()
    )
    def begin(self, begin: str, access: bool) -> None:
        """Begin in the middle of a conference."""
        if begin == "busy":
            self.call_together()
        self.gather(0, 3, "open" if access else "invited")
        if begin not in {"ringing", "busy"}:
            self.come_in(2, 0)
        if begin == "three":
            self.come_in(4, 0)
            self.accept_all()
        if begin == "pending":
            self.node.works = False
            self.initiate(2, 0, "sendonly", "initiate-conference-mod")
        if begin == "moving":
            self.accept_all()
            self.move(2)

    def call_together(self) -> None:
        """Begin more conferences than may ring for carol; then make the focus accept their offers."""
        self.node.works = False
        for _ in range(django_settings.INVITATIONS_PER_CALLEE):
            self.gather(2, 2, "invited")
        self.gather(0, 2, "open")
        self.focus(True, False)

    def accept_all(self) -> None:
        """Accept the offers of the focus, with all devices."""
        for _ in range(3):
            for _ in range(Modification.objects.pending().exclude(offered_to=None).count()):
                self.accept_as_it_should_be("sendrecv")

    # --- Requests of clients ------------------------------------------------------------------------------

    @rule(number=MEMBERS, whom=st.integers(0, 3), access=st.sampled_from(["open", "invited"]))
    def gather(self, number: int, whom: int, access: str) -> None:
        caller = self.devices[number]
        others = [name for name in ("alice", "bob", "carol") if name != caller.username]
        to = [name for bit, name in enumerate(others, start=1) if whom & bit]
        body = {"to": to, "access": access, **self.sdp(number, "offer", "sendrecv")}
        response = caller.request("POST", "/mediaConferences", body)
        if response.status_code == 201:
            self.views[caller.id, response.json()["id"]] = response.json()
        if to or access == "open":
            self.check(caller, response, {201})

    @rule(number=NUMBERS, choice=CHOICES)
    def call(self, number: int, choice: int) -> None:
        """Invite another user."""
        device, conference = self.devices[number], self.pick(choice)
        body = {"to": ["alice", "bob", "carol"][choice % 3]}
        response = device.request("POST", f"/mediaConferences/{conference}/participants", body)
        if response.status_code == 201:
            view, participant = self.views[device.id, conference], response.json()
            self.participant_in(view, participant).update(participant)
        self.check(device, response, {201})

    @rule(number=NUMBERS, choice=CHOICES)
    def come_in(self, number: int, choice: int) -> None:
        self.answer_in(number, self.pick(choice), self.sdp(number, "offer", "sendrecv"))

    @rule(number=NUMBERS, choice=CHOICES, audio=st.booleans())
    def mute(self, number: int, choice: int, audio: bool) -> None:
        device, conference = self.devices[number], self.pick(choice)
        participants = self.participants_of(conference)
        path = f"/mediaConferences/{conference}/participants/{participants[choice % len(participants)]}/mute"
        self.check(device, device.request("PUT", path, {"audio": audio}), {204})

    @rule(number=MEMBERS, choice=CHOICES)
    def hand_over(self, number: int, choice: int) -> None:
        """Make a participant the host."""
        device, conference = self.devices[number], self.pick(choice)
        participants = self.participants_of(conference)
        path = f"/mediaConferences/{conference}/participants/{participants[choice % len(participants)]}/role"
        response = device.request("PUT", path, {"role": "host"})
        if response.status_code == 204 and (device.id, conference) in self.views:
            self.views[device.id, conference] = device.get(conference)
        self.check(device, response, {204})

    @rule(works=st.booleans(), refuses=st.booleans())
    def focus(self, works: bool, refuses: bool) -> None:
        """Switch the node between working and waiting, and between answering and refusing offers."""
        self.node.works = works
        self.node.refusal = Refusal(RefusalCode.SDP_INVALID, "Nothing that the focus knows.") if refuses else None
        self.node.wake()
        self.check_rows()

    def follow(self, device: Device, conference: str) -> None:
        """Read the conference as a device that has joined: it may have changed since the invitation."""
        self.invitations.pop((device.id, conference), None)
        self.views[device.id, conference] = device.get(conference)

    def follow_after_removing(self, device: Device, conference: str) -> None:
        """Read the conference as the device that has removed a participant, if this device is still in it."""
        if Participant.objects.joined().filter(conference=conference, session=device.id).exists():
            self.views[device.id, conference] = device.get(conference)
        else:
            self.views.pop((device.id, conference), None)

    @rule(number=NUMBERS, choice=CHOICES)
    def delete(self, number: int, choice: int) -> None:
        super().delete(number, choice)
        device, conference = self.devices[number], self.pick(choice)
        joined = Participant.objects.filter(conference=conference, session=device.id).exclude(state="left").exists()
        if not joined and self.states[Conference][conference] != ConferenceState.SESSION_TERMINATED:
            self.views.pop((device.id, conference), None)

    @precondition(lambda self: Modification.objects.pending().exclude(offered_to=None).exists())
    @rule(direction=DIRECTIONS)
    def accept_as_it_should_be(self, direction: str) -> None:
        pending = Modification.objects.pending().exclude(offered_to=None)
        mod = pending.select_related("offered_to__session").earliest("created_at")
        assert mod.offered_to is not None
        number = self.number_of(mod.offered_to.session_id)
        self.version += 1
        holds = mod.offered_to.state == ParticipantState.ON_HOLD
        text = mirror(mod.offer, holds=holds, session=100 + number, version=self.version)
        device = self.devices[number]
        response = device.accept(mod.conference_id, mod.pk, {"type": "answer", "sdp": text})
        self.check(device, response, {204})

    # --- Invariants ---------------------------------------------------------------------------------------

    def check(self, device: Device, response: Any, successes: set[int]) -> None:
        if response.status_code not in successes:
            body = problem(response)
            assert CODES.get(body["code"]) == response.status_code, body
        self.check_rows()

    def participant_in(self, view: View, stated: dict[str, Any]) -> dict[str, Any]:
        """Return the participant that an event is about, which may be new."""
        for participant in view["participants"]:
            if participant["id"] == stated["id"]:
                assert isinstance(participant, dict)
                return participant
        view["participants"].append(dict(stated))
        new: dict[str, Any] = view["participants"][-1]
        return new

    def check_conferences(self, rows: list[Participant], pending: list[Modification]) -> None:
        assert max(Counter(mod.pair for mod in pending).values(), default=0) <= 1
        sides = {side for mod in pending for side in mod.pair.split(":") if side != "focus"}
        assert sides <= {participant.pk for participant in rows if participant.is_joined}
        assert not (self.node.works and MediaTask.objects.exists())
        invited = Participant.objects.unanswered(timezone.now()).audible()
        called = Counter(invited.values_list("username", flat=True))
        assert max(called.values(), default=0) <= django_settings.INVITATIONS_PER_CALLEE
        silent = set(Conference.objects.silent().values_list("pk", flat=True))
        with transaction.atomic():
            assert silent == {pk for pk in self.states[Conference] if not lock(pk, now=timezone.now()).rings}
        for row in Conference.objects.all():
            assert row.version >= self.versions.get(row.pk, 0)
            self.versions[row.pk] = row.version
            present = [
                participant for participant in rows if participant.conference_id == row.pk and not participant.has_left
            ]
            joined = [participant.session_id for participant in present if participant.is_joined]
            assert len(set(joined)) == len(joined)
            if row.state == ConferenceState.SESSION_TERMINATED:
                assert not present
            else:
                assert [participant.role for participant in present].count("host") == 1
                assert len(present) >= (1 if row.access == "open" else 2)
            if self.node.works:
                moving = {participant.pk for participant in present if participant.state == ParticipantState.MOVING}
                assert (
                    set(self.node.legs[row.pk])
                    <= {participant.pk for participant in present if participant.is_joined} | moving
                )
        for participant in rows:
            assert (participant.rings_until is not None) == participant.is_ringing
            assert (participant.left_reason != "") == participant.has_left == (participant.left_at is not None)
            assert participant.move_until is None or participant.is_joined


def event_wire(event: Event) -> dict[str, Any]:
    """Return an event as it is sent, and require that it agrees with its row."""
    wire: dict[str, Any] = json.loads(event.wire)
    assert (wire["seq"], wire["type"], wire["confId"]) == (event.seq, event.type, event.conference_id)
    return wire


def essential(view: View) -> list[dict[str, Any]]:
    """Return each participant of a view with only those fields that events contain."""
    return [
        {name: participant[name] for name in ("id", "username", "role", "state", "sessionId")}
        for participant in view["participants"]
    ]


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> Iterator[None]:
    """Switch off slow functions that change no row: wake-ups, rate limits and most logging."""
    settings.MIDDLEWARE = ["sbe_enabler.middleware.correlate"]
    monkeypatch.setattr(wakeups, "wake", lambda *args: None)
    monkeypatch.setattr(wakeups, "end", lambda *args: None)
    monkeypatch.setattr(PrincipalThrottle, "allow_request", lambda *args: True)
    logging.disable(logging.INFO)
    yield
    logging.disable(logging.NOTSET)


def run(machine: type[Clients], sequences: int) -> None:
    """Run this number of sequences, or a tenth of it if the database is not SQLite."""
    users = [("alice", "laptop"), ("alice", "phone"), ("bob", "desk"), ("bob", "tablet"), ("carol", "laptop")]
    machine.devices = [Device.register(username, device) for username, device in users]
    machine.sequences = 0
    sequences = sequences if connection.vendor == "sqlite" else -(-sequences // 10)
    run_state_machine_as_test(
        machine,
        settings=hypothesis_settings(
            max_examples=sequences,
            # Failing sequences are short enough to read without shrinking, which would take minutes.
            phases=[Phase.generate],
            stateful_step_count=8,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert machine.sequences >= sequences


@pytest.mark.usefixtures("_quick")
def test_no_sequence_of_requests_breaks_an_invariant() -> None:
    run(Clients, examples(15, deep=2_000))


@pytest.mark.usefixtures("_quick")
def test_no_sequence_of_requests_to_a_focus_breaks_an_invariant(node: ScriptedNode, settings: Settings) -> None:
    Gatherings.node = node
    settings.INVITATIONS_PER_CALLEE = 2
    run(Gatherings, examples(5, deep=1_000))
