"""Write files with secrets that only the service's own user can read."""

import os
import tempfile
from pathlib import Path


def write_private(path: Path, text: str) -> bool:
    """Write a file that only the service's own user can read; return False if it exists already.

    The file appears complete or not at all, even if the call is interrupted or two calls run at once.
    """
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text + "\n")
        # Unlike a rename, a link never replaces a file that another process has just written.
        os.link(draft, path)
    except FileExistsError:
        return False
    finally:
        os.unlink(draft)
    return True
