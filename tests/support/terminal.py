"""A terminal: what a program, or what draws on stderr, shows on one of a given size."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TextIO

import pytest

__all__ = ["drawn_on_stderr", "read_all", "shown_by", "with_answers"]


def read_all(terminal: int) -> bytes:
    """Return all that is written to a terminal until its last program has left."""
    written = bytearray()
    with contextlib.suppress(OSError):  # how Linux tells that
        while data := os.read(terminal, 65536):
            written += data
    return bytes(written)


def shown_by(
    command: Sequence[str],
    *,
    lines: int = 24,
    columns: int = 80,
    env: Mapping[str, str] = os.environ,
    cwd: Path | None = None,
) -> tuple[int, bytes]:
    """Run a command as the program of a terminal; return its exit code and every byte that it writes there."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    # These would say another size than the terminal does.
    sized = {name: value for name, value in env.items() if name not in ("COLUMNS", "LINES")}
    with subprocess.Popen(
        command,
        cwd=cwd,
        env={"TERM": "xterm-256color"} | sized,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    ) as program:
        os.close(theirs)
        written = read_all(ours)
        os.close(ours)
    return program.returncode, written


def with_answers(
    command: Sequence[str],
    answer: Callable[[str], str | None],
    *,
    env: Mapping[str, str] = os.environ,
) -> tuple[int, str]:
    """Run a command that asks at a terminal of its own; return its exit code and all that it shows.

    Whenever it shows something and waits, `answer` gets all that was shown so far, and returns a line to type, or None.
    """
    ours, theirs = pty.openpty()

    def own() -> None:
        os.setsid()
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

    with subprocess.Popen(
        command,
        env={"TERM": "dumb", **env},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        preexec_fn=own,  # noqa: PLW1509 - there are no threads yet that could hold a lock
    ) as program:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):
            while True:
                if select.select([ours], [], [], 0.3)[0]:
                    shown += os.read(ours, 65536)
                elif (line := answer(shown.decode())) is not None:
                    os.write(ours, f"{line}\n".encode())
        os.close(ours)
    return program.returncode, shown.decode().replace("\r\n", "\n")


def drawn_on_stderr(
    monkeypatch: pytest.MonkeyPatch, columns: int, draw: Callable[[TextIO], None]
) -> str:
    """Have something draw in this process while stderr is a terminal of that width; return what it writes there."""
    ours, theirs = pty.openpty()
    seen: list[bytes] = []
    # A terminal that nobody reads takes only so much.
    reader = threading.Thread(target=lambda: seen.append(read_all(ours)))
    reader.start()
    with os.fdopen(theirs, "w", encoding="utf-8") as stream, monkeypatch.context() as patch:
        patch.setenv("TERM", "xterm")
        patch.setenv("COLUMNS", str(columns))
        patch.setattr(sys, "stderr", stream)
        draw(stream)
    reader.join(10)
    os.close(ours)
    return seen[0].decode()
