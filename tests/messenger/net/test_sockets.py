"""Sockets and the addresses they are of."""

from __future__ import annotations

import socket

import pytest

from peerpost.errors import BadInputError
from peerpost.net import sockets
from peerpost.wire.address import Address, parse


@pytest.mark.parametrize("text", ["/ip4/127.0.0.1/tcp/0", "/ip6/::1/tcp/0"])
def test_what_is_bound_can_be_dialled(text: str) -> None:
    with sockets.bind(parse(text, listen=True)) as listener:
        bound = sockets.bound_address(listener)
        assert parse(bound.text) == bound
        family, host, port = sockets.dial_target(bound)
        with socket.socket(family, socket.SOCK_STREAM) as dialled:
            dialled.connect((host, port))
            assert sockets.remote_address(dialled) == bound


def test_a_socket_that_is_gone_is_nowhere() -> None:
    with socket.socket() as unconnected:
        where = sockets.remote_address(unconnected)
    assert where.text == "/ip4/0.0.0.0/tcp/0"


def test_nobody_listens_at_a_name() -> None:
    with pytest.raises(BadInputError, match="listen on an IP"):
        sockets.bind(parse("/dns/localhost/tcp/80"))


def test_another_transport_is_not_dialled_as_tcp() -> None:
    class Other(Address):
        text = "/ip4/127.0.0.1/udp/1/quic-v1"

    with pytest.raises(BadInputError, match="quic-v1 is no TCP address"):
        sockets.dial_target(Other(protocol="ip4", host="127.0.0.1", port=1, transport="quic-v1"))
