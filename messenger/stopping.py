"""Ending by a signal: without a traceback from the first moment on, once, and not between an act and its answer.

A process begins with `quietly`, before it imports anything that takes time. A command goes on with `take`: from then
on a signal raises Stopped, which ends the command through its finally clauses. What was asked of the node and not
answered yet is waited for a little longer, because otherwise nobody would know whether it was done.

A signal that is ignored when the process begins stays ignored, as under nohup(1) and in the background of a script.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
import time

TYPE_CHECKING = False
# Not imported from `typing`, which takes time: until the end of this module a signal has its usual effect.
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import NoReturn, Self

__all__ = [
    "Stopped",
    "answered",
    "asked",
    "begun",
    "block",
    "hand_to",
    "look",
    "over",
    "quietly",
    "signals_fd",
    "take",
]

NUMBERS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
WORDS = {"SIGINT": "interrupted", "SIGTERM": "terminated", "SIGHUP": "hung_up"}
ANSWER_S = 2.0
"""How long to wait for an answer that is still missing when a signal comes."""
GRACE_S = 1.0
"""A signal within this time after the one that ends a command is a repetition of it: timeout(1) always sends two. A
later one means that ending takes too long, so it ends the process at once."""


class Stopped(SystemExit):
    """A signal ends this command: the exit code is 128 and its number."""

    def __init__(self, number: int, *, in_doubt: bool, has_asked: bool = True) -> None:
        super().__init__(128 + number)
        self.word = WORDS[signal.Signals(number).name]
        """The stable word for this signal (docs/cli.md)."""
        self.in_doubt = in_doubt
        """Whether the node was asked to do something and has not answered."""
        self.has_asked = has_asked
        """Whether the node was asked for anything, even if only to look."""
        self.told: list[tuple[str, str | None]] = []
        """What became of the things that the command was about: sentences, each with a hint."""

    def tell(self, sentence: str, hint: str | None = None) -> Self:
        """Add a sentence about what became of one of them."""
        self.told.append((sentence, hint))
        return self


class _State:
    """The signal that has come to this process, and how many answers are missing."""

    number: int | None = None
    came_s = 0.0
    raised_s: float | None = None
    unanswered = 0
    has_asked = False
    is_taken = False
    signals_fd: int | None = None

    def arrived(self, number: int, _frame: FrameType | None) -> None:
        """Be the handler."""
        if self.raised_s is not None:
            if time.monotonic() - self.raised_s >= GRACE_S:
                os._exit(128 + (self.number or number))
            return
        if self.number is not None:
            if time.monotonic() - self.came_s >= GRACE_S:
                self.end()
            return
        self.number, self.came_s = number, time.monotonic()
        if not self.unanswered:
            self.end()
        _alarm(ANSWER_S)

    def end(self, *_: object) -> NoReturn:
        """Raise what ends the command."""
        _alarm(0)
        self.raised_s = time.monotonic()
        raise Stopped(
            self.number or signal.SIGINT,
            in_doubt=self.unanswered > 0,
            has_asked=self.has_asked,
        )


def _alarm(after_s: float) -> None:
    if sys.platform != "win32":
        signal.setitimer(signal.ITIMER_REAL, after_s)


_state = _State()


def hand_to(handler: Callable[[int, FrameType | None], object] | signal.Handlers) -> None:
    """Set the handler of each signal that this module handles, except for those that are ignored."""
    for number in NUMBERS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def quietly(say: Callable[[str], object] = lambda _: None) -> None:
    """Make a signal end the process at once. For the time before it has begun anything.

    Before the end, `say` is called with the stable word of the signal.
    """

    def end(number: int, _: FrameType | None) -> NoReturn:
        say(WORDS[signal.Signals(number).name])
        os._exit(128 + number)

    hand_to(end)
    if sys.platform != "win32":
        # The program that became this process has blocked them until here (`block`).
        signal.pthread_sigmask(signal.SIG_UNBLOCK, NUMBERS)


def block() -> None:
    """Block signals, in a process that is about to become another program, which begins with `quietly`."""
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_BLOCK, NUMBERS)


def take() -> None:
    """Make the first signal raise Stopped, in the main thread."""
    if sys.platform != "win32":
        signal.signal(signal.SIGALRM, _state.end)
    _state.is_taken = True
    hand_to(_state.arrived)


def over(code: int) -> None:
    """From now on, a signal ends the process at once with this exit code: there is nothing left to interrupt."""
    hand_to(lambda *_: os._exit(code))
    # In one of its last steps Python gives signals their usual effect back, and then one would change the exit code.
    atexit.register(hand_to, signal.SIG_IGN)


def signals_fd() -> int | None:
    """Return the end to read of a pipe that gets a byte for each signal from now on; None before `take`.

    It does not block. It is made when it is asked for: before that, the user may mean a descriptor of its number.
    """
    if sys.platform != "win32" and _state.is_taken and _state.signals_fd is None:
        _state.signals_fd, told_fd = os.pipe()
        for fd in (_state.signals_fd, told_fd):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(told_fd, warn_on_full_buffer=False)
    return _state.signals_fd


def begun() -> None:
    """Note that the node is asked for something, even if only to look."""
    _state.has_asked = True


def asked() -> None:
    """Note that the node is asked to do something. A signal now waits for the answer, but no longer than ANSWER_S."""
    _state.unanswered += 1


def answered() -> None:
    """Note that an answer has come, or never will. Afterwards it may be printed; then call `look`."""
    _state.unanswered -= 1


def look() -> None:
    """Raise Stopped if a signal has come that waited for an answer, and no answer is missing any more."""
    if _state.number is not None and _state.raised_s is None and not _state.unanswered:
        _state.end()
