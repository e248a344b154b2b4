"""Becoming another program, and waiting for one to end."""

from __future__ import annotations

import os
import select
import sys
import time
from typing import NoReturn

from peerpost import stopping
from peerpost.system import ProcessMark

__all__ = ["become", "wait_for_exit"]

_POLL_S = 0.05


def become(module: str, *arguments: str) -> NoReturn:
    """Replace this process by `python -m module`, so that signals and the exit code are those of that program."""
    sys.stdout.flush()
    sys.stderr.flush()
    # A signal that comes while the other program is loaded waits for it: nothing is lost, and nobody sees a traceback.
    stopping.block()
    # -P: modules come from where Peerpost is installed, never from the folder we are in.
    os.execv(sys.executable, [sys.executable, "-P", "-m", module, *arguments])  # noqa: S606 - no shell wanted


def wait_for_exit(mark: ProcessMark, deadline_s: float) -> bool:
    """Wait until a process is gone, until `deadline_s` of the monotonic clock. Return whether."""
    if hasattr(os, "pidfd_open"):
        try:
            fd = os.pidfd_open(mark.pid)
        except ProcessLookupError:
            return True
        except OSError:
            pass
        else:
            try:
                if not mark.runs:
                    # The process id may belong to another process by now.
                    return True
                # This also works for a zombie that its parent has not waited for. Not select, which
                # knows no descriptor above 1023.
                gone = select.poll()
                gone.register(fd, select.POLLIN)
                return bool(gone.poll(max(0.0, deadline_s - time.monotonic()) * 1000))
            finally:
                os.close(fd)
    while time.monotonic() < deadline_s:
        if not mark.runs:
            return True
        time.sleep(_POLL_S)
    return False
