"""Two threads beside the loop: with one, signals end the node even if the loop is blocked; one reports a blocked loop.

A signal handler of asyncio runs on the loop. If the loop is blocked, for example by an endless `while`, only `kill -9`
would end the node, and nobody would know why. So signals are blocked in all threads, and one thread waits for them. It
asks the loop to stop, and ends the process if the loop does not react. Every commit is durable by then, as after a
kill.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from peerpost.system import signals

from .clock import SYSTEM, rfc3339

__all__ = ["Watchdog", "take_signals"]

log = logging.getLogger(__name__)

STALLED_S = 30.0
"""A loop that has not turned for this long is blocked: its longest step should take some milliseconds."""
STOP_S = 5.0
"""How long a loop that was told to stop may take until it reacts, and then for each further turn."""
LOOK_S = 1.0
"""How often to check whether the loop turns."""
_FRAMES = 30


class Watchdog:
    """Checks whether a loop turns."""

    def __init__(self, *, as_json: bool = False) -> None:
        """Watch the loop that this thread will run; with `as_json`, an end by force is reported as JSON."""
        self._as_json = as_json
        self._thread_id = threading.get_ident()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended = threading.Event()
        self._times = 0
        self._longest_s = 0.0
        self._last_ms = 0

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Watch a loop until it is closed, or `end` is called."""
        self._loop = loop
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def end(self) -> None:
        """Note that the loop has ended as it should."""
        self._ended.set()

    def stalls(self) -> dict[str, Any] | None:
        """Describe when the loop was blocked, for `node status` and `doctor`; None if it never was."""
        if not self._times:
            return None
        return {
            "times": self._times,
            "longest_s": round(self._longest_s, 1),
            "last": rfc3339(self._last_ms),
        }

    def do(self, work: Callable[[], object]) -> threading.Event | None:
        """Run something in the next turn of the loop, from another thread. Return an event that is set then.

        Returns None if there is no loop yet, or no longer.
        """
        done = threading.Event()

        def turn() -> None:
            done.set()
            work()

        try:
            if self._loop is None:
                return None
            self._loop.call_soon_threadsafe(turn)
        except RuntimeError:
            return None
        return done

    def where(self) -> str:
        """Say where the loop's thread is: the innermost call first."""
        frame = sys._current_frames().get(self._thread_id)  # noqa: SLF001 - there is no other name for it
        calls: list[str] = []
        while frame is not None and len(calls) < _FRAMES:
            code = frame.f_code
            calls.append(f"{code.co_qualname} ({code.co_filename}:{frame.f_lineno})")
            frame = frame.f_back
        return " < ".join(calls)

    def _watch(self) -> None:
        while not self._ended.wait(LOOK_S):
            turned = self.do(lambda: None)
            if turned is None:
                return
            self._await_turn(turned)

    def _await_turn(self, turned: threading.Event) -> None:
        """Wait until the loop has turned; log once that it is blocked, and at the end for how long it was."""
        silent_s, stands = 0.0, False
        while not self._ended.is_set():
            began_s = time.monotonic()
            if turned.wait(LOOK_S):
                break
            # If the process was stopped or the machine slept, this thread was stopped too, and the loop is not to
            # blame.
            silent_s += min(time.monotonic() - began_s, 2 * LOOK_S)
            if silent_s < STALLED_S:
                continue
            self._longest_s = max(self._longest_s, silent_s)
            if not stands:
                stands = True
                self._times += 1
                self._last_ms = SYSTEM.now_ms()
                log.error("the loop has not turned for %.0f s: %s", silent_s, self.where())
        if stands and turned.is_set():
            log.warning("the loop turns again, after %.0f s", silent_s)

    def see_to_end(self, number: int) -> None:
        """End the process if its loop, which was told to stop by a signal, does not."""
        while not self._ended.is_set() and (turned := self.do(lambda: None)) is not None:
            if not turned.wait(STOP_S):
                self._leave(number, f"while the loop stood still: {self.where()}")
            self._ended.wait(LOOK_S)
        # The loop has ended, so everything is stored. Whatever still keeps the interpreter running is not needed.
        # Nothing reports the end of the interpreter: it ends this daemon thread with the process.
        time.sleep(STOP_S)
        self._leave(number, f"while it left: {self.where()}")

    def _leave(self, number: int, why: str) -> None:
        text = f"peerpost: ended by {signal.Signals(number).name} {why}"
        text = f"{json.dumps({'note': text}) if self._as_json else text}\n"
        with contextlib.suppress(OSError):
            os.write(2, text.encode(errors="backslashreplace"))
        os._exit(128 + number)


def take_signals(
    numbers: Iterable[int],
    on_signal: Callable[[int], object],
    watchdog: Watchdog,
    locking: Iterable[int] = (),
    on_locking: Callable[[str], object] = lambda _: None,
) -> None:
    """Call `on_signal` on the watched loop for the first of these signals that comes.

    `on_locking` is called there, with the name of the signal, for each of `locking` that comes before.

    Call this before any other thread runs, because that thread would get the signals. The process ends if there is no
    loop yet, or the loop does not turn.
    """
    lasting = set(locking)
    next_signal = signals.awaited({*numbers, *lasting})

    def serve() -> None:
        while (number := next_signal()) in lasting:
            name = signal.Signals(number).name
            watchdog.do(lambda: on_locking(name))  # noqa: B023 - it is the same for all of them
        if watchdog.do(lambda: on_signal(number)) is None:
            os._exit(128 + number)
        watchdog.see_to_end(number)

    threading.Thread(target=serve, name="signals", daemon=True).start()
