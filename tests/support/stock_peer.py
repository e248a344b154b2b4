"""py-libp2p as it comes, host and yamux and all.

`python -m tests.support.stock_peer PEER_ID ADDRESS BYTES STREAMS` dials, echoes so many bytes over each of so many
streams at once, and prints whether it all came back, and then how often it had to read.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Callable
from typing import Any

import multiaddr
import trio
from libp2p import new_host
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_key_pair
from libp2p.custom_types import TProtocol
from libp2p.network.config import ConnectionConfig
from libp2p.network.stream.exceptions import StreamEOF
from libp2p.peer.peerinfo import info_from_p2p_addr
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE
from libp2p.security.noise.transport import Transport as Noise

CHAT = TProtocol("/test/chat/1")


def say(what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def host(*, default: bool = False, slots: int = 0, seed: bytes | None = None) -> Any:
    """Return a host as it comes, or with Noise alone; with `slots`, for so many inbound connections."""
    keys = create_new_key_pair(seed)
    room = {"min_connections": 0, "low_watermark": 0, "high_watermark": slots}
    config = ConnectionConfig(max_connections=slots, **room) if slots else None
    noise = Noise(keys, noise_privkey=create_noise_key_pair().private_key)
    secure = None if default else {NOISE: noise}
    return new_host(key_pair=keys, sec_opt=secure, connection_config=config)


async def read_until_end(stream: Any, use: Callable[[bytes], Any]) -> int:
    """Return how many reads it took."""
    count = 0
    with contextlib.suppress(StreamEOF):
        while data := await stream.read(262144):
            count += 1
            use(data)
    return count


async def talk(peer_id: str, address: str, size: int, streams: int) -> None:
    peer = host()
    data = os.urandom(size)
    results: list[bool] = []
    reads: list[int] = []

    async def one() -> None:
        stream = await peer.new_stream(info.peer_id, [CHAT])
        seen = hashlib.sha256()

        async def write() -> None:
            for at in range(0, size, 65536):
                await stream.write(data[at : at + 65536])
            await stream.close_write()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            reads.append(await read_until_end(stream, seen.update))
        await stream.close()
        results.append(seen.digest() == hashlib.sha256(data).digest())

    async with peer.run(listen_addrs=[]):
        info = info_from_p2p_addr(multiaddr.Multiaddr(f"{address}/p2p/{peer_id}"))
        await peer.connect(info)
        async with trio.open_nursery() as nursery:
            for _ in range(streams):
                nursery.start_soon(one)
        say(results)
        say(sum(reads))
    os._exit(0)


if __name__ == "__main__":
    trio.run(talk, sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
