"""Somebody whose home has a passphrase, and what can be seen of a node from outside."""

from __future__ import annotations

import hashlib
from pathlib import Path

import psutil

from tests.support.nodes import Friend, until

__all__ = ["PASSPHRASE", "Protected", "bytes_of"]

PASSPHRASE = "velvet canary under nine green lamps"
"""Nobody else writes these words, so that they can be looked for."""


class Protected(Friend):
    """A friend with a passphrase."""

    async def create(self) -> None:
        """Make the identity with the passphrase, and wait until the node listens."""
        told = {"name": self.name, "protect": "passphrase", "passphrase": PASSPHRASE}
        self.recovery_code = str((await self.ask("identity.new", told))["recovery_code"])
        await self.listens()

    async def listens(self) -> None:
        """Wait until the open home listens, and aim the link there."""

        async def so() -> bool:
            return bool((await self.ask("node.status"))["addresses"])

        await until(so)
        self._aim((await self.ask("node.status"))["addresses"])

    async def unlock(self, passphrase: str = PASSPHRASE) -> None:
        """Unlock the home, as the command line does."""
        await self.ask("identity.unlock", {"passphrase": passphrase})
        await self.listens()

    async def lock(self) -> None:
        """Lock the home."""
        await self.ask("identity.lock")

    async def process(self) -> psutil.Process:
        """Return the process of the node."""
        return psutil.Process(await self.node_pid())

    async def has_open(self) -> list[str]:
        """Return the files of the home, but for its logs and its lock, and the ports that the node has open."""
        process = await self.process()
        plain = {f"{self.name}.log", "node.log", "run.log", "lock"}
        files = {Path(file.path) for file in process.open_files()}
        ports = [f"port {each.laddr.port}" for each in process.net_connections("inet")]
        return [*sorted(file.name for file in files if file.name not in plain), *ports]

    async def has_transport(self) -> bool:
        """Return whether libp2p was ever loaded: it brings native code, which no other part of Peerpost does."""
        return any("coincurve" in part.path for part in (await self.process()).memory_maps())


def bytes_of(home: Path) -> dict[str, tuple[int, str]]:
    """Return the rights and the digest of every file of a home."""
    found = {}
    for path in sorted(home.rglob("*")):
        if path.is_file():
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            found[str(path.relative_to(home))] = (path.stat().st_mode, digest)
    return found
