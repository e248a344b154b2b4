"""Hostile texts and names, received by a real node, on a real terminal: they arrive whole and do nothing there."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from peerpost.invisible import is_hidden
from peerpost.store.files.names import safe_name
from tests.support.hostile_texts import HOSTILE, ORDINARY
from tests.support.nodes import Friend, until
from tests.support.terminal import shown_by

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(300)]

NAMES = [text for text in HOSTILE if len(text.encode()) < 1000][::7]
NOTE = "\n".join(text for text in HOSTILE if len(text) < 40)[:1500]
TOGETHER = "\n".join([*HOSTILE, *ORDINARY])
"""Beyond 60 KiB it is printed while it is read."""
SHORTER = "\n".join(text for text in HOSTILE if len(text) < 100)
OURS = re.compile(r"\x1b\[(?:0|1|2|1;31|36|1;33)m")


@pytest_asyncio.fixture
async def bob(pair: tuple[Friend, Friend], folder: Path) -> AsyncIterator[Friend]:
    """Somebody to whom all of it was sent; he has put down some of it in a note."""
    alice, bob = pair
    bodies = [*HOSTILE, *ORDINARY, TOGETHER, SHORTER]
    assert len(bodies) > 300
    ids = [await queue_text(alice, folder, body) for body in bodies]
    ids += [await queue_named(alice, folder, name) for name in NAMES]
    await bob.ask("contacts.edit", {"name": "alice", "note": NOTE})

    async def arrived() -> bool:
        return len(await bob.ask("inbox.list", {"limit": 10_000})) == len(ids)

    await until(arrived, timeout_s=120, step_s=0.5)
    yield bob


async def queue_text(alice: Friend, folder: Path, body: str) -> str:
    """Send a text; a long one as the command line does, from a file."""
    if len(body.encode()) < 60 * 1024:
        return str((await alice.ask("send-net", {"contact": "bob", "text": body}))["id"])
    path = folder / "long.txt"
    path.write_text(body, encoding="utf-8", newline="")
    file = {
        "name": "",
        "fd_index": 0,
        "path_hint": str(path),
        "size": len(body.encode()),
        "as_text": True,
    }
    with path.open("rb") as source:
        sent = await alice.ask("send-net", {"contact": "bob", "file": file}, fds=(source.fileno(),))
    return str(sent["id"])


async def queue_named(alice: Friend, folder: Path, name: str) -> str:
    path = folder / "named.bin"
    path.write_bytes(b"content")
    file = {"name": name, "fd_index": 0, "path_hint": str(path), "size": 7}
    with path.open("rb") as source:
        sent = await alice.ask("send-net", {"contact": "bob", "file": file}, fds=(source.fileno(),))
    return str(sent["id"])


def command(friend: Friend, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "peerpost.cli", "--home", str(friend.home), *arguments]


def require_harmless(shown: str) -> None:
    """Fail if anything but text to read and our own colours reached the terminal."""
    for line in OURS.sub("", shown).replace("\r\n", "\n").split("\n"):
        for part in line.split("\t"):
            hidden = [part[at] for at in range(len(part)) if is_hidden(part, at)]
            assert not hidden, (ascii(hidden), ascii(part[:300]))


async def shown_commands(bob: Friend) -> list[tuple[str, ...]]:
    """Return each command that shows what was received, with what it needs."""
    rows = await bob.ask("inbox.list", {"limit": 10_000})
    long = [row["id"] for row in rows if row["kind"] == "text" and row["size"] > 5000]
    file = next(row["id"] for row in rows if row["kind"] == "file")
    return [
        ("inbox", "list"),
        ("inbox", "list", "--limit", "5"),
        ("inbox", "search", "in"),
        ("inbox", "search", "in", "--files"),
        *(("inbox", "show", "--peek", id_) for id_ in (*long, file)),
        ("inbox", "watch", "--as", "terminal", "--limit", "200"),
        ("contacts", "list"),
        ("contacts", "show", "alice"),
        ("transfers", "list"),
        ("doctor",),
    ]


async def test_on_a_terminal_nothing_acts(
    bob: Friend, pair: tuple[Friend, Friend], folder: Path
) -> None:
    alice, _ = pair
    ran = [(bob, arguments) for arguments in await shown_commands(bob)]
    ran += [(alice, ("sent", "list")), (alice, ("queue", "list")), (alice, ("transfers", "list"))]
    ran += [(bob, ("inbox", "save", "--all", "--out", f"{folder / 'saved'}/"))]
    everything = ""
    for columns, (friend, arguments) in zip([80, 40] * 20, ran, strict=False):
        code, written = await asyncio.to_thread(
            shown_by, command(friend, *arguments), columns=columns
        )
        shown = written.decode()  # strictly
        assert code in {0, 1}, (arguments, shown[-500:])
        require_harmless(shown)
        everything += shown
    assert "<U+001B>]0;owned<U+0007>" in everything
    assert "<U+202E>" in everything
    for text in ORDINARY:
        assert text in everything, text


async def test_json_and_what_is_saved_are_exact(bob: Friend, folder: Path) -> None:
    rows = (await bob.cli("inbox", "list")).rows
    names = {row["name"] for row in rows if row["kind"] == "file"}
    assert names == {safe_name(name) for name in NAMES}
    for done in (await bob.cli("inbox", "list"), await bob.cli("contacts", "show", "alice")):
        assert done.out.isascii()
        assert re.search(rb"[\x00-\x09\x0b-\x1f\x7f]", done.out) is None
    assert json.loads(done.out)["notes"] == NOTE
    texts = [row for row in rows if row["kind"] == "text"]
    bodies = {(await bob.ask("inbox.read", {"id": row["id"]}))["body"] for row in texts[2:]}
    assert {*HOSTILE, *ORDINARY} <= bodies | {TOGETHER, SHORTER}
    await bob.cli("inbox", "save", "--all", "--out", f"{folder / 'saved'}/")
    saved = {path.read_bytes().decode() for path in (folder / "saved").iterdir()}
    assert {*HOSTILE, *ORDINARY, TOGETHER, SHORTER} <= saved


class Tmux:
    """A real terminal: a server of tmux of its own with one pane."""

    STATE = "|".join(
        f"#{{{name}}}"
        for name in (
            *("alternate_on", "cursor_flag", "insert_flag", "keypad_cursor_flag", "keypad_flag"),
            *("mouse_any_flag", "mouse_all_flag", "mouse_sgr_flag", "origin_flag", "wrap_flag"),
            *("scroll_region_upper", "scroll_region_lower", "pane_title", "window_name"),
            *("pane_tabs", "buffer_size"),
        )
    )

    def __init__(self, folder: Path) -> None:
        self._socket = folder / "tmux"
        self._ask("new-session", "-d", "-x", "100", "-y", "40", "sh")
        self._ask("set-option", "-g", "set-clipboard", "on")
        self._ask("set-option", "-g", "history-limit", "100000")
        self._ask("set-option", "-g", "allow-rename", "on")
        self._ask("set-option", "-g", "automatic-rename", "off")
        # The limit holds for panes that begin after it was set.
        self._ask("respawn-pane", "-k", "sh")

    def _ask(self, *arguments: str) -> str:
        asked = ["tmux", "-u", "-f", "/dev/null", "-S", str(self._socket), *arguments]
        env = {name: value for name, value in os.environ.items() if name != "TMUX"}
        env |= {"PS1": "$ ", "LC_ALL": "C.UTF-8", "ENV": ""}
        done = subprocess.run(asked, env=env, capture_output=True, text=True, check=True)
        return done.stdout

    def state(self) -> str:
        """Return what escapes would change."""
        return self._ask("display-message", "-p", self.STATE) + self._ask("list-buffers")

    def run(self, line: str, done: Path) -> None:
        """Type a line of the shell and wait for its end."""
        done.unlink(missing_ok=True)
        self._ask("send-keys", "-l", f"{line}; touch {shlex.quote(str(done))}")
        self._ask("send-keys", "Enter")
        deadline_s = time.monotonic() + 60
        while not done.exists():
            assert time.monotonic() < deadline_s, self.screen()
            time.sleep(0.1)
        time.sleep(0.3)

    def screen(self) -> str:
        """Return all that was shown, what has scrolled away too; lines are joined that tmux has wrapped."""
        return self._ask("capture-pane", "-p", "-J", "-S", "-")

    def kill(self) -> None:
        subprocess.run(["tmux", "-S", str(self._socket), "kill-server"], check=False)


@pytest.fixture
def tmux(folder: Path) -> Iterator[Tmux]:
    if shutil.which("tmux") is None:
        pytest.skip("there is no tmux here (apt install tmux)")
    terminal = Tmux(folder)
    try:
        yield terminal
    finally:
        terminal.kill()


async def test_in_tmux_nothing_acts(bob: Friend, tmux: Tmux, folder: Path) -> None:
    before = tmux.state()
    done = folder / "done"
    for arguments in await shown_commands(bob):
        line = shlex.join(command(bob, *arguments))
        await asyncio.to_thread(tmux.run, line, done)
        assert tmux.state() == before, arguments
    screen = tmux.screen()
    # It moves the joiners of words and emoji, and cuts off a flag of many tags.
    require_harmless(re.sub("[\u200c\u200d\U000e0061-\U000e007a]", "", screen))
    assert "<U+001B>]0;owned<U+0007>" in screen
    assert "<U+001B>[?1049h" in screen
    # The same, unfiltered, does act here: the comparison above can fail.
    for name, raw in {
        "title": "\x1b]0;owned\x07",
        "mouse": "\x1b[?1003h",
        "TOGETHER": TOGETHER,
    }.items():
        assert raw in TOGETHER
        (folder / name).write_text(raw, encoding="utf-8", newline="")
        await asyncio.to_thread(tmux.run, f"cat {shlex.quote(str(folder / name))}", done)
        assert tmux.state() != before, name
