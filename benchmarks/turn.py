"""The TURN server of docs/deployment.md, for a benchmark: coturn with that configuration, on addresses of its own."""

import base64
import contextlib
import hashlib
import re
import secrets
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sbe_enabler.lan import ensure_certificate
from tests.support.services import ROOT, wait_until

PORT = 443
_GUIDE = ROOT / "docs" / "deployment.md"
# What the configuration in the guide names, apart from the secret: the TURN server and a media node.
_TURN_SERVER, _NODE = "203.0.113.20", "203.0.113.10"


@dataclass(frozen=True)
class TurnServer:
    """A running TURN server."""

    # The settings of the enabler.
    settings: dict[str, str]
    # Makes Chromium accept the self-signed certificate, also in WebRTC. It has an effect only with --user-data-dir.
    argument: str


@contextlib.contextmanager
def turn_server(address: str, node: str) -> Iterator[TurnServer]:
    """Run coturn at this address, which relays only to the media node at the address `node`."""
    with tempfile.TemporaryDirectory() as name:
        folder, secret = Path(name), secrets.token_hex()
        certificate, key = ensure_certificate(folder, [address])
        values = {_TURN_SERVER: address, _NODE: node, "SECRET": secret}
        values |= {"/etc/ssl/certs/turn.pem": str(certificate), "/etc/ssl/private/turn.key": str(key)}
        (folder / "turnserver.conf").write_text(_configuration(values))
        files = (
            f"-c {name}/turnserver.conf --pidfile {name}/pid --userdb {name}/turndb --log-file {name}/log --simple-log"
        )
        command = ["turnserver", *files.split()]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_until(lambda: _listens(address), "the TURN server listens")
            settings = {"TURN_URLS": f"turns:{address}:{PORT}?transport=tcp", "TURN_SECRET": secret}
            yield TurnServer(settings, f"--ignore-certificate-errors-spki-list={_fingerprint(certificate)}")
        finally:
            process.terminate()
            process.wait()


def _configuration(values: dict[str, str]) -> str:
    """Return the configuration of the guide with other values."""
    found = re.search(r"turnserver\.conf.*?```\n(.*?)```", _GUIDE.read_text(), re.DOTALL)
    assert found is not None, f"{_GUIDE} has no configuration of a TURN server"
    return re.sub("|".join(map(re.escape, values)), lambda match: values[match[0]], found[1])


def _listens(address: str) -> bool:
    try:
        socket.create_connection((address, PORT), timeout=1).close()
    except OSError:
        return False
    return True


def _fingerprint(certificate: Path) -> str:
    """Return the SHA-256 of the certificate's public key, in base64."""
    public = x509.load_pem_x509_certificate(certificate.read_bytes()).public_key()
    octets = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(octets).digest()).decode()
