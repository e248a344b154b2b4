"""Becoming another program."""

from __future__ import annotations

import sys
from typing import NoReturn

from peerpost import stopping
from peerpost.system import processes

__all__ = ["become"]


def become(module: str, *arguments: str) -> NoReturn:
    """Replace this process by `python -m module`, so that signals and the exit code are those of that program."""
    sys.stdout.flush()
    sys.stderr.flush()
    # A signal that comes while the other program is loaded waits for it, so it is not lost and causes no traceback.
    stopping.block()
    # -P: modules come from where Peerpost is installed, never from the folder we are in.
    processes.become([sys.executable, "-P", "-m", module, *arguments])
