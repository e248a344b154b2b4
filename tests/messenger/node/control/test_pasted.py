"""A ticket is found in whatever it was pasted with, where exactly one is in it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from peerpost.errors import BadInputError
from peerpost.node.control.methods.pasted import find_ticket
from peerpost.wire.ticket import Ticket


def _ticket(number: int = 1, *addresses: str) -> str:
    return Ticket(
        id_public=bytes([number]) * 32,
        transport_public=bytes([number + 1]) * 32,
        secret=bytes([number + 2]) * 16,
        expires_s=2_000_000_000,
        addresses=addresses or ("/ip4/192.0.2.1/tcp/4001",),
    ).encode()


TICKET = _ticket()
LONG = _ticket(7, "/ip4/192.0.2.1/tcp/4001", "/dns4/a-host.example.org/tcp/4001")


def _lines(text: str, size: int, before: str = "", after: str = "\n") -> str:
    return "".join(f"{before}{text[at : at + size]}{after}" for at in range(0, len(text), size))


AROUND: list[Callable[[str], str]] = [
    lambda t: t,
    lambda t: f"\ufeff{t}\r\n",
    lambda t: f'"{t}"',
    lambda t: f"“{t}”.",
    lambda t: f"`{t}`",
    lambda t: f"**{t}**",
    lambda t: f"<{t}>,",
    lambda t: f"> {t}",
    lambda t: _lines(t, 60, "> "),
    lambda t: _lines(t, 72, ">> > ", "\r\n"),
    lambda t: _lines(t, 40, "| ", " |\n"),
    lambda t: _lines(t, 40, "    ", " \\\n"),
    lambda t: _lines(t, 70, after="=\r\n"),
    "\u200b".join,
    lambda t: f"\u2060{t[:50]}\u00ad\u200d{t[50:]}\u200e",
    lambda t: f"Hello,\n\nhere is the ticket:\n\n{_lines(t, 64)}\nBest regards\nAlice",
    lambda t: f"On Monday Alice wrote:\n> add me:\n{_lines(t, 64, '> ')}> ok? abc 234\n",
    lambda t: f"peerpost contacts add alice {t.lower()} # once",
    lambda t: f"ticket={t}&x=1",
    lambda t: f"first {t} and, the same again: {t}",
    lambda t: f"PP1 tickets begin with PP1, as in PP1ABC. Mine: {t}",
]


@pytest.mark.parametrize("around", range(len(AROUND)))
@pytest.mark.parametrize("ticket", [TICKET, LONG])
def test_one_ticket_is_found(around: int, ticket: str) -> None:
    assert find_ticket(AROUND[around](ticket)) == ticket


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{TICKET}\n{LONG}", "there are 2 tickets in what was given"),
        (f"> {TICKET[:-1]}", "the ticket is damaged"),
        (f'"{TICKET[:60]} and so on"', "the ticket is damaged"),
        ("PP1", "the ticket is damaged"),
        ("PP2ABC", "the ticket is of another version"),
        ("hello there", "not a ticket"),
        ("\ufeff\u200b", "not a ticket"),
        ("A" * 65000, "the ticket is damaged"),
        ("PP1 " * 16000, "the ticket is damaged"),
        ("PP1" + "A " * 32000, "the ticket is damaged"),
    ],
)
def test_what_is_wrong_is_said(text: str, message: str) -> None:
    with pytest.raises(BadInputError, match=message):
        Ticket.decode(find_ticket(text))
