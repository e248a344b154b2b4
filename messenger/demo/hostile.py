"""A node whose uploads lie: chunks flipped, dropped, cut short and repeated, sealed and framed as they should be.

It is a contact with keys of its own and speaks the real protocol. Only the content is wrong, so that it exercises the
checks behind the envelope. Each chunk is spoiled at most once, or nothing would ever be delivered. HOME/hostile.txt
lists what was done.
"""

from __future__ import annotations

import sys
from collections import Counter

from peerpost.node.daemon import main
from peerpost.node.files.pipes import Pipe
from peerpost.node.files.spool import Spool
from peerpost.node.files.transfers import Transfers
from peerpost.node.files.upload import Upload
from peerpost.node.node import Node
from peerpost.node.services import Services
from peerpost.protocol.transfer import SendChunk
from peerpost.store.tables.transfers import Transfer

__all__ = ["HostileNode"]

TRICKS = ("corrupted", "dropped", "cut short", "sent twice")
SEGMENT_BYTES = 52_432
"""Each chunk has several segments, so that one can be left out."""
SPOIL_EVERY = 5
"""One of so many chunks is spoiled, each time in another way."""


class _HostileUpload(Upload):
    def __init__(
        self, services: Services, row: Transfer, spool: Spool, pipe: Pipe | None = None
    ) -> None:
        super().__init__(services, row, spool, pipe)
        self._report = services.home / "hostile.txt"
        self._spoiled: set[int] = set()
        self._done: Counter[str] = Counter()

    def frames(self, chunk: SendChunk, segment_bytes: int) -> list[tuple[bytes, memoryview]]:
        """Spoil a chunk the first time it is asked for."""
        frames = super().frames(chunk, min(segment_bytes, SEGMENT_BYTES))
        if chunk.index % SPOIL_EVERY or chunk.index in self._spoiled:
            return frames
        trick = TRICKS[chunk.index // SPOIL_EVERY % len(TRICKS)]
        self._tell(chunk.index, trick)
        if trick == "corrupted":
            head, data = frames[0]
            wrong = bytes(data[:-1]) + bytes([data[-1] ^ 1])
            return [(head, memoryview(wrong)), *frames[1:]]
        if trick == "dropped":
            return []
        return frames[:-1] if trick == "cut short" else frames * 2

    def _tell(self, index: int, trick: str) -> None:
        self._spoiled.add(index)
        self._done[trick] += 1
        told = ", ".join(f"{count} {name}" for name, count in self._done.items())
        self._report.write_text(f"of its chunks Alice sent {told}\n", encoding="utf-8")


class _HostileTransfers(Transfers):
    upload_class = _HostileUpload


class HostileNode(Node):
    """A node that speaks the protocol correctly and sends wrong content."""

    transfers_class = _HostileTransfers


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], HostileNode))
