"""The transport of an open home: loaded when it is needed, and listening where there is a free address."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Mapping, Sequence
from typing import Any

from peerpost.net.interface import Gate, Priority, Transport
from peerpost.node.contact.addresses import with_port
from peerpost.node.session.session import BULK_PROTOCOL, HELLO_PROTOCOL, URGENT_PROTOCOL

from .me import Me

__all__ = ["PROTOCOLS", "begin"]

PROTOCOLS = {
    HELLO_PROTOCOL: Priority.URGENT,
    URGENT_PROTOCOL: Priority.URGENT,
    BULK_PROTOCOL: Priority.BULK,
}
STREAMS = 16
"""What a peer may have open on one connection: it needs three, and unknown ones end at once."""


async def begin(
    me: Me, gate: Gate, addresses: Sequence[str]
) -> tuple[Transport, Mapping[str, str]]:
    """Load libp2p, off the loop because it takes a second, and listen at those addresses that are free.

    Return the transport, and the others with the reason: it goes on trying those, and can dial meanwhile. Raises
    PeerpostError.
    """
    loop = asyncio.get_running_loop()
    module = await loop.run_in_executor(None, importlib.import_module, "peerpost.net.tcp.transport")
    chosen = [with_port(a, me.row.listen_port) for a in addresses or ["/ip4/0.0.0.0/tcp/0"]]
    limits = module.YamuxLimits(streams=STREAMS)
    made: Any = module.LibP2PTransport(
        me.transport.seed, chosen, gate, PROTOCOLS, limits=limits, patient=True
    )
    await made.start()
    return made, made.listen_errors
