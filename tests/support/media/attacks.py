"""Attacks by participants and by strangers."""

import socket
from typing import Any


def flood_of(packet: Any) -> bytes:
    """Return a compound packet that repeats one packet as often as a datagram has room for."""
    return bytes(packet) * (1300 // len(bytes(packet)))


# A REMB that announces 255 sources and names none (draft-alvestrand-rmcat-remb section 2.2).
LYING_REMB = bytes([0x8F, 206, 0, 4]) + bytes(8) + b"REMB\xff\0\0\0"


def unknown_socket() -> socket.socket:
    """Return a socket that belongs to no leg."""
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
