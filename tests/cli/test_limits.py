"""A rate is said in full where it is set, and what is none gets the forms of one."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from .conftest import FakeNode, Shell

SET = ("limits", "set", "--down", "20MB/s")


@pytest.fixture(autouse=True)
def _sets(node: FakeNode) -> None:
    node.answers["limits.set"] = {"contact": None}


@pytest.mark.parametrize(
    ("rate", "sent", "said"),
    [
        ("5", 5, "up: 5 bytes a second. That is very little"),
        ("1", 1, "up: 1 byte a second. That is very little"),
        ("999/s", 999, "up: 999 bytes a second. That is very little"),
        ("1kB/s", 1000, "up: 1,000 bytes a second (1000 B/s)."),
        ("5MB/s", 5_000_000, "up: 5,000,000 bytes a second (4.8 MiB/s)."),
        ("10MiB", 10 << 20, "up: 10,485,760 bytes a second (10 MiB/s)."),
    ],
)
def test_what_was_set_is_said_in_full(
    node: FakeNode, shell: Shell, rate: str, sent: int, said: str
) -> None:
    ran = shell("limits", "set", "--up", rate)
    assert ran.code == 0
    assert node.params == {"up_bytes_s": sent}
    assert ran.err.startswith(said), ran.err
    noted = json.loads(shell("--json", "limits", "set", "--down", rate).err)["note"]
    assert noted.startswith(said.replace("up:", "down:"))
    assert shell("--quiet", "limits", "set", "--up", rate).err == ""


@pytest.mark.slow
def test_what_was_set_is_a_row_of_the_table(node: FakeNode, shell: Shell) -> None:
    row = {"contact": "nas", "up_bytes_s": None, "down_bytes_s": 20_000_000, "schedule": None}
    node.answers |= {"limits.set": row, "limits.show": [row]}
    done = shell("limits", "set", "--contact", "nas", "--down", "20MB/s")
    assert done.out == shell("limits", "show", "--contact", "nas").out
    assert "DOWN B/S" in done.out
    with open("/dev/full", "wb") as full:  # noqa: PTH123 - a device
        unprinted = subprocess.run(
            [sys.executable, "-m", "peerpost.cli", "--home", str(node.home), *SET],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert unprinted.returncode == 79
    assert b"20000000" in unprinted.stderr, "what was done is said where it cannot be printed"


def test_no_limit_needs_no_words(shell: Shell) -> None:
    assert shell("limits", "set", "--up", "off", "--messages", "5", "--burst", "1").err == ""


@pytest.mark.parametrize("text", ["fast", "5m", "5Mbit/s", "40Mbps", "5MB/min", "-5", "", "5 / s"])
@pytest.mark.parametrize("option", ["--up", "--down"])
def test_what_is_no_rate_gets_the_forms_of_one(
    node: FakeNode, shell: Shell, option: str, text: str
) -> None:
    ran = shell("limits", "set", option, text)
    assert ran.code == 2
    assert "is not a rate" in ran.err
    assert "5MB/s" in ran.err
    assert not node.asked


@pytest.mark.parametrize(("option", "form"), [("--messages", "50/s"), ("--burst", "100MiB or 5MB")])
def test_the_others_get_their_own(node: FakeNode, shell: Shell, option: str, form: str) -> None:
    ran = shell("limits", "set", option, "fast")
    assert ran.code == 2
    assert form in ran.err
    assert not node.asked


@pytest.mark.parametrize("option", ["--up", "--down", "--messages", "--burst"])
@pytest.mark.parametrize("text", ["0", "1125899906842624"])
def test_a_limit_out_of_range_is_named(
    node: FakeNode, shell: Shell, option: str, text: str
) -> None:
    ran = shell("limits", "set", option, text)
    assert ran.code == 2
    assert "from 1 to 1125899906842623; for no limit write off" in ran.err
    assert not node.asked


def test_a_negative_number_of_messages_is_named(node: FakeNode, shell: Shell) -> None:
    for text in ("-1", "-1/s", "9" * 30):
        ran = shell("limits", "set", "--messages", text)
        assert (ran.code, "for no limit write off" in ran.err) == (2, True), ran.err
    assert not node.asked


@pytest.mark.parametrize("command", ["inbox", "sent", "queue", "transfers"])
@pytest.mark.parametrize("cursor", ["-1", "x", "", "1" * 19, "5-", "5-A", "5\n"])
def test_what_is_no_cursor_is_named(
    node: FakeNode, shell: Shell, command: str, cursor: str
) -> None:
    ran = shell(command, "list", "--after", cursor)
    assert ran.code == 2
    assert "is no cursor; write what --limit has named" in ran.err
    assert not node.asked


@pytest.mark.parametrize("text", ["0", "0s", "0.0001s"])
def test_what_expires_at_once_is_not_sent(node: FakeNode, shell: Shell, text: str) -> None:
    ran = shell("send", "-c", "bob", "hi", "--expires", text)
    assert (ran.code, "is too short: the least is 0.001s" in ran.err) == (2, True), ran.err
    assert not node.asked


@pytest.mark.parametrize("text", ["1024TiB", "1125899906842624", "4000000TB"])
def test_a_size_out_of_range_is_named(node: FakeNode, shell: Shell, text: str) -> None:
    for command in (
        ("limits", "test", "--size", text),
        ("contacts", "edit", "nas", "--accept", text),
        ("contacts", "edit", "nas", "--quota", text),
    ):
        ran = shell(*command)
        assert (ran.code, "too large" in ran.err) == (2, True), ran.err
    assert not node.asked


@pytest.mark.parametrize(
    ("size", "said"),
    [("5", "5 bytes. That is very little"), ("50GiB", "53,687,091,200 bytes (50 GiB).")],
)
@pytest.mark.parametrize("option", ["accept", "quota"])
def test_a_size_is_said_in_full_too(
    node: FakeNode, shell: Shell, option: str, size: str, said: str
) -> None:
    node.answers["contacts.edit"] = {"id": "c1", "name": "nas", "state": "active"}
    assert shell("contacts", "edit", "nas", f"--{option}", size).err.startswith(f"{option}: {said}")
    assert shell("contacts", "edit", "nas", f"--{option}", "default").err == ""
