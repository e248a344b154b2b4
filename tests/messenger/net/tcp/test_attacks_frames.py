"""What a peer can do behind the handshake: lose its own connection, and nothing that anybody else notices."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import random
import tracemalloc
from collections.abc import Awaitable, Callable

import pytest

from peerpost.net.antechamber import STRANGER_TIMEOUT_S, STRANGERS, Antechamber
from peerpost.net.interface import StreamResetError
from peerpost.net.mux import arrivals
from peerpost.net.tcp import transport as libp2p
from peerpost.net.tcp.upgrade import Upgrade
from tests.support.hostile_net import (
    ACK,
    AGREE,
    DATA,
    FIN,
    GO_AWAY,
    MULTISTREAM,
    PING,
    RST,
    SYN,
    WINDOW,
    RawPeer,
    frame,
    line,
    victim,
)
from tests.support.net_rig import CHAT, on_loop, seed, until

KIB256 = 256 * 1024

# -- frames that end the connection

Attack = Callable[[RawPeer], Awaitable[None]]


def frames(*plaintexts: bytes) -> Attack:
    """Send each in a record of its own."""

    async def attack(peer: RawPeer) -> None:
        await peer.send(*plaintexts)

    return attack


async def overrun_the_window(peer: RawPeer) -> None:
    await peer.agree()
    for _ in range(3 * KIB256 // 60_000):
        await peer.send(frame(DATA, 0, 1, bytes(60_000)))


async def overrun_the_window_in_one_frame(peer: RawPeer) -> None:
    await peer.agree()
    await peer.send(frame(DATA, 0, 1, KIB256 + 1) + bytes(1000))


async def claim_a_frame_of_gigabytes(peer: RawPeer) -> None:
    await peer.agree()
    await peer.send(frame(DATA, 0, 1, 0xFFFFFFFF))


async def send_after_the_end(peer: RawPeer) -> None:
    await peer.agree()
    await peer.send(frame(DATA, FIN, 1, b"end") + frame(DATA, 0, 1, b"and more"))


async def widen_beyond_32_bits(peer: RawPeer) -> None:
    await peer.agree()
    await peer.send(frame(WINDOW, 0, 1, 0xFFFFFFFF) + frame(WINDOW, 0, 1, 0xFFFFFFFF))


async def flood_with_pings_unread(peer: RawPeer) -> None:
    await peer.send(*[frame(PING, SYN, 0, 7) * 5000] * 60)


async def flood_with_streams_unread(peer: RawPeer) -> None:
    for first in range(1, 60_000, 10_000):
        await peer.send(*(frame(WINDOW, SYN, first + n, 0) for n in range(0, 10_000, 2)))


async def flood_with_opened_and_reset(peer: RawPeer) -> None:
    for first in range(1, 200_000, 5000):
        await peer.send(
            b"".join(
                frame(WINDOW, SYN, number, 0) + frame(WINDOW, RST, number, 0)
                for number in range(first, first + 5000, 2)
            )
        )


async def forge_a_record(peer: RawPeer) -> None:
    sealed = bytearray(peer.sealer.seal([frame(PING, SYN, 0, 1)]))
    sealed[-1] ^= 1
    await peer.send_raw(bytes(sealed))


async def repeat_a_record(peer: RawPeer) -> None:
    await peer.send_raw(peer.sealer.seal([frame(PING, SYN, 0, 1)]) * 2)


ATTACKS: dict[str, Attack] = {
    "version": frames(frame(PING, SYN, 0, 1, version=1)),
    "type": frames(frame(4, 0, 0, 0)),
    "SYN on stream 0": frames(frame(WINDOW, SYN, 0, 0)),
    "SYN on our side's number": frames(frame(WINDOW, SYN, 2, 0)),
    "SYN twice": frames(frame(WINDOW, SYN, 1, 0), frame(WINDOW, SYN, 1, 0)),
    "SYN backwards": frames(frame(WINDOW, SYN, 5, 0), frame(WINDOW, SYN, 3, 0)),
    "data for no stream": frames(frame(DATA, 0, 9, b"x")),
    "window for no stream": frames(frame(WINDOW, ACK, 2, 0)),
    "RST for no stream": frames(frame(WINDOW, RST, 4, 0)),
    "random frames": frames(random.Random(5).randbytes(60_000)),
    "empty record": frames(b"", frame(4, 0, 0, 0)),
    "short record": lambda peer: peer.send_raw(b"\x00\x05short"),
    "no record": lambda peer: peer.send_raw(b"\x00\x00" * 50),
    **{
        attack.__name__.replace("_", " "): attack
        for attack in (
            overrun_the_window,
            overrun_the_window_in_one_frame,
            claim_a_frame_of_gigabytes,
            send_after_the_end,
            widen_beyond_32_bits,
            flood_with_pings_unread,
            flood_with_streams_unread,
            flood_with_opened_and_reset,
            forge_a_record,
            repeat_a_record,
        )
    },
}


@pytest.mark.parametrize("attack", ATTACKS)
@on_loop
async def test_only_the_own_connection_is_lost(attack: str) -> None:
    async with victim() as witness:
        peer = await witness.mallory()
        attacking = asyncio.ensure_future(ATTACKS[attack](peer))
        # Reads nothing until the attack is over, or stuck.
        await asyncio.wait({attacking}, timeout=1)
        seen = await peer.until_closed(10)
        await asyncio.wait({attacking}, timeout=5)
        assert attacking.done()
        goodbyes = [f for f in seen if f[0] == GO_AWAY]
        assert len(goodbyes) <= 1
        if goodbyes:
            assert goodbyes[0][3] == 1, "a protocol error was given as the reason"
        peer.close()
        await until(lambda: len(witness.victim._connections) == 1)
        await witness.is_well()


async def fill_streams_that_nobody_reads(peer: RawPeer) -> None:
    """Each stays within its window."""
    for number in range(1, 401, 2):
        await peer.agree(number)
        for _ in range(4):
            await peer.send(frame(DATA, 0, number, bytes(60_000)))


@on_loop
async def test_memory_is_bounded_whatever_is_sent() -> None:
    for attack in (fill_streams_that_nobody_reads, flood_with_streams_unread, overrun_the_window):
        async with victim(reads=False) as witness:
            peer = await witness.mallory()
            tracemalloc.start()
            try:
                with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                    await attack(peer)
                await peer.until_closed(30)
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
            assert peak < 64_000_000, attack.__name__


# -- frames that are merely useless


@on_loop
async def test_stream_flood_is_refused_stream_by_stream() -> None:
    """Who reads the answers keeps the connection, and has its thousand streams."""
    async with victim() as witness:
        peer = await witness.mallory()
        await peer.agree(1)
        for number in range(3, 4003, 2):
            await peer.send(frame(WINDOW, SYN, number, 0))
            if number % 200 == 3:
                await asyncio.sleep(0)
        flags: dict[int, int] = {}
        async with asyncio.timeout(10):
            while len(flags) < 2000:
                kind, what, number, _ = await peer.frame()
                if kind == WINDOW:
                    flags.setdefault(number, what)
        assert sum(what == RST for what in flags.values()) == 2000 - 1023
        await witness.is_well()


@on_loop
async def test_streams_opened_and_reset_faster_than_they_are_heard_end_the_connection() -> None:
    """Also where all answers are read: each costs us more than the peer."""
    async with victim() as witness:
        peer = await witness.mallory()
        pairs = (frame(WINDOW, SYN, n, 0) + frame(WINDOW, RST, n, 0) for n in range(1, 4001, 2))
        await peer.send(b"".join(pairs))
        await peer.until_closed()
        await witness.is_well()


@on_loop
async def test_pings_are_answered_and_late_frames_ignored() -> None:
    async with victim() as witness:
        peer = await witness.mallory()
        await peer.agree(1)
        await peer.send(
            frame(WINDOW, RST, 1, 0)
            + frame(DATA, 0, 1, b"too late")
            + frame(WINDOW, 0, 1, 5)
            + frame(WINDOW, RST, 1, 0)
            + frame(PING, ACK, 0, 999)
            + frame(PING, SYN, 0, 0xDEADBEEF)
        )
        async with asyncio.timeout(5):
            while (await peer.frame())[:2] != (PING, ACK):
                pass
        await peer.agree(3)


STREAM_NONSENSE = {
    "not UTF-8": b"\x05\xff\xfe\xfd\xfc\n",
    "not UTF-8 as protocol": MULTISTREAM + b"\x05\xff\xfe\xfd\xfc\n" * 20,
    "long varint": b"\xff" * 100,
    "huge line": b"\xff\xff\xff\xff\x07" + b"x" * 100_000,
    "huge protocol": MULTISTREAM + b"\xff\xff\xff\xff\x07",
    "no newline": b"\x13/multistream/1.0.0X",
    "many proposals": MULTISTREAM + line(b"/x") * 17,
    "ls": MULTISTREAM + line(b"ls") * 17,
    "empty": b"\x00",
}


@pytest.mark.parametrize("what", STREAM_NONSENSE)
@on_loop
async def test_nonsense_in_a_stream_breaks_only_the_stream(what: str) -> None:
    async with victim() as witness:
        peer = await witness.mallory("stranger 0")
        friend = await witness.mallory("mallory")
        for each in (peer, friend):
            if each is friend:
                await each.agree(1)
            number = 3 if each is friend else 1
            await each.send(frame(DATA, SYN, number, STREAM_NONSENSE[what][:3000]))
            said = b""
            async with asyncio.timeout(5):
                while True:
                    kind, flags, stream_id, data = await each.frame()
                    if kind == DATA and stream_id == number:
                        assert isinstance(data, bytes)
                        said += data
                    if stream_id == number and flags & RST:
                        break
            assert CHAT.encode() not in said
            await each.agree(number + 2) if each is friend else None
        await witness.is_well()
        friend.close()


# -- strangers


@on_loop
async def test_stranger_is_shown_out_after_its_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (STRANGERS, STRANGER_TIMEOUT_S) == (8, 5.0)
    hasty = functools.partial(Antechamber, timeout_s=0.3)
    monkeypatch.setattr(libp2p, "Antechamber", hasty)
    async with victim() as witness:
        peer = await witness.mallory("stranger 0")
        await peer.agree()
        admitted = await witness.mallory("stranger 1")
        await until(lambda: len(witness.victim._connections) == 3)
        [known] = [c for c in witness.victim._connections if c.peer_id == name_of("stranger 1")]
        known.admit()
        await asyncio.sleep(0.1)
        # Talking does not help it, and those beside it stay.
        await peer.send(frame(DATA, 0, 1, b"wait"))
        await peer.until_closed(2)
        peer.close()
        await asyncio.sleep(0.3)
        await admitted.agree()
        await witness.is_well()


@on_loop
async def test_strangers_hold_neither_contacts_nor_strangers_out() -> None:
    async with victim() as witness:
        peers = [await witness.mallory(f"stranger {n}") for n in range(9)]
        await peers[0].until_closed(2)
        assert len(witness.victim._connections) == 9
        await peers[8].agree()
        await witness.is_well()


@on_loop
async def test_strangers_other_protocols_do_not_use_up_its_stream() -> None:
    async with victim() as witness:
        peer = await witness.mallory("stranger 0")
        for number in (1, 3, 5):
            # As stock does: identify comes first, and is left open, broken off or ended.
            await peer.send(frame(DATA, SYN, number, MULTISTREAM + line(b"/ipfs/id/1.0.0")))
            said = b""
            async with asyncio.timeout(5):
                while not said.endswith(line(b"na")):
                    kind, _, stream_id, data = await peer.frame()
                    if kind == DATA and stream_id == number:
                        assert isinstance(data, bytes)
                        said += data
            if number > 1:
                await peer.send(frame(WINDOW, RST if number == 3 else FIN, number, 0))
        await peer.agree(7)
        # That was its one.
        await peer.send(frame(DATA, SYN, 9, AGREE))
        await peer.send(frame(PING, SYN, 0, 77))
        async with asyncio.timeout(5):
            while (got := await peer.frame())[:2] != (PING, ACK):
                assert (got[0], got[2]) != (DATA, 9)
        peer.close()
        await witness.is_well()


@on_loop
async def test_stranger_has_four_kibibytes_and_no_second_stream() -> None:
    async with victim() as witness:
        peer = await witness.mallory("stranger 0")
        await peer.agree(1)
        await peer.send(frame(DATA, SYN, 3, AGREE) + frame(DATA, 0, 1, bytes(3800)))
        got = b""
        async with asyncio.timeout(5):
            while len(got) < 3800:
                kind, _, number, data = await peer.frame()
                if kind == DATA:
                    assert number == 1
                    assert isinstance(data, bytes)
                    got += data
        # Also what is no data counts.
        await peer.send(frame(PING, SYN, 0, 0) * 60)
        await peer.until_closed(2)
        peer.close()
        await witness.is_well()


@on_loop
async def test_stranger_opens_few_streams() -> None:
    async with victim() as witness:
        peer = await witness.mallory("stranger 0")
        await peer.send(*(frame(WINDOW, SYN, number, 0) for number in range(1, 21, 2)))
        flags = [f[1] for f in [await peer.frame() for _ in range(11)] if f[0] == WINDOW]
        assert flags.count(RST) == 6
        peer.close()
        await witness.is_well()


# -- peers that do not answer


@on_loop
async def test_peer_that_does_not_agree_on_a_stream_in_time() -> None:
    async with victim() as witness:
        await witness.mallory()
        await until(lambda: len(witness.victim._connections) == 2)
        [connection] = [c for c in witness.victim._connections if c.peer_id != _friend(witness)]
        with pytest.raises(StreamResetError, match="in time"):
            await connection.open_stream(CHAT, timeout_s=0.1)


@on_loop
async def test_stream_that_is_opened_and_never_agreed_on_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert arrivals.NEGOTIATE_TIMEOUT_S <= 10
    monkeypatch.setattr(arrivals, "NEGOTIATE_TIMEOUT_S", 0.2)
    async with victim() as witness:
        peer = await witness.mallory()
        await peer.send(frame(DATA, SYN, 1, MULTISTREAM[:5]))
        async with asyncio.timeout(5):
            while (await peer.frame())[:3] != (WINDOW, RST, 1):
                pass
        await peer.agree(3)


def name_of(name: str) -> str:
    return Upgrade(seed(name), bool).peer_id


def _friend(witness: object) -> str:
    return witness._friend.peer_id  # type: ignore[attr-defined,no-any-return]
