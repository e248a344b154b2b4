"""A peer in a process of its own: `python -m tests.support.net_peer NAME`.

It prints its address, and echoes; on a stream for FILE it sends for ever and reads nothing, on one for HELLO it sends
`GREETING_BYTES`. SIGINT and SIGTERM stop its transport, and then it leaves.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from peerpost.net.interface import Connection, ConnectionLostError, Stream, Transport
from peerpost.net.tcp.transport import LibP2PTransport
from tests.support.net_rig import (
    FILE,
    HELLO,
    LOOPBACK,
    PROTOCOLS,
    echo,
    everybody,
    new_loop,
    pattern,
    quietly,
    seed,
)

ROOT = Path(__file__).parents[2]
GREETING_BYTES = 250_000
"""Less than a window, so that all of it is sent at once."""


async def flood(stream: Stream) -> None:
    while True:
        await stream.write(bytes(65536))


async def answer(stream: Stream) -> None:
    if stream.protocol == FILE:
        await flood(stream)
    elif stream.protocol == HELLO:
        await stream.write(pattern(GREETING_BYTES))
    else:
        await echo(stream)


async def serve(connection: Connection) -> None:
    async with asyncio.TaskGroup() as group:
        with contextlib.suppress(ConnectionLostError):
            while True:
                group.create_task(quietly(answer(await connection.accept_stream())))


async def serve_all(transport: Transport) -> None:
    async with asyncio.TaskGroup() as group:
        with contextlib.suppress(ConnectionLostError):
            while True:
                group.create_task(serve(await transport.accept()))


async def main(name: str) -> None:
    transport = LibP2PTransport(seed(name), [LOOPBACK], everybody, PROTOCOLS)
    await transport.start()
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        # As the node has it; Windows knows no such handlers.
        with contextlib.suppress(NotImplementedError):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    serving = asyncio.ensure_future(serve_all(transport))
    sys.stdout.write(json.dumps([transport.peer_id, *transport.addresses]) + "\n")
    sys.stdout.flush()
    await stopped.wait()
    await transport.stop()
    await serving


@contextlib.asynccontextmanager
async def process(name: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str, list[str]]]:
    """Start such a peer; yield its process, its peer id and its addresses."""
    peer = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.net_peer", name),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert peer.stdout is not None
        peer_id, *addresses = json.loads(await asyncio.wait_for(peer.stdout.readline(), 30))
        yield peer, peer_id, addresses
    finally:
        with contextlib.suppress(ProcessLookupError):
            peer.kill()
        await peer.wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main(sys.argv[1]))
