from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerpost.errors import BadInputError
from peerpost.wire.address import Address, dialable, parse

PEER = "12D3KooWGRUVh9pSmVZGdCZ9BTtHDRhVbLoDyNFYx3wJ9wqpGBgM"


@pytest.mark.parametrize(
    ("given_text", "expected"),
    [
        ("/ip4/192.0.2.7/tcp/4001", "/ip4/192.0.2.7/tcp/4001"),
        ("/ip4/192.0.2.7/tcp/04001", "/ip4/192.0.2.7/tcp/4001"),
        ("/ip6/2001:DB8:0::1/tcp/1", "/ip6/2001:db8::1/tcp/1"),
        ("/dns/Host.Example./tcp/65535", "/dns/host.example/tcp/65535"),
        ("/dns4/localhost/tcp/80", "/dns4/localhost/tcp/80"),
        ("/dns6/xn--bcher-kva.example/tcp/80", "/dns6/xn--bcher-kva.example/tcp/80"),
        (f"/ip4/192.0.2.7/tcp/4001/p2p/{PEER}", f"/ip4/192.0.2.7/tcp/4001/p2p/{PEER}"),
    ],
)
def test_canonical(given_text: str, expected: str) -> None:
    assert str(parse(given_text)) == expected
    assert str(parse(expected)) == expected


def test_a_peer_id_is_split_off() -> None:
    address = parse(f"/ip4/192.0.2.7/tcp/4001/p2p/{PEER}")
    assert address == Address(protocol="ip4", host="192.0.2.7", port=4001, peer_id=PEER)
    assert address.text == "/ip4/192.0.2.7/tcp/4001"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "192.0.2.7:4001",
        "ip4/192.0.2.7/tcp/4001",
        "/ip4/192.0.2.7",
        "/ip4/192.0.2.7/tcp",
        "/ip4/192.0.2.7/tcp/",
        "/ip4/192.0.2.7/tcp/0",
        "/ip4/192.0.2.7/tcp/65536",
        "/ip4/192.0.2.7/tcp/+80",
        "/ip4/192.0.2.7/tcp/٨٠",
        "/ip4/192.0.2.7/tcp/80/",
        "/ip4/192.0.2.7/tcp/80\n",
        "/ip4/192.0.2.7/udp/80/quic-v1",
        "/ip4/192.0.2.7/tcp/80/ws",
        "/ip4/192.0.2/tcp/80",
        "/ip4/192.0.2.07/tcp/80",
        "/ip4/0.0.0.0/tcp/80",
        "/ip4/224.0.0.1/tcp/80",
        "/ip4/::1/tcp/80",
        "/ip6/::/tcp/80",
        "/ip6/fe80::1%eth0/tcp/80",
        "/ip6/::ffff:192.0.2.1/tcp/80",
        "/ip6zone/eth0/ip6/fe80::1/tcp/80",
        "/dns//tcp/80",
        "/dns/-a.example/tcp/80",
        "/dns/a..example/tcp/80",
        "/dns/bücher.example/tcp/80",
        f"/dns/{'a' * 64}.example/tcp/80",
        f"/dns/{'a.' * 150}a/tcp/80",
        "/dnsaddr/a.example/tcp/80",
        "/unix/%2Ftmp%2Fx/tcp/80",
        "/ip4/192.0.2.7/tcp/80/p2p/QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",
        f"/ip4/192.0.2.7/tcp/80/p2p/{PEER}x",
        f"/ip4/192.0.2.7/tcp/80/p2p/{PEER}/p2p-circuit",
    ],
)
def test_refused_with_a_hint(text: str) -> None:
    with pytest.raises(BadInputError) as caught:
        parse(text)
    assert caught.value.hint


def test_where_to_listen() -> None:
    assert parse("/ip4/0.0.0.0/tcp/0", listen=True).port == 0
    assert parse("/ip6/::/tcp/4001", listen=True).host == "::"
    with pytest.raises(BadInputError):
        parse("/dns/host.example/tcp/1", listen=True)


def test_what_a_later_version_lists_is_passed_over() -> None:
    texts = ["/ip4/192.0.2.7/udp/1/quic-v1", "/ip4/192.0.2.7/tcp/1", "/ip4/192.0.2.7/tcp/01", "x"]
    assert [address.text for address in dialable(texts)] == ["/ip4/192.0.2.7/tcp/1"]


@given(st.ip_addresses(v=4), st.integers(1, 65535))
def test_every_address_is_canonical_or_refused(ip: object, port: int) -> None:
    try:
        address = parse(f"/ip4/{ip}/tcp/{port}")
    except BadInputError:
        return
    assert parse(address.text) == address


@given(st.text(max_size=80))
def test_garbage_raises_one_error(text: str) -> None:
    for candidate in (text, f"/dns/{text}/tcp/80", f"/ip6/{text}/tcp/80", f"/ip4/{text}/tcp/80"):
        try:
            assert parse(str(parse(candidate))) == parse(candidate)
        except BadInputError:
            continue


def test_what_is_spoken_is_part_of_an_address() -> None:
    assert parse("/ip6/::1/tcp/80").transport == "tcp"


def test_the_host_is_an_ip_or_a_name() -> None:
    assert str(parse("/ip6/2001:DB8::1/tcp/80").ip) == "2001:db8::1"
    assert parse("/dns/host.example/tcp/80").ip is None


@pytest.mark.parametrize("spoken", ["udp", "TCP", "tcp/", "tcp{port}", "{port}", "quic-v1"])
def test_no_other_transport_is_taken(spoken: str) -> None:
    with pytest.raises(BadInputError):
        parse(f"/ip4/192.0.2.7/{spoken}/80")
