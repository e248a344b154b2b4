"""A ticket is found in whatever it was pasted with, where exactly one is in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from peerpost.cli.pasted import decoded, find_ticket
from peerpost.errors import BadInputError
from peerpost.wire.ticket import Ticket

from .conftest import FakeNode, Shell


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


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_files_as_editors_and_shells_write_them(encoding: str) -> None:
    mark = {"utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}.get(encoding, b"")
    assert find_ticket(decoded(mark + f"Grüße\r\n{TICKET}\r\n".encode(encoding))) == TICKET
    assert find_ticket(decoded(b"\xff\x00 not text " + TICKET.encode())) == TICKET


def test_each_way_in(node: FakeNode, shell: Shell, tmp_path: Path) -> None:
    node.answers["contacts.add"] = {"id": "c1", "name": "alice", "state": "active"}
    file = tmp_path / "ticket.txt"
    file.write_text(f"> {TICKET[:80]}\n> {TICKET[80:]}\n", encoding="utf-16")
    assert shell("contacts", "add", "alice", "--ticket-file", str(file)).code == 0
    assert node.params == {"name": "alice", "ticket": TICKET}
    assert shell("contacts", "add", "alice", f"\ufeff“{TICKET}”").code == 0
    assert node.params == {"name": "alice", "ticket": TICKET}
    ran = shell.process("contacts", "add", "alice", "-", stdin=f'\ufeff"{TICKET}"\r\n'.encode())
    assert ran.returncode == 0, ran.stderr
    assert node.params == {"name": "alice", "ticket": TICKET}
