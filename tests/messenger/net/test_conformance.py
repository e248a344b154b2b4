"""What every transport must do (`peerpost.net.interface`), tried on py-libp2p over loopback and in memory alike."""

from __future__ import annotations

import asyncio
import hashlib
import random

import pytest
from libp2p.crypto.ed25519 import Ed25519PrivateKey
from libp2p.peer.id import ID

from peerpost.errors import UnavailableError
from peerpost.net.interface import (
    Admission,
    ConnectionLostError,
    DialError,
    Stream,
    StreamResetError,
)
from tests.support.net_rig import (
    CHAT,
    FILE,
    HELLO,
    LOOPBACK,
    Kind,
    everybody,
    on_loop,
    pair,
    pattern,
    quietly,
    read_all,
    read_exactly,
    running,
    serve_echo,
    settle,
    until,
)

DEAD = "/ip4/127.0.0.1/tcp/1"

# -- dial and accept


@on_loop
async def test_both_ends_know_each_other(kind: Kind) -> None:
    async with pair(kind) as net:
        assert (net.near.peer_id, net.far.peer_id) == (net.bob.peer_id, net.alice.peer_id)
        assert (net.near.inbound, net.far.inbound) == (False, True)
        assert net.near.remote_address == net.bob.addresses[0]
        assert net.far.remote_address.startswith("/ip4/127.0.0.1/tcp/")
        assert net.near.admission is net.far.admission is Admission.KNOWN
        assert net.bob.addresses[0] != LOOPBACK


@on_loop
async def test_peer_id_is_that_of_the_key(kind: Kind) -> None:
    public = Ed25519PrivateKey.from_bytes(b"\1" * 32).get_public_key()
    transport = kind.make(b"\1" * 32, [LOOPBACK], everybody, {})
    assert transport.peer_id == str(ID.from_pubkey(public))


@on_loop
async def test_wrong_peer_id_is_refused(kind: Kind) -> None:
    alice, bob, carol = kind.new("alice"), kind.new("bob"), kind.new("carol")
    async with running(alice, bob):
        with pytest.raises(DialError, match="another peer answers"):
            await alice.dial(carol.peer_id, bob.addresses)


@pytest.mark.parametrize("dead", [DEAD, "/ip4/127.0.0.1/udp/1", "nonsense"])
@pytest.mark.parametrize("first", ["dead", "live"])
@on_loop
async def test_dead_address_does_not_hide_a_live_one(kind: Kind, dead: str, first: str) -> None:
    alice, bob = kind.new("alice"), kind.new("bob")
    async with running(alice, bob):
        addresses = [dead, *bob.addresses] if first == "dead" else [*bob.addresses, dead]
        connection = await alice.dial(bob.peer_id, addresses)
        assert connection.remote_address == bob.addresses[0]


@on_loop
async def test_dial_names_the_cause_of_each_address(kind: Kind) -> None:
    alice, bob, carol = kind.new("alice"), kind.new("bob"), kind.new("carol")
    async with running(alice, bob, carol):
        addresses = [DEAD, *carol.addresses]
        with pytest.raises(DialError) as caught:
            await alice.dial(bob.peer_id, addresses)
        for address, cause in zip(addresses, ["refused", "another peer"], strict=True):
            assert address in caught.value.message
            assert cause in caught.value.message
        with pytest.raises(DialError, match="no address"):
            await alice.dial(bob.peer_id, [])


@on_loop
async def test_gate_refuses_before_there_is_a_connection(kind: Kind) -> None:
    alice = kind.new("alice")
    bob = kind.new("bob", lambda _: Admission.REFUSED)
    async with running(alice, bob):
        with pytest.raises(DialError):
            await alice.dial(bob.peer_id, bob.addresses)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(bob.accept(), 0.05)


@on_loop
async def test_many_dial_at_once_in_both_directions(kind: Kind) -> None:
    alice, bob = kind.new("alice"), kind.new("bob")
    async with running(alice, bob):
        dials = [alice.dial(bob.peer_id, bob.addresses) for _ in range(4)]
        dials += [bob.dial(alice.peer_id, alice.addresses) for _ in range(4)]
        accepts = [t.accept() for t in (alice, bob) for _ in range(4)]
        dialled = await asyncio.gather(*dials)
        accepted = await asyncio.gather(*accepts)
        assert {c.peer_id for c in dialled} == {c.peer_id for c in accepted}
        assert len({id(c) for c in [*dialled, *accepted]}) == 16


# -- ends


@on_loop
async def test_half_close_leaves_the_other_half(kind: Kind) -> None:
    async with pair(kind) as net:
        near, far = await net.streams()
        await near.write(b"question")
        await near.close_write()
        assert await read_all(far) == b"question"
        assert await far.read() == b""
        sending = asyncio.gather(far.write(pattern(3_000_000)), far.close())
        assert await read_all(near) == pattern(3_000_000)
        await sending
        with pytest.raises(StreamResetError):
            await near.write(b"too late")


@pytest.mark.parametrize("read_first", [True, False])
@on_loop
async def test_reset_is_told_from_the_end(kind: Kind, read_first: bool) -> None:
    async with pair(kind) as net:
        near, far = await net.streams()
        await near.write(b"beginning of something")
        if read_first:
            assert await far.read() == b"beginning of something"
        near.reset()
        await settle(100)
        for _ in range(2):
            with pytest.raises(StreamResetError):
                await until_error(far)
            with pytest.raises(StreamResetError):
                await near.read()
        with pytest.raises(StreamResetError):
            await far.write(b"x")
        with pytest.raises(StreamResetError):
            await near.write(b"x")
        await net.streams()  # The connection does not mind.


async def until_error(stream: Stream) -> None:
    """Read until the stream says why it is over; a clean end is none."""
    while await stream.read():
        pass
    pytest.fail("a truncated stream looks like a clean end")


@on_loop
async def test_what_ended_cleanly_can_be_read_whatever_comes_then(kind: Kind) -> None:
    async with pair(kind) as net:
        near, far = await net.streams()
        await near.write(b"whole")
        await near.close_write()
        await settle(100)
        near.reset()
        await settle(100)
        assert await read_all(far) == b"whole"
        near, far = await net.streams()
        await near.write(b"whole")
        await near.close_write()
        await settle(100)
        net.near.abort()
        await net.far.wait_closed()
        assert await read_all(far) == b"whole"


@on_loop
async def test_closed_here_is_no_clean_end_either(kind: Kind) -> None:
    async with pair(kind) as net:
        near, far = await net.streams()
        await far.write(b"never read")
        reading = asyncio.gather(read_all(near), return_exceptions=True)
        await asyncio.sleep(0)
        await near.close()
        await near.close()
        with pytest.raises(StreamResetError):
            await near.read()
        [result] = await reading
        assert result == b"never read" or isinstance(result, StreamResetError)


@on_loop
async def test_unread_stream_that_was_closed_does_not_hold_up_its_peer(kind: Kind) -> None:
    async with pair(kind) as net:
        near, far = await net.streams()
        await far.close()
        for _ in range(40):
            await near.write(pattern(100_000))
        await near.close()


@on_loop
async def test_close_of_a_connection_flushes(kind: Kind) -> None:
    async with pair(kind) as net:
        near, far = await net.streams(FILE)
        await far.write(pattern(200_000))  # Unread when it ends: that must not cost the other half.
        await near.write(pattern(1_000_000))
        await near.close_write()
        data, _ = await asyncio.gather(read_all(far), net.near.close())
        assert data == pattern(1_000_000)
        await net.far.wait_closed()


@on_loop
async def test_close_of_a_stream_waits_for_a_slow_reader(
    kind: Kind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("peerpost.net.stream.LINGER_S", 0.2)
    async with pair(kind) as net:
        near, far = await net.streams(FILE)
        await near.write(pattern(2_000_000))
        await near.close()
        got = b""
        while len(got) < 2_000_000:
            await asyncio.sleep(0.03)
            got += await read_exactly(far, 100_000)
        assert got == pattern(2_000_000)
        assert await far.read() == b""
        # And whoever neither reads nor ends does not hold a closed stream for ever.
        near, far = await net.streams(FILE)
        await near.write(pattern(5_000_000))
        await near.close()
        await asyncio.sleep(0.6)
        try:
            assert len(await read_all(far)) == 5_000_000
            assert kind.network is not None, "only in memory may all of it be under way"
        except StreamResetError:
            assert kind.network is None


@on_loop
async def test_protocol_that_the_peer_does_not_speak(kind: Kind) -> None:
    async with pair(kind) as net:
        with pytest.raises(StreamResetError, match="/test/none/1"):
            await net.near.open_stream("/test/none/1")
        near, far = await net.streams(HELLO)
        assert near.protocol == far.protocol == HELLO


@on_loop
async def test_loss_of_the_connection_reaches_everybody(kind: Kind) -> None:
    async with pair(kind) as net:
        near, far = await net.streams()
        writing, _ = await net.streams(FILE)
        await near.write(b"half of it")
        assert await far.read() == b"half of it"

        async def fill() -> None:
            while True:
                await writing.write(pattern(100_000))

        waiting = [
            asyncio.ensure_future(work)
            for work in (far.read(), net.far.accept_stream(), near.read(), fill())
        ]
        await asyncio.sleep(0.1)
        net.far.abort()
        await asyncio.gather(net.near.wait_closed(), net.far.wait_closed())
        for error in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(error, ConnectionLostError)
            assert not isinstance(error, StreamResetError)
        for end in (net.near, net.far):
            with pytest.raises(ConnectionLostError):
                await end.open_stream(CHAT)
            for _ in range(2):
                with pytest.raises(ConnectionLostError):
                    await end.accept_stream()
            await end.close()
            end.abort()
        for stream in (near, far, writing):
            with pytest.raises(ConnectionLostError):
                await stream.read()
            with pytest.raises(ConnectionLostError):
                await stream.write(b"x")
            await stream.close_write()
            await stream.close()
            stream.reset()


# -- moving bytes


@on_loop
async def test_writer_waits_for_the_reader(kind: Kind) -> None:
    async with pair(kind) as net:
        near, far = await net.streams(FILE)
        written = 0

        async def fill() -> None:
            nonlocal written
            while True:
                await near.write(bytes(50_000))
                written += 50_000

        filling = asyncio.ensure_future(fill())
        await asyncio.sleep(0.3)
        stuck = written
        await asyncio.sleep(0.1)
        assert written == stuck, "the writer was never made to wait"
        assert stuck <= 2_000_000
        # Another stream does not wait behind it.
        chat, answer = await net.streams(CHAT)
        await chat.write(b"past it")
        assert await read_exactly(answer, 7) == b"past it"
        await read_exactly(far, stuck)
        await until(lambda: written > stuck, what="the writer was not woken")
        filling.cancel()
        await asyncio.gather(filling, return_exceptions=True)


@on_loop
async def test_order_holds_in_both_directions_at_once(kind: Kind) -> None:
    draw = random.Random(1)
    sizes = [draw.choice([1, 7, 1000, 65519, 65520, 300_000]) for _ in range(60)]
    data = pattern(sum(sizes))

    async def send(stream: Stream) -> None:
        at = 0
        for size in sizes:
            await stream.write(memoryview(data)[at : at + size])
            at += size
        await stream.close_write()

    async with pair(kind) as net:
        near, far = await net.streams(FILE)
        results = await asyncio.gather(send(near), send(far), read_all(near), read_all(far, 999))
        assert results[2] == results[3] == data


@on_loop
async def test_caller_may_reuse_its_buffer(kind: Kind) -> None:
    async with pair(kind) as net:
        near, far = await net.streams()
        buffer = bytearray(b"first")
        await near.write(buffer)
        buffer[:] = b"other"
        assert await read_exactly(far, 5) == b"first"


@on_loop
async def test_large_and_tiny_writes(kind: Kind) -> None:
    large = pattern(20_000_000)
    async with pair(kind) as net:
        near, far = await net.streams(FILE)

        async def send() -> None:
            await near.write(large)
            for at in range(3000):
                await near.write(large[at : at + 1])
                if at % 50 == 0:
                    await asyncio.sleep(0)
            await near.write(b"")
            await near.close_write()

        data, _ = await asyncio.gather(read_all(far, 1 << 20), send())
        assert hashlib.sha256(data).digest() == hashlib.sha256(large + large[:3000]).digest()


@on_loop
async def test_thousand_streams_at_once(kind: Kind) -> None:
    async with pair(kind) as net:
        serving = asyncio.ensure_future(serve_echo(net.far))

        async def talk(number: int) -> None:
            stream = await net.near.open_stream(CHAT, timeout_s=30)
            opened.append(number)
            await everyone.wait()
            await stream.write(f"number {number}".encode())
            await stream.close_write()
            assert await read_all(stream) == f"number {number}".encode()
            await stream.close()

        opened: list[int] = []
        everyone = asyncio.Event()
        talks = asyncio.gather(*(talk(n) for n in range(1000)))
        await until(lambda: len(opened) == 1000, 30)
        everyone.set()
        await talks
        # They are over: there is room for as many again.
        assert len(await asyncio.gather(*(net.near.open_stream(CHAT) for _ in range(1000)))) == 1000
        net.near.abort()
        await serving


# -- cancellation


@on_loop
async def test_cancelled_reads_lose_nothing(kind: Kind) -> None:
    draw = random.Random(2)
    data = pattern(400_000)
    async with pair(kind) as net:
        near, far = await net.streams(FILE)

        async def send() -> None:
            for at in range(0, len(data), 1000):
                await near.write(data[at : at + 1000])
                await settle(draw.randrange(8))
            await near.close_write()

        sending = asyncio.ensure_future(send())
        got, cancelled = b"", 0
        while True:
            reading = asyncio.ensure_future(far.read(draw.choice([1, 500, 100_000])))
            await settle(draw.randrange(3))
            reading.cancel()
            try:
                piece = await reading
            except asyncio.CancelledError:
                cancelled += 1
                continue
            if not piece:
                break
            got += piece
        await sending
        assert got == data
        assert cancelled > 20, "nothing was cancelled in its middle"


@on_loop
async def test_cancelled_write_is_whole_or_nothing_and_hurts_no_other(kind: Kind) -> None:
    draw = random.Random(3)
    blocks = 300
    async with pair(kind) as net:
        near, far = await net.streams(FILE)
        chat, answers = await net.streams(CHAT)
        echoing = asyncio.ensure_future(serve_one_echo(answers))
        written: list[int] = []

        async def send() -> None:
            for number in range(blocks):
                writing = asyncio.ensure_future(near.write(number.to_bytes(4, "big") * 10_000))
                await settle(draw.randrange(1, 3))
                writing.cancel()
                try:
                    await writing
                    written.append(number)
                except asyncio.CancelledError:
                    await chat.write(b"ping")
                    assert await read_exactly(chat, 4) == b"ping"
            await near.close_write()

        async def receive() -> list[int]:
            found = []
            while first := await far.read(1):
                block = first + await read_exactly(far, 39_999)
                assert block == block[:4] * 10_000
                found.append(int.from_bytes(block[:4], "big"))
                await settle(draw.randrange(6))
            return found

        received, _ = await asyncio.gather(receive(), send())
        assert received == written
        assert len(written) < blocks, "nothing was cancelled in its middle"
        await chat.close()
        await echoing


async def serve_one_echo(stream: Stream) -> None:
    while piece := await stream.read():
        await stream.write(piece)
    await stream.close()


@on_loop
async def test_cancelled_waiting_takes_nothing_away(kind: Kind) -> None:
    async with pair(kind) as net:
        for turns in range(12):
            for wait in (net.far.accept_stream(), net.bob.accept()):
                waiting = asyncio.ensure_future(wait)
                await settle(turns % 4)
                waiting.cancel()
                # A stream that was opened and given up may come; it is of no more use.
                await asyncio.gather(waiting, return_exceptions=True)
            opening = asyncio.ensure_future(net.near.open_stream(CHAT))
            await settle(turns)
            opening.cancel()
            [stream] = await asyncio.gather(opening, return_exceptions=True)
            if not isinstance(stream, BaseException):
                stream.reset()
        # What was opened and given up is told from what is good: by a reset, never by silence.
        good = await net.near.open_stream(CHAT)
        await good.write(b"good")
        await good.close_write()
        found = []
        while b"good" not in found:
            try:
                found.append(await read_all(await net.far.accept_stream()))
            except StreamResetError:
                continue
        assert set(found) <= {b"good"}


@on_loop
async def test_cancelled_dials_leave_nothing(kind: Kind) -> None:
    alice, bob = kind.new("alice"), kind.new("bob")
    async with running(alice, bob):
        for step in range(20):
            dialling = asyncio.ensure_future(alice.dial(bob.peer_id, bob.addresses))
            await asyncio.sleep(0.0005 * step)
            dialling.cancel()
            results = await asyncio.gather(dialling, return_exceptions=True)
            for connection in results:
                if not isinstance(connection, BaseException):
                    connection.abort()
        good = await alice.dial(bob.peer_id, bob.addresses)
        stream = await good.open_stream(CHAT)
        await stream.write(b"good")

        async def greeted() -> bytes:
            while True:
                far = await bob.accept()
                try:
                    return await (await far.accept_stream()).read()
                except ConnectionLostError:
                    continue

        assert await greeted() == b"good"


# -- strangers


@on_loop
async def test_stranger_has_one_stream_until_it_is_admitted(kind: Kind) -> None:
    alice = kind.new("alice")
    bob = kind.new("bob", lambda _: Admission.STRANGER)
    async with running(alice, bob):
        near = await alice.dial(bob.peer_id, bob.addresses)
        far = await bob.accept()
        assert far.admission is Admission.STRANGER
        hello, second = (asyncio.ensure_future(near.open_stream(p)) for p in (HELLO, CHAT))
        greeting = await far.accept_stream()
        assert greeting.protocol == HELLO
        await (await hello).write(b"hello")
        assert await greeting.read() == b"hello"
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(far.accept_stream(), 0.1)
        assert not second.done()
        far.admit()
        assert far.admission is Admission.KNOWN
        assert (await far.accept_stream()).protocol == CHAT
        file = await near.open_stream(FILE)
        await asyncio.gather(file.write(pattern(300_000)), far.accept_stream())
        await second


@on_loop
async def test_stranger_that_says_too_much_is_shown_out(kind: Kind) -> None:
    alice = kind.new("alice")
    bob = kind.new("bob", lambda _: Admission.STRANGER)
    async with running(alice, bob):
        near = await alice.dial(bob.peer_id, bob.addresses)
        far = await bob.accept()
        stream, _ = await asyncio.gather(near.open_stream(HELLO), far.accept_stream())
        await quietly(stream.write(bytes(4000)))
        await asyncio.sleep(0.05)
        await quietly(stream.write(bytes(4000)))
        async with asyncio.timeout(2):
            await far.wait_closed()
            await near.wait_closed()


@on_loop
async def test_ninth_stranger_evicts_the_oldest_that_was_not_admitted(kind: Kind) -> None:
    bob = kind.new("bob", lambda _: Admission.STRANGER)
    strangers = [kind.new(f"stranger {n}") for n in range(10)]
    async with running(bob, *strangers):
        ends = []
        for stranger in strangers[:8]:
            await stranger.dial(bob.peer_id, bob.addresses)
            ends.append(await bob.accept())
        ends[0].admit()
        await strangers[8].dial(bob.peer_id, bob.addresses)
        ends.append(await bob.accept())
        await settle(50)
        waits = [asyncio.ensure_future(end.wait_closed()) for end in ends]
        await asyncio.sleep(0.05)
        assert [w.done() for w in waits] == [False] * 9, "there was room: one of eight was admitted"
        await strangers[9].dial(bob.peer_id, bob.addresses)
        await bob.accept()
        await waits[1]
        assert [w.done() for w in waits] == [False, True] + [False] * 7
    await asyncio.gather(*waits)


# -- life


@on_loop
async def test_after_stop_nothing_waits(kind: Kind) -> None:
    async with pair(kind) as net:
        accepting = [asyncio.ensure_future(net.bob.accept()) for _ in range(2)]
        dialling = asyncio.ensure_future(net.bob.dial(net.alice.peer_id, net.alice.addresses))
        await net.bob.stop()
        await net.bob.stop()
        results = await asyncio.gather(*accepting, dialling, return_exceptions=True)
        assert [type(r) for r in results[:2]] == [ConnectionLostError] * 2
        assert isinstance(results[2], DialError)
        for _ in range(2):
            with pytest.raises(ConnectionLostError):
                await net.bob.accept()
        with pytest.raises(DialError):
            await net.bob.dial(net.alice.peer_id, net.alice.addresses)
        assert not net.bob.addresses
        await net.near.wait_closed()


@on_loop
async def test_start_follows_stop(kind: Kind) -> None:
    async with pair(kind) as net:
        for _ in range(3):
            # One leaves while the other comes: they share more than the loop.
            await asyncio.gather(net.alice.stop(), net.bob.stop())
            await net.alice.start()
            await asyncio.gather(net.alice.stop(), net.bob.start())
            await net.alice.start()
            near, far = await asyncio.gather(
                net.alice.dial(net.bob.peer_id, net.bob.addresses), net.bob.accept()
            )
            stream, other = await asyncio.gather(near.open_stream(CHAT), far.accept_stream())
            await stream.write(b"again")
            assert await other.read() == b"again"


@on_loop
async def test_address_that_is_taken(kind: Kind) -> None:
    alice = kind.new("alice")
    async with running(alice):
        bob = kind.new("bob", listen=[LOOPBACK, *alice.addresses])
        with pytest.raises(UnavailableError, match="cannot listen"):
            await bob.start()
        assert not bob.addresses
        await bob.stop()
        with pytest.raises(DialError):
            await bob.dial(alice.peer_id, alice.addresses)
