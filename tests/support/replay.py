"""Replay a session's events onto its first snapshot of a conference, like a client that misses nothing."""

from typing import Any

Facts = dict[str, Any]


def replay(events: list[dict[str, Any]], conference_id: str, *, answered_at: str | None = None) -> Facts:
    """Return the facts about a conference that the events state, in the form of `facts`.

    A session that answers an invitation learns the result from its request, not from an event: `answered_at` names
    that session. Pending modifications are not compared, because a session learns of its own modifications from its
    requests, not from events.
    """
    state = ""
    participants: dict[str, tuple[str, str | None]] = {}
    for event in events:
        if event.get("confId") != conference_id:
            continue
        if snapshot := event.get("conference"):
            state, participants = snapshot["state"], facts(snapshot)["participants"]
        if participant := event.get("participant"):
            participants[participant["id"]] = (participant["state"], participant["sessionId"])
        if event["type"] == "invitation-received" and answered_at is not None:
            state, participants[event["participant"]["id"]] = "session-open", ("accepted", answered_at)
    return {"state": state, "participants": participants}


def facts(conference: dict[str, Any]) -> Facts:
    """Return the same facts from a snapshot of a conference."""
    return {
        "state": conference["state"],
        "participants": {
            participant["id"]: (participant["state"], participant["sessionId"])
            for participant in conference["participants"]
        },
    }
