"""Of two connections between one pair, both sides keep the same."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from peerpost.crypto.keys import peer_id
from peerpost.net.interface import DialError
from peerpost.node.control.methods import contacts, invites
from tests.support.network_rig import acquainted, strangers, until
from tests.support.virtual_time import on_virtual_time


@dataclass
class _Link:
    """What the choice between two connections looks at."""

    inbound: bool
    peer_id: str


@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("inbound", [True, False])
@pytest.mark.parametrize("was_inbound", [True, False])
@pytest.mark.parametrize("later", [True, False])
@on_virtual_time
async def test_of_two_connections_both_sides_keep_the_same(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    lower: bool,
    inbound: bool,
    was_inbound: bool,
    later: bool,
) -> None:
    """The one dialled by the lower key, of two by one dialer or apart in time the newer."""
    async with acquainted(tmp_path, "alice", "bob") as (alice, _bob):
        mine = alice.home.me.transport.public
        other = bytes([0 if lower else 255]) * 32
        session = alice.peer.session
        assert session is not None
        monkeypatch.setattr(alice.peer, "session", SimpleNamespace(
            connection=_Link(was_inbound, ""),
            opened_s=session.opened_s - (100 if later else 0),
            abort=session.abort,
        ))  # fmt: skip
        new: Any = _Link(inbound, peer_id(other))
        dialled_by_lower = inbound == (other < mine)
        newer_stays = later or inbound == was_inbound or dialled_by_lower
        assert alice.peer._prefers(new) is newer_stays
        monkeypatch.undo()


@on_virtual_time
async def test_a_host_does_not_dial_a_guest_who_is_coming(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with strangers(tmp_path, "host", "guest") as (host, guest):
        dialled = []

        async def dial(*_args: Any, **_more: Any) -> Any:
            dialled.append("a second connection")
            raise DialError("not now")

        monkeypatch.setattr(host.transport, "dial", dial)
        invited = await invites.invite(host.home, host.request("contacts.invite", name="guest"))
        ticket = str(invited["ticket"])
        await contacts.add(guest.home, guest.request("contacts.add", name="host", ticket=ticket))
        await until(lambda: host.peer.online and guest.peer.online)
        assert dialled == []
        guest.peer.cut("it goes away again")
        await until(lambda: dialled or host.peer.online)
