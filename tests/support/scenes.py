"""Scenes that many tests begin with. The first test builds a scene by requests. The others restore its rows."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from copy import copy, deepcopy
from dataclasses import dataclass
from datetime import timedelta
from functools import cache

from django.apps import apps
from django.db import transaction
from django.db.models import DateTimeField, Model
from django.utils import timezone

from media import tasks
from tests.support.devices import Device
from tests.support.focus import ScriptedNode, scripted_node

# Makes a conference and its devices; returns its ID and the devices.
Build = Callable[[], tuple[str, tuple[Device, ...]]]


@dataclass
class Scene:
    """A conference, its devices by username, and the focus, if there is one."""

    conference: str
    devices: Mapping[str, Device]
    node: ScriptedNode | None


# A fixture: `begin_with(name, build, focus=True)`.
BeginWith = Callable[..., Scene]


class SavedScene:
    """A copy of a scene and of all its rows."""

    def __init__(self, scene: Scene) -> None:
        """Save the scene that is in the tables now."""
        self._scene, self._at = deepcopy(scene), timezone.now()
        ours = [apps.get_app_config(label) for label in ("conferences", "events", "media")]
        models: list[type[Model]] = [model for app in ours for model in app.get_models(include_auto_created=True)]
        self._rows = {model: rows for model in models if (rows := list(model._base_manager.all()))}

    def write(self) -> None:
        """Write the rows into empty tables. All instants move, so each deadline is as far away as it was."""
        age = timezone.now() - self._at
        with transaction.atomic():
            for model, rows in self._rows.items():
                model._base_manager.bulk_create(_later(row, age) for row in rows)

    def scene(self) -> Scene:
        """Return a copy of the scene."""
        return deepcopy(self._scene)


def _later(row: Model, by: timedelta) -> Model:
    """Return a copy of a row with all its instants moved."""
    moved = copy(row)
    for name in _instants_of(type(row)):
        if instant := getattr(row, name):
            setattr(moved, name, instant + by)
    return moved


@cache
def _instants_of(model: type[Model]) -> list[str]:
    """Return the names of a model's fields that are instants."""
    return [field.attname for field in model._meta.concrete_fields if isinstance(field, DateTimeField)]


@contextmanager
def restored(saved: dict[str, SavedScene], name: str, build: Build, *, focus: bool) -> Iterator[Scene]:
    """Restore a scene into empty tables, or build it first. Its focus works until the end of the block."""
    if name in saved:
        saved[name].write()
    else:
        with scripted_node() if focus else nullcontext() as node:
            conference, devices = build()
            saved[name] = SavedScene(Scene(conference, {device.username: device for device in devices}, node))
    scene = saved[name].scene()
    if scene.node is None:
        yield scene
        return
    end: Callable[[], None] = tasks.listen(scene.node.id, scene.node.wake)
    yield scene
    end()
