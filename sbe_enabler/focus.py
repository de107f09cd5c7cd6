"""Create the media node of this process, and connect its reports to the operations of conferences."""

import asyncio
from ipaddress import ip_address

from django.conf import settings
from django.core.management.base import CommandError

from conferences.operations.focus import (
    connection_changed,
    leg_lost,
    notify,
    record_connection,
    settle_task,
    speaker_changed,
)
from conferences.operations.nodes import assigned
from events import clock
from events.threads import set_server_loop
from media.focus.node import Settings
from media.focus.service import Service, Wiring


def media_service(server_loop: asyncio.AbstractEventLoop | None = None) -> Service:
    """Return a media node built from the settings. Its port is bound, but nothing runs yet.

    :param server_loop: the web server's loop, if one runs in this process. It then sends the node's wake-ups.
    :raises CommandError: when the port cannot be bound, or the node would have no address to announce.
    """
    if ip_address(settings.MEDIA_BIND).is_unspecified and not settings.MEDIA_ANNOUNCE:
        raise CommandError(f"MEDIA_BIND={settings.MEDIA_BIND} means all addresses: set MEDIA_ANNOUNCE as well.")
    node = Settings(
        bind=settings.MEDIA_BIND,
        port=settings.MEDIA_PORT,
        announce=tuple(settings.MEDIA_ANNOUNCE),
        tcp_port=settings.MEDIA_TCP_PORT or None,
        fast=settings.MEDIA_FAST_PATH,
    )
    wiring = Wiring(
        settle=settle_task,
        leg_lost=leg_lost,
        speaker_changed=speaker_changed,
        connection_changed=connection_changed,
        record_connection=record_connection,
        notify=notify,
        assigned=assigned,
        now=clock.now,
        enter=lambda own_loop: set_server_loop(server_loop or own_loop),
    )
    try:
        return Service(node, wiring)
    except OSError as error:
        address = f"{settings.MEDIA_BIND} {error.filename or f'port {settings.MEDIA_PORT}'}"
        raise CommandError(f"Cannot receive media on {address}: {error.strerror}.") from None
