"""Bytes between a command and its node, through a pipe: the node writes and the command takes them, or the other way.

Where a pipe cannot be handed over, because the control socket is on the loopback (Windows), a file in the home takes
its place, closed to others and removed at once.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from peerpost.client.handover import PathlessError
from peerpost.errors import PeerpostError

__all__ = ["give", "take"]

T = TypeVar("T")

_PIECE_BYTES = 256 << 10


def take(home: Path, ask: Callable[[int], T], into: Callable[[bytes], object]) -> T:
    """Return what `ask` returns, which has the node write to a descriptor; `into` takes the bytes.

    Raises what `into` raises, or else what `ask` raises.
    """

    def pump(reading: int) -> None:
        for piece in _pieces(reading):
            into(piece)

    reading, writing = os.pipe()
    try:
        return _together(ask, writing, lambda: pump(reading), reading)
    except PathlessError:
        with _file(home) as fd:
            answer = ask(fd)
            os.lseek(fd, 0, os.SEEK_SET)
            pump(fd)
        return answer


def give(home: Path, ask: Callable[[int], T], pieces: Iterable[bytes]) -> T:
    """Return what `ask` returns, which has the node read the pieces from a descriptor.

    Raises what `pieces` raises, or else what `ask` raises.
    """
    reading, writing = os.pipe()
    left = threading.Event()
    source = iter(pieces)
    unused: list[bytes] = []

    def pump() -> None:
        for piece in source:
            if left.is_set():
                unused.append(piece)
                return
            try:
                _write(writing, piece)
            except BrokenPipeError:
                # The node has it already, or says itself why it stopped.
                unused.append(piece)
                return

    try:
        return _together(ask, reading, pump, writing, on_end=left.set)
    except PathlessError:
        with _file(home) as fd:
            for piece in (*unused, *source):
                _write(fd, piece)
            os.lseek(fd, 0, os.SEEK_SET)
            return ask(fd)


def _together(
    ask: Callable[[int], T],
    theirs: int,
    pump: Callable[[], None],
    ours: int,
    on_end: Callable[[], object] = lambda: None,
) -> T:
    """Ask the node with one end of a pipe, while a thread is busy with the other; both are closed then."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            pump()
        except BaseException as failure:  # noqa: BLE001 - it is raised where it can be answered
            failures.append(failure)
        finally:
            # If this side has failed, the node learns of it by this.
            os.close(ours)

    thread = threading.Thread(target=run, name="pipe")
    thread.start()
    said: PeerpostError | None = None
    answers: list[T] = []
    try:
        answers.append(ask(theirs))
    except PeerpostError as error:
        said = error
    finally:
        on_end()
        os.close(theirs)
        thread.join()
    if isinstance(said, PathlessError):
        raise said
    if failures:
        # What went wrong on this side is the cause of what the node says.
        raise failures[0] from None
    if said is not None:
        raise said
    return answers[0]


def _pieces(fd: int) -> Iterator[bytes]:
    while piece := os.read(fd, _PIECE_BYTES):
        yield piece


def _write(fd: int, piece: bytes) -> None:
    view = memoryview(piece)
    while view:
        view = view[os.write(fd, view) :]


@contextmanager
def _file(home: Path) -> Iterator[int]:
    fd, name = tempfile.mkstemp(prefix=".peerpost-", dir=home)
    try:
        yield fd
    finally:
        os.close(fd)
        Path(name).unlink(missing_ok=True)
