"""What is asked of the writer of a store: each piece of work, who hears of it, and which are done in one call."""

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
    """A piece of work, and what has come of it once its commit is over."""

    work: Callable[..., Any]
    done: Done
    lazy: bool = False
    on_failure: Callable[[BaseException], object] | None = None
    """Told where `done` fails: what should follow the write does not, and somebody waits for it."""
    item: Any = None
    """What `work` is given, in a list with those of others."""
    together: bool = False
    result: Any = None
    error: BaseException | None = None


def units(batch: list[Operation]) -> Iterator[list[Operation]]:
    """Yield what is done in one call: an operation, or a run of them that go together."""
    unit: list[Operation] = []
    for operation in batch:
        if unit and not (operation.together and operation.work == unit[0].work):
            yield unit
            unit = []
        unit.append(operation)
    if unit:
        yield unit


def deliver(batch: list[Operation]) -> None:
    """Tell each who asked what came of it; call it on the loop, after the commit."""
    for operation in batch:
        try:
            operation.done(operation.result, operation.error)
        except Exception as error:
            # The rest of the batch must have their answers.
            log.exception("what follows a write failed")
            if operation.on_failure is not None:
                operation.on_failure(error)


def settle(future: asyncio.Future[Any]) -> Done:
    """Return what hands the outcome to a future; who cancelled it gave up the answer, not the write."""

    def done(result: Any, error: BaseException | None) -> None:
        if future.done():
            return
        if isinstance(error, StopIteration):
            # A future does not take one.
            error = StorageError("the operation ran out of values")
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)

    return done
