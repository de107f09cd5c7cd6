"""`manage.py quickstart`, which `make run` calls: prepare everything in an empty directory and run the service."""

import hashlib
import secrets
from io import StringIO
from pathlib import Path
from typing import Any

import segno
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandParser
from rest_framework_api_key.models import APIKey

from sbe_enabler.private_files import write_private
from sbe_enabler.readiness import database_errors_in_one_line

_STAFF_NAME = "admin"
_KEY_NAME = "test page"
_PASSWORD_HINT = f"lost the password? .venv/bin/python manage.py changepassword {_STAFF_NAME}"


class Command(BaseCommand):
    """Prepares the database, a staff login, an API key and the static files, then runs the server."""

    help = "Prepare everything that is still missing, then run the server. Safe to run again."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the options for the address to listen on."""
        parser.add_argument("--port", type=int, default=8000, help="port to listen on (default: %(default)s)")
        parser.add_argument("--lan", action="store_true", help="serve HTTPS on all addresses of this machine")

    def handle(self, *args: Any, **options: Any) -> None:
        """Create what is missing, print new credentials, and serve until stopped."""
        self.lan = options["lan"]
        try:
            with database_errors_in_one_line():
                call_command("migrate", verbosity=0, interactive=False)
            self._create_staff_login()
            self._create_demo_key()
            self._collect_static_files()
            bind = "0.0.0.0" if self.lan else "127.0.0.1"  # noqa: S104 - what --lan asks for
            call_command("serve", bind=bind, port=options["port"], announce=self.announce)
        except KeyboardInterrupt:
            self.stderr.write("Stopped.")

    def _create_staff_login(self) -> None:
        """If there is no staff account, create one with a random password and print it."""
        users = get_user_model().objects
        if users.filter(is_staff=True).exists():
            return
        password = secrets.token_urlsafe(12)
        users.create_superuser(username=_STAFF_NAME, email="", password=password)
        self.stdout.write(f"Staff login (shown only once):    {_STAFF_NAME} / {password}")

    def _create_demo_key(self) -> None:
        """Create the API key with which the Dev Server calls the enabler, unless there is one already."""
        path: Path = settings.DEMO_KEY_FILE
        if settings.SBE_API_KEY or (path.is_file() and _is_known(path.read_text().strip())):
            return
        path.unlink(missing_ok=True)
        _, key = APIKey.objects.create_key(name=_KEY_NAME)
        write_private(path, key)
        self.stdout.write(
            f"API key for trials:               {key}\n(also in {path}, from which the test page's server reads it)\n"
        )

    def _collect_static_files(self) -> None:
        """Run `collectstatic` if a static file has changed since the last run. With DEBUG, do nothing."""
        stamp: Path = settings.STATIC_ROOT.with_name("static.stamp")
        fingerprint = _static_fingerprint()
        if settings.DEBUG or (stamp.is_file() and stamp.read_text() == fingerprint):
            return
        stamp.unlink(missing_ok=True)
        call_command("collectstatic", verbosity=0, interactive=False)
        stamp.write_text(fingerprint)

    def announce(self, scheme: str, bind: str, port: int) -> None:
        """Print the URLs to open."""
        page = f"{scheme}://{self._host()}:{port}"
        lines = ["", f"  API            {page}/api/schema", f"  Admin          {page}/admin/   ({_PASSWORD_HINT})"]
        if settings.DEV_SERVER:
            lines[1:1] = [
                f"  Test page      {page}/",
                f"  Two people     {page}/?user=alice   and, in another tab, {page}/?user=bob",
            ]
        if settings.ALLOWED_ORIGINS:
            lines.append(f"  Other origins  {', '.join(settings.ALLOWED_ORIGINS)}   (SBE_ALLOWED_ORIGINS)")
        self.stdout.write("\n".join([*lines, ""]))
        if self.lan and settings.DEV_SERVER:
            self.print_code(f"{page}/?user=bob&device=phone")
            self.stdout.write("The QR code opens the test page as bob. Call him from another page as alice.")
        if self.lan:
            self.stdout.write("The certificate is self-signed: the browser asks once whether to trust it.")
        self.stdout.write("Ctrl-C stops the server.")
        self.stdout.flush()

    def _host(self) -> str:
        """Return the host for the printed URLs: loopback, or with --lan this machine's first LAN address."""
        if not self.lan:
            return "127.0.0.1"
        from sbe_enabler import lan

        return (lan.own_addresses() or ["127.0.0.1"])[0]

    def print_code(self, url: str) -> None:
        """Print a URL as a QR code, for a phone's camera."""
        code = StringIO()
        segno.make(url, micro=False).terminal(out=code, compact=True)
        self.stdout.write(code.getvalue())


def _is_known(key: str) -> bool:
    """Return whether the database contains this key. A revoked key counts too, because it must not be replaced."""
    prefix, _, _ = key.partition(".")
    return bool(APIKey.objects.filter(prefix=prefix).exists())


def _static_fingerprint() -> str:
    """Return a hash of the names, sizes and modification times of all static files."""
    digest = hashlib.sha256()
    for finder in get_finders():
        for name, storage in finder.list([]):
            status = Path(storage.path(name)).stat()
            digest.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()
