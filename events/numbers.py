"""Read numbers from requests. Python's `int` also takes signs, underscores, foreign digits and any length."""


class NumberError(ValueError):
    """The text is not a whole number in ASCII digits."""


class RangeError(NumberError):
    """The number is too small or too large."""


def read_number(text: str, *, least: int = 0, most: int) -> int:
    """Return the whole number that a client sent, from `least` to `most`. Leading zeros do not count.

    :raises RangeError: when the number is outside this range.
    :raises NumberError: when the text is not a number.
    """
    if not text.isascii() or not text.isdigit():
        raise NumberError(f"Not a number: {text[:32]!r}.")
    digits = text.lstrip("0") or "0"
    if len(digits) > len(str(most)) or not least <= int(digits) <= most:
        raise RangeError(f"Not from {least} to {most}: {text[:32]!r}.")
    return int(digits)
