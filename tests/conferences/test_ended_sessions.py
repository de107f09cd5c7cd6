"""A session that ends after its authentication, but before the lock is taken, can neither join nor begin a move."""

import threading
from collections.abc import Callable
from functools import partial

import pytest
from django.db import connection, transaction
from django.utils import timezone

from conferences.models import Access, Participant, Topology
from conferences.operations.calls import answer_conference, end_participation, start_conference
from conferences.operations.reading import read_call
from conferences.operations.sessions import end_session
from conferences.sdp import validate
from events.exceptions import UnauthenticatedError
from events.models import Session
from tests.support.descriptions import describe
from tests.support.devices import Call, Device, hold
from tests.support.refusals import all_rows

pytestmark = pytest.mark.django_db(transaction=True)

Ends = Callable[[str], None]


@pytest.fixture(params=["ends", "expires"])
def ends(request: pytest.FixtureRequest) -> Ends:
    """Return a function that ends a session or, in the test's second run, makes it expire."""

    def end(session_id: str) -> None:
        now = timezone.now()
        if request.param == "expires":
            Session.objects.filter(pk=session_id).update(expires_at=now)
        else:
            end_session(session_id=session_id, now=now)

    return end


def prepared(session: Session, conference: str, type_: str = "answer") -> Callable[[], object]:
    """Prepare the answer of a session that was authenticated earlier; return a function that answers."""
    description = validate(type_, describe(session=777, setup="active" if type_ == "answer" else "actpass"))
    return partial(
        answer_conference,
        session=session,
        conference_id=conference,
        description=description,
        reading=read_call(session=session, conference_id=conference),
        now=timezone.now(),
    )


def test_an_ended_session_cannot_answer_a_call(ringing: Call, ends: Ends) -> None:
    authenticated = ringing.bob.row
    ends(ringing.bob.id)
    before = all_rows()
    with pytest.raises(UnauthenticatedError):
        prepared(authenticated, ringing.id)()
    assert all_rows() == before


def test_an_ended_session_cannot_answer_a_move(call: Call, ends: Ends) -> None:
    phone = Device.register("alice", "phone")
    hold(call, "initiate-call-hold")
    call.alice.delete(call.id)
    authenticated = phone.row
    ends(phone.id)
    before = all_rows()
    with pytest.raises(UnauthenticatedError):
        prepared(authenticated, call.id, "offer")()
    assert all_rows() == before


def test_an_ended_session_cannot_start_a_conference(alice: Device, ends: Ends) -> None:
    authenticated = alice.row
    ends(alice.id)
    before = all_rows()
    with pytest.raises(UnauthenticatedError):
        start_conference(
            session=authenticated,
            to=["bob"],
            topology=Topology.PEER,
            access=Access.INVITED,
            name="",
            offer=validate("offer", describe()),
            now=timezone.now(),
        )
    assert all_rows() == before


@pytest.mark.parametrize("how", ["ends", "expires"])
def test_an_ended_session_cannot_begin_a_move(call: Call, how: str) -> None:
    """The session has ended, but has not left its conferences yet."""
    Device.register("alice", "phone")
    hold(call, "initiate-call-hold")
    authenticated, now = call.alice.row, timezone.now()
    over = {"expires_at": now} if how == "expires" else {"state": "ended", "ended_at": now, "leaving_since": now}
    Session.objects.filter(pk=call.alice.id).update(**over)
    before = all_rows()
    with pytest.raises(UnauthenticatedError):
        end_participation(session=authenticated, conference_id=call.id, now=now)
    assert all_rows() == before


def test_a_session_that_ends_while_it_answers_leaves_the_conference(ringing: Call) -> None:
    """`end_session` waits for the transaction of the answer, and then finds the participant."""
    authenticated = ringing.bob.row
    answered, release = threading.Event(), threading.Event()

    def answer_slowly() -> None:
        try:
            answer = prepared(authenticated, ringing.id)
            with transaction.atomic():
                answer()
                answered.set()
                release.wait(10)
        finally:
            connection.close()

    answering = threading.Thread(target=answer_slowly)
    ending = threading.Thread(target=end_in_thread, args=[ringing.bob.id])
    answering.start()
    assert answered.wait(10)
    ending.start()
    # The session cannot end yet. If it could, it would end in much less than 0.5 s.
    ending.join(0.5)
    assert Session.objects.get(pk=ringing.bob.id).state == "active"
    release.set()
    answering.join()
    ending.join()
    assert Session.objects.get(pk=ringing.bob.id).state == "ended"
    assert not Participant.objects.joined().filter(session=ringing.bob.id).exists()


def end_in_thread(session_id: str) -> None:
    """End a session, as the main function of a thread, and close the thread's database connection."""
    try:
        end_session(session_id=session_id, now=timezone.now())
    finally:
        connection.close()
