from __future__ import annotations

import dataclasses
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peerpost.errors import BadInputError
from peerpost.wire import limits
from peerpost.wire.ticket import Ticket

TICKET = Ticket(
    id_public=bytes(range(32)),
    transport_public=bytes(range(32, 64)),
    secret=bytes(range(16)),
    expires_s=1_900_000_000,
    addresses=("/ip4/192.0.2.1/tcp/4001", "/dns/a.example/tcp/443"),
)
addresses = st.one_of(
    st.builds(
        lambda a, b, port: f"/ip4/10.0.{a}.{b}/tcp/{port}",
        st.integers(0, 255),
        st.integers(0, 255),
        st.integers(1, 65535),
    ),
    st.builds(lambda a, port: f"/ip6/2001:db8::{a:x}/tcp/{port}", *[st.integers(1, 65535)] * 2),
    st.builds(lambda a, port: f"/dns6/h{a}.example/tcp/{port}", *[st.integers(1, 65535)] * 2),
)


@given(
    st.binary(min_size=80, max_size=80),
    st.integers(0, 2**32 - 1),
    st.lists(addresses, max_size=6),
)
def test_round_trip_keeps_the_best_addresses(raw: bytes, expires_s: int, listed: list[str]) -> None:
    ticket = Ticket(
        id_public=raw[:32],
        transport_public=raw[32:64],
        secret=raw[64:],
        expires_s=expires_s,
        addresses=tuple(listed),
    )
    text = ticket.encode()
    assert len(text) <= limits.MAX_TICKET_CHARS
    assert re.fullmatch(r"PP1[A-Z2-7]+", text)
    got = Ticket.decode(text)
    assert dataclasses.replace(got, addresses=()) == dataclasses.replace(ticket, addresses=())
    assert len(got.addresses) >= min(1, len(listed))
    rest = iter(listed)
    assert all(address in rest for address in got.addresses)


def test_an_address_too_long_is_left_out_and_the_next_kept() -> None:
    long = f"/dns/{'a' * 60}.example/tcp/1"
    ticket = dataclasses.replace(TICKET, addresses=(long, "/ip4/192.0.2.1/tcp/1"))
    assert Ticket.decode(ticket.encode()).addresses == ("/ip4/192.0.2.1/tcp/1",)


def test_white_space_and_case_do_not_matter() -> None:
    text = TICKET.encode()
    assert Ticket.decode(f"\n {text[:40].lower()}\r\n\t{text[40:]} ") == TICKET


def test_every_flipped_bit_of_every_character_is_refused() -> None:
    text = TICKET.encode()
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
    for at in range(3, len(text)):
        value = alphabet.index(text[at])
        for bit in range(5):
            changed = text[:at] + alphabet[value ^ (1 << bit)] + text[at + 1 :]
            with pytest.raises(BadInputError):
                Ticket.decode(changed)


def test_every_cut_is_refused() -> None:
    text = TICKET.encode()
    for end in range(len(text)):
        with pytest.raises(BadInputError) as caught:
            Ticket.decode(text[:end])
        assert caught.value.hint


@settings(max_examples=200)
@given(st.text(max_size=220))
def test_garbage_raises_one_error(text: str) -> None:
    for candidate in (text, "PP1" + text):
        with pytest.raises(BadInputError):
            Ticket.decode(candidate)


def test_the_secret_is_not_shown() -> None:
    assert "secret" not in repr(TICKET)


@pytest.mark.parametrize("change", [{"secret": b"x"}, {"expires_s": 2**32}, {"id_public": b""}])
def test_fields_out_of_bounds_are_not_written(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="ticket"):
        dataclasses.replace(TICKET, **change).encode()  # type: ignore[arg-type]


def test_an_address_that_cannot_be_dialled_is_not_written() -> None:
    with pytest.raises(BadInputError):
        dataclasses.replace(TICKET, addresses=("/ip4/0.0.0.0/tcp/1",)).encode()
