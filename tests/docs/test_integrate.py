"""The Django example of docs/integrate.md works as pasted into a new project."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.services import ROOT, Server

pytestmark = pytest.mark.once

_PAGE = (ROOT / "docs" / "integrate.md").read_text()

_VISIT = """
import json, django
django.setup()
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client
call_command("migrate", verbosity=0)
user = User.objects.create_user("alice,a")
outside, inside, strict = Client(), Client(), Client(enforce_csrf_checks=True)
for client in (inside, strict):
    client.force_login(user)
answers = [client.post("/calls/session") for client in (outside, strict, inside)]
print(json.dumps([[answer.status_code, answer.content.decode()] for answer in answers]))
"""


def _example(first_line: str) -> str:
    """Return the Python block of the page that begins with this line."""
    (block,) = re.findall(rf"^```python\n({re.escape(first_line)}.*?)^```$", _PAGE, re.MULTILINE | re.DOTALL)
    return str(block)


def _project(folder: Path) -> None:
    """Make a Django project, and paste the examples into it."""
    subprocess.run([sys.executable, "-m", "django", "startproject", "mysite", str(folder)], check=True)
    site = folder / "mysite"
    with (site / "settings.py").open("a") as settings:
        settings.write("ALLOWED_HOSTS = ['testserver']\n" + _example("# settings.py"))
    (site / "calls.py").write_text(_example("# calls.py"))
    (site / "urls.py").write_text(_example("# urls.py"))


def test_the_django_example_registers_only_users_who_are_logged_in(
    serve: Callable[..., Server], tmp_path: Path
) -> None:
    enabler = serve()
    _project(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", _VISIT],
        cwd=tmp_path,
        env={
            "DJANGO_SETTINGS_MODULE": "mysite.settings",
            "SBE_ENABLER": enabler.base_url,
            "SBE_API_KEY": enabler.api_key,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (outside, _), (without_csrf_token, _), (inside, session) = json.loads(done.stdout)
    assert (outside, without_csrf_token, inside) == (401, 403, 201)
    assert json.loads(session)["username"] == "alice,a"
    assert json.loads(session)["token"]


def test_the_other_python_examples_are_valid() -> None:
    for block in re.findall(r"^```python\n(.*?)^```$", _PAGE, re.MULTILINE | re.DOTALL):
        compile(block, "integrate.md", "exec")
