"""Key derivations, in threads that a node which leaves does not wait for.

argon2id is C code that nothing can end early, and a keyfile may ask for half a minute of it. So each has a thread that
the process may leave behind. Such a thread writes nothing any more: whoever derives a key asks before the first write,
and is either told that nobody waits, or is waited for until all is written.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from peerpost.errors import UnavailableError

__all__ = ["Deriving", "MayWrite"]

T = TypeVar("T")

MayWrite = Callable[[], None]
"""Called before anything is written. What it raises ends the work, with nothing changed."""


class Deriving:
    """The derivations of one home."""

    def __init__(self) -> None:
        self._left = False
        self._waiting: set[asyncio.Future[None]] = set()

    def give_up(self) -> None:
        """Wait for no derivation any more: whoever does gets an UnavailableError."""
        self._left = True
        for waits in self._waiting:
            if not waits.done():
                waits.set_result(None)

    async def run(self, work: Callable[[MayWrite], T]) -> T:
        """Return the result of work that derives keys and then writes, if at all. Raises what it raises.

        Raises UnavailableError, with nothing written, if it is given up before it writes; and if the caller is
        cancelled, all is written or nothing when this returns.
        """
        if self._left:
            raise _leaving()
        turn, running, left = _Turn(), Future[T](), asyncio.get_running_loop().create_future()
        running.set_running_or_notify_cancel()

        def derive() -> None:
            try:
                running.set_result(work(turn.may_write))
            except BaseException as error:  # noqa: BLE001 - the caller gets it
                running.set_exception(error)

        threading.Thread(target=derive, name="derive", daemon=True).start()
        outcome = asyncio.wrap_future(running)
        self._waiting.add(left)
        try:
            await asyncio.wait((outcome, left), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._waiting.discard(left)
            left.cancel()
            if not outcome.done() and turn.leave():
                outcome.cancel()
            while not outcome.done():
                await asyncio.wait((outcome,))
        if outcome.cancelled():
            raise _leaving()
        return outcome.result()


class _Turn:
    """Either the thread writes, or nobody waits for it: what comes first rules out the other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._writes = self._left = False

    def may_write(self) -> None:
        """Begin to write. Raises UnavailableError if nobody waits any more."""
        with self._lock:
            if self._left:
                raise _leaving()
            self._writes = True

    def leave(self) -> bool:
        """Wait no more; return False if it writes by now, and has to be waited for."""
        with self._lock:
            self._left = not self._writes
            return self._left


def _leaving() -> UnavailableError:
    return UnavailableError("the node is leaving; nothing was changed", hint="try again")
