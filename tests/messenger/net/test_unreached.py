"""Why a dial failed is said in words: no errno, no tuple, no name of a Python class."""

from __future__ import annotations

import errno
import os
import re
import socket

import pytest

from peerpost.net.interface import DialError
from peerpost.net.tcp.transport import LibP2PTransport
from peerpost.net.unreached import place_of, why_unreached
from tests.support.net_rig import LOOPBACK, PROTOCOLS, everybody, on_loop, running, seed


def transport(name: str) -> LibP2PTransport:
    return LibP2PTransport(seed(name), [LOOPBACK], everybody, PROTOCOLS)


STACK = re.compile(r"errno|\[|\('|Error|None|strerror", re.IGNORECASE)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("/ip4/127.0.0.1/tcp/1", "nobody listens at 127.0.0.1:1"),
        ("/dns4/localhost/tcp/1", "nobody listens at localhost:1"),
        ("/dns4/nowhere.invalid/tcp/4001", "nowhere.invalid"),
        ("/ip4/127.0.0.1/udp/1", "/ip4/127.0.0.1/udp/1 is not an address that can be dialled"),
    ],
)
@on_loop
async def test_a_dial_that_fails_says_why_in_words(address: str, said: str) -> None:
    alice, bob = transport("alice"), transport("bob")
    async with running(alice, bob):
        with pytest.raises(DialError) as caught:
            await alice.dial(bob.peer_id, [address])
    assert said in caught.value.message
    assert not STACK.search(caught.value.message), caught.value.message


@on_loop
async def test_who_takes_the_connection_and_is_silent_timed_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        alice, bob = transport("alice"), transport("bob")
        async with running(alice, bob):
            with pytest.raises(DialError) as caught:
                await alice.dial(
                    bob.peer_id, [f"/ip4/127.0.0.1/tcp/{server.getsockname()[1]}"], timeout_s=0.2
                )

    assert "no answer from 127.0.0.1:" in caught.value.message
    assert "in 0.2 s (timed out)" in caught.value.message


@pytest.mark.parametrize("number", sorted(errno.errorcode))
def test_no_error_of_the_system_reads_like_one(number: int) -> None:
    # As trio raises them: the words of the system behind a tuple.
    error = OSError(number, f"Error connecting to ('192.0.2.1', 4001): {os.strerror(number)}")
    said = why_unreached("/ip4/192.0.2.1/tcp/4001", error)
    assert "192.0.2.1:4001" in said
    assert "('" not in said
    assert "Errno" not in said


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (socket.EAI_NONAME, "the name example.org is not known"),
        (socket.EAI_AGAIN, "the name example.org cannot be looked up now"),
        (socket.EAI_FAIL, "the name example.org cannot be looked up"),
    ],
)
def test_a_name_that_is_not_found_is_named(number: int, said: str) -> None:
    error = socket.gaierror(number, "Name or service not known")
    assert why_unreached("/dns4/example.org/tcp/4001", error).startswith(said)


def test_an_error_without_a_number_has_words_too() -> None:
    assert why_unreached("/ip6/::1/tcp/1", OSError("odd")) == (
        "[::1]:1 cannot be reached: the connection failed"
    )


def test_places_are_shown_as_people_write_them() -> None:
    assert place_of("/ip6/fe80::1/tcp/4001") == "[fe80::1]:4001"
    assert place_of("nonsense") == "nonsense"
