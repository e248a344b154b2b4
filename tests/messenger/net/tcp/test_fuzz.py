"""Random and mutated bytes at each layer, from strangers and from a contact, while another contact goes on talking.

The node and that contact run in processes of their own, so that what is measured is theirs. PEERPOST_FUZZ=10000 runs
so many inputs for each layer and sender (with PEERPOST_DEADLINE_S=1500, `--timeout 1500`, and `-rP` for the figures).
"""

from __future__ import annotations

import asyncio
import itertools
import os
import random
import statistics
import sys
from collections.abc import Callable

import psutil
import pytest

from peerpost.errors import PeerpostError
from tests.support.hostile_net import (
    ACK,
    AGREE,
    DATA,
    FIN,
    MULTISTREAM,
    RST,
    SYN,
    RawPeer,
    frame,
    line,
    raw_connection,
)
from tests.support.net_rig import CHAT, HELLO, on_loop
from tests.support.subject import OURS, Subject, subject

FUZZ = int(os.environ.get("PEERPOST_FUZZ", "0"))
SHORT = {"tcp": 150}
GROWTH_BYTES = 30_000_000
MEDIAN_S, SLOWEST_S = 0.05, 5.0
"""Of the contact's echoes; far more than they take, because the machine has other work too."""


def spoilt(draw: random.Random, good: bytes) -> bytes:
    """Flip a bit or some, and cut; or leave it as it is."""
    data = bytearray(good)
    for _ in range(draw.choice([0, 0, 1, 3])):
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return bytes(data[: draw.randrange(1, len(data) + 1)])


def before_noise(draw: random.Random) -> bytes:
    return draw.choice([b"", MULTISTREAM, MULTISTREAM + line(b"/noise")]) + draw.randbytes(
        draw.randrange(2000)
    )


def records(draw: random.Random) -> bytes:
    """Return what stands for records, and is none."""
    return draw.choice([b"", b"\x00\x20", b"\xff\xff"]) + draw.randbytes(draw.randrange(1, 2000))


def frames(draw: random.Random) -> bytes:
    """Return frames that are almost right."""
    good = [frame(DATA, SYN, 1, AGREE)]
    for _ in range(draw.randrange(12)):
        kind, flags = draw.randrange(4), draw.choice([0, 0, SYN, ACK, FIN, RST, FIN | RST])
        number = draw.choice([0, 1, 1, 1, 2, 3, 5])
        if kind == DATA:
            good.append(frame(DATA, flags, number, draw.randbytes(draw.randrange(300))))
        else:
            good.append(frame(kind, flags, number, draw.choice([0, 1, 2**31, 2**32 - 1])))
    return spoilt(draw, b"".join(good))


def streams(draw: random.Random) -> bytes:
    """Return frames that are right, of a stream whose opening is almost right."""
    text = MULTISTREAM + line(draw.choice([CHAT, HELLO, "/ipfs/id/1.0.0", "ls"]).encode())
    said = spoilt(draw, text + draw.randbytes(draw.randrange(300)))
    cut = draw.randrange(len(said))
    return frame(DATA, SYN, 1, said[:cut]) + frame(DATA, draw.choice([0, FIN]), 1, said[cut:])


LAYERS: dict[str, Callable[[random.Random], bytes]] = {
    "tcp": before_noise,
    "records": records,
    "frames": frames,
    "streams": streams,
}
CASES = [
    ("tcp", "nobody"),
    *itertools.product(["records", "frames", "streams"], ["stranger", "contact"]),
]


async def attack(node: Subject, layer: str, who: str, count: int) -> None:
    draw = random.Random(f"{layer} {who}")
    for number in range(count):
        data = LAYERS[layer](draw)
        if layer == "tcp":
            _, writer = await raw_connection(node)
            writer.write(data)
            await asyncio.sleep(0)
            draw.choice([writer.transport.abort, writer.close])()
            continue
        try:
            name = f"stranger {number % 12}" if who == "stranger" else "mallory"
            peer = await RawPeer.dial(node, name)
        except PeerpostError:
            continue  # All its places are taken by those before it.
        if layer == "records":
            await peer.send_raw(data)
        else:
            cut = draw.randrange(len(data))
            await peer.send(data[:cut], data[cut:])
        await asyncio.sleep(0)
        peer.close()


@pytest.mark.parametrize(("layer", "who"), CASES)
@on_loop
async def test_nonsense_harms_nobody_else(layer: str, who: str) -> None:
    async with subject(OURS, "serve") as node, subject(OURS, "use") as contact:
        assert (await contact.ask("dial", node.peer_id, node.addresses, 5))[0]
        idle_s = await contact.ask("echo", 50, 0.002)
        process = psutil.Process(node.process.pid)
        before = process.memory_info().rss
        attacking = asyncio.ensure_future(attack(node, layer, who, FUZZ or SHORT.get(layer, 30)))
        took_s = await contact.ask("echo", 10, 0.002)
        while not attacking.done():
            took_s += await contact.ask("echo", 50, 0.002)
        await attacking
        grown = process.memory_info().rss - before
        report(layer, who, idle_s, took_s, grown)
        assert grown < GROWTH_BYTES
        assert statistics.median(took_s) < MEDIAN_S
        assert max(took_s) < SLOWEST_S
        # A new connection finds its place as well.
        assert (await contact.ask("dial", node.peer_id, node.addresses, 5))[0]


def report(layer: str, who: str, idle_s: list[float], took_s: list[float], grown: int) -> None:
    """Tell the figures of a long run."""
    told = [f"{1000 * f(t):.1f}" for t in (idle_s, took_s) for f in (statistics.median, max)]
    sys.stdout.write(
        f"{layer} from {who}: echo p50 and most {told[0]}, {told[1]} ms before,"
        f" {told[2]}, {told[3]} ms beside it ({len(took_s)} echoes); RSS +{grown / 1e6:.1f} MB\n"
    )
