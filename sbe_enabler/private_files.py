"""Files with secrets, which only the service's own user can read."""

import os
import tempfile
from pathlib import Path


def write_private(path: Path, text: str) -> bool:
    """Write a secret that only the service's own user can read, unless the file is there already.

    This function will leave either the whole file or none, also when it is interrupted or run twice at once.
    Returns whether this call made the file.
    """
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text + "\n")
        # A link, unlike a rename, never replaces what another process has just written.
        os.link(draft, path)
    except FileExistsError:
        return False
    finally:
        os.unlink(draft)
    return True
