"""Read settings from environment variables, with typed readers.

Each reader reads one variable. An unset or empty variable means the default. An invalid value stops the process at
start with an error that names the variable.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


@dataclass(frozen=True)
class Environment:
    """A mapping of variables with typed readers.

    :raises ImproperlyConfigured: from every reader, when the value is invalid. The message names the variable.
    """

    variables: Mapping[str, str]

    def string(self, name: str, default: str = "") -> str:
        """Read a string without surrounding whitespace."""
        return self.variables.get(name, "").strip() or default

    def boolean(self, name: str, *, default: bool) -> bool:
        """Read a switch: 1/0, true/false, yes/no or on/off, in any case."""
        value = self.string(name).lower()
        if value == "":
            return default
        if value in _TRUE | _FALSE:
            return value in _TRUE
        raise ImproperlyConfigured(f"{name} must be true or false, not {value!r}.")

    def integer(self, name: str, default: int, *, least: int = 0, most: int = 2**31 - 1) -> int:
        """Read a whole number between `least` and `most`."""
        return int(self.number(name, default, least=least, most=most, kind=int))

    def number(
        self, name: str, default: float, *, least: float = 0, most: float = 1e9, kind: type[float] = float
    ) -> float:
        """Read a number between `least` and `most`. The variable's documentation states the unit."""
        text = self.string(name)
        if not text:
            return default
        try:
            value = kind(text)
        except ValueError:
            raise ImproperlyConfigured(f"{name} must be a number, not {text!r}.") from None
        # NaN also fails this comparison.
        if not least <= value <= most:
            raise ImproperlyConfigured(f"{name} must be between {least} and {most}, not {text}.")
        return value

    def words(self, name: str, default: tuple[str, ...] = ()) -> list[str]:
        """Read a comma-separated list."""
        text = self.string(name)
        return [word.strip() for word in text.split(",") if word.strip()] if text else list(default)

    def words_matching(self, name: str, pattern: str, example: str, default: tuple[str, ...] = ()) -> list[str]:
        """Read a comma-separated list of items that all match `pattern`. `example` is for the error message."""
        words = self.words(name, default)
        for word in words:
            if not re.fullmatch(pattern, word):
                raise ImproperlyConfigured(f"{name} must be a list of items like {example}, not {word!r}.")
        return words

    def address(self, name: str, default: str) -> str:
        """Read an IPv4 or IPv6 address."""
        return _address(name, self.string(name, default))

    def addresses(self, name: str) -> list[str]:
        """Read a comma-separated list of IPv4 and IPv6 addresses."""
        return [_address(name, word) for word in self.words(name)]

    def one_of(self, name: str, default: str, choices: frozenset[str]) -> str:
        """Read one of the choices."""
        value = self.string(name, default)
        if value not in choices:
            raise ImproperlyConfigured(f"{name} must be one of {', '.join(sorted(choices))}, not {value!r}.")
        return value

    def url(self, name: str, default: str = "", *, schemes: tuple[str, ...]) -> str:
        """Read an absolute URL with one of the schemes; trailing slashes are removed."""
        value = self.string(name, default)
        if value and (urlsplit(value).scheme not in schemes or not urlsplit(value).netloc):
            raise ImproperlyConfigured(f"{name} must be a {' or '.join(schemes)} URL, not {value!r}.")
        return value.rstrip("/")

    def database(self, name: str) -> dict[str, Any]:
        """Read a PostgreSQL URL as Django's NAME, USER, PASSWORD, HOST, PORT and OPTIONS; an empty dict when unset."""
        value = self.string(name)
        if not value:
            return {}
        if not value.startswith(("postgres://", "postgresql://")):
            raise ImproperlyConfigured(f"{name} must look like postgresql://user:password@host:5432/name.")
        from psycopg import ProgrammingError, conninfo  # here, because SQLite does not need it

        try:
            given: dict[str, Any] = conninfo.conninfo_to_dict(value)
        except ProgrammingError as error:
            # libpq knows all valid parameters, and its message names an unknown parameter.
            raise ImproperlyConfigured(f"{name} cannot be read: {str(error).strip()}") from None
        _check_numbers(name, given)
        parts = {key: str(given.pop(word, "")) for key, word in _URL_PARTS.items()}
        if not parts["NAME"]:
            raise ImproperlyConfigured(f"{name} must look like postgresql://user:password@host:5432/name.")
        return {**parts, "OPTIONS": given}


_URL_PARTS = {"NAME": "dbname", "USER": "user", "PASSWORD": "password", "HOST": "host", "PORT": "port"}


def _check_numbers(name: str, given: Mapping[str, Any]) -> None:
    """Check `connect_timeout` and `port`, which libpq only checks when it connects.

    :raises ImproperlyConfigured: when one of them is not a number.
    """
    timeout = str(given.get("connect_timeout", "2"))
    if not re.fullmatch("[1-9][0-9]?", timeout):
        raise ImproperlyConfigured(f"{name} has a connect_timeout that is not a number from 1 to 99.")
    if not re.fullmatch("([0-9]{1,5}(,[0-9]{1,5})*)?", str(given.get("port", ""))):
        raise ImproperlyConfigured(f"{name} has a port that is not a number.")


def _address(name: str, value: str) -> str:
    """Check an IPv4 or IPv6 address and return it unchanged."""
    try:
        ip_address(value)
    except ValueError:
        raise ImproperlyConfigured(f"{name} must have only IPv4 and IPv6 addresses, not {value!r}.") from None
    return value
