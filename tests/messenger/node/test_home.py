"""One home in one process: opened, closed, and opened again, while its control socket lives."""

from __future__ import annotations

from pathlib import Path

import pytest

from peerpost.client.config import Config, NetworkSection
from peerpost.client.paths import HomePaths
from peerpost.client.rpc import Request
from peerpost.errors import ExistsError, NoIdentityError, StorageError
from peerpost.node.clock import SYSTEM
from peerpost.node.control.server import ControlServer
from peerpost.node.files.transfers import Transfers
from peerpost.node.home import Home
from peerpost.node.settings import Settings
from peerpost.store.tables import contacts

pytestmark = pytest.mark.asyncio


def nothing(_request: Request) -> object:
    raise AssertionError("nobody asks here")


def home_in(folder: Path) -> Home:
    def lost(error: BaseException) -> None:
        raise error

    return Home(
        folder,
        Settings(Config(network=NetworkSection(listen=["/ip4/127.0.0.1/tcp/0"]))),
        clock=SYSTEM,
        control=ControlServer(HomePaths(folder).socket, nothing),
        lock=None,
        listen=(),
        transfers_class=Transfers,
        on_lost=lost,
    )


async def test_a_home_is_opened_again_after_it_was_closed(tmp_path: Path) -> None:
    home = home_in(tmp_path)
    await home.open()  # There is nothing yet.
    with pytest.raises(NoIdentityError):
        home.opened()
    await home.create_identity("alice")
    first = home.opened()
    me, where = first.me.peer_id, list(first.network.reach.bound)
    assert where
    assert home.open_home.network_error is None
    with pytest.raises(ExistsError):
        await home.create_identity("another")

    await home.close()
    assert home.open_now is None
    assert not await home.has_work()
    with pytest.raises(StorageError):
        await first.store.read(contacts.list_all)

    await home.open()
    await home.open_home.go_online()
    await home.open_home.settled()
    again = home.opened()
    assert again.me.peer_id == me
    assert list(again.network.reach.bound) == where, "contacts look for it where it was"
    assert await again.store.read(contacts.list_all) == []
    await home.close()
    await home.close()
