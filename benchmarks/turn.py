"""Show a call through a TURN server over TLS, which works on networks that let only HTTPS pass.

    unshare --net python -m benchmarks.turn

The benchmark runs coturn (`turnserver`) with the configuration of docs/deployment.md, a real `manage.py serve` with its
media node, and two pages in Chromium. Alice's page uses no candidates but those of the TURN server, and coturn listens
for nothing but TLS. The benchmark prints how long it took until both see video, and what carries Alice's media. It
needs its own network namespace (without root, add `--map-root-user` to `unshare`).
"""

import asyncio
import contextlib
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

from playwright.async_api import Browser, Page

from benchmarks.browsing import server_and_browser
from benchmarks.joining import ARGUMENTS, PATIENCE_MS
from tests.support.journeys.pages import begin_afresh
from tests.support.services import Server

# An address of this machine besides the loopback addresses, which coturn does not relay to.
HOST = "10.213.2.1"
_TLS_PORT = 5349
_ONLY_RELAY = """(() => {
  const Real = window.RTCPeerConnection;
  window.RTCPeerConnection = class extends Real {
    constructor(configuration) { super({...configuration, iceTransportPolicy: "relay"}); }
  };
})()"""
_SEES = """async () => [...(await window.sbe.pc?.getStats() ?? new Map()).values()]
  .some((each) => each.type === "inbound-rtp" && each.framesDecoded > 0)"""
_CARRIER = """async () => {
  const stats = await window.sbe.pc.getStats();
  const {selectedCandidatePairId} = [...stats.values()].find((each) => each.type === "transport");
  const pair = stats.get(selectedCandidatePairId);
  const {candidateType, relayProtocol, url} = stats.get(pair.localCandidateId);
  return `${candidateType} over ${relayProtocol} (${url})`;
}"""


@contextlib.asynccontextmanager
async def _coturn(secret: str) -> AsyncIterator[None]:
    """Run coturn until the end of the block."""
    with tempfile.TemporaryDirectory() as folder:
        certificate, key = Path(folder, "turn.pem"), Path(folder, "turn.key")
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={HOST}"]
        command += ["-keyout", str(key), "-out", str(certificate)]
        subprocess.run(command, check=True, capture_output=True)
        settings = f"""
            listening-ip={HOST}
            relay-ip={HOST}
            tls-listening-port={_TLS_PORT}
            use-auth-secret
            static-auth-secret={secret}
            realm=sbe.example.com
            cert={certificate}
            pkey={key}
            no-udp
            no-tcp
            no-dtls
            no-cli
            pidfile={folder}/pid
            log-file=stdout
        """
        file = Path(folder, "turnserver.conf")
        file.write_text("\n".join(line.strip() for line in settings.strip().splitlines()) + "\n")
        process = await asyncio.create_subprocess_exec("turnserver", "-c", str(file), stdout=subprocess.DEVNULL)
        try:
            yield
        finally:
            process.terminate()
            await process.wait()


async def _open(browser: Browser, server: Server, user: str, script: str = "") -> Page:
    """Open the test page as this user."""
    context = await browser.new_context(base_url=server.base_url, permissions=["camera", "microphone"])
    page = await context.new_page()
    await page.add_init_script(begin_afresh(direct=False) + "\n" + script)
    await page.goto(f"/?user={user}&device=laptop")
    await page.wait_for_function("() => window.sbe?.client?.session", timeout=PATIENCE_MS, polling=100)
    return page


async def main() -> None:
    """Start everything, have Alice call Bob, and print the result."""
    for line in ("ip link set lo up", f"ip address add {HOST}/32 dev lo"):
        subprocess.run(line.split(), check=True)
    secret = secrets.token_hex(16)
    # The certificate of the TURN server is signed by nobody.
    ARGUMENTS.append("--ignore-certificate-errors")
    turn = {"TURN_URLS": f"turns:{HOST}:{_TLS_PORT}?transport=tcp", "TURN_SECRET": secret, "MEDIA_BIND": HOST}
    async with _coturn(secret), server_and_browser(**turn) as (server, browser):
        alice, bob = await _open(browser, server, "alice", _ONLY_RELAY), await _open(browser, server, "bob")
        await alice.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        begun_at = time.monotonic()
        await alice.get_by_test_id("call-video-bob").click(timeout=PATIENCE_MS)
        await bob.get_by_test_id("ring-accept").click(timeout=PATIENCE_MS)
        for page in (alice, bob):
            await page.wait_for_function(_SEES, timeout=PATIENCE_MS, polling=100)
        sys.stdout.write(f"Both see video after {time.monotonic() - begun_at:.1f} s. Alice: ")
        sys.stdout.write(f"{await alice.evaluate(_CARRIER)}\n")


if __name__ == "__main__":
    asyncio.run(main())
