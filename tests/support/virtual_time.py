"""An event loop on virtual time: when nothing is left to do now, the time jumps to the next timer.

    @on_virtual_time
    async def test_a_day_passes() -> None:
        await asyncio.sleep(86_400)        # takes no time
        running().clock.now_ms()           # a day later

What threads do is real: a job that the loop gave to an executor or that was given to `WatchedThreads`, or a write of a
`WatchedStore`. While any is under way, the time stands still. So how long something takes does not depend on
the machine.
"""

from __future__ import annotations

import asyncio
import functools
import selectors
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

from peerpost.node.clock import Clock
from peerpost.store.db.engine import Store
from peerpost.store.db.operations import Operation

__all__ = [
    "BEGUN_MS",
    "STUCK_S",
    "VirtualLoop",
    "WatchedStore",
    "WatchedThreads",
    "on_virtual_time",
    "running",
]

P = ParamSpec("P")
T = TypeVar("T")

BEGUN_MS = 1_800_000_000_000
"""The wall clock when a loop begins: 15 January 2027, 08:00 UTC."""
BEGUN_S = 1000.0
STUCK_S = 20.0
"""How long, in real time, a loop waits for its threads before the test fails."""

LONGEST_S = 60.0
"""How long, in real time, a loop may run. A test that waits for ever runs fast here, and pytest's own limit, an
exception in some callback, would not end it."""
UNKNOWN_S = 1.0
"""How long, in real time, a loop without timers waits for threads that it does not know of."""


class StuckError(AssertionError):
    """Everybody waits, and for nothing that will come."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose time is virtual, and the `Clock` that reads it."""

    def __init__(self) -> None:
        self._virtual_s = BEGUN_S
        self._under_way = 0
        self.ends_s = time.monotonic() + LONGEST_S
        """Real time."""
        super().__init__(_Selector(self))
        self.clock = Clock(
            monotonic_s=self.time,
            monotonic_ns=lambda: round(self._virtual_s * 1e9),
            now_ms=lambda: BEGUN_MS + round((self._virtual_s - BEGUN_S) * 1000),
            local_time=lambda: time.gmtime(BEGUN_MS / 1000 + self._virtual_s - BEGUN_S),
        )

    def time(self) -> float:
        """Return the virtual time."""
        return self._virtual_s

    @property
    def passed_s(self) -> float:
        """How much virtual time has passed since the loop began."""
        return self._virtual_s - BEGUN_S

    @property
    def threads_work(self) -> bool:
        """Whether anything is under way that ends in real time."""
        return self._under_way > 0

    def jump(self, seconds: float) -> None:
        """Let time pass."""
        self._virtual_s += seconds

    def begun(self, count: int = 1) -> None:
        """Note work in threads, which `ended` ends."""
        self._under_way += count

    def ended(self, count: int = 1) -> None:
        """Note the end of it."""
        self._under_way -= count

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """Do as the base class does, and note the work until its result is here."""
        future = super().run_in_executor(executor, func, *args)
        self.begun()
        future.add_done_callback(lambda _: self.ended())
        return future

    async def shutdown_default_executor(self, *args: Any) -> None:
        """Do as the base class does, in real time."""
        self.begun()
        try:
            await super().shutdown_default_executor(*args)
        finally:
            self.ended()


class _Selector(selectors.DefaultSelector):  # type: ignore[misc, valid-type]
    """Waits for threads in real time, and for timers not at all."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[Any]:
        if time.monotonic() > self._loop.ends_s:
            self._loop.ends_s += STUCK_S  # For what has to be cleaned up.
            raise StuckError(f"the test has not ended after {LONGEST_S:g} s")
        if timeout is not None and timeout <= 0:
            return super().select(0)
        unknown_s = UNKNOWN_S if timeout is None else 0
        wait_s = STUCK_S if self._loop.threads_work else unknown_s
        ready = super().select(wait_s)
        if ready:
            return ready
        if self._loop.threads_work:
            raise StuckError(f"a thread has not ended its work in {STUCK_S:g} s")
        if timeout is None:
            raise StuckError("everybody waits, and nobody has a timer")
        self._loop.jump(timeout)
        return []


class WatchedStore(Store):
    """A store whose writes hold the virtual time until they are committed and told."""

    def _put(self, operation: Operation) -> None:
        super()._put(operation)
        if isinstance(self._loop, VirtualLoop):
            self._loop.begun()

    def _deliver(self, batch: list[Operation], changes: Any) -> None:
        if isinstance(self._loop, VirtualLoop):
            self._loop.ended(len(batch))
        super()._deliver(batch, changes)


class WatchedThreads(ThreadPoolExecutor):
    """Threads whose jobs hold the virtual time, also those that were not given to them by the loop."""

    def submit(  # type: ignore[override]
        self, fn: Callable[..., T], /, *args: Any, **kwargs: Any
    ) -> Future[T]:
        job = super().submit(fn, *args, **kwargs)
        loop = asyncio.get_running_loop()
        if isinstance(loop, VirtualLoop):
            loop.begun()
            # Only in the next turn, so that whoever gave the job hears of its end before the loop does.
            loop.call_soon(job.add_done_callback, lambda _: loop.call_soon_threadsafe(loop.ended))
        return job


def on_virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Run a test on a loop of its own, on virtual time."""

    @functools.wraps(test)
    def runs(*args: P.args, **kwargs: P.kwargs) -> None:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(test(*args, **kwargs))

    return runs


def running() -> VirtualLoop:
    """Return the running loop, which is on virtual time."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop
