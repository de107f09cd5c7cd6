"""A UDP relay between one browser and a media node. It acts as a NAT that changes its mapping, or as a firewall."""

import asyncio
from typing import Any, Self


class UdpRelay:
    """Passes datagrams on. An async context manager."""

    def __init__(self, host: str, port: int, target: tuple[str, int]) -> None:
        """Listen on this port, and send to the target from other ports."""
        self.port = port
        # Whether nothing gets through.
        self.discards = False
        self._host, self._target = host, target
        self._browser: Any = None

    async def __aenter__(self) -> Self:
        """Start."""
        self._near = await self._open(self._take_near, local=(self._host, self.port))
        self._far = await self._open(self._take_far, remote=self._target)
        return self

    async def __aexit__(self, *error: object) -> None:
        """Stop."""
        self._near.close()
        self._far.close()

    async def rebind(self) -> None:
        """Send from another port from now on. What comes to the old port is lost."""
        self._far.close()
        self._far = await self._open(self._take_far, remote=self._target)

    async def _open(self, take: Any, *, local: Any = None, remote: Any = None) -> asyncio.DatagramTransport:
        protocol = _Protocol(take)
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: protocol, local_addr=local, remote_addr=remote
        )
        return transport

    def _take_near(self, datagram: bytes, source: Any) -> None:
        self._browser = source
        if not self.discards:
            self._far.sendto(datagram)

    def _take_far(self, datagram: bytes, source: Any) -> None:
        if not self.discards and self._browser is not None:
            self._near.sendto(datagram, self._browser)


class _Protocol(asyncio.DatagramProtocol):
    def __init__(self, take: Any) -> None:
        self.datagram_received = take  # type: ignore[method-assign]


def relayed(port: int, relay: int) -> str:
    """Return a script that makes a page send to the relay what it would send to this UDP port of the node."""
    return f"""(() => {{
      const apply = RTCPeerConnection.prototype.setRemoteDescription;
      RTCPeerConnection.prototype.setRemoteDescription = function ({{type, sdp}}) {{
        return apply.call(this, {{type, sdp: sdp.replaceAll(/( udp \\d+ \\S+) {port} /g, "$1 {relay} ")}});
      }};
    }})()"""
