"""Invalid environment variables are refused at start, with the name of the variable."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from sbe_enabler.env import Environment
from tests.support.services import ROOT, SECRET_KEY

pytestmark = pytest.mark.once


def env(value: str) -> Environment:
    """Return an environment whose X has this value."""
    return Environment({"X": value})


@pytest.mark.parametrize(("text", "value"), [("1", True), ("TRUE", True), (" on ", True), ("0", False), ("no", False)])
def test_boolean_has_several_spellings(text: str, value: bool) -> None:
    assert env(text).boolean("X", default=not value) is value


@pytest.mark.parametrize("text", ["", "  "])
def test_empty_means_the_default(text: str) -> None:
    assert env(text).boolean("X", default=True) is True
    assert env(text).integer("X", 7) == 7
    assert env(text).words("X", ("a",)) == ["a"]
    assert env(text).url("X", "http://a", schemes=("http",)) == "http://a"
    assert env(text).database("X") == {}


def test_lists_are_separated_by_commas() -> None:
    assert env(" a, b ,,c").words("X") == ["a", "b", "c"]


def test_url_loses_its_trailing_slash() -> None:
    assert env("https://a.example/b/").url("X", schemes=("https",)) == "https://a.example/b"


def test_database_url_is_parsed() -> None:
    assert env("postgresql://u:p%40ss@db.example:5433/calls").database("X") == {
        "NAME": "calls",
        "USER": "u",
        "PASSWORD": "p@ss",
        "HOST": "db.example",
        "PORT": "5433",
        "OPTIONS": {},
    }


def test_parameters_of_a_database_url_are_kept() -> None:
    url = "postgresql://db.example/calls?sslmode=verify-full&connect_timeout=7&options=-c%20search_path%3Dsbe"
    assert env(url).database("X")["OPTIONS"] == {
        "sslmode": "verify-full",
        "connect_timeout": "7",
        "options": "-c search_path=sbe",
    }


def test_database_url_can_name_a_socket_directory() -> None:
    assert env("postgresql:///calls?host=/run/postgresql").database("X")["HOST"] == "/run/postgresql"


@pytest.mark.parametrize(
    ("reader", "text"),
    [
        ("boolean", "maybe"),
        ("integer", "4.5"),
        ("integer", "-1"),
        ("number", "soon"),
        ("number", "nan"),
        ("number", "inf"),
        ("address", "media.example.org"),
        ("address", "192.0.2.256"),
        ("addresses", "192.0.2.1, media.example.org"),
        ("url", "ftp://a"),
        ("url", "a.example"),
        ("database", "mysql://a/b"),
        ("database", "postgresql://a/"),
        ("database", "postgresql://a:port/b"),
        ("database", "postgresql://a/b?sslmod=require"),
        ("database", "postgresql://a/b?connect_timeout=soon"),
        ("database", "postgresql://a/b?connect_timeout=0"),
    ],
)
def test_invalid_value_is_refused_with_the_name_of_its_variable(reader: str, text: str) -> None:
    read: Callable[[], object] = {
        "boolean": lambda: env(text).boolean("X", default=True),
        "integer": lambda: env(text).integer("X", 1),
        "number": lambda: env(text).number("X", 1),
        "address": lambda: env(text).address("X", "127.0.0.1"),
        "addresses": lambda: env(text).addresses("X"),
        "url": lambda: env(text).url("X", schemes=("http", "https")),
        "database": lambda: env(text).database("X"),
    }[reader]
    with pytest.raises(ImproperlyConfigured, match=r"\bX\b"):
        read()


def settings_in(directory: Path, expression: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run a process that loads the settings and prints the value of an expression as JSON; return the ended process."""
    return subprocess.run(
        [sys.executable, "-c", f"import json; from sbe_enabler import settings; print(json.dumps({expression}))"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "SBE_STATE_DIR": str(directory), **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def settings_error(directory: Path, **variables: str) -> str:
    """Return the last line that loading the settings prints."""
    return settings_in(directory, "None", **variables).stderr.strip().rpartition("\n")[2]


def test_parameters_of_a_database_url_reach_the_database(tmp_path: Path) -> None:
    url = "postgresql://db.example/calls?sslmode=verify-full&connect_timeout=7&options=-c%20statement_timeout%3D9000"
    variables = {"SBE_SECRET_KEY": SECRET_KEY, "DATABASE_URL": url}
    options = json.loads(settings_in(tmp_path, "settings.DATABASES['default']['OPTIONS']", **variables).stdout)
    assert (options["sslmode"], options["connect_timeout"]) == ("verify-full", "7")
    # If an option is repeated, PostgreSQL uses its last value.
    assert options["options"].endswith("-c statement_timeout=9000")
    assert "-c lock_timeout=" in options["options"]


def test_every_wait_for_postgresql_is_bounded_by_default(tmp_path: Path) -> None:
    variables = {"SBE_SECRET_KEY": SECRET_KEY, "DATABASE_URL": "postgresql://db.example/calls"}
    options = json.loads(settings_in(tmp_path, "settings.DATABASES['default']['OPTIONS']", **variables).stdout)
    assert (options["connect_timeout"], options["limit"]) == (2, 5.0)
    assert options["options"].split(" -c ") == [
        "-c statement_timeout=5000",
        "lock_timeout=3000",
        "idle_in_transaction_session_timeout=10000",
    ]


def test_settings_refuse_to_start_without_a_secret_key(tmp_path: Path) -> None:
    assert "SBE_SECRET_KEY is not set" in settings_error(tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SBE_SECRET_KEY", "a-short-one"),
        ("SBE_DEBUG", "perhaps"),
        ("SBE_RING_SECONDS", "-3"),
        ("SBE_SESSION_SECONDS", "an hour"),
        ("DATABASE_URL", "sqlite:///x"),
        ("DATABASE_URL", "postgresql://db.example/calls?sslmod=require"),
        ("REDIS_URL", "http://localhost"),
        ("SBE_ENABLER_URL", "enabler.example"),
        ("TURN_URLS", "turn:turn.example"),
        ("TURN_URLS", "https://turn.example"),
        ("STUN_URLS", "https://stun.example"),
        ("STUN_URLS", "stun:stun.example, stun.example"),
        ("SBE_ALLOWED_ORIGINS", "app.example"),
        ("SBE_ALLOWED_ORIGINS", "https://app.example/path"),
        ("SBE_ALLOWED_HOSTS", "https://app.example"),
        ("SBE_TLS_CERTIFICATE", "/tmp/certificate.pem"),
        ("SBE_DATABASE_THREADS", "0"),
        ("SBE_LOG_LEVEL", "chatty"),
    ],
)
def test_settings_name_the_invalid_variable(tmp_path: Path, name: str, value: str) -> None:
    assert name in settings_error(tmp_path, **{"SBE_SECRET_KEY": SECRET_KEY, name: value})


def test_exactly_the_existing_variables_are_documented() -> None:
    sources = "".join((ROOT / "sbe_enabler" / name).read_text() for name in ("settings.py", "firstrun.py"))
    read = set(re.findall(r'env\.\w+\(\s*"([A-Z_]+)"', sources))
    described = set(re.findall(r"^\| `([A-Z_]+)` \|", (ROOT / "docs/configuration.md").read_text(), re.MULTILINE))
    assert read == described
