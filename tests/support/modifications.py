"""An offer within a call, for tests of the rules for descriptions."""

from typing import Any

import pytest

from tests.support.actions import MOD
from tests.support.descriptions import offer
from tests.support.devices import Call

BARE = {"content_type": "application/sdp"}
ALICE, BOB = 4611731400430051336, 777
# Judging a description gives the same result on every database.
same_everywhere = pytest.mark.once


def mod_by_alice(call: Call, **variation: Any) -> str:
    """Make an offer by alice; return the modification's ID."""
    response = call.alice.put(call.id, MOD, offer(**{"version": 3, **variation}))
    assert response.status_code == 204, response.content
    return str(response["x-mod-id"])
