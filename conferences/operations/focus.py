"""What the focus reports: how it settled what it was asked, what it offers, and whose media it lost."""

from datetime import datetime

from django.db import transaction

from media import tasks


# Called by the media node, through the wiring, with what came of a task; tells everybody concerned.
@transaction.atomic(savepoint=False)
def settle_task(*, task_id: int, result: tasks.Result, now: datetime) -> None:
    """Apply the result of a task and delete it; applying it again changes nothing.

    An answer settles the participant's offer, a refusal rejects it, and each offer of the focus waits for its
    participant from now on, unless something is pending between them again.
    """
    tasks.finish(task_id)


# Called by the media node, through the wiring.
@transaction.atomic(savepoint=False)
def lose_media(*, conference_id: str, participant_id: str, leg: str, now: datetime) -> None:
    """Let a participant leave whose media did not come back. `leg` is the modification whose offer made the leg.

    A report about a leg that the participant does not use any more changes nothing.
    """
