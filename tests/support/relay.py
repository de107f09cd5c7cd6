"""A TCP relay that can hang like a dead network, or refuse connections like a stopped server."""

import contextlib
import socket
import threading
from typing import Self

_PATIENCE_SECONDS = 10.0


class Relay:
    """Forwards connections on a port of its own to another port of the loopback address. A context manager."""

    def __init__(self, target: int) -> None:
        """Start listening."""
        self._target = target
        self._flows = threading.Event()
        self._flows.set()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        """Start forwarding."""
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        """Close everything."""
        self.stop()
        self.go_on()

    def hang(self) -> None:
        """Keep all connections open, accept new ones, and forward nothing."""
        self._flows.clear()

    def go_on(self) -> None:
        """Forward again, beginning with the bytes that were held back."""
        self._flows.set()

    def stop(self) -> None:
        """Close all connections and refuse new ones."""
        self._shut(self._listener)
        with self._lock:
            closing = list(self._open)
        for each in closing:
            self._shut(each)

    def start(self) -> None:
        """Listen again on the same port."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._connect, args=(client,), daemon=True).start()

    def _connect(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", self._target), _PATIENCE_SECONDS)
        except OSError:
            client.close()
            return
        server.settimeout(None)
        with self._lock:
            self._open |= {client, server}
        threading.Thread(target=self._pump, args=(server, client), daemon=True).start()
        self._pump(client, server)

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self._flows.wait()
                sink.sendall(data)
        for each in (source, sink):
            self._shut(each)
        with self._lock:
            self._open -= {source, sink}

    def _shut(self, each: socket.socket) -> None:
        """Close a socket, and wake the thread that waits for it."""
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        each.close()
