"""The transition trace: with PEERPOST_TRACE=machine every step of a state machine is a line of the log.

    machine=receiving id=2DJ4 state=active event=on_finish next=finishing

The machines of protocol/ know nothing of it. Whoever makes one passes it through `traced`, which replaces the methods
of that object by ones that also write; without the variable it changes nothing, and no step costs anything.
"""

from __future__ import annotations

import functools
import inspect
import logging
import os
from collections.abc import Callable
from enum import Enum
from typing import Any, Final, Protocol, TypeVar

__all__ = ["LOGGER", "VARIABLE", "traced", "unknown"]

VARIABLE: Final = "PEERPOST_TRACE"
LOGGER: Final = "peerpost.trace.machine"
"""Its lines are written at any level of the log, and are not bounded in number."""
_KINDS: Final = frozenset(part for part in os.environ.get(VARIABLE, "").split(",") if part)
_ON: Final = "machine" in _KINDS
_FREQUENT: Final = frozenset({"on_segment", "chunk_sent", "take"})
"""There are thousands of these a second, so they are written only if they change the state."""

log = logging.getLogger(LOGGER)
if _ON:
    log.setLevel(logging.INFO)


class _Machine(Protocol):
    @property
    def state(self) -> Enum: ...


M = TypeVar("M", bound=_Machine)


def unknown() -> list[str]:
    """Return the words of the variable that name no trace: all except `machine`."""
    return sorted(_KINDS - {"machine"})


def traced(name: str, id_: str, machine: M, *, on: bool = _ON) -> M:
    """Return the machine. If the trace is on, its steps are logged under that name and id."""
    if on:
        steps = _Steps(name, id_, machine)
        for event, _ in inspect.getmembers(type(machine), inspect.isfunction):
            if not event.startswith("_"):
                method = getattr(machine, event)
                setattr(machine, event, functools.partial(steps.step, event, method))
    return machine


class _Steps:
    """Writes the steps of one machine."""

    def __init__(self, name: str, id_: str, machine: _Machine) -> None:
        self._name, self._id, self._machine = name, id_, machine
        self._within = False

    def step(self, event: str, method: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a method; write the state before and after, unless the call is part of another step."""
        if self._within:
            return method(*args, **kwargs)
        before, failure = self._machine.state, ""
        self._within = True
        try:
            return method(*args, **kwargs)
        except BaseException as error:
            failure = f" error={type(error).__name__}"
            raise
        finally:
            self._within = False
            after = self._machine.state
            if failure or after is not before or event not in _FREQUENT:
                log.info(
                    "machine=%s id=%s state=%s event=%s next=%s%s",
                    *(self._name, self._id, before.value, event, after.value, failure),
                )
