"""`inbox search`: what it asks the node, and what it prints."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from typing import Any

import pytest

from peerpost.cli.marked import OFF, ON, Marked
from peerpost.cli.table import laid_out, width
from peerpost.errors import UsageError

from .conftest import FakeNode, Shell

WHOLE = {"share": 1.0, "long_texts": 0}
RECEIVED = {
    "id": "k3f9aaaa",
    "contact": "bob",
    "kind": "text",
    "size": 19,
    "received_at": "2026-11-01T10:00:00Z",
    "sent_at": "2026-11-01T10:00:00Z",
    "unread": True,
    "gap": False,
    "preview": "the build is green",
    "name": None,
    "directory": False,
    "files": None,
    "path": None,
    "match": "the build is green",
    "match_start": 4,
    "match_end": 9,
    "direction": "in",
    "cursor": "7",
}
SENT = {
    "id": "7hq2bbbb",
    "contact": "carol",
    "kind": "text",
    "size": 9,
    "state": "delivered",
    "created": "2026-11-01T11:00:00Z",
    "delivered": "2026-11-01T11:00:01Z",
    "preview": "Build it",
    "name": None,
    "match": "Build it",
    "match_start": 0,
    "match_end": 5,
    "direction": "out",
    "cursor": "7-3",
}


@pytest.fixture
def knows(node: FakeNode) -> FakeNode:
    node.answers |= {"inbox.searchable": WHOLE, "inbox.search": [RECEIVED]}
    return node


def test_what_it_asks(knows: FakeNode, shell: Shell) -> None:
    assert shell("inbox", "search", "build").code == 0
    assert knows.params == {"term": "build", "limit": 1000}
    ran = shell(
        *("inbox", "search", "a b", "--contact", "bob", "--since", "2026-11-01T00:00:00Z"),
        *("--limit", "5", "--after", "12-7", "--files", "--sent"),
    )
    assert ran.code == 0
    assert knows.params == {
        "term": "a b",
        "contact": "bob",
        "since": 1793491200000,
        "after": "12-7",
        "files": True,
        "sent": True,
        "limit": 6,
    }


def test_a_table_for_people(knows: FakeNode, shell: Shell) -> None:
    ran = shell("inbox", "search", "build")
    head, row = ran.out.splitlines()
    assert head.split() == ["ID", "FROM", "KIND", "SIZE", "RECEIVED", "UNREAD", "MATCH"]
    assert row.split()[0] == "k3f9aaaa"
    assert row.endswith("the build is green")
    assert ran.err == ""


def test_both_sides(knows: FakeNode, shell: Shell) -> None:
    knows.answers["inbox.search"] = [SENT, RECEIVED]
    lines = shell("inbox", "search", "build", "--sent").out.splitlines()
    assert "to carol" in lines[1]
    assert "2026-11-01T11:00:00Z" in lines[1]
    assert "from bob" in lines[2]
    assert "2026-11-01T10:00:00Z" in lines[2]


def test_json_is_what_the_node_says(knows: FakeNode, shell: Shell) -> None:
    knows.answers["inbox.search"] = [SENT, RECEIVED]
    ran = shell("--json", "inbox", "search", "build", "--sent")
    assert [json.loads(line) for line in ran.out.splitlines()] == [SENT, RECEIVED]
    assert ran.err == ""


def test_nothing_found(knows: FakeNode, shell: Shell) -> None:
    knows.answers["inbox.search"] = []
    ran = shell("inbox", "search", "build")
    assert (ran.code, ran.out, ran.err) == (0, "", "Nothing found.\n")
    ran = shell("--json", "inbox", "search", "build")
    assert (ran.code, ran.out, ran.err) == (0, "", "")


def test_more_than_a_limit(knows: FakeNode, shell: Shell) -> None:
    knows.answers["inbox.search"] = [RECEIVED | {"cursor": f"{at}-9"} for at in (7, 6, 5)]
    ran = shell("--json", "inbox", "search", "build", "--limit", "2")
    assert len(ran.out.splitlines()) == 2
    assert json.loads(ran.err) == {"more": "6-9"}


def test_an_index_that_is_not_whole(knows: FakeNode, shell: Shell) -> None:
    knows.answers["inbox.searchable"] = {"share": 0.379, "long_texts": 2}
    ran = shell("inbox", "search", "build")
    assert "37 % of the messages were searched" in ran.err
    assert "2 long texts were not searched" in ran.err
    notes = [json.loads(line) for line in shell("--json", "inbox", "search", "x").err.splitlines()]
    assert all(set(note) == {"note"} for note in notes)
    assert len(notes) == 2
    assert shell("--quiet", "inbox", "search", "build").err == ""


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("two", "words"),
        ("x", "--limit", "0"),
        ("x", "--since", "yesterdayish"),
        ("x", "--after", "?"),
        ("x", "--unread"),
        ("x", "--files", "--limit"),
    ],
)
def test_misuse(knows: FakeNode, shell: Shell, arguments: tuple[str, ...]) -> None:
    ran = shell("--json", "inbox", "search", *arguments)
    assert ran.code == 2
    assert ran.out == ""
    assert json.loads(ran.err)["error"]["code"] == "usage"
    assert not knows.asked


def test_what_the_node_refuses(knows: FakeNode, shell: Shell) -> None:
    knows.answers["inbox.search"] = UsageError("there is nothing to search for", hint="name a part")
    ran = shell("--json", "inbox", "search", "")
    assert ran.code == 2
    assert json.loads(ran.err)["error"]["message"] == "there is nothing to search for"


def test_a_term_that_is_no_text(knows: FakeNode, shell: Shell) -> None:
    ran = shell("--json", "inbox", "search", "a\udcff")
    assert ran.code == 65
    assert "\\xff" in json.loads(ran.err)["error"]["message"]


def test_a_term_that_begins_with_a_dash(knows: FakeNode, shell: Shell) -> None:
    assert shell("inbox", "search", "--", "-x").code == 0
    assert knows.params["term"] == "-x"


# -- what is highlighted


def on_terminal(shell: Shell, *arguments: str, **env: str) -> str:
    """Return what a terminal shows."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "peerpost.cli", "--home", str(shell.home), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "100"} | env,
    ) as process:
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 4096):
                shown += piece
        except OSError:
            pass  # so Linux says that nobody writes to it any more
        process.wait(60)
    os.close(ours)
    return shown.decode()


HIT, RESET = "\x1b[1;33m", "\x1b[0m"


@pytest.mark.slow
def test_the_hit_is_highlighted_on_a_terminal(knows: FakeNode, shell: Shell) -> None:
    shown = on_terminal(shell, "inbox", "search", "build")
    assert f"the {HIT}build{RESET} is green" in shown
    plain = on_terminal(shell, "inbox", "search", "build", NO_COLOR="1")
    assert "the build is green" in plain
    assert "\x1b" not in plain


@pytest.mark.slow
def test_hostile_text_is_harmless(knows: FakeNode, shell: Shell) -> None:
    text = "\x1b[31m \x01evil\x02 \u202ebuild\u202c\x07"
    at = text.index("build")
    row = RECEIVED | {"match": text, "match_start": at, "match_end": at + 5}
    knows.answers["inbox.search"] = [row]
    safe = "<U+001B>[31m <U+0001>evil<U+0002> <U+202E>{}<U+202C><U+0007>"
    assert safe.format("build") in shell("inbox", "search", "build").out
    # A terminal breaks the line between words.
    shown = " ".join(on_terminal(shell, "inbox", "search", "build", COLUMNS="300").split())
    assert safe.format(f"{HIT}build{RESET}") in shown


def test_what_is_marked_takes_no_room() -> None:
    marked = Marked("some green build", 5, 16)
    assert marked.shown() == f"some {ON}green{OFF} {ON}build{OFF}"
    assert width(marked.shown()) == width("some green build")
    wide = Marked("日本 ok", 0, 2)
    assert width(wide.shown()) == width("日本 ok")
    rows: Any = laid_out([[marked.shown()]], [False], 10)
    assert rows == [[f"some {ON}green{OFF}", f"{ON}build{OFF}"]]
