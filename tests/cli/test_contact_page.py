"""`contacts show` on terminals of several widths and in a pipe: all is there, and nothing acts on the terminal."""

from __future__ import annotations

import os
import re
import sys
from typing import Any

import pytest

from tests.support.terminal import shown_by

from .conftest import FakeNode, Shell

BOB: dict[str, Any] = {
    "id": "cdpp63ll",
    "name": "bob",
    "state": "active",
    "peer_id": "12D3KooWNurHasyWLFhkUGEXAjboi1NaymfZNaUx9Jm1581oAkxJ",
    "verified": False,
    "last_seen": "2020-01-01T00:00:00.000Z",
    "online": True,
    "queued": 3,
    "unread": 2,
    "hint": None,
    "tags": ["ops", "lab"],
    "notes": "met at the conference\nsecond line \x1b[31m\u202e",
    "addresses": ["/ip4/192.0.2.7/tcp/4001", "/dns4/a-rather-long-name.example.org/tcp/4001"],
    "safety_number": " ".join(f"{n:05d}" for n in range(12)),
    "verified_at": None,
    "added": "2020-01-01T00:00:00.000Z",
    "keys": [
        {"use": "identity", "type": "ed25519", "since": "2020-01-01T00:00:00.000Z"},
        {"use": "transport", "type": "ed25519", "since": None},
    ],
    "key_age": 6,
    "path": "/ip4/192.0.2.7/tcp/4001",
    "transport": "tcp",
    "rtt_ms": 0.42,
    "queued_bytes": 12 << 20,
    "sent": 2,
    "received": 5,
    "accept": None,
    "quota": None,
    "used": 5 << 30,
    "in_force": {"accept": 100 << 20, "quota": 20 << 30},
    "restored": "2020-01-01T00:00:00.000Z",
    "restored_side": "theirs",
    "copied": None,
    "copied_side": None,
    "limits": {"up_bytes_s": 1 << 20, "down_bytes_s": None, "messages_s": 5, "burst_bytes": None},
    "went_back": None,
    "last_error": "the contact is busy: \x9b31m",
    "last_error_at": "2020-01-01T00:00:00.000Z",
}
WORDS = (
    "bob (unverified)", "online now", "active", "the contact is busy", "2020-01-01", "met at the conference",
    "second line", "ops, lab", "00000 00001 00002 00003", "00011", "peerpost contacts verify bob NUMBER",
    "identity ed25519 since", "transport ed25519", "/ip4/192.0.2.7/tcp/4001",
    "/dns4/a-rather-long-name.example.org/tcp/4001", "tcp, round trip 0.42 ms", "3 messages, 12 MiB",
    "2 sent, 5 received", "5 GiB of 20 GiB (25%)", "files up to 100 MiB without asking",
    "up 1 MiB/s, 5 messages/s", "its home was put back", "cdpp63ll", BOB["peer_id"],
)  # fmt: skip


def on_terminal(shell: Shell, columns: int, *arguments: str) -> str:
    command = [sys.executable, "-m", "peerpost.cli", "--home", str(shell.home), *arguments]
    code, written = shown_by(command, columns=columns, env=os.environ | {"LC_ALL": "C.UTF-8"})
    assert code == 0, written
    return written.decode().replace("\r\n", "\n")


def plain(shown: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", shown)


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_on_a_terminal(node: FakeNode, shell: Shell, columns: int) -> None:
    node.answers["contacts.show"] = BOB
    shown = on_terminal(shell, columns, "contacts", "show", "bob")
    lines = plain(shown).splitlines()
    flat = " ".join(" ".join(lines).split())
    for word in WORDS:
        assert word in flat, word
    # Only what must not be broken may be longer than a line.
    for line in lines:
        assert len(line) <= columns or " " not in line.strip(), line
    assert "\x1b" not in plain(shown)
    assert "\x9b" not in shown
    assert "\u202e" not in shown
    assert "━━━━━┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄" in shown


def test_in_a_pipe(node: FakeNode, shell: Shell) -> None:
    node.answers["contacts.show"] = BOB
    ran = shell("contacts", "show", "bob")
    assert BOB["safety_number"] in ran.out
    assert "2020-01-01T00:00:00.000Z" in ran.out
    assert not re.search("[\x1b\x9b━┄\u202e]", ran.out)


def test_a_verified_one_needs_no_comparison(node: FakeNode, shell: Shell) -> None:
    at = "2020-01-01T00:00:00.000Z"
    node.answers["contacts.show"] = BOB | {"verified": True, "verified_at": at}
    ran = shell("contacts", "show", "bob")
    assert f"bob  (verified {at})" in ran.out
    assert "Not compared" not in ran.out


def test_one_that_was_never_met(node: FakeNode, shell: Shell) -> None:
    known = ("id", "name", "state", "online", "queued", "hint")
    node.answers["contacts.show"] = (
        dict.fromkeys(BOB)
        | {key: BOB[key] for key in known}
        | {"state": "pending", "online": False, "queued": 0}
    )
    ran = shell("contacts", "show", "bob")
    assert "not now; never seen yet" in ran.out
    assert "None" not in ran.out
    assert not re.search(r"  -$", ran.out, re.MULTILINE)


@pytest.mark.parametrize(
    ("accept", "quota", "words"),
    [("ask", 0, ("asks about each file", "(100%)")), ("never", 1 << 60, ("no files", "(0%)"))],
)
def test_what_it_may(
    node: FakeNode, shell: Shell, accept: str, quota: int, words: tuple[str, ...]
) -> None:
    node.answers["contacts.show"] = BOB | {"in_force": {"accept": accept, "quota": quota}}
    ran = shell("contacts", "show", "bob")
    assert all(word in ran.out for word in words), ran.out


def test_the_list_marks_who_is_not_verified(node: FakeNode, shell: Shell) -> None:
    node.answers["contacts.list"] = [BOB, BOB | {"name": "carol", "verified": True}]
    _, bob, carol = shell("contacts", "list").out.splitlines()
    assert "unverified" in bob
    assert "unverified" not in carol
    assert '"verified": false' in shell("--json", "contacts", "list").out
