"""Names that are announced are looked up, for so long and no longer, and what they lead to is said."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any

import pytest

from peerpost.node.contact.lookup import look_up_names

pytestmark = pytest.mark.asyncio


def answers(monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    async def getaddrinfo(*_: Any, **__: Any) -> Any:
        if isinstance(answer, Exception):
            raise answer
        if answer is None:
            await asyncio.sleep(60)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, 4001)) for ip in answer]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)


NAME = "/dns4/example.org/tcp/4001"


@pytest.mark.parametrize(
    ("answer", "ok", "words"),
    [
        (["203.0.113.7", "203.0.113.7"], True, "example.org is 203.0.113.7"),
        (["203.0.113.7", "127.0.0.1"], True, "example.org is 203.0.113.7, 127.0.0.1"),
        (["192.168.1.7"], True, "example.org is 192.168.1.7"),
        (["127.0.1.1"], False, "example.org is 127.0.1.1: other machines cannot"),
        (["0.0.0.0"], False, "other machines cannot reach this one"),
        (["fe80::1%eth0"], False, "other machines cannot reach this one"),
        ([], False, "the name example.org has no address"),
        (socket.gaierror(socket.EAI_NONAME, "x"), False, "the name example.org is not known"),
        (socket.gaierror(socket.EAI_AGAIN, "x"), False, "cannot be looked up now"),
        (None, False, "was not found within 0.2 s"),
    ],
)
async def test_what_a_name_leads_to(
    monkeypatch: pytest.MonkeyPatch, answer: Any, words: str, *, ok: bool
) -> None:
    answers(monkeypatch, answer)
    (found,) = await look_up_names([NAME], timeout_s=0.2)
    assert found.name == "example.org"
    assert found.ok is ok
    assert words in found.words


async def test_many_names_take_no_longer_than_one(monkeypatch: pytest.MonkeyPatch) -> None:
    answers(monkeypatch, None)
    began_s = time.monotonic()
    found = await look_up_names([f"/dns/n{n}.example/tcp/1" for n in range(100)], timeout_s=0.3)
    assert 0 < len(found) <= 16
    assert time.monotonic() - began_s < 5


async def test_an_address_is_no_name() -> None:
    assert await look_up_names(["/ip4/192.0.2.7/tcp/1", "/ip6/2001:db8::1/tcp/1"]) == []


async def test_the_real_resolver() -> None:
    found = await look_up_names(["/dns4/localhost/tcp/1", "/dns4/nowhere.invalid/tcp/1"])
    assert [one.ok for one in found] == [False, False]
    assert found[0].words.startswith("localhost is 127.0.0.1: ")
    assert "nowhere.invalid" in found[1].words
