"""People with homes of their own, their nodes as processes, and the command line run as a user runs it.

    alice.cli("send-net", "--contact", "bob", "hello")      # a process, --json, exit code 0 demanded
    await alice.start()                                     # a node behind a link (peerpost.demo)

Everything lies in one temporary folder; `leave_nothing` ends what still runs in it and says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peerpost.demo.person import Person
from peerpost.demo.proxy import Faults, Link
from peerpost.errors import PeerpostError

__all__ = [
    "WAIT_S",
    "Done",
    "Faults",
    "Friend",
    "Link",
    "Traffic",
    "content",
    "digest",
    "leave_nothing",
    "meet",
    "processes_in",
    "until",
]

WAIT_S = 60.0
"""Longest that anything may take, on a slow and busy machine."""
CONFIG = """
[network]
listen = ["/ip4/127.0.0.1/tcp/0"]
[storage]
ballast = "64KiB"
min_free = 0
[node]
idle_exit = "{idle_exit}"
[security]
kdf_memory = "64MiB"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A command that has ended."""

    code: int
    out: bytes
    err: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        """What it printed, an object a line."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def row(self) -> dict[str, Any]:
        """The one object it printed."""
        (row,) = self.rows
        return row

    @property
    def error(self) -> dict[str, Any]:
        """What it said went wrong: code, message and hint."""
        found: dict[str, Any] = json.loads(self.err.splitlines()[-1])["error"]
        assert set(found) == {"code", "message", "hint"}, found
        return found


class Friend(Person):
    """Somebody with a home, a command line and, when started, a node behind a link."""

    def __init__(self, name: str, folder: Path, *, idle_exit: str = "60s") -> None:
        super().__init__(name, folder)
        self.home.mkdir(mode=0o700, exist_ok=True)
        self.configure(idle_exit=idle_exit)

    def configure(self, *, idle_exit: str) -> None:
        """Write the configuration for the next node that starts."""
        config = CONFIG.format(idle_exit=idle_exit)
        (self.home / "config.toml").write_text(config, encoding="utf-8")

    # -- the command line

    async def cli(
        self, *arguments: str, code: int | None = 0, stdin: bytes | None = None, wrap: Any = ()
    ) -> Done:
        """Run a command with --json and wait for its end; `code` is the exit code it must have."""
        command = [*wrap, sys.executable, "-m", "peerpost.cli", "--home", str(self.home), "--json"]
        process = await asyncio.create_subprocess_exec(
            *command,
            *arguments,
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(WAIT_S):
                out, err = await process.communicate(stdin)
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            raise
        done = Done(code=process.returncode or 0, out=out, err=err.decode())
        assert code is None or done.code == code, f"{arguments}: {done}"
        return done

    async def run_node(self, *arguments: str) -> asyncio.subprocess.Process:
        """Start `node run` by the command line, wait for its ready line, and return the process."""
        with (self.home / "run.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "peerpost.cli", "--home", str(self.home), "--json"),
                *("node", "run", *arguments),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert process.stdout is not None
        async with asyncio.timeout(WAIT_S):
            line = await process.stdout.readline()
        ready = json.loads(line)
        assert ready["event"] == "ready", ready
        assert {"peer_id", "addresses", "control", "metrics"} <= set(ready)
        return process

    async def node_pid(self) -> int | None:
        """Return the process id of the node, or None if none runs."""
        try:
            return int((await self.ask("node.status"))["pid"])
        except PeerpostError:
            return None

    # -- by its node, quicker than a process for each

    async def queue_file(self, contact: str, name: str, data: bytes) -> str:
        """Queue a file and return the entry's id."""
        path = self.home.parent / f"source-{name}"
        path.write_bytes(data)
        file = {"name": name, "fd_index": 0, "path_hint": str(path), "size": len(data)}
        with path.open("rb") as source:
            entry = await self.ask(
                "send-net", {"contact": contact, "file": file}, fds=(source.fileno(),)
            )
        return str(entry["id"])

    async def delivered(self, id_: str) -> None:
        """Wait until an entry is delivered, and fail at once where it never will be."""

        async def settled() -> bool:
            entry = await self.ask("sent.show", {"id": id_})
            assert entry["state"] in {"queued", "sent", "delivered"}, entry
            return bool(entry["state"] == "delivered")

        await until(settled)

    async def saved(self, id_: str) -> bytes:
        """Return the bytes of what was received."""
        with tempfile.TemporaryFile() as file:
            await self.ask("inbox.save", {"id": id_}, fds=(file.fileno(),))
            file.seek(0)
            return file.read()

    # -- what lies in the home

    async def texts(self) -> list[str]:
        """Return the texts in the inbox, the oldest first; starts no node."""
        found = await self.ask("inbox.list", {"limit": 100_000})
        return [item["preview"] for item in reversed(found)]

    async def state(self) -> dict[str, Any]:
        """Return all that a refused command must not have changed."""
        asked = ("identity.show", "contacts.list", "queue.list", "sent.list", "inbox.list")
        found: dict[str, Any] = {method: await self.ask(method) for method in asked}
        for row in (*found["queue.list"], *found["sent.list"]):
            for key in ("attempts", "next_attempt", "last_error"):
                del row[key]  # of the dialling, which goes on
        return found

    def log_text(self) -> str:
        """Return what its nodes have logged."""
        logs = (self._log, self.home / "node.log", self.home / "run.log")
        return "\n".join(log.read_text(errors="replace") for log in logs if log.exists())


class Traffic:
    """What crosses the links of two people, whoever dialled."""

    def __init__(self, sender: Friend, receiver: Friend) -> None:
        self._links = (sender.link, receiver.link)
        self._before = self._towards()

    def _towards(self) -> int:
        sender, receiver = self._links
        return receiver.forwarded_bytes + sender.returned_bytes

    @property
    def towards_bytes(self) -> int:
        """Bytes that have gone towards the receiver since this was made."""
        return self._towards() - self._before


async def meet(host: Friend, guest: Friend) -> None:
    """Make both contacts of each other by one ticket, over running nodes."""
    invited = await host.ask("contacts.invite", {"name": guest.name, "expires_s": 3600})
    await guest.ask("contacts.add", {"name": host.name, "ticket": invited["ticket"]})

    async def active() -> bool:
        return (await guest.ask("contacts.show", {"name": host.name}))["state"] == "active"

    await until(active)


async def until(
    condition: Callable[[], Awaitable[object]], *, timeout_s: float = WAIT_S, step_s: float = 0.05
) -> None:
    """Wait until a condition holds."""
    try:
        async with asyncio.timeout(timeout_s):
            while not await condition():  # noqa: ASYNC110 - of another process
                await asyncio.sleep(step_s)
    except TimeoutError:
        raise AssertionError(f"{condition.__qualname__} did not come in {timeout_s:g} s") from None


def content(size: int, seed: int = 1) -> bytes:
    """Return bytes that no compression or pattern makes easier."""
    return random.Random(seed).randbytes(size)


def digest(data: bytes) -> str:
    """Return the BLAKE2b-256 that `inbox show` gives of a file."""
    return hashlib.blake2b(data, digest_size=32).hexdigest()


def processes_in(folder: Path) -> Iterator[tuple[int, str]]:
    """Yield (process id, command line) of every live process that works in a folder."""
    place = re.compile(f"{re.escape(str(folder))}(/| |$)")
    for pid, command in _processes():
        if pid != os.getpid() and place.search(command):
            yield pid, command


def _processes() -> Iterator[tuple[int, str]]:
    """Yield all processes but those that have ended and wait for their parent."""
    proc = Path("/proc")
    if not (proc / "self" / "cmdline").exists():
        listed = subprocess.check_output(["ps", "-A", "-ww", "-o", "pid=,command="], text=True)
        yield from (
            (int(pid), rest) for pid, rest in (x.split(maxsplit=1) for x in listed.splitlines())
        )
        return
    for entry in proc.iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                # Of one that has ended, nothing is left of the command line.
                arguments = (entry / "cmdline").read_bytes().split(b"\0")
                yield int(entry.name), os.fsdecode(b" ".join(arguments))


def leave_nothing(folder: Path, *, patience_s: float = 10.0) -> list[str]:
    """End the nodes that commands have started in a folder; return those that would not leave."""
    for pid, _ in processes_in(folder):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    deadline_s = time.monotonic() + patience_s
    while (left := list(processes_in(folder))) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    for pid, _ in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return [command for _, command in left]
