"""Ours against js-libp2p, in both directions; skipped where Node.js is absent."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from peerpost.net.tcp.transport import LibP2PTransport
from tests.support import js_libp2p
from tests.support.net_rig import (
    CHAT,
    LOOPBACK,
    PROTOCOLS,
    everybody,
    on_loop,
    pattern,
    read_all,
    read_exactly,
    running,
    seed,
    serve_echo,
)
from tests.support.peer_process import peer_process, said

SIZE = 10_000_000
PING, IDENTIFY = "/ipfs/ping/1.0.0", "/ipfs/id/1.0.0"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the peer's script, beside all that it needs."""
    try:
        return js_libp2p.install(tmp_path_factory.mktemp("js"))
    except js_libp2p.NotHereError as error:
        pytest.skip(f"js-libp2p is not tried: {error}")


def js(
    script: Path, *arguments: str
) -> contextlib.AbstractAsyncContextManager[asyncio.subprocess.Process]:
    return peer_process("node", script, *arguments)


def transport() -> LibP2PTransport:
    return LibP2PTransport(seed("ours"), [LOOPBACK], everybody, PROTOCOLS)


@on_loop
async def test_ours_dials_js(script: Path) -> None:
    ours = transport()
    async with js(script, "serve") as peer, running(ours):
        peer_id, address = await said(peer)
        connection = await ours.dial(peer_id, [address])
        stream = await connection.open_stream(CHAT)
        data = pattern(SIZE)

        async def send() -> None:
            for at in range(0, SIZE, 100_000):
                await stream.write(data[at : at + 100_000])
            await stream.close_write()

        echoed, _ = await asyncio.gather(read_all(stream), send())
        assert echoed == data
        # It answered our ping of the connection.
        assert connection._yamux.rtt_s is not None


@on_loop
async def test_js_dials_ours(script: Path) -> None:
    ours = transport()
    async with running(ours):
        address = f"{ours.addresses[0]}/p2p/{ours.peer_id}"
        async with js(script, "talk", address, str(SIZE)) as peer:
            connection = await ours.accept()
            serving = asyncio.ensure_future(serve_echo(connection))
            assert await said(peer) is True
            connection.abort()
            await serving


@on_loop
async def test_ours_asks_js(script: Path) -> None:
    """Its ping and its identify work over our connection."""
    ours = transport()
    async with js(script, "serve") as peer, running(ours):
        peer_id, address = await said(peer)
        connection = await ours.dial(peer_id, [address])
        ping = await connection.open_stream(PING)
        for number in range(3):
            await ping.write(bytes([number]) * 32)
            assert await read_exactly(ping, 32) == bytes([number]) * 32
        await ping.close()
        identity = await read_all(await connection.open_stream(IDENTIFY))
        assert CHAT.encode() in identity
        assert IDENTIFY.encode() in identity


@on_loop
async def test_js_asks_ours(script: Path) -> None:
    """Ours tells nobody what it is or speaks: both are refused, and the connection goes on."""
    ours = transport()
    async with running(ours):
        address = f"{ours.addresses[0]}/p2p/{ours.peer_id}"
        async with js(script, "ask", address) as peer:
            connection = await ours.accept()
            serving = asyncio.ensure_future(serve_echo(connection))
            refused = "UnsupportedProtocolError"
            assert await said(peer) == [refused, refused, "still there?"]
            connection.abort()
            await serving
