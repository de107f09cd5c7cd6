"""The cursor: the number (`seq`) of the last event that a client has read."""

from events.numbers import NumberError, read_number

_LARGEST = 10**18 - 1


class CursorError(ValueError):
    """The text is not a cursor."""


def parse_cursor(text: str) -> int:
    """Parse the cursor that a client sent: 0 or the number of an event.

    :raises CursorError: when the text is not a whole number, or the number is too large.
    """
    try:
        return read_number(text, most=_LARGEST)
    except NumberError as error:
        raise CursorError(str(error)) from None
