"""Memory: how much is free, and who may look into that of this process."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

__all__ = ["free_memory_bytes", "guard_memory"]

_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")
_PR_SET_DUMPABLE = 4  # <linux/prctl.h>


def free_memory_bytes() -> int | None:
    """Return how many bytes a program can take now without pushing others out; None if the system does not tell."""
    found = [free for free in (_of_machine(), _of_container()) if free is not None]
    return min(found, default=None)


def _of_machine() -> int | None:
    if sys.platform == "linux":
        with suppress(OSError, ValueError, IndexError):
            for line in _MEMINFO.read_text().splitlines():
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) << 10
    elif sys.platform == "darwin":
        # Half of all, because the system does not say in a file how much of it is free.
        with suppress(OSError, ValueError):
            return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return None


def _of_container() -> int | None:
    """Return what is left of the limit of a container; None if there is no limit."""
    with suppress(OSError, ValueError):
        limit = int((_CGROUP / "memory.max").read_text())
        used = int((_CGROUP / "memory.current").read_text())
        # The page cache counts as used there, and is given up when memory is wanted.
        for line in (_CGROUP / "memory.stat").read_text().splitlines():
            if line.startswith("inactive_file "):
                used -= int(line.split()[1])
        return max(0, limit - used)
    return None


def guard_memory() -> None:
    """Have no core file made of this process, and let no other process of this user look into it, as far as that goes.

    Root can do both all the same. Windows has neither limit.
    """
    if sys.platform != "win32":
        import resource

        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        import ctypes

        # A core that is piped to a program (core_pattern) does not heed the limit, but does heed this.
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
