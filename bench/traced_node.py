"""A node that notes when each text is handed to its scheduler, when it has opened one, and when a receipt came.

    python bench/traced_node.py TRACE real|fifo run --home DIR ...

It is the shipped node except for these notes, which it writes to the file TRACE when it ends, and for the scheduler if
`fifo` is given. The clock is the system's monotonic one, the same for both nodes.
"""

from __future__ import annotations

import functools
import json
import sys
import time
from pathlib import Path
from typing import Any

from peerpost.node import daemon
from peerpost.node.contact.exchange import Exchange
from peerpost.node.session import rates as limits
from peerpost.node.session.session import Session
from peerpost.node.session.turns import Dispatcher
from peerpost.wire import inner as wire

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from tests.support.fifo import Fifo

handed: list[tuple[bytes, int]] = []
opened: list[tuple[int, int]] = []
receipts: list[tuple[int, int]] = []
"""For urgent texts: the number up to which all are on the peer's disk, and when the receipt came."""


def note_handed(send: Any) -> Any:
    """Wrap `Session.send`."""

    def wrapped(self: Session, lane: wire.Lane, inner: bytes, *, messages: int = 0) -> None:
        if messages and lane is wire.Lane.URGENT:
            handed.append((inner, time.monotonic_ns()))
        send(self, lane, inner, messages=messages)

    return wrapped


def note_opened(on_inner: Any) -> Any:
    """Wrap `Exchange.on_inner`, which takes what one read of a lane brought."""

    def wrapped(self: Exchange, session: Session, lane: wire.Lane, batch: list[Any]) -> Any:
        now_ns = time.monotonic_ns()
        if lane is wire.Lane.URGENT:
            for message in (received.message for received in batch):
                if isinstance(message, wire.Message):
                    opened.append((message.seq, now_ns))
                elif isinstance(message, wire.Receipt) and message.lane == wire.Lane.URGENT:
                    receipts.append((message.watermark, now_ns))
        return on_inner(self, session, lane, batch)

    return wrapped


def seq_of(inner: bytes) -> int:
    message = wire.decode(inner)
    return message.seq if isinstance(message, wire.Message) else 0


def main() -> int:
    trace, scheduler, *arguments = sys.argv[1:]
    Session.send = note_handed(Session.send)  # type: ignore[method-assign]
    Exchange.on_inner = note_opened(Exchange.on_inner)  # type: ignore[method-assign]
    if scheduler == "fifo":
        limits.Dispatcher = functools.partial(Dispatcher, Fifo())  # type: ignore[misc, assignment]
    try:
        return daemon.main(arguments)
    finally:
        sent = [(seq_of(inner), at) for inner, at in handed]
        notes = {"handed": sent, "opened": opened, "receipts": receipts}
        Path(trace).write_text(json.dumps(notes), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
