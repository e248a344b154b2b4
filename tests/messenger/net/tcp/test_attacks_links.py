"""Links and peers that fail: noticed in time, told from a clean end, and never taken for it."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import signal
import sys
from typing import Any

import psutil
import pytest

from peerpost.net.interface import ConnectionLostError, DialError, Stream, StreamResetError
from peerpost.net.mux.connection import MuxedConnection
from peerpost.net.mux.keepalive import Keepalive
from peerpost.net.mux.yamux import YamuxLimits
from peerpost.net.tcp import transport as libp2p
from peerpost.net.tcp import upgrade
from peerpost.net.tcp.transport import LibP2PTransport
from tests.support import net_peer, stock_net
from tests.support.link import BACK, THERE, Link
from tests.support.net_rig import (
    CHAT,
    FILE,
    LOOPBACK,
    PROTOCOLS,
    Kind,
    echo,
    everybody,
    on_loop,
    pair,
    pattern,
    quietly,
    read_all,
    read_exactly,
    running,
    seed,
)

FROZEN_S = float(os.environ.get("PEERPOST_FROZEN_S", "2.4"))
"""For how long a reader reads nothing; from ten seconds on, with the node's own keepalive."""
SLOW_MB = int(os.environ.get("PEERPOST_SLOW_MB", "40"))
"""How much goes through a slow reader. With much of either, PEERPOST_DEADLINE_S must allow for it."""
HASTY = Keepalive(ask_after_s=0.3, dead_after_s=1.2)
OURS = Kind("libp2p", LibP2PTransport)
either = pytest.mark.parametrize(
    "process", [net_peer.process, stock_net.process], ids=["ours", "stock"]
)
wired = pytest.mark.parametrize(
    "kind",
    [OURS, stock_net.mixed(stock_dials=False), stock_net.mixed(stock_dials=True)],
    ids=lambda kind: kind.name,
)


def transport(name: str, keepalive: Keepalive | None = None) -> LibP2PTransport:
    return LibP2PTransport(seed(name), [LOOPBACK], everybody, PROTOCOLS, keepalive=keepalive)


# -- peers that stop


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGSTOP")
@either
@on_loop
async def test_frozen_peer_is_noticed_idle_reading_and_writing(process: Any) -> None:
    alice = transport("alice", HASTY)
    async with process("bob") as (bob, peer_id, addresses), running(alice):
        idle, reading, writing, receiving = [await alice.dial(peer_id, addresses) for _ in range(4)]
        waiting = await reading.open_stream(CHAT)
        full = await writing.open_stream(FILE)
        flowing = await receiving.open_stream(FILE)
        await read_exactly(flowing, 100_000)

        async def fill() -> None:
            while True:
                await full.write(bytes(65536))

        work = [asyncio.ensure_future(w) for w in (waiting.read(), fill(), read_all(flowing))]
        # While it runs, it answers.
        await asyncio.sleep(1.3 * HASTY.dead_after_s)
        assert not any(w.done() for w in work)
        bob.send_signal(signal.SIGSTOP)
        async with asyncio.timeout(10):
            for connection in (idle, reading, writing, receiving):
                await connection.wait_closed()
        for error in await asyncio.gather(*work, return_exceptions=True):
            assert isinstance(error, ConnectionLostError)
            assert not isinstance(error, StreamResetError)


@either
@on_loop
async def test_killed_peer_is_noticed_at_once(process: Any) -> None:
    alice = transport("alice")
    async with process("bob") as (bob, peer_id, addresses), running(alice):
        connection = await alice.dial(peer_id, addresses)
        chat = await connection.open_stream(CHAT)
        flowing = await connection.open_stream(FILE)
        await read_exactly(flowing, 100_000)
        work = [asyncio.ensure_future(w) for w in (chat.read(), read_all(flowing))]
        bob.kill()
        async with asyncio.timeout(1):
            await connection.wait_closed()
        for error in await asyncio.gather(*work, return_exceptions=True):
            assert isinstance(error, ConnectionLostError)


@on_loop
async def test_reader_that_takes_its_time_is_not_taken_for_dead() -> None:
    """Nor does it hold up another stream; and it loses nothing when it goes on."""
    keepalive = HASTY if FROZEN_S < 10 else Keepalive()
    alice, bob = transport("alice", keepalive), transport("bob", keepalive)
    async with running(alice, bob):
        near = await alice.dial(bob.peer_id, bob.addresses)
        far = await bob.accept()
        stream, slow = await asyncio.gather(near.open_stream(FILE), far.accept_stream())
        chat, answers = await asyncio.gather(near.open_stream(CHAT), far.accept_stream())
        data = pattern(40 * 65536)

        async def fill() -> None:
            for at in range(0, len(data), 65536):
                await stream.write(data[at : at + 65536])
            await stream.close()

        work = [asyncio.ensure_future(w) for w in (fill(), echo(answers))]
        for _ in range(12):
            await asyncio.sleep(FROZEN_S / 12)
            await chat.write(b"meanwhile")
            assert await read_exactly(chat, 9) == b"meanwhile"
        assert not work[0].done()
        assert await read_all(slow) == data
        await chat.close()
        await asyncio.gather(*work)


@pytest.mark.timeout(max(120, SLOW_MB // 4))
@on_loop
async def test_slow_reader_costs_neither_end_more_than_the_window() -> None:
    """However much goes through, and though the writer never stops."""
    alice = transport("alice")
    async with net_peer.process("bob") as (bob, peer_id, addresses), running(alice):
        stream = await (await alice.dial(peer_id, addresses)).open_stream(FILE)
        ends = [psutil.Process(), psutil.Process(bob.pid)]
        await read_exactly(stream, 10_000_000)
        before = [end.memory_info().rss for end in ends]
        grown = [0, 0]
        for _ in range(SLOW_MB):
            await asyncio.sleep(0.01)
            left = 1_000_000
            while left:
                left -= len(await stream.read(left))
            for number, end in enumerate(ends):
                now = end.memory_info().rss - before[number]
                grown[number] = max(grown[number], now)
        assert max(grown) < YamuxLimits().window_bytes + 12_000_000, grown


# -- links that fail


@contextlib.asynccontextmanager
async def linked(kind: Kind = OURS, **options: Any):  # noqa: ANN201
    """Yield a link and who is at its ends; `options` are for ours."""
    alice, bob = kind.new("alice", **options), kind.new("bob", **options)
    async with running(alice, bob), Link(bob.addresses[0]).running() as link:
        yield link, alice, bob


@wired
@on_loop
async def test_segments_of_one_byte(kind: Kind) -> None:
    """On the way to ours: stock gives up a record that comes in more than a hundred pieces."""
    async with linked(kind) as (link, alice, bob):
        for way in kind.to_ours:
            link.pieces_bytes[way] = 1
        near = await alice.dial(bob.peer_id, [link.address])
        far = await bob.accept()
        stream, other = await asyncio.gather(near.open_stream(CHAT), far.accept_stream())
        echoing = asyncio.ensure_future(echo(other))
        await stream.write(pattern(2000))
        await stream.close_write()
        assert await read_all(stream) == pattern(2000)
        await echoing


@wired
@on_loop
async def test_slow_link_is_not_taken_for_a_dead_one(kind: Kind) -> None:
    data = pattern(400_000)
    async with linked(kind, keepalive=HASTY) as (link, alice, bob):
        near = await alice.dial(bob.peer_id, [link.address])
        far = await bob.accept()
        link.bytes_per_s, link.pieces_bytes = 250_000, [5000, 5000]
        stream, other = await asyncio.gather(near.open_stream(FILE), far.accept_stream())

        async def send() -> None:
            await stream.write(data)
            await stream.close_write()

        got, _ = await asyncio.gather(read_all(other), send())
        assert got == data


@on_loop
async def test_silent_link_is_noticed_by_both_ends() -> None:
    async with linked(keepalive=HASTY) as (link, alice, bob):
        near = await alice.dial(bob.peer_id, [link.address])
        far = await bob.accept()
        stream, _ = await asyncio.gather(near.open_stream(CHAT), far.accept_stream())
        await asyncio.sleep(2 * HASTY.dead_after_s)  # Silence alone kills nobody.
        link.freeze()
        async with asyncio.timeout(10):
            await asyncio.gather(near.wait_closed(), far.wait_closed())
        with pytest.raises(ConnectionLostError, match="stopped answering"):
            await stream.read()


@on_loop
async def test_close_flushes_against_a_flood() -> None:
    """A socket that is closed with something unread drops what it has to send."""
    async with linked() as (link, alice, bob):
        near = await alice.dial(bob.peer_id, [link.address])
        far = await bob.accept()
        down, flood = await asyncio.gather(near.open_stream(FILE), far.accept_stream())
        up, receiver = await asyncio.gather(near.open_stream(CHAT), far.accept_stream())
        link.bytes_per_s, link.pieces_bytes = 400_000, [4000, 4000]

        async def fill() -> None:
            while True:
                await flood.write(bytes(65536))

        async def drain() -> None:
            while await down.read():
                pass

        work = [asyncio.ensure_future(quietly(w)) for w in (fill(), drain())]
        await asyncio.sleep(0.2)
        await up.write(pattern(150_000))
        await up.close_write()
        data, _ = await asyncio.gather(read_all(receiver), near.close())
        assert data == pattern(150_000)
        await asyncio.gather(*work)


@on_loop
async def test_urgent_protocols_go_first_at_both_ends() -> None:
    async with linked() as (link, alice, bob):
        near = await alice.dial(bob.peer_id, [link.address])
        far = await bob.accept()
        for protocol, priority in PROTOCOLS.items():
            await asyncio.gather(near.open_stream(protocol), far.accept_stream())
            for end in (near, far):
                assert list(end._yamux._streams.values())[-1].priority is priority


async def until_error(stream: Stream, size: int) -> ConnectionLostError:
    """Return why a stream broke off before its end."""
    got = 0
    try:
        while piece := await stream.read():
            got += len(piece)
    except ConnectionLostError as error:
        assert got < size
        return error
    pytest.fail(f"{got} of {size} bytes, and that looks like a clean end")


@pytest.mark.parametrize("way", [THERE, BACK])
@pytest.mark.parametrize("how", ["end", "reset", "flip"])
@pytest.mark.parametrize("after_bytes", [1, 17, 1000, 70_000, 199_900])
@on_loop
async def test_truncated_stream_never_looks_like_a_clean_end(
    way: int, how: str, after_bytes: int
) -> None:
    async with linked() as (link, alice, bob):
        near = await alice.dial(bob.peer_id, [link.address])
        far = await bob.accept()
        ends = await asyncio.gather(near.open_stream(FILE), far.accept_stream())
        sender, receiver = ends if way == THERE else reversed(ends)
        await asyncio.sleep(0.01)  # The first pings are over.
        link.gently = how == "end"
        at = link.flip_at if how == "flip" else link.cut_at
        at[way] = link.counts[way] + after_bytes

        async def send() -> None:
            await sender.write(pattern(200_000))
            await sender.close_write()

        sending = asyncio.ensure_future(quietly(send()))
        assert not isinstance(await until_error(receiver, 200_000), StreamResetError)
        await asyncio.gather(near.wait_closed(), far.wait_closed(), sending)


@pytest.mark.parametrize("way", [THERE, BACK])
@on_loop
async def test_nothing_in_the_handshake_can_be_changed(
    way: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A changed length makes one side wait for what does not come.
    monkeypatch.setattr(libp2p, "HANDSHAKE_TIMEOUT_S", 0.3)
    async with linked() as (link, alice, bob):
        await (await alice.dial(bob.peer_id, [link.address])).close()
        size = link.counts[way]
        assert 200 < size < upgrade.HANDSHAKE_BYTES
        last = size - 100  # The first frames may already be under way.
        for position in [*range(0, last, 23), *range(last - 5, last)]:
            link.counts[way], link.flip_at[way] = 0, position
            with pytest.raises(DialError):
                await alice.dial(bob.peer_id, [link.address], timeout_s=0.4)
        link.flip_at.clear()
        await alice.dial(bob.peer_id, [link.address])


@on_loop
async def test_dial_works_at_once_when_the_peer_comes_back() -> None:
    """No failure is held against an address, nor does a success take its time."""
    alice, bob = transport("alice"), transport("bob")
    async with running(alice):
        await bob.start()
        addresses = list(bob.addresses)
        await bob.stop()
        for _ in range(3):
            with pytest.raises(DialError, match="nobody listens"):
                await alice.dial(bob.peer_id, addresses)
        again = LibP2PTransport(seed("bob"), addresses, everybody, PROTOCOLS)
        async with running(again):
            took = []
            for _ in range(5):
                began = asyncio.get_running_loop().time()
                await alice.dial(bob.peer_id, addresses)
                took.append(asyncio.get_running_loop().time() - began)
            assert min(took) < 0.2


@on_loop
async def test_every_connection_has_all_the_limits_and_its_own() -> None:
    limits = YamuxLimits(*range(1, 1 + len(dataclasses.fields(YamuxLimits))))
    async with pair(Kind("libp2p", LibP2PTransport), limits=limits) as net:
        for end in (net.near, net.far):
            assert isinstance(end, MuxedConnection)
            assert end._yamux.limits == limits
            assert end._yamux.limits is not limits
