"""How it looks: narrow screens, terminals that can do little, pipes, and encodings that lack most characters."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import zxingcpp

from peerpost.cli.table import width
from tests.support.nodes import Friend
from tests.support.terminal import shown_by

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(300)]

REPORT = "quarterly-report-final-2026-11-30_with-a-long-name.pdf"
TEXTS = [
    "The build is green.",
    "The disk of db3 is at 97 %: /srv/data/postgresql/14/main, please look at it soon",
    "Việt Nam, 漢字かな交じり文の長いメッセージです。これは折り返されます。",
    "👨‍👩‍👧‍👦 Grüße",
]
LISTS = [
    ("inbox", "list"),
    ("inbox", "search", "e"),
    ("inbox", "readers"),
    ("contacts", "list"),
    ("contacts", "invites"),
    ("queue", "list"),
    ("sent", "list"),
    ("transfers", "list"),
    ("limits", "show"),
    ("doctor",),
    ("config", "show"),
]
SHOWN = [
    ("contacts", "show", "alice"),
    ("identity", "show"),
    ("node", "status"),
    ("contacts", "list", "--help"),
    ("send", "--help"),
    ("--help",),
]
SGR = re.compile(r"\x1b\[[0-9;]*m")


@pytest_asyncio.fixture
async def bob(pair: tuple[Friend, Friend], folder: Path) -> AsyncIterator[Friend]:
    """Somebody with rows in each of his lists; Alice is away."""
    alice, bob = pair
    for text in TEXTS:
        await alice.cli("send", "-c", "bob", "--", text)
    report = folder / REPORT
    report.write_bytes(b"x" * 3_000_000)
    await alice.cli("send", "-c", "bob", "--wait", "--file", str(report))
    await bob.cli("inbox", "ack", "--newest")
    note = "from the office on the second floor, comes on Mondays"
    tags = ("--tag", "ops", "--tag", "berlin-office")
    await bob.cli("contacts", "edit", "alice", "--note", note, *tags)
    await bob.cli("contacts", "invite", "carol-from-the-berlin-office")
    await bob.cli("limits", "set", "--contact", "alice", "--up", "5MB")
    await alice.stop()
    await bob.cli("send", "-c", "alice", "waits for her until she is back from her holidays")
    await bob.cli("send", "-c", "alice", "--file", str(report))
    yield bob


def command(friend: Friend, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "peerpost.cli", "--home", str(friend.home), *arguments]


@pytest.mark.parametrize("columns", [40, 80])
async def test_no_line_is_longer_than_the_screen(bob: Friend, columns: int) -> None:
    everything = ""
    for arguments in LISTS:
        _, written = await asyncio.to_thread(shown_by, command(bob, *arguments), columns=columns)
        shown = SGR.sub("", written.decode()).replace("\r\n", "\n")
        assert len(shown.splitlines()) > 1, arguments
        # What is said below a list is wrapped by the terminal: it has commands to copy.
        rows = [line for line in shown.splitlines() if not line.startswith(("Peerpost", "There"))]
        assert [row for row in rows if width(row) > columns] == [], arguments
        everything += shown
    # Nothing was cut: each long cell is there, whatever lines it is on.
    joined = re.sub(r"\s", "", everything)
    for text in (*TEXTS, REPORT, "carol-from-the-berlin-office"):
        for part in text.split():
            assert part[-6:] in joined, part
    rows = (await bob.cli("inbox", "list")).rows
    assert all(re.search(rf"^{row['id']}\b", everything, re.MULTILINE) for row in rows)


@pytest.mark.parametrize("columns", [40, 80])
async def test_one_thing_is_shown_within_the_screen_but_for_what_is_copied(
    bob: Friend, columns: int
) -> None:
    rows = (await bob.cli("inbox", "list")).rows
    asked = [*SHOWN, *(("inbox", "show", "--peek", row["id"]) for row in rows)]
    for arguments in asked:
        _, written = await asyncio.to_thread(shown_by, command(bob, *arguments), columns=columns)
        shown = SGR.sub("", written.decode()).replace("\r\n", "\n")
        for line in shown.partition("\n\n")[0].partition("Examples:")[0].splitlines():
            words = line.split("  ")[-1].split()
            assert width(line) <= columns or len(words) == 1, (arguments, line)


async def test_a_name_cannot_look_like_the_next_line(bob: Friend, folder: Path) -> None:
    """A name as wide as the screen is would have its rest begin where the names of fields do."""
    name = "x" * 60 + "state=delivered"
    (folder / name).write_bytes(b"1")
    row = (await bob.cli("send", "-c", "alice", "--file", str(folder / name))).row
    shown = shown_by(command(bob, "sent", "show", row["id"]), columns=40)[1].decode()
    assert not re.search(r"^state=", shown, re.MULTILINE)
    assert all(width(SGR.sub("", line)) <= 40 for line in shown.splitlines() if "x" * 9 in line)


async def test_what_was_copied_is_whole(bob: Friend) -> None:
    shown = shown_by(command(bob, "identity", "show"), columns=40)[1].decode()
    row = (await bob.cli("identity", "show")).row
    for text in (row["id"], row["peer_id"], row["announced"][0], row["keys"][0]["public"]):
        assert text in shown


@pytest.mark.parametrize("env", [{"TERM": "dumb"}, {"TERM": "dumb", "LC_ALL": "C"}])
async def test_a_dumb_terminal_gets_no_escapes(
    bob: Friend, folder: Path, env: dict[str, str]
) -> None:
    sends = ("send", "-c", "alice", "--wait", "--timeout", "3s", "--file", str(folder / REPORT))
    asked = [*LISTS, *SHOWN, sends, ("contacts", "invite", "dave"), ("nonsense",)]
    for arguments in asked:
        _, written = await asyncio.to_thread(
            shown_by, command(bob, *arguments), env=os.environ | env, lines=60
        )
        assert b"\x1b" not in written, arguments
        assert b"\r" not in written.replace(b"\r\n", b""), arguments


async def test_no_color_leaves_the_rest(bob: Friend) -> None:
    # None of these shows how long ago something was.
    for arguments in (("limits", "show"), ("config", "show"), ("contacts", "show", "bob")):
        ran = [
            shown_by(command(bob, *arguments), env=os.environ | env)[1]
            for env in ({"NO_COLOR": "1"}, {"NO_COLOR": ""})
        ]
        assert b"\x1b" not in ran[0]
        assert b"\x1b[" in ran[1]
        assert SGR.sub("", ran[1].decode()) == ran[0].decode()


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "cp437", "ascii:strict", "utf-16-le"])
async def test_an_encoding_that_lacks_characters_is_no_error(bob: Friend, encoding: str) -> None:
    env = os.environ | {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    name = encoding.partition(":")[0]
    for arguments in (*LISTS, *SHOWN, ("contacts", "show", "nobody-é漢")):
        done = await asyncio.to_thread(
            subprocess.run, command(bob, *arguments), env=env, capture_output=True, check=False
        )
        shown, said = done.stdout.decode(name), done.stderr.decode(name)
        assert done.returncode in {0, 1, 67}, (arguments, said)
        assert "UnicodeEncodeError" not in said
        assert "Traceback" not in said
        assert not re.search(r"error: unexpected", said)
        if arguments == ("inbox", "list"):
            assert "Grüße" in shown or r"Gr\xfc\xdfe" in shown
            assert "漢字" in shown or r"\u6f22\u5b57" in shown
        if done.returncode == 67:
            assert "nobody-" in said
    exact = await asyncio.to_thread(
        subprocess.run,
        command(bob, "--json", "inbox", "list"),
        env=env,
        capture_output=True,
        check=True,
    )
    assert exact.stdout.decode(name) == (await bob.cli("inbox", "list")).out.decode()


async def test_a_code_where_there_are_no_blocks(bob: Friend) -> None:
    env = os.environ | {"PYTHONIOENCODING": "cp1252"}
    invites = command(bob, "contacts", "invite", "dave")
    written = shown_by(invites, env=env, columns=200, lines=80)[1].decode("cp1252")
    assert r"\u25" not in written
    assert _scanned(written) == re.findall(r"PP1\w+", written)[0]
    written = shown_by(invites, env=env | {"TERM": "dumb"}, columns=200, lines=80)[1].decode(
        "cp1252"
    )
    assert "No QR code: cp1252 has no blocks" in written
    assert "\x1b" not in written


def _scanned(written: str) -> str:
    """Return what a camera reads from blanks of two colours."""
    scale, rows = 4, []
    for line in written.split("\r\n"):
        if line.startswith("\x1b[7m"):
            runs = re.findall(r"\x1b\[(7|49)m( *)", line)
            row = [255 if style == "7" else 0 for style, blanks in runs for _ in blanks]
            # A module is two blanks wide.
            rows += [bytes(shade for shade in row for _ in range(scale))] * (2 * scale)
    picture = memoryview(b"".join(rows)).cast("B", (len(rows), len(rows[0])))
    (found,) = zxingcpp.read_barcodes(picture)
    return str(found.text)
