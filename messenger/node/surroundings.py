"""What a node inherits from the command that happened to start it, and how it corrects that.

The first command that needs a node may run in a cron job, in a shell with `ulimit`, or under `nice`, and the node then
works for everybody. `spawn` drops descriptors, terminal, folder and time zone. This module corrects soft limits,
blocked signals and a umask that takes rights from the owner; what it cannot correct is reported.
"""

from __future__ import annotations

from peerpost.system import close_new_files, processes, signals

__all__ = ["held_back", "put_right"]

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
    """Make new files the owner's alone, and, in the background, lift soft limits and unblock signals.

    The umask of the user applies to what the node writes for the user outside the home (`system.allow_as_user`).

    In the foreground limits stay: a service manager has set them for this node.
    """
    close_new_files()
    if in_background:
        signals.unblock()
        processes.lift_limits(_LIMITS)


def held_back() -> list[str]:
    """Return which limits hinder this process, in words."""
    return [
        _LIMITS[name].format(soft)
        for name, soft in processes.limits(_LIMITS).items()
        if name != "RLIMIT_NOFILE" or soft < _LEAST_FILES
    ]
