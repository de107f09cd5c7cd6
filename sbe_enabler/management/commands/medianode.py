"""`manage.py medianode`: run a media node in its own process."""

import signal
import threading
from typing import Any

from django.core.management.base import BaseCommand

from sbe_enabler.readiness import require_database


class Command(BaseCommand):
    """Runs a media node until SIGINT or SIGTERM."""

    help = "Run a media node, which forwards the media of conferences. Several nodes may run, on any hosts."

    def handle(self, *args: Any, **options: Any) -> None:
        """Check the database, run the node, and stop it on a signal."""
        from sbe_enabler.focus import media_service

        require_database()
        stopped = threading.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stopped.set())
        service = media_service()
        service.start()
        service.listen_from_afar()
        places = ", ".join(f"{host} port {port}" for host, port in service.candidates)
        self.stdout.write(f"Forwarding media on {places}")
        self.stdout.flush()
        stopped.wait()
        service.stop()
