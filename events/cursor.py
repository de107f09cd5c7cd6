"""The cursor: the number of the last event that a reader has taken in."""

from events.numbers import NumberError, read_number

_LARGEST = 10**18 - 1


class CursorError(ValueError):
    """The text is no cursor."""


def parse_cursor(text: str) -> int:
    """Return the cursor that a client sent.

    :raises CursorError: when it is no number of an event, nor 0.
    """
    try:
        return read_number(text, most=_LARGEST)
    except NumberError as error:
        raise CursorError(str(error)) from None
