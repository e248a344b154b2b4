"""Who floods from one network keeps nobody out who comes from another."""

from __future__ import annotations

import asyncio
import sys

import pytest

from peerpost.errors import PeerpostError
from peerpost.net import antechamber
from peerpost.net.antechamber import Antechamber
from peerpost.net.interface import Admission
from peerpost.net.shares import MOST_NETWORKS, Pacer, Places, network_of
from peerpost.net.tcp import transport as libp2p
from tests.support.hostile_net import RawPeer, victim
from tests.support.net_rig import on_loop, until


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("127.0.1.1", "127.0.1.254", True),
        ("127.0.1.1", "127.0.2.1", False),
        ("2001:db8:0:1200::1", "2001:db8:0:12ff::9", True),
        ("2001:db8:0:1200::1", "2001:db8:0:1300::1", False),
        ("::ffff:192.0.2.1", "192.0.2.9", True),
        ("fe80::1%eth0", "fe80::2", True),
        ("nonsense", "nonsense", True),
    ],
)
def test_networks(one: str, other: str, same: bool) -> None:
    assert (network_of(one) == network_of(other)) is same


def test_the_network_with_the_most_gives_way() -> None:
    places: Places[int] = Places(8, 2)
    assert all(places.take(n, "crowd") is None for n in range(8))
    assert places.take(100, "guest") == 0
    # Beyond its share a network takes from itself alone.
    assert [places.take(n, "crowd") for n in range(200, 300)] == [*range(1, 8), *range(200, 293)]
    assert 100 in places
    assert places.take(101, "guest") == 293
    assert places.take(102, "guest") == 100
    assert places.take(103, "third", lambda one: one > 295) == 296
    assert len(places) == 8


def test_eight_networks_share_as_single_strangers_do() -> None:
    places: Places[int] = Places(8, 2)
    for n in range(8):
        places.take(n, f"network {n}")
    assert places.take(8, "network 8") == 0
    # The ninth place of one that has one already is its own.
    assert places.take(9, "network 8") == 8


def test_the_pace_of_a_network_is_bounded_and_so_is_the_table() -> None:
    pacer = Pacer(2.0, 4)
    assert [pacer.allows("crowd", 0.0) for _ in range(6)] == [True] * 4 + [False] * 2
    assert pacer.allows("guest", 0.0)
    assert [pacer.allows("crowd", 1.0) for _ in range(3)] == [True, True, False]
    for n in range(5 * MOST_NETWORKS):
        pacer.allows(f"network {n}", 2.0)
    assert len(pacer) == MOST_NETWORKS


class _Guest:
    def __init__(self, host: str, *, spoken: bool) -> None:
        self.admission = Admission.STRANGER
        self.remote_host = host
        self.spoken = spoken
        self.gone = False

    def abort(self) -> None:
        self.gone = True


@on_loop
async def test_who_says_nothing_gives_way_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(antechamber, "SILENT_S", 0.0)
    waiting = Antechamber(places=3)
    guests = [_Guest("192.0.2.1", spoken=n != 1) for n in range(3)]
    for guest in guests:
        waiting.enter(guest)
    late = _Guest("198.51.100.1", spoken=False)
    waiting.enter(late)
    assert [guest.gone for guest in guests] == [False, True, False]
    for guest in (*guests, late):
        waiting.leave(guest)


@pytest.mark.skipif(sys.platform != "linux", reason="only here all of 127/8 is this machine")
@on_loop
async def test_an_invited_guest_gets_in_through_a_flood() -> None:
    async with victim() as witness:
        crowd: list[RawPeer] = []
        over = asyncio.Event()

        async def flood(at: int) -> None:
            count = 0
            while not over.is_set():
                count += 1
                source = f"127.0.1.{1 + (at + count) % 250}"
                try:
                    name = f"stranger {at} {count}"
                    crowd.append(await RawPeer.dial(witness.victim, name, source))
                except (PeerpostError, OSError):
                    await asyncio.sleep(0.05)

        floods = [asyncio.create_task(flood(1000 * n)) for n in range(3)]
        try:
            await until(lambda: len(crowd) >= 12)
            for n in range(3):
                guest = await RawPeer.dial(witness.victim, f"stranger guest {n}", "127.0.2.1")
                enough = len(crowd) + 12
                # As slow as a guest may be: so many others come meanwhile that each place is taken anew.
                await until(lambda: len(crowd) >= enough)  # noqa: B023 - called here
                await guest.agree()
                guest.close()
        finally:
            over.set()
            await asyncio.gather(*floods)
            for peer in crowd:
                peer.close()


@on_loop
async def test_connections_of_one_peer_take_places_from_itself_alone() -> None:
    async with victim() as witness:
        mallory = [await RawPeer.dial(witness.victim, "mallory") for _ in range(12)]
        await until(lambda: len(witness.victim._connections) <= 3 + 1)
        for peer in mallory[:-3]:
            await peer.until_closed(2)
        await mallory[-1].agree()
        await witness.is_well()
        for peer in mallory:
            peer.close()


@on_loop
async def test_a_full_house_takes_a_place_from_whoever_has_several(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(libp2p, "CONNECTIONS", 6)
    async with victim() as witness:
        mallory = [await RawPeer.dial(witness.victim, f"mallory {n // 3}") for n in range(9)]
        guest = await RawPeer.dial(witness.victim, "guest")
        await guest.agree()
        assert len(witness.victim._connections) <= 6
        await mallory[0].until_closed(2)
        for peer in (*mallory, guest):
            peer.close()
