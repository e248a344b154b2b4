"""To whom `send` goes: several contacts, and all who have a tag."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from peerpost.client import Client
from peerpost.client.rpc import Request

from .conftest import ENTRY, FakeNode, Shell


def contact(name: str, *tags: str, state: str = "active") -> dict[str, Any]:
    return {"id": f"id-{name}", "name": name, "state": state, "tags": list(tags)}


@pytest.fixture
def known(node: FakeNode) -> FakeNode:
    number = itertools.count()
    invited = {"id": "t1", "name": "eve", "state": "invited"}
    rows = [contact("bob", "ops"), contact("carol", "ops", "dev"), contact("dave"), invited]
    rows += [contact("mallory", "ops", "bad", state="blocked")]

    def queued(request: Request) -> dict[str, Any]:
        return {**ENTRY, "id": f"m{next(number)}", "contact": request.params["contact"]}

    node.answers |= {"contacts.list": rows, "send-net": queued}
    return node


def sent(node: FakeNode) -> list[str]:
    return [params["contact"] for method, params in node.asked if method == "send-net"]


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ("-c bob -c carol", ["bob", "carol"]),
        ("-c bob -c bob", ["bob"]),
        ("--to-tag ops", ["bob", "carol"]),
        ("--to-tag dev --to-tag ops", ["carol", "bob"]),
        ("-c dave --to-tag ops", ["dave", "bob", "carol"]),
        ("-c id-carol --to-tag ops", ["carol", "bob"]),
    ],
)
def test_each_gets_one(known: FakeNode, shell: Shell, options: str, names: list[str]) -> None:
    ran = shell("send", *options.split(), "hi")
    assert (ran.code, sent(known)) == (0, names)
    assert [line.rpartition(" ")[2] for line in ran.out.splitlines()] == names
    assert ("mallory is blocked, and gets nothing." in ran.err) is ("ops" in options)


@pytest.mark.parametrize(
    ("tag", "said"),
    [
        ("opps", "did you mean 'ops'?"),
        ("family", "peerpost contacts edit NAME --tag family"),
        ("bad", "all who have the tag 'bad' are blocked"),
        ("OPS", "nobody has the tag 'OPS'"),
    ],
)
def test_a_tag_that_nobody_has(known: FakeNode, shell: Shell, tag: str, said: str) -> None:
    ran = shell("send", "-c", "bob", "--to-tag", tag, "hi")
    assert (ran.code, ran.out, sent(known)) == (67, "", [])
    assert said in ran.err


def test_the_list_has_a_column_of_tags_where_there_are_any(known: FakeNode, shell: Shell) -> None:
    row = shell("contacts", "list").out.splitlines()[2]
    assert row.split()[-3:] == ["ops,", "dev", "id-carol"]
    known.answers["contacts.list"] = [contact("dave")]
    assert "TAGS" not in shell("contacts", "list").out


def test_a_program_sees_the_tags(known: FakeNode) -> None:
    full = {
        "verified": False,
        "online": True,
        "last_seen": None,
        "queued": 0,
        "unread": 0,
        "hint": None,
    }
    known.answers["contacts.list"] = [contact("bob", "ops") | full]
    (bob,) = Client(known.home).contacts()
    assert (bob.name, bob.tags) == ("bob", ["ops"])


@pytest.mark.slow
def test_files_go_to_each_and_a_stream_to_one(
    known: FakeNode, shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_text("x")
    (tmp_path / "b").write_text("y")
    monkeypatch.chdir(tmp_path)
    assert shell("send", "-c", "bob", "-c", "carol", "--file", "a", "b").code == 0
    assert sent(known) == ["bob", "bob", "carol", "carol"]
    known.asked.clear()
    ran = shell.process("send", "--to-tag", "ops", "--name", "log", "-", stdin=b"some lines")
    assert (ran.returncode, sent(known)) == (2, [])
    assert b"stdin as a file goes to one contact" in ran.stderr
    ran = shell.process("send", "--to-tag", "ops", "-", stdin=b"a short text")
    assert (ran.returncode, sent(known)) == (0, ["bob", "carol"])
