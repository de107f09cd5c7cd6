"""Calls into C that keep the interpreter lock.

Sockets and cffi release the lock around each call. If another thread computes, the loop then waits for the lock after
every call. For a call that takes microseconds, it is better to keep the lock.
"""

import ctypes
import os
import socket
from collections.abc import Callable
from typing import Any

ADDRESS, NUMBER, TIME = ctypes.c_void_p, ctypes.c_int, ctypes.c_double

libc = ctypes.PyDLL(None, use_errno=True)
libc.sendto.argtypes = [NUMBER, ADDRESS, ctypes.c_size_t, NUMBER, ADDRESS, ctypes.c_uint]
libc.sendto.restype = ctypes.c_ssize_t
_DONTWAIT = int(socket.MSG_DONTWAIT)


def function(address: int, *arguments: Any) -> Callable[..., int]:
    """Return the C function at an address, with these argument types. It must return an int and not call Python."""
    return ctypes.PYFUNCTYPE(NUMBER, *arguments)(address)


def send(fd: int, datagram: bytes, name: bytes) -> None:
    """Send a datagram to a sockaddr.

    :raises OSError: when the kernel does not accept it now.
    """
    if libc.sendto(fd, datagram, len(datagram), _DONTWAIT, name, len(name)) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
