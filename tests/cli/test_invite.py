"""A ticket as a QR code: where it fits, and as a camera reads it."""

from __future__ import annotations

from pathlib import Path

import pytest
import zxingcpp

from .conftest import FakeNode, Shell


def test_invite_draws_a_code_on_a_terminal(
    node: FakeNode, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticket = "PP1" + "A2" * 80
    node.answers["contacts.invite"] = {"ticket": ticket, "expires": "2026-11-25T00:00:00Z"}
    monkeypatch.setattr("peerpost.cli.terminal.Terminal.out_is_terminal", lambda _: True)
    *code, last = shell("contacts", "invite", "bob").out.splitlines()
    assert last == ticket
    assert _scanned(code) == ticket
    assert shell("contacts", "invite", "bob", "--no-qr").out == ticket + "\n"


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
    [(49, 24, True), (49, 21, True), (48, 25, False), (49, 20, False), (40, 60, False)],
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
    assert ("No QR code: it takes 49 columns and 21 lines" in ran.err) is not fits


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
