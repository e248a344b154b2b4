"""Somebody whose node lives on one side of a lab's link, and is reached only over it."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.support.netlab import Lab, Side, before_others
from tests.support.nodes import Friend

__all__ = ["Resident"]


class Resident(Friend):
    """A friend in a network namespace. The control socket is a file, so commands come from outside."""

    def __init__(self, name: str, folder: Path, lab: Lab, side: Side) -> None:
        super().__init__(name, folder)
        self.port = 0
        """To listen on from the next start; 0 for the one that the home has chosen."""
        self._lab, self._side = lab, side

    async def start(self, module: str = "peerpost.node") -> None:
        """Start the node; it finds its own address, as at home."""
        node = (sys.executable, "-m", module, "run", "--home", str(self.home), "--json")
        await self.launch(
            *self._lab.inside(self._side),
            *node,
            PEERPOST__NETWORK__LISTEN=f'["/ip4/0.0.0.0/tcp/{self.port}"]',
            PEERPOST__STORAGE__ACCEPT="1TiB",
        )
        pid = await self.node_pid()
        assert pid is not None
        before_others(pid)
