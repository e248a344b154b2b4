"""Trio as a guest on the asyncio loop, in the same thread: one run for each thread, shared by all who ask.

py-libp2p is written for trio. Its handshakes run here, and nothing else does. Trio refuses a second guest run in a
thread, so the one run is shared and its users are counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Generic, TypeVar

import outcome
import trio

__all__ = ["Guest"]

T = TypeVar("T")

_here = threading.local()


class Guest:
    """The running guest of this thread. Call `acquire` to get it, `release` to let it go."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._users = 0
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._over: asyncio.Future[outcome.Outcome[None]] = self._loop.create_future()
        self._token: trio.lowlevel.TrioToken
        self._nursery: trio.Nursery

    @classmethod
    async def acquire(cls) -> Guest:
        """Return this thread's guest, started if need be."""
        loop = asyncio.get_running_loop()
        while (ending := getattr(_here, "ending", None)) is not None and ending.serves(loop):
            # Trio refuses two runs at once.
            await ending.wait_over()

        def soon(step: Callable[[], None]) -> None:
            loop.call_soon(step)

        def soon_threadsafe(step: Callable[[], None]) -> None:
            loop.call_soon_threadsafe(step)

        guest: Guest | None = getattr(_here, "guest", None)
        if guest is None or not guest.serves(loop):
            guest = cls()
            trio.lowlevel.start_guest_run(
                guest._main,
                run_sync_soon_threadsafe=soon_threadsafe,
                run_sync_soon_not_threadsafe=soon,
                done_callback=guest._over.set_result,
                host_uses_signal_set_wakeup_fd=True,
                restrict_keyboard_interrupt_to_checkpoints=True,
            )
            # Only now: one that could not begin would be waited for in vain.
            _here.guest = guest
        guest._users += 1
        try:
            await asyncio.shield(guest._ready)
        except BaseException:
            guest._users -= 1
            raise
        return guest

    def serves(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Return whether the run goes on, on this loop."""
        return self._loop is loop and not self._over.done()

    async def release(self) -> None:
        """Let go; the last one ends the run."""
        self._users -= 1
        if self._users or self._over.done():
            return
        if getattr(_here, "guest", None) is self:
            _here.guest, _here.ending = None, self
        self._token.run_sync_soon(self._nursery.cancel_scope.cancel)
        await asyncio.shield(self._over)

    async def _main(self) -> None:
        async with trio.open_nursery() as self._nursery:
            self._token = trio.lowlevel.current_trio_token()
            self._ready.set_result(None)
            await trio.sleep_forever()

    async def wait_over(self) -> None:
        """Return when the run has ended."""
        await asyncio.wait([self._over])

    def cancel(self, scopes: Iterable[trio.CancelScope]) -> None:
        """Cancel trio scopes, from asyncio."""
        with contextlib.suppress(trio.RunFinishedError):
            for scope in scopes:
                self._token.run_sync_soon(scope.cancel)

    async def call(
        self,
        function: Callable[[], Awaitable[T]],
        *,
        discard: Callable[[T], None] | None = None,
    ) -> T:
        """Run a trio coroutine and return what it returns, from asyncio.

        Cancelling the caller cancels the coroutine and waits until it has unwound. If the coroutine has a result
        nevertheless, `discard` gets it.
        """
        job: _Job[T] = _Job(self._loop, function)
        try:
            self._token.run_sync_soon(self._nursery.start_soon, job.run)
        except trio.RunFinishedError:
            raise ConnectionAbortedError("the transport has stopped") from None
        ends: list[asyncio.Future[Any]] = [job.ended, self._over]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self.cancel([job.scope])
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if discard is not None and isinstance(job.result, outcome.Value):
                discard(job.result.value)
            raise
        if job.result is None:
            # The run ended while the coroutine was in it; if it failed, that failure is the cause.
            over = self._over.result() if self._over.done() else None
            cause = over.error if isinstance(over, outcome.Error) else None
            raise ConnectionAbortedError("the transport has stopped") from cause
        result, job.result = job.result, None
        try:
            return result.unwrap()
        finally:
            # The error refers to this frame. If the frame referred to the error too, only the garbage collector
            # would free them.
            del result


class _Job(Generic[T]):
    """One coroutine in the guest."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, function: Callable[[], Awaitable[T]]
    ) -> None:
        self.scope = trio.CancelScope()
        self.ended: asyncio.Future[None] = loop.create_future()
        self.result: outcome.Outcome[T] | None = None
        self._function = function

    async def run(self) -> None:
        """Run in trio, but on the thread of the loop: the future may be set directly."""
        try:
            with self.scope:
                # Errors belong to the caller; one that left this coroutine would end the run that all users share.
                try:
                    self.result = outcome.Value(await self._function())
                except Exception as error:  # noqa: BLE001
                    self.result = outcome.Error(error)
        finally:
            if not self.ended.done():
                self.ended.set_result(None)
