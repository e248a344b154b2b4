"""Processes: the limits of this one, marks that identify a process for ever, and replacing this one by another."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from .waiting import Ready

__all__ = [
    "ProcessMark",
    "ask_to_end",
    "become",
    "detached",
    "end_group",
    "keep_freed_memory",
    "lift_limits",
    "limits",
    "niceness",
    "processors",
    "reap",
    "signal_process",
    "this_process",
    "wait_for_exit",
    "who_is",
]

_KEPT_BYTES = 32 << 20
"""The most that mallopt(3) takes as a threshold."""
_POLL_S = 0.05
# Of winnt.h and minwinbase.h.
_QUERY = 0x1000
_STILL_ACTIVE = 259


def processors() -> int:
    """Return how many processors this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def reap(pid: int) -> bool:
    """Take notice of the end of a child of this process, so that it leaves the table; return whether it has ended."""
    if sys.platform == "win32":
        return True
    with contextlib.suppress(ChildProcessError):
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    return True


def keep_freed_memory() -> None:
    """Make glibc keep freed memory instead of returning it to the system and getting it back by page faults.

    Thousands of chunk buffers are allocated and freed; their page faults would cost more than hashing the chunks.
    """
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    trim_threshold, mmap_threshold, arena_max = -1, -3, -8  # mallopt(3), <malloc.h>
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(mmap_threshold, _KEPT_BYTES)
        mallopt(trim_threshold, _KEPT_BYTES)
        mallopt(arena_max, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessMark:
    """Identifies a process. Its number alone does not: another process may have it, later or in another container."""

    pid: int
    started: str
    """When it was started, in the system's own form; empty if the system does not say."""
    boot: str
    namespace: str
    """The namespace in which its process id is valid."""

    def text(self) -> str:
        """Return the mark as lines of text, the process id first."""
        return f"{self.pid}\nstarted {self.started}\nboot {self.boot}\nnamespace {self.namespace}\n"

    @classmethod
    def parse(cls, text: str) -> ProcessMark | None:
        """Parse the result of `text`, or a process id alone; None for anything else."""
        first, _, rest = text.partition("\n")
        if not (first.isascii() and first.isdecimal() and len(first) < 20):
            return None
        found = dict(line.split(" ", 1) for line in rest.splitlines() if " " in line)
        return cls(
            pid=int(first),
            started=found.get("started", ""),
            boot=found.get("boot", ""),
            namespace=found.get("namespace", ""),
        )

    @property
    def is_here(self) -> bool:
        """Whether its process id is valid here."""
        return (self.boot, self.namespace) == (_boot(), _namespace())

    @property
    def runs(self) -> bool:
        """Whether this same process runs here; False also if that cannot be known."""
        return self.is_here and bool(self.started) and _started(self.pid) == self.started


def this_process() -> ProcessMark:
    """Return the mark of this process."""
    pid = os.getpid()
    return ProcessMark(pid=pid, started=_started(pid), boot=_boot(), namespace=_namespace())


def who_is(mark: ProcessMark | None) -> str:
    """Name a process for the user. Its number is left out if it means another process here, or none."""
    if mark is None:
        return "unknown"
    return str(mark.pid) if mark.is_here else "in another container or on another machine"


def signal_process(mark: ProcessMark, number: int) -> bool:
    """Send a signal to a process if it still is the one of this mark; return whether it was sent."""
    fd = -1
    if sys.platform == "linux" and hasattr(os, "pidfd_open"):
        try:
            # The pidfd is opened before the check, so that the number cannot become another process's in between.
            fd = os.pidfd_open(mark.pid)
        except ProcessLookupError:
            return False
        except OSError:
            pass
    try:
        if not mark.runs:
            return False
        if sys.platform == "linux" and fd >= 0:
            signal.pidfd_send_signal(fd, number)
        else:
            # On Windows this ends the process at once, as a kill does: every commit is durable by then.
            os.kill(mark.pid, number)
    except ProcessLookupError:
        return False
    finally:
        if fd >= 0:
            os.close(fd)
    return True


def ask_to_end(mark: ProcessMark) -> None:
    """Ask a process by a signal to end, if it still is the one of this mark."""
    signal_process(mark, signal.SIGTERM)
    if sys.platform != "win32":
        # A process that was stopped (SIGSTOP) gets the signal only when it continues.
        signal_process(mark, signal.SIGCONT)


def wait_for_exit(mark: ProcessMark, deadline_s: float) -> bool:
    """Wait until a process is gone, until `deadline_s` of the monotonic clock. Return whether."""
    if sys.platform == "linux" and hasattr(os, "pidfd_open"):
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
                # This also works for a zombie that its parent has not waited for.
                return Ready(reads=[fd]).wait(max(0.0, deadline_s - time.monotonic()))
            finally:
                os.close(fd)
    while time.monotonic() < deadline_s:
        if not mark.runs:
            return True
        time.sleep(_POLL_S)
    return False


def become(command: list[str]) -> NoReturn:
    """Replace this process by another program, whose exit code is then ours."""
    if sys.platform == "win32":
        # There, execv returns to the shell at once while the other program goes on.
        import subprocess

        raise SystemExit(subprocess.call(command))
    os.execv(command[0], command)  # noqa: S606 - no shell wanted


def detached() -> dict[str, Any]:
    """Return the arguments for Popen to start a process that goes on when its terminal or its parent ends."""
    if sys.platform == "win32":
        import subprocess

        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    return {"start_new_session": True}


def end_group(pid: int) -> None:
    """End a process that was started `detached`, and all that it has started in its group, at once."""
    with contextlib.suppress(ProcessLookupError):
        if sys.platform == "win32":
            os.kill(pid, signal.SIGTERM)
        else:
            os.killpg(pid, signal.SIGKILL)


def niceness() -> int:
    """Return the niceness of this process; only root could lower it."""
    if sys.platform == "win32":
        return 0
    return os.getpriority(os.PRIO_PROCESS, 0)


def lift_limits(names: Iterable[str]) -> None:
    """Raise the soft limits of this process, by their names (`RLIMIT_NOFILE`), as far as it may."""
    if sys.platform != "win32":
        import resource

        for name in names:
            if (number := getattr(resource, name, None)) is not None:
                hard = resource.getrlimit(number)[1]
                # On macOS the hard limit for files is higher than what the system gives.
                with contextlib.suppress(ValueError, OSError):
                    resource.setrlimit(number, (hard, hard))


def limits(names: Iterable[str]) -> dict[str, int]:
    """Return the soft limits of this process by their names, without those that limit nothing or are unknown here."""
    found: dict[str, int] = {}
    if sys.platform != "win32":
        import resource

        for name in names:
            if (number := getattr(resource, name, None)) is not None:
                soft = resource.getrlimit(number)[0]
                if soft != resource.RLIM_INFINITY:
                    found[name] = soft
    return found


def _boot() -> str:
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return ""


def _namespace() -> str:
    with contextlib.suppress(OSError):
        return str(Path("/proc/self/ns/pid").readlink())
    return ""


def _started(pid: int) -> str:
    if sys.platform == "win32":
        return _created(pid)
    with contextlib.suppress(OSError, IndexError):
        # The name of the program, in brackets, may hold anything; the field is the 22nd (proc_pid_stat(5)).
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        state, *fields = status.rpartition(")")[2].split()
        return "" if state == "Z" else fields[18]
    if sys.platform == "darwin":
        import subprocess

        told = subprocess.run(
            ["/bin/ps", "-o", "lstart=", "-p", str(pid)],
            capture_output=True,
            text=True,
            check=False,
        )
        return told.stdout.strip()
    return ""


def _created(pid: int) -> str:
    """Return when a process that runs on Windows was created, in units of 100 ns; empty if there is none."""
    if sys.platform != "win32":
        return ""
    import ctypes

    kernel = ctypes.WinDLL("kernel32")
    kernel.OpenProcess.restype = ctypes.c_void_p
    handle = ctypes.c_void_p(kernel.OpenProcess(_QUERY, False, pid))
    if handle.value is None:
        return ""
    try:
        code = ctypes.c_ulong()
        created, *others = (ctypes.c_ulonglong() for _ in range(4))
        told = kernel.GetExitCodeProcess(handle, ctypes.byref(code)) and kernel.GetProcessTimes(
            handle, ctypes.byref(created), *map(ctypes.byref, others)
        )
        return str(created.value) if told and code.value == _STILL_ACTIVE else ""
    finally:
        kernel.CloseHandle(handle)
