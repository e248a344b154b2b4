"""Trio as a guest: what crosses over, what is cancelled, and what is told when it fails."""

from __future__ import annotations

import asyncio
import logging
import os

import pytest
import trio

from peerpost.net.interface import ConnectionLostError, DialError
from peerpost.net.tcp import transport as libp2p
from peerpost.net.tcp import upgrade
from peerpost.net.tcp.guest import Guest
from peerpost.net.tcp.transport import LibP2PTransport
from tests.support.hostile_net import RawServer, victim
from tests.support.net_rig import (
    CHAT,
    LOOPBACK,
    PROTOCOLS,
    everybody,
    on_loop,
    running,
    seed,
    settle,
    until,
)

CYCLES = int(os.environ.get("PEERPOST_CYCLES", "60"))
"""Connections made and closed; each has so many streams:"""
STREAMS = 10


def transport(name: str) -> LibP2PTransport:
    return LibP2PTransport(seed(name), [LOOPBACK], everybody, PROTOCOLS)


@on_loop
async def test_results_and_errors_cross_over() -> None:
    guest = await Guest.acquire()

    async def works() -> int:
        await trio.sleep(0.001)
        return 7

    async def fails() -> None:
        await trio.lowlevel.checkpoint()
        raise KeyError("mine")

    assert await guest.call(works) == 7
    with pytest.raises(KeyError, match="mine"):
        await guest.call(fails)
    assert await guest.call(works) == 7
    await guest.release()
    with pytest.raises(ConnectionAbortedError):
        await guest.call(works)


@on_loop
async def test_one_run_serves_all_and_ends_with_the_last() -> None:
    first = await Guest.acquire()
    second = await Guest.acquire()
    assert first is second
    await first.release()

    async def works() -> int:
        return 7

    assert await second.call(works) == 7
    releasing = asyncio.ensure_future(second.release())
    await asyncio.sleep(0)
    third = await Guest.acquire()
    assert third is not second
    assert await third.call(works) == 7
    await releasing
    await third.release()


@on_loop
async def test_cancelling_unwinds_and_a_result_that_was_there_is_discarded() -> None:
    guest = await Guest.acquire()
    unwound, discarded = [], []

    async def waits() -> None:
        try:
            await trio.sleep_forever()
        finally:
            unwound.append(True)

    async def insists() -> str:
        with trio.CancelScope(shield=True):
            await trio.sleep(0.02)
        return "done"

    calling = asyncio.ensure_future(guest.call(waits))
    await settle()
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert unwound
    insisting = asyncio.ensure_future(guest.call(insists, discard=discarded.append))
    await settle()
    insisting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await insisting
    assert discarded == ["done"]
    await guest.release()


@on_loop
async def test_failure_within_is_told_with_its_cause(caplog: pytest.LogCaptureFixture) -> None:
    bob = transport("bob")

    async def fails(_listener: object) -> None:
        raise KeyError("a fault of ours")

    bob._accept_on = fails  # type: ignore[method-assign]
    with caplog.at_level(logging.CRITICAL, libp2p.log.name):
        async with running(bob):
            for _ in range(2):
                with pytest.raises(ConnectionLostError, match="failed") as caught:
                    await bob.accept()
                assert caught.value.__cause__ is not None


@on_loop
async def test_end_of_the_run_leaves_nobody_waiting(caplog: pytest.LogCaptureFixture) -> None:
    alice = transport("alice")
    with caplog.at_level(logging.CRITICAL, libp2p.log.name):
        async with RawServer().answering() as silent, running(alice):
            dialling = asyncio.ensure_future(alice.dial(transport("bob").peer_id, [silent.address]))
            await asyncio.sleep(0.05)
            assert alice._guest is not None
            alice._guest.cancel([alice._guest._nursery.cancel_scope])
            with pytest.raises(DialError):
                await dialling
            with pytest.raises(ConnectionLostError):
                await alice.accept()
            with pytest.raises(DialError):
                await alice.dial(transport("bob").peer_id, [silent.address])


@on_loop
async def test_stop_ends_the_dials_under_way() -> None:
    alice, bob = transport("alice"), transport("bob")
    async with RawServer().answering() as silent, running(bob):
        await alice.start()
        dialling = asyncio.ensure_future(alice.dial(bob.peer_id, [silent.address], timeout_s=30))
        await asyncio.sleep(0.05)
        async with asyncio.timeout(2):
            await alice.stop()
            with pytest.raises(DialError, match="stopped"):
                await dialling


@on_loop
async def test_fault_in_one_handshake_is_that_handshakes(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with victim() as witness:
        with monkeypatch.context() as patch, caplog.at_level(logging.CRITICAL, libp2p.log.name):
            patch.setattr(witness.victim._upgrade, "inbound", None)
            with pytest.raises(DialError):
                await witness._friend.dial(witness.victim.peer_id, witness.victim.addresses)
        with monkeypatch.context() as patch:
            patch.setattr(upgrade, "_take_over", None)
            with pytest.raises(DialError, match="TypeError"):
                await witness._friend.dial(witness.victim.peer_id, witness.victim.addresses)
        await witness.is_well()


@on_loop
async def test_every_address_of_a_name_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    alice, bob = transport("alice"), transport("bob")
    async with RawServer().answering(b"\x03na\n") as other, running(alice, bob):
        targets = [
            ("127.0.0.1", int(a.rpartition("/")[2])) for a in (other.address, *bob.addresses)
        ]
        found = [(trio.socket.AF_INET, trio.socket.SOCK_STREAM, 6, "", t) for t in targets]

        async def getaddrinfo(*_arguments: object) -> list[object]:
            return list(found)

        monkeypatch.setattr(trio.socket, "getaddrinfo", getaddrinfo)
        connection = await alice.dial(bob.peer_id, ["/dns/example.org/tcp/1"])
        await connection.open_stream(CHAT)
        monkeypatch.undo()


@on_loop
async def test_nothing_is_left_of_many_connections() -> None:
    """Descriptors, tasks and threads are as many afterwards as before; over a long time memory too."""
    psutil = pytest.importorskip("psutil")
    process = psutil.Process()
    alice, bob = transport("alice"), transport("bob")
    async with running(alice, bob):

        async def meet() -> None:
            near = await alice.dial(bob.peer_id, bob.addresses)
            far = await bob.accept()
            for _ in range(STREAMS):
                stream, other = await asyncio.gather(near.open_stream(CHAT), far.accept_stream())
                await stream.write(b"x")
                assert await other.read() == b"x"
                await stream.close()
                await settle(4)
                await other.close()
            await settle()
            for end in (near, far):
                assert not end._streams
                assert not end._finishing
                assert not end._yamux._streams
            await near.close()
            await far.wait_closed()

        await meet()
        await settle()
        resident = process.memory_info().rss
        before = process.num_fds(), len(asyncio.all_tasks()), process.num_threads()
        for number in range(CYCLES):
            await meet()
            if number == 1000:
                resident = process.memory_info().rss
        await until(lambda: not bob._connections and not alice._connections)
        await settle()
        after = process.num_fds(), len(asyncio.all_tasks()), process.num_threads()
        assert all(now <= then for now, then in zip(after, before, strict=True)), (before, after)
        assert process.memory_info().rss < resident + 30_000_000
