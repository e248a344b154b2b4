"""How far a file is: bars, lines, objects or nothing, and harmless to a terminal in each."""

from __future__ import annotations

import json
import sys
from typing import Any, TextIO

import pyte
import pytest

from peerpost.cli.progress import LINE_S, OBJECT_S, Progress, in_words
from peerpost.cli.terminal import Terminal
from tests.support.terminal import drawn_on_stderr, shown_by

from .conftest import ENTRY, Events, FakeNode, Shell

ROW = {
    "id": "7hq2m",
    "name": "dump.sql",
    "state": "sent",
    "size": 10_000_000,
    "done_bytes": 2_500_000,
    "progress": 0.25,
    "rate_bytes_s": 1_000_000,
    "eta_s": 8,
}


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "25 %, 2.4 MiB of 9.5 MiB, 976.6 KiB/s, 8s left"),
        ({"size": None, "progress": None, "eta_s": None}, "2.4 MiB, 976.6 KiB/s"),
        ({"rate_bytes_s": None, "eta_s": None}, "25 %, 2.4 MiB of 9.5 MiB"),
        (
            {"state": "paused", "error": "paused by the sender"},
            "25 %, 2.4 MiB of 9.5 MiB, paused by the sender",
        ),
        ({"state": "queued", "done_bytes": None, "progress": None}, "queued"),
        ({"state": "delivered"}, "delivered"),
    ],
)
def test_in_words(change: dict[str, Any], words: str) -> None:
    assert in_words(ROW | change) == words


@pytest.mark.parametrize(("as_json", "every_s"), [(False, LINE_S), (True, OBJECT_S)])
def test_off_a_terminal_it_is_said_now_and_then(
    capsys: pytest.CaptureFixture[str], as_json: bool, every_s: float
) -> None:
    clock, terminal = Clock(), Terminal()
    terminal.json = as_json
    with Progress(terminal, now_s=clock) as progress:
        for _ in range(100):
            progress.update(ROW | {"name": "a\x1b[2Jb"})
            clock.now_s += every_s / 10
    out, err = capsys.readouterr()
    assert out == ""
    assert "\x1b" not in err
    lines = err.splitlines()
    assert 8 <= len(lines) <= 10
    if as_json:
        said = json.loads(lines[0])
        assert said["event"] == "progress"
        assert {"id", "size", "done_bytes", "progress", "rate_bytes_s", "eta_s"} <= set(said)
    else:
        assert lines[0] == "a<U+001B>[2Jb: 25 %, 2.4 MiB of 9.5 MiB, 976.6 KiB/s, 8s left"


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    clock, terminal = Clock(), Terminal()
    terminal.quiet = True
    with Progress(terminal, now_s=clock) as progress:
        clock.now_s += 100
        progress.update(ROW)
    assert capsys.readouterr() == ("", "")


def test_on_a_terminal_there_is_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(stream: TextIO) -> None:
        with Progress(Terminal()) as progress:
            progress.update(ROW | {"name": "a\x1b[2Jb[/]"})
            progress.update(ROW | {"id": "small", "size": 10})
            with progress.aside():
                stream.write("aside\n")
            progress.update(ROW | {"state": "delivered"})

    text = drawn_on_stderr(monkeypatch, 100, draw)
    assert "a<U+001B>[2Jb[/]" in text
    assert "25 %, 2.4 MiB of 9.5 MiB" in text
    assert "aside" in text
    assert "small" not in text


BARS = """
import sys
import termios
from peerpost.cli.progress import Progress
from peerpost.cli.terminal import Terminal

count = int(sys.argv[1])
rows = [
    {"id": f"id{n}", "name": f"file{n}", "kind": "file", "state": "sent", "size": 9_000_000, "done_bytes": 1_000_000,
     "progress": 0.1} for n in range(count)
]
print("before")
with Progress(Terminal()) as progress:
    for at, row in enumerate(rows):
        with progress.aside():
            print(f"queued {at}", flush=True)
        progress.update(row)
    for row in rows:
        progress.update(row | {"done_bytes": 5_000_000, "progress": 0.5})
    for at, row in enumerate(rows):
        progress.update(row | {"state": "delivered"})
        with progress.aside():
            print(f"delivered {at}", flush=True)
print("after")
"""


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2, 3, 7])
@pytest.mark.parametrize("size", [(24, 80), (50, 120), (15, 40)])
def test_what_is_printed_beside_bars_stays(count: int, size: tuple[int, int]) -> None:
    lines, columns = size
    program = [sys.executable, "-c", BARS, str(count)]
    code, written = shown_by(program, lines=lines, columns=columns)
    assert code == 0
    screen = pyte.HistoryScreen(columns, lines, history=1000)
    pyte.ByteStream(screen).feed(written)
    gone_up = ["".join(line[at].data for at in range(columns)) for line in screen.history.top]
    shown = [line.rstrip() for line in (*gone_up, *screen.display) if line.strip()]
    expected = [f"{state} {at}" for state in ("queued", "delivered") for at in range(count)]
    assert shown == ["before", *expected, "after"]


def test_send_and_wait_prints_two_rows_and_progress_beside(node: FakeNode, shell: Shell) -> None:
    entry = ENTRY | {"kind": "file", "name": "dump.sql"}
    node.answers["send-net"] = Events([entry, entry | ROW], entry | {"state": "delivered"})
    ran = shell("send", "--contact", "bob", "text", "--wait", "--json")
    assert [json.loads(line)["state"] for line in ran.out.splitlines()] == ["queued", "delivered"]


@pytest.mark.parametrize(("state", "code"), [("done", 0), ("failed", 76), ("cancelled", 76)])
def test_following_one_ends_with_what_became_of_it(
    node: FakeNode, shell: Shell, state: str, code: int
) -> None:
    end = ROW | {"state": state, "error": None if state == "done" else "the source changed"}
    node.answers["transfers.follow"] = Events([ROW | {"state": "active"}], end)
    ran = shell("transfers", "show", "7h", "--follow", "--json")
    assert ran.code == code
    assert [json.loads(line)["state"] for line in ran.out.splitlines()] == ["active", state]
    if code:
        assert "the source changed" in ran.err


def test_following_all_prints_each_end(node: FakeNode, shell: Shell) -> None:
    ends = [ROW | {"id": id_, "state": "done"} for id_ in ("one", "two")]
    node.answers["transfers.follow"] = Events([ROW | {"state": "active"}, *ends], None)
    ran = shell("transfers", "list", "--follow")
    assert [line.split()[:2] for line in ran.out.splitlines()] == [["one", "done"], ["two", "done"]]
    assert "No files are under way." in ran.err
