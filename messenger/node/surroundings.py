"""What a node has from whoever happened to start it, and what of that it puts right.

A command in a cron job, in a shell with `ulimit`, or under `nice` may be the first that needs a node, and that node
then works for everybody. Descriptors, terminal, folder and time zone are left behind where it is started (`spawn`).
Here go soft limits, blocked signals and a umask against its owner; what cannot be put right is told.
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
"""Those that stand in a node's way. Stacks and core files are no matter of it."""


def put_right(*, in_background: bool) -> None:
    """Let the umask take nothing from the owner, and, in the background, lift soft limits and unblock signals.

    What it takes from others stays: files of the user's own are made by it.

    In the foreground limits are the service manager's, who has set them for this node.
    """
    os.umask(os.umask(0o077) & 0o077)
    if not in_background or resource is None:
        return
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for number, _, hard in _limits().values():
        # On macOS the hard limit of files says more than the system gives.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(number, (hard, hard))


def niceness() -> int:
    """Return how much this process stands back for others; only root could take that back."""
    return os.getpriority(os.PRIO_PROCESS, 0) if hasattr(os, "getpriority") else 0


def held_back() -> list[str]:
    """Say which limits are in this process's way."""
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
