"""What the tests of media share."""

import os
from pathlib import Path

from media import fastpath

if library := os.environ.get("SANITIZED_LIBRARY"):
    # Another one, which looks at each access to memory.
    fastpath._library = Path(library)
