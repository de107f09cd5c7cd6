"""Network routes that do not behave like Ethernet."""

from typing import Any

from media.forward import datagrams


class Tunnel:
    """libc on a machine whose network routes to some addresses do not support GSO (udp_send_skb: EIO)."""

    def __init__(self, fault: int, to: set[int] | None = None) -> None:
        self.refusals = 0
        self._fault = fault
        self._to = to
        self._libc = datagrams.libc

    def __getattr__(self, name: str) -> Any:
        return getattr(self._libc, name)

    def sendmmsg(self, fd: int, headers: Any, count: int, flags: int) -> int:
        """Send the messages before the first GSO batch that cannot be sent. Fail if that batch comes first."""
        able = 0
        while able < count and not self._refuses(headers[able].msg_hdr):
            able += 1
        if able:
            return int(self._libc.sendmmsg(fd, headers, able, flags))
        self.refusals += 1
        datagrams.ffi.errno = self._fault
        return -1

    def _refuses(self, header: Any) -> bool:
        name = int(datagrams.ffi.cast("uintptr_t", header.msg_name))
        return header.msg_controllen > 0 and (self._to is None or name in self._to)
