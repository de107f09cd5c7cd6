"""Replay a session's events onto its first snapshot of a conference, as a client would that forgets nothing."""

from typing import Any

Facts = dict[str, Any]


def replay(events: list[dict[str, Any]], conference_id: str, *, answered_at: str | None = None) -> Facts:
    """Return what the events tell of a conference, in the form of `facts`.

    Who answers an invitation learns of it from the request's own answer, not from an event: `answered_at` is the
    session that did. Pending modifications are not compared: one's own are known from the requests' answers.
    """
    state = ""
    seats: dict[str, tuple[str, str | None]] = {}
    for event in events:
        if event.get("confId") != conference_id:
            continue
        if snapshot := event.get("conference"):
            state, seats = snapshot["state"], facts(snapshot)["seats"]
        if seat := event.get("participant"):
            seats[seat["id"]] = (seat["state"], seat["sessionId"])
        if event["type"] == "invitation-received" and answered_at is not None:
            state, seats[event["participant"]["id"]] = "session-open", ("accepted", answered_at)
    return {"state": state, "seats": seats}


def facts(conference: dict[str, Any]) -> Facts:
    """Return what events tell of a conference, from a snapshot of it."""
    return {
        "state": conference["state"],
        "seats": {seat["id"]: (seat["state"], seat["sessionId"]) for seat in conference["participants"]},
    }
