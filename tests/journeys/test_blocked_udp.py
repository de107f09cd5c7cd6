"""A call through the focus from a network that blocks UDP.

Chromium makes no TCP connections to 127.0.0.1 for media, so the test has a network of its own.
"""

from collections.abc import Iterator

import pytest
from playwright.async_api import Page

from tests.support.journeys.people import Visit
from tests.support.namespace import SERVER_SETTINGS, in_a_network_of_its_own
from tests.support.services import Backends, Server, free_port

pytestmark = [pytest.mark.once, pytest.mark.asyncio(loop_scope="session")]

# Without the node's UDP candidates, a browser has no other way to the node than TCP.
_NO_UDP = """(() => {
  const apply = RTCPeerConnection.prototype.setRemoteDescription;
  RTCPeerConnection.prototype.setRemoteDescription = function ({type, sdp}) {
    return apply.call(this, {type, sdp: sdp.replaceAll(/a=candidate:\\d+ 1 udp .*\\r\\n/g, "")});
  };
})()"""
_PROTOCOL = """async () => {
  const stats = await window.sbe.pc.getStats();
  for (const report of stats.values())
    if (report.type === "candidate-pair" && report.nominated) return stats.get(report.localCandidateId).protocol;
}"""


@pytest.fixture
def tcp_server(backends: Backends, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose media node also listens on a TCP port."""
    settings = {**SERVER_SETTINGS, "MEDIA_TCP_PORT": str(free_port())}
    with Server(backends.sqlite(), tmp_path_factory.mktemp("tcp"), settings) as running:
        yield running


async def _block_udp(page: Page) -> None:
    await page.add_init_script(_NO_UDP)


@in_a_network_of_its_own
async def test_browser_without_udp_takes_part_over_tcp(visit: Visit, tcp_server: Server) -> None:
    alice = await visit("alice", at=tcp_server, direct=False)
    bob = await visit("bob", at=tcp_server, direct=False, before=_block_udp)
    await alice.press("call-video-bob")
    await bob.press("ring-accept")
    for person in (alice, bob):
        await person.sees_video()
    assert [await each.page.evaluate(_PROTOCOL) for each in (alice, bob)] == ["udp", "tcp"]
    await alice.press("btn-hangup")
    await bob.is_in("ended")
