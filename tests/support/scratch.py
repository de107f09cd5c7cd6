"""The directory of test databases: in memory if there is space, because tests need no durability."""

import os
import shutil
from pathlib import Path

_MEMORY = Path("/dev/shm")
_ROOM = 2 << 30  # bytes


def in_memory() -> str | None:
    """Return a directory in memory, for the functions of `tempfile`; None means the usual directory."""
    if not os.access(_MEMORY, os.W_OK) or shutil.disk_usage(_MEMORY).free < _ROOM:
        return None
    return str(_MEMORY)
