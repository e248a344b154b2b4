"""A ticket as a QR code: where it fits, and as a camera reads it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import zxingcpp

from tests.support.terminal import shown_by

from .conftest import FakeNode, Shell


def test_invite_draws_a_code_on_a_terminal(
    node: FakeNode, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticket = "PP1" + "A2" * 80
    node.answers["contacts.invite"] = {
        "inviter": "alice",
        "ticket": ticket,
        "expires": "2026-11-25T00:00:00Z",
    }
    piped = shell("contacts", "invite", "bob")
    assert piped.out == ticket + "\n"
    assert "bob runs: peerpost contacts add alice TICKET" in piped.err
    assert "`peerpost node start`" in piped.err
    monkeypatch.setattr("peerpost.cli.terminal.Terminal.out_is_terminal", lambda _: True)
    monkeypatch.setenv("LINES", "60")
    *code, last = shell("contacts", "invite", "bob").out.splitlines()
    assert last == f"peerpost contacts add alice {ticket}", "a line to paste"
    assert _scanned(code) == ticket
    assert shell("contacts", "invite", "bob", "--no-qr").out == last + "\n"


def _scanned(lines: list[str]) -> str:
    """Return what a camera reads from half blocks on a dark terminal, each module some pixels wide."""
    halves = {" ": (0, 0), "▀": (255, 0), "▄": (0, 255), "█": (255, 255)}
    scale = 4
    rows = [
        bytes(halves[char][half] for char in line for _ in range(scale))
        for line in lines
        for half in (0, 1)
        for _ in range(scale)
    ]
    picture = memoryview(b"".join(rows)).cast("B", (len(rows), len(rows[0])))
    (found,) = zxingcpp.read_barcodes(picture)
    assert {len(line) for line in lines} == {len(lines[0])}
    # Four light modules all around: a reader may need them.
    assert all(set(line) == {"█"} for line in lines[:2])
    assert all(line.startswith("████") and line.endswith("████") for line in lines[:-1])
    return str(found.text)


@pytest.mark.parametrize(
    ("columns", "lines", "fits"),
    [
        (49, 30, True),
        (163, 28, True),
        (163, 27, False),
        (48, 60, False),
        (49, 29, False),
        (80, 24, False),
    ],
)
def test_a_code_that_does_not_fit_is_not_drawn(
    node: FakeNode,
    shell: Shell,
    monkeypatch: pytest.MonkeyPatch,
    columns: int,
    lines: int,
    *,
    fits: bool,
) -> None:
    ticket = "PP1" + "A2" * 80
    node.answers["contacts.invite"] = {"ticket": ticket, "expires": "2026-11-25T00:00:00Z"}
    monkeypatch.setattr("peerpost.cli.terminal.Terminal.out_is_terminal", lambda _: True)
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("LINES", str(lines))
    ran = shell("contacts", "invite", "bob")
    assert ("█" in ran.out) is fits
    assert ran.out.endswith(ticket + "\n")
    assert ("No QR code: it takes 49 columns" in ran.err) is not fits


@pytest.mark.slow
@pytest.mark.parametrize(
    ("columns", "lines", "fits"),
    [(80, 24, False), (80, 32, False), (80, 33, True), (60, 35, False), (60, 36, True)],
)
def test_on_a_terminal_all_of_a_code_is_in_sight_or_there_is_none(
    node: FakeNode, columns: int, lines: int, *, fits: bool
) -> None:
    ticket = "PP1" + "A2" * 80
    answer = {"ticket": ticket, "expires": "2026-11-25T00:00:00Z", "others": ["3f9a"]}
    node.answers["contacts.invite"] = answer
    command = [sys.executable, "-m", "peerpost.cli", "--home", str(node.home), "--color", "never"]
    code, printed = shown_by([*command, "contacts", "invite", "bob"], lines=lines, columns=columns)
    assert code == 0
    rows = [
        line[at : at + columns]
        for line in printed.decode().split("\r\n")
        for at in range(0, max(1, len(line)), columns)
    ]
    in_sight = rows[-lines:]
    drawn = [row for row in in_sight if set(row) & set("█▀▄")]
    assert ("No QR code" in printed.decode()) is not fits
    assert not drawn if not fits else _scanned(drawn) == ticket


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_tickets_in_files_as_editors_and_shells_write_them(
    node: FakeNode, shell: Shell, tmp_path: Path, encoding: str
) -> None:
    node.answers["contacts.add"] = {"id": "c1", "name": "alice", "state": "active"}
    mark = {"utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}.get(encoding, b"")
    data = mark + "Grüße\r\nPP1ABC\r\n".encode(encoding)
    (tmp_path / "ticket.txt").write_bytes(data)
    assert (
        shell("contacts", "add", "alice", "--ticket-file", str(tmp_path / "ticket.txt")).code == 0
    )
    assert node.params == {"name": "alice", "ticket": "Grüße\r\nPP1ABC"}
    assert shell.process("contacts", "add", "alice", "-", stdin=data).returncode == 0
    assert node.params == {"name": "alice", "ticket": "Grüße\r\nPP1ABC"}
