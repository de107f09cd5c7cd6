"""`manage.py diagram`: write docs/states.md from the table of the state machine."""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from conferences.machine import (
    TABLE,
    ConferenceState,
    KnockState,
    ModificationState,
    MoveState,
    ParticipantState,
    State,
)

PATH = Path(settings.BASE_DIR) / "docs" / "states.md"

_HEAD = """# States

`make diagram` writes this page from `TABLE` in `conferences/machine.py`. A test compares the page with the table.
A transition that is not drawn here does not exist: the request is refused and nothing changes.
"""

# The title, the states, and the states in which a machine may start, each with a label.
_MACHINES: list[tuple[str, type[State], dict[State, str]]] = [
    ("Conference", ConferenceState, {ConferenceState.INVITATION_SENT: ""}),
    ("Participant", ParticipantState, {ParticipantState.INVITED: ": guest", ParticipantState.ACCEPTED: ": host"}),
    ("Move", MoveState, {MoveState.IDLE: ""}),
    ("Modification", ModificationState, {ModificationState.SENT: ""}),
    ("Knock", KnockState, {KnockState.WAITING: ""}),
]


def render() -> str:
    """Return the document, with one Mermaid diagram for each machine."""
    return _HEAD + "".join(_section(*machine) for machine in _MACHINES)


def _section(title: str, states: type[State], initial: dict[State, str]) -> str:
    """Return the heading and the diagram of one machine."""
    names = {state: state.name.lower() for state in states}
    lines = [f'    state "{state.value}" as {name}' for state, name in names.items()]
    lines += [f"    [*] --> {names[state]}{label}" for state, label in initial.items()]
    for state, name in names.items():
        lines += [f"    {name} --> {names[after]}: {action}" for action, after in TABLE[state].items()]
        if not TABLE[state]:
            lines.append(f"    {name} --> [*]")
    diagram = "\n".join(lines)
    return f"\n## {title}\n\n```mermaid\nstateDiagram-v2\n{diagram}\n```\n"


class Command(BaseCommand):
    """Writes docs/states.md."""

    help = "Write the state diagrams in docs/states.md from the table of the state machine."

    def handle(self, *args: Any, **options: Any) -> None:
        """Write the document and print its path."""
        PATH.write_text(render())
        self.stdout.write(str(PATH))
