"""What a test may do to the network in memory."""

from __future__ import annotations

import asyncio
import random

import pytest

from peerpost.net.interface import ConnectionLostError, DialError
from tests.support.memory_net import MemoryNetwork
from tests.support.net_rig import (
    CHAT,
    FILE,
    Kind,
    Pair,
    on_loop,
    pair,
    pattern,
    read_all,
    running,
    settle,
)


def kind_of(network: MemoryNetwork) -> Kind:
    return Kind("memory", network.transport, network)


async def exchange(net: Pair) -> float:
    """Return how long an answer takes."""
    near, far = await net.streams()
    loop = asyncio.get_running_loop()
    began = loop.time()
    await near.write(b"ping")
    await far.read()
    await far.write(b"pong")
    assert await near.read() == b"pong"
    return loop.time() - began


@on_loop
async def test_latency_delays_and_keeps_the_order() -> None:
    network = MemoryNetwork()
    async with pair(kind_of(network)) as net:
        assert await exchange(net) < 0.05
        network.latency_s = 0.05
        assert await exchange(net) >= 0.1
        near, far = await net.streams(FILE)
        for at in range(0, 3000, 3):
            network.latency_s = 0.02 if at % 2 else 0.0
            await near.write(pattern(3000)[at : at + 3])
        await near.close_write()
        assert await read_all(far) == pattern(3000)


@on_loop
async def test_partition_holds_back_and_healing_delivers() -> None:
    network = MemoryNetwork()
    async with pair(kind_of(network)) as net:
        near, far = await net.streams()
        network.partition([net.alice.peer_id], [net.bob.peer_id])
        await near.write(b"later")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(far.read(), 0.05)
        with pytest.raises(DialError, match="no answer"):
            await net.alice.dial(net.bob.peer_id, net.bob.addresses, timeout_s=0.05)
        dialling = asyncio.ensure_future(net.alice.dial(net.bob.peer_id, net.bob.addresses))
        await settle()
        network.heal()
        assert await far.read() == b"later"
        await dialling


@on_loop
async def test_long_partition_is_noticed_by_both_ends() -> None:
    network = MemoryNetwork(dead_after_s=0.05)
    async with pair(kind_of(network)) as net:
        near, far = await net.streams()
        network.partition([net.alice.peer_id], [net.bob.peer_id, "others"])
        for stream in (near, far):
            with pytest.raises(ConnectionLostError, match="stopped answering"):
                await stream.read()
        network.partition([net.alice.peer_id, net.bob.peer_id])
        await net.alice.dial(net.bob.peer_id, net.bob.addresses)


@on_loop
async def test_end_that_left_behind_a_partition_is_missed_after_it() -> None:
    network = MemoryNetwork()
    async with pair(kind_of(network)) as net:
        network.partition([net.alice.peer_id], [net.bob.peer_id])
        net.near.abort()
        await settle()
        assert not net.far.closed  # type: ignore[attr-defined]
        network.heal()
        await net.far.wait_closed()


@on_loop
async def test_cut_breaks_the_connections_of_those_named() -> None:
    network = MemoryNetwork()
    kind = kind_of(network)
    carol = kind.new("carol")
    async with pair(kind) as net, running(carol):
        third = await carol.dial(net.bob.peer_id, net.bob.addresses)
        assert network.cut(net.alice.peer_id, carol.peer_id) == 0
        assert network.cut(net.alice.peer_id) == 1
        await asyncio.gather(net.near.wait_closed(), net.far.wait_closed())
        await third.open_stream(CHAT)
        assert network.cut() == 1
        await third.wait_closed()


@on_loop
async def test_loss_breaks_connections_now_and_then() -> None:
    network = MemoryNetwork(loss=0.05, draw=random.Random(4).random)
    kind = kind_of(network)
    alice, bob = kind.new("alice"), kind.new("bob")
    broken = 0
    async with running(alice, bob):
        for _ in range(40):
            near = await alice.dial(bob.peer_id, bob.addresses)
            far = await bob.accept()
            try:
                stream, _ = await asyncio.gather(near.open_stream(CHAT), far.accept_stream())
                await stream.write(b"x")
            except ConnectionLostError:
                broken += 1
    assert 1 <= broken <= 20
