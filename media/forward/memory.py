"""Memory that Python and the fast path share: the structures of `fastpath.h`, and attributes stored in them."""

from pathlib import Path
from typing import Any, Final, Generic, TypeVar, overload

from cffi import FFI

from media.forward.datagrams import NAME_SIZE, SLOT
from media.forward.rtp import MOST_ELEMENTS

HEADER = Path(__file__).with_name("fastpath.h").read_text()

ffi: Final[Any] = FFI()
ffi.cdef(HEADER)
_limits: dict[str, int] = ffi.typeof("enum limits").relements
_verdicts: dict[str, int] = ffi.typeof("enum verdict").relements
SLOTS_IN, SLOTS_OUT, FULL = _limits["SLOTS_IN"], _limits["SLOTS_OUT"], _limits["FULL"]
LARGEST_SEGMENT, QUIET, ELEMENT_IDS = _limits["LARGEST_SEGMENT"], _limits["QUIET"], _limits["ELEMENT_IDS"]
NEAR, HISTORY, ARENA_SIZE = _limits["NEAR"], _limits["HISTORY"], _limits["ARENA_SIZE"]
ARRIVALS, LATE, TICKS_A_SECOND = _limits["ARRIVALS"], _limits["LATE"], _limits["TICKS_A_SECOND"]
DEPARTURES, LONGEST_WAIT, QUEUE = _limits["DEPARTURES"], _limits["LONGEST_WAIT"], _limits["QUEUE"]
UNTOUCHED, DECRYPTED, SETTLED = _verdicts["UNTOUCHED"], _verdicts["DECRYPTED"], _verdicts["SETTLED"]
if (_limits["SLOT_SIZE"], _limits["NAME_SIZE"]) != (SLOT, NAME_SIZE):
    raise ImportError("fastpath.h and datagrams.py have different slots")
if _limits["MOST_ELEMENTS"] != MOST_ELEMENTS:
    raise ImportError("fastpath.h and rtp.py allow different numbers of elements")

T = TypeVar("T")


class Shared(Generic[T]):
    """An attribute that is stored in its object's `memory`, where the fast path finds it."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> "Shared[T]": ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: Any, owner: type) -> Any:
        return self if instance is None else getattr(instance.memory, self._name)

    def __set__(self, instance: Any, value: T) -> None:
        setattr(instance.memory, self._name, value)
