"""Start the node of a home in the background, once, even if many commands want it at the same
time.

The command that holds `spawn.lock` looks again whether a node answers, starts one, and waits until
it does; the others wait for the socket or the lock. The node is detached: a session of its own, no
inherited files, stderr in `node.log`. Its stdout is read until it answers: there it says why it does
not start, because a full disk takes no log.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from peerpost import errors, system
from peerpost.errors import PeerpostError, StorageError, UnavailableError
from peerpost.system import open_private, private_dir, processes

from .holder import holder_of
from .logfile import KEPT, LIMIT_BYTES, rotate
from .paths import HomePaths
from .rpc import error_from
from .secrets import VARIABLE

if TYPE_CHECKING:
    from .connection import NodeConnection

__all__ = ["START_TIMEOUT_S", "start"]

START_TIMEOUT_S = 20.0
"""How long a node may take until its socket answers. About 1.5 s is usual; a loaded machine needs
many times that."""
_POLL_S = 0.03
"""How often to try to connect: nothing reports that a node has begun to listen, and a failed try costs little."""
_RETRY_S = 0.25
"""Wait before another try while a node that is leaving still holds the home."""
_TAIL_BYTES = 16 << 10
_LEFT_BEHIND = frozenset({"TZ", VARIABLE})
"""Variables that a node does not inherit from the command that starts it: the times of a schedule are the machine's
own, and an environment can be read by every process of this user.
"""

_BY_EXIT_CODE: dict[int, type[PeerpostError]] = {
    65: errors.BadInputError,
    69: errors.UnavailableError,
    71: errors.AlreadyRunningError,
    73: errors.CannotCreateError,
    74: errors.StorageError,
    77: errors.LockedError,
    78: errors.ConfigError,
}

_started: list[int] = []
"""The nodes that this process has started. A bot may outlive many of them, and each would stay in the table of
processes until somebody takes notice of its end."""


def start(
    paths: HomePaths,
    *,
    dial: Callable[[], NodeConnection | None],
    idle_exit: bool = True,
    takes_over: bool = False,
    extra: tuple[str, ...] = (),
    timeout_s: float = START_TIMEOUT_S,
) -> NodeConnection:
    """Return a connection to the node of this home, started here if nobody else does.

    With `idle_exit` the node leaves by itself when it has nothing to do. With `takes_over` a node is
    started in any case, and takes the home over from one that a command has started. `extra` are
    further arguments for the node. Raises AlreadyRunningError if the running node is to stay, the
    error that kept the new node from starting, and UnavailableError if it does not answer in time.
    """
    deadline = time.monotonic() + timeout_s
    # Check everything that a node would refuse, before anything is written into such a home.
    private_dir(paths.home)
    with _spawn_lock(paths, (lambda: None) if takes_over else dial, deadline) as node:
        if node is not None:
            return node
        while True:
            arguments = _arguments(paths, idle_exit, extra)
            node = _start_once(paths, dial, arguments, timeout_s, takes_over=takes_over)
            if node is not None:
                return node
            if time.monotonic() > deadline:
                holder = holder_of(paths.home)
                who = "" if holder is None else f" (process {processes.who_is(holder.mark)})"
                raise errors.AlreadyRunningError(
                    f"another node{who} holds {paths.home} and does not answer",
                    hint="it may be starting or leaving: try again, or end it: peerpost node stop",
                )
            time.sleep(_RETRY_S)


def _arguments(paths: HomePaths, idle_exit: bool, extra: tuple[str, ...]) -> list[str]:
    # -P: modules must never come from the folder that the command runs in.
    command = [sys.executable, "-P", "-m", "peerpost.node", "run", "--home", os.fspath(paths.home)]
    return [*command, "--background", *(["--idle-exit"] if idle_exit else []), *extra]


def _open(path: Path, flags: int) -> int:
    try:
        return open_private(path, flags | os.O_CREAT)
    except PermissionError:
        raise errors.LockedError(
            f"{path} cannot be opened",
            hint=f"the home folder must be yours and writable: chmod -R u+rwX {shlex.quote(os.fspath(path.parent))}",
        ) from None
    except OSError as error:
        raise StorageError(f"cannot open {path}: {error.strerror}") from None


@contextmanager
def _spawn_lock(
    paths: HomePaths, dial: Callable[[], NodeConnection | None], deadline: float
) -> Iterator[NodeConnection | None]:
    """Hold the spawn lock, or yield a connection if a node answers while we wait for it."""
    lock = _open(paths.spawn_lock, os.O_RDWR)
    try:
        while True:
            held = system.try_lock(lock)
            node = dial()
            if node is not None or held:
                break
            if time.monotonic() > deadline:
                raise UnavailableError("another command has been starting the node for too long")
            time.sleep(_POLL_S)
        yield node
    finally:
        os.close(lock)


def _start_once(
    paths: HomePaths,
    dial: Callable[[], NodeConnection | None],
    arguments: list[str],
    timeout_s: float,
    *,
    takes_over: bool,
) -> NodeConnection | None:
    """Start a node and wait for it. Return None if another one holds the home and does not
    answer.

    A node that takes over asks the other one itself, and its exit says how that ended.
    """
    _started[:] = [pid for pid in _started if not processes.reap(pid)]
    log_fd, before = _open_log(paths)
    fds = [log_fd]
    try:
        words, its_stdout = os.pipe()
        fds.append(its_stdout)
        child = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=its_stdout,
            stderr=log_fd,
            close_fds=True,
            cwd=paths.home,
            env={name: value for name, value in os.environ.items() if name not in _LEFT_BEHIND},
            **processes.detached(),
        )
    except OSError as error:
        raise UnavailableError(f"the node cannot be started: {error.strerror}") from None
    finally:
        for fd in fds:
            os.close(fd)
    with os.fdopen(words, "rb") as last_words:
        return _answering(paths, dial, child, timeout_s, takes_over, before, last_words)


def _answering(
    paths: HomePaths,
    dial: Callable[[], NodeConnection | None],
    child: subprocess.Popen[bytes],
    timeout_s: float,
    takes_over: bool,
    before: int,
    last_words: BinaryIO,
) -> NodeConnection | None:
    """Wait until the node that was started answers; as `_start_once`."""
    deadline = time.monotonic() + timeout_s
    while True:
        node = dial()
        if node is not None and takes_over and node.pid not in (child.pid, None):
            # This is the old node, which must leave first.
            node.close()
        elif node is not None:
            # The node outlives us on purpose. Popen would warn about that unless it has a return code.
            child.returncode = 0
            _started.append(child.pid)
            return node
        if child.poll() is not None:
            if child.returncode == errors.AlreadyRunningError.exit_code and not takes_over:
                return None
            raise _why(paths, child.returncode, before, last_words.read(_TAIL_BYTES))
        if time.monotonic() > deadline:
            child.kill()
            child.wait()
            raise UnavailableError(
                f"the node did not answer within {timeout_s:g} seconds",
                hint=f"see {paths.node_log}",
            )
        time.sleep(_POLL_S)


def _open_log(paths: HomePaths) -> tuple[int, int]:
    """Open the log for appending; return it and its length now. If there can be no log, the node starts without one."""
    with suppress(OSError):
        # A running node rotates its log itself; nodes that fail to start must not fill the disk either.
        if paths.node_log.stat().st_size > LIMIT_BYTES:
            rotate(paths.node_log, KEPT)
    try:
        fd = _open(paths.node_log, os.O_WRONLY | os.O_APPEND | system.O_NONBLOCK)
    except StorageError:
        # If node.log is a link or a pipe, or there is no room for a file, the node runs without a log.
        return os.open(os.devnull, os.O_WRONLY | system.OPEN), 0
    return fd, os.fstat(fd).st_size


def _last_lines(path: Path, before: int) -> list[str]:
    """Return what was written to the log since it had this length; nothing if it is no file."""
    try:
        fd = os.open(path, os.O_RDONLY | system.O_NOFOLLOW | system.O_NONBLOCK | system.OPEN)
        with os.fdopen(fd, "rb") as log:
            end = log.seek(0, os.SEEK_END)
            # It is shorter than before, so it was rotated meanwhile, and all of it is from this start.
            log.seek(max(before if before <= end else 0, end - _TAIL_BYTES))
            return log.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []


def _why(paths: HomePaths, code: int, before: int, words: bytes) -> PeerpostError:
    """Return what kept the node from starting: from its last words, else from its exit code and its log."""
    with suppress(ValueError):
        error = error_from(json.loads(words))
        error.hint = error.hint or f"see {paths.node_log}"
        return error
    lines = _last_lines(paths.node_log, before)
    message, hint = "", None
    for line in lines:
        if line.startswith("error: "):
            message, hint = line.removeprefix("error: ").strip(), None
        elif line.startswith("hint:"):
            hint = line.removeprefix("hint:").strip()
    if not message:
        how = f"with exit code {code}" if code >= 0 else f"by signal {-code}"
        last = next((line.strip() for line in reversed(lines) if line.strip()), "")
        message = f"the node ended {how} while starting" + (f": {last}" if last else "")
    # One that was killed is no bug: the next start may well succeed.
    class_ = _BY_EXIT_CODE.get(code, UnavailableError if code < 0 else PeerpostError)
    return class_(message, hint=hint or f"see {paths.node_log}")
