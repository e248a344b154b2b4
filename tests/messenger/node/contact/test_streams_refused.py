"""A second stream of a protocol is refused alone: the session goes on, and nothing unread piles up."""

from __future__ import annotations

from pathlib import Path

import pytest

from peerpost.net.interface import Connection, ConnectionLostError
from peerpost.net.tcp.transport import LibP2PTransport
from peerpost.node.session.session import BULK_PROTOCOL, HELLO_PROTOCOL, URGENT_PROTOCOL
from tests.support.net_rig import on_loop
from tests.support.network_rig import Somebody, acquainted, until


async def _use(connection: Connection, protocol: str) -> None:
    stream = await connection.open_stream(protocol)
    await stream.write(bytes(60_000))
    await stream.read()


async def _refused(opener: Somebody, other: Somebody) -> None:
    session, far = opener.peer.session, other.peer.session
    assert session is not None
    assert far is not None
    for protocol in (URGENT_PROTOCOL, BULK_PROTOCOL, HELLO_PROTOCOL) * 30:
        with pytest.raises(ConnectionLostError):
            await _use(session.connection, protocol)
    entry = await opener.queue("it goes on")
    await until(lambda: opener.delivered(entry))
    assert opener.peer.session is session
    assert other.peer.session is far


@pytest.mark.parametrize("make", [LibP2PTransport, None])
@pytest.mark.parametrize("dialer", [True, False])
def test_more_streams_are_reset_one_by_one(
    tmp_path: Path, make: type[LibP2PTransport] | None, dialer: bool
) -> None:
    @on_loop
    async def run() -> None:
        async with acquainted(tmp_path, "alice", "bob", make=make) as (alice, bob):
            await _refused(*((alice, bob) if dialer else (bob, alice)))

    run()
