"""Carry out tasks on a node in the JSON form of their rows, with results in JSON.

Tests write tasks by hand, and benchmarks send them to a node in another process.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from media.focus.node import Node
from media.messages import FocusOffer, Refusal, Result, read_task

Execute = Callable[[str, str, Mapping[str, Any]], Awaitable[dict[str, Any]]]


def by_json(node: Node) -> Execute:
    """Return a function that carries out a task, given its conference, kind and payload."""

    async def execute(conference: str, kind: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        return written(await node.execute(conference, *read_task(kind, payload)))

    return execute


def written(result: Result) -> dict[str, Any]:
    """Return a result without its empty fields."""
    fields: dict[str, Any] = {
        "answer": result.answer,
        "restart": result.restart,
        "refusal": result.refusal and _refusal(result.refusal),
        "offers": [_offer(offer) for offer in result.offers],
        "withoutLeg": list(result.without_leg),
    }
    return {name: value for name, value in fields.items() if value}


def _refusal(refusal: Refusal) -> dict[str, str]:
    return {"code": refusal.code, "detail": refusal.detail}


def _offer(offer: FocusOffer) -> dict[str, Any]:
    restart = {"restart": True} if offer.restart else {}
    return {
        "participant": offer.participant,
        "modId": offer.mod_id,
        "sdp": offer.sdp,
        "kind": offer.kind,
        "causedBy": offer.caused_by,
        **restart,
    }
