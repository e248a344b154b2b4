"""One person of the demonstration: a home, a node in a process of its own, and a link in front of it."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import orjson

from peerpost.client.ask import call
from peerpost.client.connection import OnEvent
from peerpost.errors import UnavailableError

from .proxy import Link

__all__ = ["Person"]

READY_TIMEOUT_S = 60.0


class Person:
    """Somebody with a node."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.home = folder / name
        self.link = Link(0)
        self._process: asyncio.subprocess.Process | None = None
        self._log = folder / f"{name}.log"

    async def start(self, module: str = "peerpost.node") -> None:
        """Start the node, reachable only through the link. Raises UnavailableError."""
        if not self.link.port:
            await self.link.start()
        await self.launch(
            *(sys.executable, "-m", module, "run", "--home", str(self.home), "--json"),
            PEERPOST__NETWORK__LISTEN='["/ip4/127.0.0.1/tcp/0"]',
            PEERPOST__NETWORK__ANNOUNCE=f'["/ip4/127.0.0.1/tcp/{self.link.port}"]',
        )

    async def launch(self, *command: str, **settings: str) -> None:
        """Start the node by a command, with settings in its environment. Raises UnavailableError."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env=dict(os.environ) | settings,
            )
        await self._await_ready()

    async def _await_ready(self) -> None:
        process = self._process
        if process is None or process.stdout is None:
            raise UnavailableError(f"the node of {self.name} was not started")
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                line = await process.stdout.readline()
        except TimeoutError:
            line = b""
        if not line:
            tail = self._log.read_text(errors="replace")[-2000:]
            raise UnavailableError(f"the node of {self.name} did not start:\n{tail}")
        self._aim(orjson.loads(line)["addresses"])

    def _aim(self, addresses: list[str]) -> None:
        for address in addresses:
            self.link.target_port = int(address.rsplit("/", 1)[1])

    async def create(self) -> None:
        """Make the identity and wait until the node listens. Raises UnavailableError."""
        await self.ask("identity.new", {"name": self.name, "protect": "none"})
        async with asyncio.timeout(READY_TIMEOUT_S):
            while not (status := await self.ask("node.status"))["addresses"]:
                await asyncio.sleep(0.05)
        self._aim(status["addresses"])

    async def ask(
        self, method: str, params: dict[str, Any] | None = None, *,
        fds: tuple[int, ...] = (), on_event: OnEvent | None = None,
    ) -> Any:  # fmt: skip
        """Call a method of the node, as the command line does."""
        return await asyncio.to_thread(
            call, self.home, method, params or {}, fds=fds, spawn=False, on_event=on_event
        )

    async def kill(self) -> None:
        """End the node as a power cut would: no goodbye."""
        await self._end(kills=True)

    async def stop(self) -> None:
        """Ask the node to leave."""
        await self._end()

    async def close(self) -> None:
        """Stop the node and the link."""
        await self._end()
        await self.link.stop()

    async def _end(self, *, kills: bool = False) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            process.kill() if kills else process.terminate()
        try:
            async with asyncio.timeout(20):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
