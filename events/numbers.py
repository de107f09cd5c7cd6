"""Parse numbers in requests. Python's `int` also accepts signs, underscores, non-ASCII digits and any length."""


class NumberError(ValueError):
    """The text does not consist of ASCII digits."""


class RangeError(NumberError):
    """The number is outside the allowed range."""


def read_number(text: str, *, least: int = 0, most: int) -> int:
    """Parse a whole number from `least` to `most`. Leading zeros are ignored.

    :raises RangeError: when the number is outside the range.
    :raises NumberError: when the text does not consist of ASCII digits.
    """
    if not text.isascii() or not text.isdigit():
        raise NumberError(f"Not a number: {text[:32]!r}.")
    digits = text.lstrip("0") or "0"
    if len(digits) > len(str(most)) or not least <= int(digits) <= most:
        raise RangeError(f"Not from {least} to {most}: {text[:32]!r}.")
    return int(digits)
