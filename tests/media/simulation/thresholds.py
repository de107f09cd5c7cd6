"""What each plan must measure: the values that are wanted, and beside them those that are reached today, if worse.

A value for today is a debt. When the focus improves, move it towards the wanted value.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Bound:
    """A bound of one measure. `today` is what every seed reaches now; None if that is what is wanted."""

    wanted: float
    today: float | None = None
    is_least: bool = False

    def holds(self, measured: float) -> bool:
        """Tell whether a measure is good enough for now."""
        bound = self.wanted if self.today is None else self.today
        return measured >= bound if self.is_least else measured <= bound

    def __str__(self) -> str:
        """State the bound in words."""
        bound = self.wanted if self.today is None else self.today
        return f"{'at least' if self.is_least else 'at most'} {bound:g} (wanted: {self.wanted:g})"


def most(wanted: float, today: float | None = None) -> Bound:
    """Return an upper bound."""
    return Bound(wanted, today)


def least(wanted: float, today: float | None = None) -> Bound:
    """Return a lower bound."""
    return Bound(wanted, today, is_least=True)


# What happens to one receiver changes nothing for another one.
OTHERS = {"other's fps": least(19.5), "other's frozen": most(0.0), "other's top layer": least(0.9)}
# A receiver notices nothing.
PERFECT = {"fps": least(19.5), "frozen": most(0.0), "gap": most(0.15), "concealed": most(0.005), "layer": least(2)}
SOUND = {"sound gap": most(0.04)}

# The names of plans that are rows of the table of thresholds, or close to one, are in ROWS. They run with more seeds.
ROWS = (
    "clean",
    "start",
    "5 % loss",
    "bursty 10 % loss",
    "3 Mbit/s to 500 kbit/s",
    "500 kbit/s to free",
    "500 kbit/s to 4 Mbit/s",
    "8 senders, 1 Mbit/s",
    "150 kbit/s",
    "uplink of 300 kbit/s",
    "address change",
)

THRESHOLDS: dict[str, dict[str, Bound]] = {
    # --- Good networks ---
    "clean": {**PERFECT, "switches": most(0), "key frames": most(0)},
    # The source gives 2 Mbit/s for two videos. Layers rise one after the other, a step a second.
    "start": {
        "first frame": most(0.3),
        "top layer after": most(3.0),
        "rate at 3": least(2_000_000, today=1_700_000),
        "frozen": most(0.0),
    },
    # Jitter is taken for congestion.
    "jitter": {**PERFECT, **OTHERS, "switches": most(0), "layer": least(2)},
    # The model of the receiver has no delay to begin with, so some packets come too late.
    "reordering": {**PERFECT, **OTHERS, "concealed": most(0.01, today=0.06)},
    "duplicates": {**PERFECT, **OTHERS, **SOUND},
    "far away": {**PERFECT, **OTHERS, **SOUND},
    "farther away": {**PERFECT, **OTHERS},
    # --- Losses ---
    "1 % loss": {**PERFECT, **OTHERS, "gap": most(0.15, today=0.2), "concealed": most(0.01)},
    "5 % loss": {
        **OTHERS,
        "fps": least(19.0),
        "frozen": most(0.0, today=0.03),
        "gap": most(0.25),
        "concealed": most(0.01, today=0.02),
    },
    "bursty 10 % loss": {
        **OTHERS,
        "fps": least(19.0),
        "frozen": most(0.02, today=0.07),
        "gap": most(0.5),
        "concealed": most(0.02, today=0.1),
    },
    "5 % loss, far away": {**OTHERS, "fps": least(19.0, today=18), "frozen": most(0.02, today=0.14)},
    "sender loses 5 %": {"fps": least(19.0), "frozen": most(0.0, today=0.05), "gap": most(0.25, today=0.5)},
    "one layer, 5 % loss": {"fps": least(19.0), "frozen": most(0.0, today=0.04)},
    # --- Narrow paths ---
    # The queue is full before anything can react, and stays full for about two seconds. It delays the sound, too.
    "3 Mbit/s to 500 kbit/s": {
        **OTHERS,
        "fps": least(20.0),
        "frozen": most(0.0),
        "lower layer after": most(1.0, today=1.8),
        "use": least(0.75),
        "queue": most(0.1),
        "concealed": most(0.02),
        "concealed at first": most(0.02, today=0.25),
        "frozen at first": most(0.3, today=0.6),
    },
    "500 kbit/s to free": {**OTHERS, "top layer after": most(5.0)},
    # A raise begins with key frames. Their queue is taken for congestion, and the layer falls at once.
    "500 kbit/s to 4 Mbit/s": {**OTHERS, "top layer after": most(5.0)},
    "150 kbit/s": {**OTHERS, "concealed": most(0.02)},
    "8 senders, 1 Mbit/s": {
        "use": least(0.85, today=0.65),
        "switches": most(1),
        "shown": least(3, today=0),
        "concealed": most(0.02, today=0.25),
    },
    "8 senders, 2 Mbit/s": {
        "use": least(0.85, today=0.75),
        "switches": most(1),
        "shown": least(8, today=6),
        "concealed": most(0.02),
    },
    "long queue": {**OTHERS, "queue": most(0.1), "frozen": most(0.0), "concealed": most(0.02)},
    "short queue": {**OTHERS, "fps": least(19.0, today=5), "concealed": most(0.02)},
    "two behind one queue": {
        "lost at first": most(30, today=100),
        "fps at first": least(19.0, today=3),
        "lost": most(0),
        "fps": least(19.0, today=0),
        "frozen": most(0.0, today=1.0),
        "concealed": most(0.02),
    },
    "flapping": {
        **OTHERS,
        "gap": most(2.0, today=6),
        "sound gap": most(0.5),
        "fps afterwards": least(19.0),
    },
    # --- Thin uplinks ---
    "uplink of 300 kbit/s": {
        "fps": least(15.0, today=9),
        "layer": most(0),
        "concealed": most(0.02),
        "other's fps": least(19.5),
        "other's top layer": least(0.9),
    },
    "uplink recovers": {"top layer after": most(8.0, today=14)},
    # --- Roaming ---
    "address change": {**PERFECT, **OTHERS, "media after": most(1.0), "layer": least(2, today=1)},
    "20 s outage": {**OTHERS, "picture after": most(3.0), "lost legs": most(0), "fps": least(19.0)},
    # --- Hostile participants ---
    "lies: all is lost": {**OTHERS, **SOUND, "faults": most(0)},
    "lies: all is early": {**OTHERS, **SOUND, "faults": most(0)},
    "lies: numbers that were never sent": {**OTHERS, **SOUND, "faults": most(0)},
    "lies: thousands of them": {**OTHERS, **SOUND, "faults": most(0)},
    "no key frames": {"fps": least(19.0), "frozen": most(0.0), "faults": most(0)},
    "a layer never comes": {**OTHERS, "fps": least(19.0), "frozen": most(0.0, today=0.05)},
    "only the largest layer comes": {**PERFECT, **OTHERS},
    "alice vanishes": {"fps": least(19.5), "frozen": most(0.0), "concealed": most(0.0)},
    "clock jumps": {**OTHERS, "fps": least(19.0, today=14), "concealed": most(0.0), "faults": most(0)},
    "the node stops for a while": {
        "fps": least(19.0),
        "concealed": most(0.0),
        "faults": most(0),
        "lost legs": most(0),
    },
}
