"""A server that answers as a test says, on a real socket."""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# Status, headers and body of an answer.
Answer = tuple[int, dict[str, str], bytes]


class Scripted:
    """The answers to give, in order; the last one repeats. `requests` has (method, path, headers) of each request."""

    def __init__(self, answers: list[Answer]) -> None:
        """Take the answers."""
        self.answers = answers
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.at: list[float] = []
        self.url = ""

    def next(self, method: str, path: str, headers: dict[str, str]) -> Answer:
        """Note a request, and return its answer."""
        self.requests.append((method, path, headers))
        self.at.append(time.monotonic())
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def in_json(status: int, body: Any, **headers: str) -> Answer:
    """Return an answer with a JSON body."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return status, {"content-type": "application/json", **named}, json.dumps(body).encode()


@contextlib.contextmanager
def scripted(*answers: Answer) -> Iterator[Scripted]:
    """Serve these answers until the end of the block. Status 0 closes the connection without an answer."""
    script = Scripted(list(answers))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, named, body = script.next(self.command, self.path, headers)
            if status == 0:
                self.close_connection = True
                return
            self.send_response(status)
            for name, value in {**named, "content-length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            """Print nothing."""

    serve: Callable[[Handler], None] = Handler._serve
    for method in ("GET", "POST", "PUT", "DELETE"):
        setattr(Handler, f"do_{method}", serve)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        script.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield script
        server.shutdown()
        thread.join()
