"""A pytest plugin: the fast path is that of the file $SANITIZED_LIBRARY, which looks at each access to memory."""

import os
from pathlib import Path

from media import fastpath


def pytest_configure() -> None:
    """Let every node load it."""
    library = Path(os.environ["SANITIZED_LIBRARY"])
    fastpath._compiled = lambda: library
