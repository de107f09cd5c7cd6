"""The heartbeat of a media node, on a thread and a database connection of its own.

Because of that, slow tasks and slow results never make a healthy node look dead.
"""

import logging
import threading
import time
from collections.abc import Callable

from django.db import close_old_connections, connections

logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 1.0
RETRY_SECONDS = 0.5
_STOP_SECONDS = 10.0


class Heartbeat:
    """Calls `beat` once per second, until `stop`. A beat that fails is repeated after RETRY_SECONDS."""

    def __init__(self, beat: Callable[[], None]) -> None:
        """Prepare the heartbeat. Nothing runs yet."""
        self._beat = beat
        self._stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, name="media-heartbeat", daemon=True)

    def start(self) -> None:
        """Beat once, then start the background thread.

        :raises Exception: when the first beat fails.
        """
        self._beat()
        self.thread.start()

    def stop(self) -> None:
        """Stop the heartbeat. After this call, there is no further beat."""
        self._stopping.set()
        self.thread.join(_STOP_SECONDS)

    def _run(self) -> None:
        pause = HEARTBEAT_SECONDS
        try:
            while not self._stopping.wait(pause):
                pause = self._beat_once()
        finally:
            connections.close_all()

    def _beat_once(self) -> float:
        """Beat once. Return the seconds to wait until the next beat."""
        started = time.monotonic()
        try:
            self._beat()
        except Exception as error:
            logger.warning("The heartbeat of the media node failed; it is repeated soon: %r", error)
            close_old_connections()
            return RETRY_SECONDS
        return max(0.0, HEARTBEAT_SECONDS - (time.monotonic() - started))
