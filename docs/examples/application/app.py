"""An application with its own login, whose users call each other. It needs only Python; see docs/integrate.md.

    SBE_API_KEY=... python3 docs/examples/application/app.py

The only part that knows the enabler is `register_call_session`.
"""

import json
import os
import secrets
import sys
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import parse_qs
from urllib.request import Request, urlopen

ENABLER = os.environ.get("SBE_ENABLER", "http://127.0.0.1:8000")
API_KEY = os.environ.get("SBE_API_KEY", "")
PORT = int(os.environ.get("PORT", "5000"))
HERE = Path(__file__).parent
# `make client` builds the JavaScript client into this folder.
CLIENT = Path(os.environ.get("CLIENT", HERE.parents[2] / "dist" / "sbe-client" / "dist"))
# A real application stores hashes of passwords in its database.
PASSWORDS = {"alice": "wonderland", "bob": "builder"}
LOGINS: dict[str, str] = {}


def register_call_session(username: str, idempotency_key: str) -> tuple[int, bytes]:
    """Register a device of this user at the enabler; return the status and the body for the page.

    The username comes from the application's own login, never from the page. The API key stays on the server.
    """
    request = Request(f"{ENABLER}/sessions", method="POST")
    request.add_header("Authorization", f"Api-Key {API_KEY}")
    request.add_header("Content-Type", "application/json")
    request.add_header("Idempotency-Key", f"{username}-{idempotency_key}")
    try:
        with urlopen(request, json.dumps({"username": username, "device": "web"}).encode(), timeout=10) as answer:
            return answer.status, answer.read()
    except HTTPError as refusal:
        return refusal.code, refusal.read()
    except (URLError, TimeoutError):
        return 502, b'{"code": "enabler-unreachable", "detail": "Calls are not available at the moment."}'


class Application(BaseHTTPRequestHandler):
    """Four addresses: the page, the client's files, the login, and the session for calls."""

    def do_GET(self) -> None:
        """Answer with the page or the login form, or with a file of the client."""
        file = CLIENT / Path(self.path).name
        if self.path.startswith("/client/") and file.suffix == ".js" and file.is_file():
            return self.answer(200, file.read_bytes(), "text/javascript")
        if self.path != "/":
            return self.answer(404, b"Not found", "text/plain")
        page = (HERE / ("call.html" if self.user else "login.html")).read_text()
        other = "bob" if self.user == "alice" else "alice"
        page = page.replace("{user}", self.user or "").replace("{other}", other).replace("{enabler}", ENABLER)
        return self.answer(200, page.encode(), "text/html; charset=utf-8")

    def do_POST(self) -> None:
        """Log a user in, or give a user who is logged in a session for calls."""
        body = self.rfile.read(min(int(self.headers.get("Content-Length") or 0), 4096)).decode(errors="replace")
        if self.path == "/login":
            username, password = (parse_qs(body).get(field, [""])[0] for field in ("username", "password"))
            if secrets.compare_digest(PASSWORDS.get(username, secrets.token_hex()).encode(), password.encode()):
                LOGINS[token := secrets.token_urlsafe()] = username
                return self.answer(303, b"", cookie=f"login={token}; HttpOnly; SameSite=Lax; Path=/", location="/")
            return self.answer(303, b"", location="/")
        if self.path == "/calls/session":
            if self.user is None:
                return self.answer(401, b'{"code": "login-required", "detail": "Log in first."}')
            return self.answer(*register_call_session(self.user, self.headers.get("Idempotency-Key", "")))
        return self.answer(404, b"Not found", "text/plain")

    @property
    def user(self) -> str | None:
        """The user who is logged in, by the cookie."""
        try:
            cookie = SimpleCookie(self.headers.get("Cookie", "")).get("login")
        except CookieError:
            return None
        return LOGINS.get(cookie.value) if cookie else None

    def answer(self, status: int, body: bytes, kind: str = "application/json", **headers: str) -> None:
        """Send an answer."""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        for name, value in headers.items():
            self.send_header({"cookie": "Set-Cookie", "location": "Location"}[name], value)
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    if not API_KEY:
        sys.exit("Set SBE_API_KEY: export SBE_API_KEY=$(.venv/bin/python manage.py create_api_key example)")
    if not CLIENT.is_dir():
        sys.exit(f"{CLIENT} is missing. Run `make client` first.")
    try:
        server = ThreadingHTTPServer(("127.0.0.1", PORT), Application)
    except OSError as error:
        sys.exit(f"Port {PORT} cannot be used ({error.strerror}). Choose another with PORT=.")
    print(f"http://127.0.0.1:{PORT}/ (users: {', '.join(f'{name} / {word}' for name, word in PASSWORDS.items())})")
    server.serve_forever()
