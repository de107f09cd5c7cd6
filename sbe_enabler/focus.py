"""The focus as a part of this process: a media node, and what it does to conferences."""

from django.conf import settings
from django.core.management.base import CommandError

from conferences.operations.focus import lose_media, settle_task
from media.node import Settings
from media.service import Service


def media_service() -> Service:
    """Return a media node as the settings describe it; its port is bound, and nothing runs yet.

    :raises CommandError: when the port cannot be bound.
    """
    node = Settings(settings.MEDIA_BIND, settings.MEDIA_PORT, tuple(settings.MEDIA_ANNOUNCE))
    try:
        return Service(node, settle=settle_task, lose=lose_media)
    except OSError as error:
        address = f"{settings.MEDIA_BIND} port {settings.MEDIA_PORT}"
        raise CommandError(f"Media cannot be received on {address}: {error.strerror}.") from None
