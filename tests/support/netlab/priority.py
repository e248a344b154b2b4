"""Real-time priority: a real line does not wait for a busy processor, so the simulated one and its ends should not."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

__all__ = ["before_others"]

PRIORITY = 1


def before_others(pid: int) -> None:
    """Give every thread of a process, and those it starts later, priority over all others, if that is allowed.

    Only for processes that need little CPU: while they run, nothing else does.
    """
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            os.sched_setscheduler(int(task.name), os.SCHED_RR, os.sched_param(PRIORITY))
