"""Two homes and their nodes for a benchmark, joined by a ticket, and a quick way to speak to them."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

CONFIG = '[network]\nlisten = ["/ip4/127.0.0.1/tcp/0"]\n[storage]\naccept = "1TiB"\n'


def command(home: Path, *arguments: str) -> list[str]:
    """Return the command line for a home."""
    return [sys.executable, "-m", "peerpost.cli", "--home", str(home), "--json", *arguments]


class Pair:
    """Alice, who knows Bob; each home may lie on a disk of its own."""

    def __init__(
        self, alice: Path, bob: Path, nodes: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        """`nodes` are command lines to run a home's node with, to which its options are added."""
        self.homes = {"alice": alice / "alice", "bob": bob / "bob"}
        self._nodes = nodes or {}
        self._started: list[subprocess.Popen[bytes]] = []
        self.pids: dict[str, int] = {}

    def command(self, home: str, *arguments: str) -> list[str]:
        """Return the command line for one of them."""
        return command(self.homes[home], *arguments)

    def run(self, home: str, *arguments: str) -> list[dict[str, Any]]:
        """Run a command and return the objects it prints."""
        done = subprocess.run(
            self.command(home, *arguments), capture_output=True, check=False, text=True
        )
        if done.returncode:
            raise RuntimeError(f"peerpost {' '.join(arguments)}: {done.stderr}")
        return [json.loads(line) for line in done.stdout.splitlines()]

    def __enter__(self) -> Self:
        for name, home in self.homes.items():
            home.mkdir(mode=0o700)
            (home / "config.toml").write_text(CONFIG)
            if name in self._nodes:
                self._start(home, self._nodes[name])
            self.run(name, "identity", "new", "--name", name, "--no-passphrase")
        ticket = self.run("alice", "contacts", "invite", "bob")[0]["ticket"]
        self.run("bob", "contacts", "add", "alice", ticket)
        while not self.run("bob", "contacts", "show", "alice")[0]["online"]:
            time.sleep(0.05)
        self.pids = {name: self.run(name, "node", "status")[0]["pid"] for name in self.homes}
        return self

    def __exit__(self, *_: object) -> None:
        for name in self.homes:
            self.run(name, "node", "stop")
        for node in self._started:
            node.wait(timeout=30)

    def _start(self, home: Path, command: Sequence[str]) -> None:
        node = subprocess.Popen(
            [*command, "run", "--home", str(home)],
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._started.append(node)
        while not (home / "control.sock").exists():
            if node.poll() is not None:
                raise RuntimeError(f"the node of {home} ended")
            time.sleep(0.05)


class Client:
    """One connection to a node's control socket, as a bot would hold it."""

    def __init__(self, home: Path) -> None:
        self._path = home / "control.sock"
        self._number = 0
        self._one = asyncio.Lock()
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_unix_connection(self._path, limit=1 << 24)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()

    async def call(self, method: str, **params: Any) -> Any:
        """Return a method's result; its events are passed over. Callers take turns."""
        async with self._one:
            return await self._call(method, params)

    async def _call(self, method: str, params: dict[str, Any]) -> Any:
        self._number += 1
        request = {"jsonrpc": "2.0", "id": self._number, "method": method, "params": params}
        self._writer.write(json.dumps(request).encode() + b"\n")
        while True:
            answer = json.loads(await self._reader.readline())
            if answer.get("id") == self._number and "method" not in answer:
                if "error" in answer:
                    raise RuntimeError(answer["error"])
                return answer["result"]
