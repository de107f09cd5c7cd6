"""The cursor: the number of the last event that a reader has taken in."""


class CursorError(ValueError):
    """The text is no cursor."""


def parse_cursor(text: str) -> int:
    """Return the cursor that a client sent.

    :raises CursorError: when it is no number of an event, nor 0.
    """
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise CursorError(f"Not a cursor: {text[:32]!r}.")
    return int(text)
