"""The operations for the writer of a store: each with its work and its callback, and which run in one call."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from peerpost.errors import StorageError

__all__ = ["Done", "Operation", "deliver", "settle", "units"]

log = logging.getLogger(__name__)

Done = Callable[[Any, BaseException | None], object]
"""Takes a result, or else an error, on the loop."""


@dataclass(slots=True)
class Operation:
    """A piece of work, and its outcome after its commit."""

    work: Callable[..., Any]
    done: Done
    lazy: bool = False
    on_failure: Callable[[BaseException], object] | None = None
    """Called if `done` fails: then what should follow the write does not happen, and somebody may wait for it."""
    item: Any = None
    """The argument of `work`, which gets a list with the items of several operations."""
    together: bool = False
    result: Any = None
    error: BaseException | None = None


def units(batch: list[Operation]) -> Iterator[list[Operation]]:
    """Yield what runs in one call: a single operation, or consecutive ones with the same work."""
    unit: list[Operation] = []
    for operation in batch:
        if unit and not (operation.together and operation.work == unit[0].work):
            yield unit
            unit = []
        unit.append(operation)
    if unit:
        yield unit


def deliver(batch: list[Operation]) -> None:
    """Give each caller the outcome; call this on the loop, after the commit."""
    for operation in batch:
        try:
            operation.done(operation.result, operation.error)
        except Exception as error:
            # The other callers of the batch must get their answers.
            log.exception("what follows a write failed")
            if operation.on_failure is not None:
                operation.on_failure(error)


def settle(future: asyncio.Future[Any]) -> Done:
    """Return a callback that gives the outcome to a future. Cancelling the future does not cancel the write."""

    def done(result: Any, error: BaseException | None) -> None:
        if future.done():
            return
        if isinstance(error, StopIteration):
            # A future does not accept StopIteration.
            error = StorageError("the operation ran out of values")
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)

    return done
