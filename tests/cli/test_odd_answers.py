"""Answers of a node with names in them that are no text: whatever they are, the command hears of it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from peerpost.client.connection import NodeConnection, dial
from peerpost.client.rpc import MethodNotFoundError, Request
from peerpost.errors import NotFoundError, UnavailableError

from .conftest import ENTRY, Events, FakeNode, Shell

ODD = os.fsdecode(b"x-\xff") + "\ud800"
SHOWN = r"x-\xff\ud800"


def refuse(_: Request) -> None:
    raise MethodNotFoundError(ODD)


@pytest.fixture
def connection(node: FakeNode) -> NodeConnection:
    found = dial(node.home)
    assert found is not None
    return found


def test_an_answer_is_an_answer(node: FakeNode, connection: NodeConnection) -> None:
    told: list[object] = []
    node.answers = {
        "row": {ODD: [ODD, {"path": (ODD,)}]},
        "told": Events([{"name": ODD}], [ODD]),
        "failed": NotFoundError(f"no {ODD}", hint=ODD),
        "unknown": refuse,
    }
    with connection:
        assert connection.call("row") == {SHOWN: [SHOWN, {"path": [SHOWN]}]}
        assert connection.call("told", on_event=told.append) == [SHOWN]
        assert told == [{"name": SHOWN}]
        with pytest.raises(NotFoundError) as caught:
            connection.call("failed")
        assert (caught.value.message, caught.value.hint) == (f"no {SHOWN}", SHOWN)
        with pytest.raises(UnavailableError) as unknown:
            connection.call("unknown")
        assert SHOWN in unknown.value.message


def test_what_was_queued_is_said_to_be(node: FakeNode, shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    node.answers["send-net"] = Events([], ENTRY | {"skipped": [f"{ODD} (a pipe)"]})
    ran = shell("send", "-c", "bob", "--file", str(tmp_path / "folder"), "--json")
    assert ran.code == 0
    assert json.loads(ran.out)["skipped"] == [f"{SHOWN} (a pipe)"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("inbox", "show", ODD),
        ("send", "-c", ODD, "hi"),
        ("contacts", "add", ODD, "PP1X"),
        ("contacts", "add", "bob", ODD),
        ("contacts", "edit", "bob", "--note", ODD),
        ("inbox", "mark", "k3f9", ODD),
        ("inbox", "delete", ODD),
        ("queue", "cancel", ODD),
    ],
)
def test_an_argument_that_is_no_text(node: FakeNode, shell: Shell, arguments: list[str]) -> None:
    ran = shell(*arguments)
    assert ran.code == 65
    assert f"{SHOWN} is not valid UTF-8" in ran.err
    ran = shell(*arguments, "--json")
    assert json.loads(ran.err)["error"]["code"] == "bad_input"
    assert not node.asked


@pytest.mark.parametrize(
    "arguments", [("nosuch", ODD), (ODD,), ("--color", ODD, "inbox"), ("inbox", "list", f"--{ODD}")]
)
def test_usage_that_is_no_text(shell: Shell, arguments: list[str]) -> None:
    ran = shell(*arguments, "--json")
    assert ran.code == 2
    json.loads(ran.err)["error"]["message"].encode()
