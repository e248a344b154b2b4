"""A contact does not choose which ports of this machine are knocked at."""

from __future__ import annotations

import pytest

from peerpost.store.tables.contacts import _dialable
from peerpost.wire.address import parse

LOCAL = (
    "/ip4/127.0.0.1/tcp/22",
    "/ip4/127.9.9.9/tcp/22",
    "/ip4/169.254.1.1/tcp/80",
    "/ip6/::1/tcp/22",
    "/ip6/fe80::1/tcp/22",
    "/dns/localhost/tcp/22",
    "/dns4/a.localhost/tcp/22",
)
FAR = ("/ip4/192.168.1.2/tcp/4001", "/ip4/192.0.2.7/tcp/4001", "/dns/host.example/tcp/4001")


@pytest.mark.parametrize("text", LOCAL)
def test_local_addresses_are_known(text: str) -> None:
    assert parse(text).is_local


def test_told_ones_are_dialled_only_where_they_are_wanted() -> None:
    assert _dialable((*LOCAL, *FAR), (), local=False) == FAR
    assert _dialable((*LOCAL, *FAR), (), local=True) == (*LOCAL, *FAR)
    # What the user or the ticket gave is dialled in any case, wherever it leads.
    assert _dialable(("/ip4/0.0.0.0/tcp/1", *FAR), LOCAL[:1], local=False) == (*FAR, LOCAL[0])
