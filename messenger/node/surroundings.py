"""What a node inherits from the command that happened to start it, and how it corrects that.

The first command that needs a node may run in a cron job, in a shell with `ulimit`, or under `nice`, and the node then
works for everybody. `spawn` drops descriptors, terminal, folder and time zone. This module corrects soft limits,
blocked signals and a umask that takes rights from the owner; what it cannot correct is reported.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

__all__ = ["held_back", "niceness", "put_right"]

_LEAST_FILES = 1024
_LIMITS = {
    "RLIMIT_CPU": "may use {} s of processor time, and is killed then",
    "RLIMIT_FSIZE": "may write files of {} bytes and no longer ones",
    "RLIMIT_AS": "may use {} bytes of addresses",
    "RLIMIT_DATA": "may use {} bytes of memory",
    "RLIMIT_NOFILE": "may have {} files and connections open",
}
"""The limits that may hinder a node. Those of stacks and core files do not."""


def put_right(*, in_background: bool) -> None:
    """Make the umask take nothing from the owner, and, in the background, lift soft limits and unblock signals.

    What the umask takes from others stays, because it applies to the files that the node makes for the user.

    In the foreground limits stay: a service manager has set them for this node.
    """
    os.umask(os.umask(0o077) & 0o077)
    if not in_background or resource is None:
        return
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for number, _, hard in _limits().values():
        # On macOS the hard limit for files is higher than what the system gives.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(number, (hard, hard))


def niceness() -> int:
    """Return the niceness of this process; only root could lower it."""
    return os.getpriority(os.PRIO_PROCESS, 0) if hasattr(os, "getpriority") else 0


def held_back() -> list[str]:
    """Return which limits hinder this process, in words."""
    return list(_held_back())


def _held_back() -> Iterator[str]:
    for name, (_, soft, _) in _limits().items():
        enough = name == "RLIMIT_NOFILE" and soft >= _LEAST_FILES
        if soft != resource.RLIM_INFINITY and not enough:
            yield _LIMITS[name].format(soft)


def _limits() -> dict[str, tuple[int, int, int]]:
    """Return number, soft and hard limit of those that this system has."""
    if resource is None:
        return {}
    numbers = {name: getattr(resource, name) for name in _LIMITS if hasattr(resource, name)}
    return {name: (number, *resource.getrlimit(number)) for name, number in numbers.items()}
