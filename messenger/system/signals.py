"""Signals that one thread waits for, so that they have an effect even while the main thread is blocked."""

from __future__ import annotations

import queue
import signal
import sys
from collections.abc import Callable, Iterable

__all__ = ["awaited", "ending", "locking", "unblock"]


def ending() -> list[int]:
    """Return the signals that tell this process to end."""
    numbers: list[int] = [signal.SIGINT, signal.SIGTERM]
    if sys.platform == "win32":
        # Ctrl+Break, and what ends a process group.
        return [*numbers, signal.SIGBREAK]
    # SIGHUP comes when the terminal closes. Under nohup(1) it is ignored, and stays so.
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    return numbers


def locking() -> list[int]:
    """Return the signals that tell this process to lock its home; Windows has none."""
    if sys.platform == "win32":
        return []
    return [signal.SIGUSR1]


def unblock() -> None:
    """Unblock all signals: the process that started this one may have blocked some."""
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_SETMASK, [])


def awaited(numbers: Iterable[int]) -> Callable[[], int]:
    """Return a function that waits for the first of these signals, for a thread to call.

    Call this in the main thread before any other runs, because that thread would get the signals.
    """
    taken = set(numbers)
    if sys.platform == "win32":
        return _by_handler(taken)
    signal.pthread_sigmask(signal.SIG_BLOCK, taken)
    return lambda: int(signal.sigwait(taken))


def _by_handler(numbers: set[int]) -> Callable[[], int]:
    """Do the same without blocking: the main thread is interrupted, as soon as Python runs in it."""
    came: queue.SimpleQueue[int] = queue.SimpleQueue()  # its put may interrupt itself
    for number in numbers:
        signal.signal(number, lambda number, _: came.put(number))
    return came.get
