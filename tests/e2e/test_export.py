"""History that is exported by one home and imported by another: all of it, or nothing."""

from __future__ import annotations

import asyncio
import contextlib
import html.parser
import io
import json
import os
import random
import re
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import MakeFriend
from tests.messenger.bundle.test_reading import HOSTILE
from tests.support.bundles import bundle, received, sent, with_file
from tests.support.nodes import WAIT_S, Friend, content, digest, until

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(180)]

HOSTILE_TEXTS = [
    "\x1b]0;title\x07\x1b[2Jgone",
    "right \u202eto left\u202c and \u2066isolated",
    "zero\u200bwidth \U000e0041tags \u2800braille",
    "a\u0300\u0301\u0302\u0303\u0304 marks",
    "line\r\nbreaks\n\ttabs \x00 NUL \x7f",
    "<script>alert(1)</script> & <img src=x onerror=y>",
    "emoji 👩‍👩‍👧‍👦 and 日本語 and عربى",
]
LONG = "a long text, which travels like a file. " * 4000
PASSPHRASE = b"umber lattice quiver saddle topaz morning\n"


async def inbox(friend: Friend) -> list[dict[str, Any]]:
    return (await friend.cli("inbox", "list")).rows


async def fill(alice: Friend, bob: Friend, folder: Path) -> None:
    """Have each write to the other: texts, a long one, a file and a folder."""
    for text in HOSTILE_TEXTS:
        await bob.ask("send-net", {"contact": "alice", "text": text})
        await alice.ask("send-net", {"contact": "bob", "text": f"re: {text}"})
    await bob.ask("send-net", {"contact": "alice", "text": LONG})
    await bob.queue_file("alice", "ph\u00f6to <1>.bin", content(300_000))
    (folder / "trip" / "day").mkdir(parents=True)
    (folder / "trip" / "day" / "one.txt").write_text("one")
    await bob.cli("send-net", "--contact", "alice", "--file", str(folder / "trip"))

    async def arrived() -> bool:
        return len(await inbox(alice)) == len(HOSTILE_TEXTS) + 3 and not await alice.ask(
            "queue.list"
        )

    await until(arrived)


def parts(path: Path) -> dict[str, bytes]:
    """Return what is in a bundle but for what says when it was made and by whom."""
    with zipfile.ZipFile(path) as archive:
        found = {name: archive.read(name) for name in archive.namelist()}
    del found["manifest.json"]
    return found


def without_ids(found: dict[str, bytes]) -> dict[str, bytes]:
    """Return parts with names for the ids of contacts, which differ from home to home."""
    cards = [json.loads(line) for line in found["contacts.jsonl"].splitlines()]
    for card in cards:
        for name in ("messages.jsonl", "contacts.jsonl"):
            found[name] = found[name].replace(card["id"].encode(), card["name"].encode())
    return found


async def test_what_is_exported_comes_back_whole(
    pair: tuple[Friend, Friend], friend: MakeFriend, folder: Path
) -> None:
    alice, bob = pair
    await fill(alice, bob, folder)
    first = (await inbox(alice))[0]["id"]
    await alice.cli("inbox", "mark", first)
    made = (await alice.cli("inbox", "export", "--all", "--out", str(folder / "a.zip"))).row
    assert (made["messages"], made["files"], made["missing"]) == (2 * len(HOSTILE_TEXTS) + 3, 3, [])
    assert (folder / "a.zip").stat().st_mode & 0o777 == 0o600
    assert (folder / "a.zip").stat().st_size == made["size"]

    new = friend("new")
    await new.cli("identity", "new", "--name", "new", "--no-passphrase")
    dry = (await new.cli("inbox", "import", str(folder / "a.zip"), "--dry-run")).row
    assert (dry["imported"], dry["dry_run"]) == (made["messages"], True)
    assert await inbox(new) == []
    taken = (await new.cli("inbox", "import", str(folder / "a.zip"))).row
    assert (taken["imported"], taken["duplicates"], taken["renamed"]) == (made["messages"], 0, 0)
    again = (await new.cli("inbox", "import", str(folder / "a.zip"))).row
    assert (again["imported"], again["duplicates"]) == (0, made["messages"])

    await new.cli("inbox", "export", "--all", "--out", str(folder / "b.zip"))
    assert without_ids(parts(folder / "b.zip")) == without_ids(parts(folder / "a.zip"))
    for command in (("inbox", "list"), ("sent", "list")):
        mine, theirs = [(await one.cli(*command)).rows for one in (new, alice)]
        for row in (*mine, *theirs):
            row.pop("cursor")
            row.pop("path", None)
        assert {row.pop("imported") for row in mine} == {True}
        assert {row.pop("imported") for row in theirs} == {False}
        assert mine == theirs
    for row in await inbox(new):
        shown = [(await one.cli("inbox", "show", row["id"], "--peek")).row for one in (new, alice)]
        assert shown[0].get("body") == shown[1].get("body")
        assert shown[0].get("blake2b") == shown[1].get("blake2b")
    (trip,) = [row["id"] for row in await inbox(new) if row["name"] == "trip"]
    await new.cli("inbox", "save", trip, "--out", str(folder / "back"))
    assert (folder / "back" / "day" / "one.txt").read_text() == "one"

    # In the home that it is of, all of it is there already; what was deleted since comes back.
    assert (await alice.cli("inbox", "import", str(folder / "a.zip"))).row["imported"] == 0
    photo = next(row for row in await inbox(alice) if (row["name"] or "").endswith(".bin"))
    await alice.cli("inbox", "delete", photo["id"], trip)
    assert (await alice.cli("inbox", "import", str(folder / "a.zip"))).row["imported"] == 2
    await alice.cli("inbox", "save", photo["id"], "--out", str(folder / "photo"))
    assert digest((folder / "photo").read_bytes()) == digest(content(300_000))


async def test_an_imported_message_reaches_no_contact_no_reader_and_no_hook(
    friend: MakeFriend, folder: Path
) -> None:
    new = friend("new")
    heard = folder / "heard"
    hook = folder / "hook.sh"
    hook.write_text(f"#!/bin/sh\ncat >> {heard}\n")
    hook.chmod(0o700)
    config = new.home / "config.toml"
    config.write_text(f'{config.read_text()}\n[hooks]\non_message = ["{hook}"]\n')
    await new.cli("identity", "new", "--name", "new", "--no-passphrase")
    path = folder / "x.zip"
    path.write_bytes(
        bundle([received(2), received(1), sent(2, state="queued"), sent(1, state="sent")])
    )
    await new.cli("inbox", "import", str(path))
    assert (await new.cli("queue", "list")).rows == []
    assert [row["state"] for row in (await new.cli("sent", "list")).rows] == ["cancelled"] * 2
    assert [row["waiting"] for row in (await new.cli("inbox", "readers")).rows] == [0]
    watch = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "peerpost.cli", "--home", str(new.home), "--json"),
        *("inbox", "watch", "--as", "bot"),
        stdout=subprocess.PIPE,
    )
    assert watch.stdout is not None
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(2):
            print((await watch.stdout.readline()).decode())  # noqa: T201 - what it should not have said
    watch.terminate()
    await watch.wait()
    assert not heard.exists()


async def test_a_hostile_bundle_changes_nothing(friend: MakeFriend, folder: Path) -> None:
    new = friend("new")
    await new.cli("identity", "new", "--name", "new", "--no-passphrase")
    path = folder / "x.zip"
    for name, make in HOSTILE.items():
        path.write_bytes(make())
        done = await new.cli("inbox", "import", str(path), code=None)
        assert done.code == 65, (name, done)
        assert done.error["code"] == "bad_input", name
        assert "Traceback" not in done.err, name
    for odd in (b"", b"{}", b"<html>", b"peerpost-backup\x01", b"\x00" * 100, b"peerpost-bundle"):
        path.write_bytes(odd)
        assert (await new.cli("inbox", "import", str(path), code=65)).error["hint"], odd
    assert (await new.cli("inbox", "import", str(folder / "none"), code=66)).error
    assert await inbox(new) == []
    assert (await new.cli("sent", "list")).rows == []
    assert not list((new.home / "blobs").iterdir())


async def test_a_name_that_no_contact_can_have_is_refused(friend: MakeFriend, folder: Path) -> None:
    from peerpost.bundle.record import Card

    new = friend("new")
    await new.cli("identity", "new", "--name", "new", "--no-passphrase")
    for name in ("a b", "\u202ebob", "-x", "\x1b[2J", "bob (removed)"):
        (folder / "x.zip").write_bytes(bundle([received(1)], cards=[Card(id="bobsid", name=name)]))
        done = await new.cli("inbox", "import", str(folder / "x.zip"), code=65)
        assert "card" in done.error["message"]
    assert await inbox(new) == []


async def test_an_encrypted_bundle_tells_nothing_and_comes_back(
    friend: MakeFriend, folder: Path
) -> None:
    new, other = friend("new"), friend("other")
    for one in (new, other):
        await one.cli("identity", "new", "--name", one.name, "--no-passphrase")
    data = content(200_000)
    (folder / "plain.zip").write_bytes(
        bundle([received(2, "a secret"), with_file(1, data)], [data])
    )
    await new.cli("inbox", "import", str(folder / "plain.zip"))
    secret = folder / "secret"
    secret.write_bytes(PASSPHRASE)
    secret.chmod(0o600)
    given = ("--passphrase-file", str(secret))
    out = folder / "sealed"
    row = (await new.cli("inbox", "export", "--all", "--encrypt", *given, "--out", str(out))).row
    assert row["encrypted"]
    sealed = out.read_bytes()
    assert b"secret" not in sealed
    assert data[:64] not in sealed
    wrong = folder / "wrong"
    wrong.write_bytes(b"another one altogether\n")
    wrong.chmod(0o600)
    await other.cli("inbox", "import", str(out), "--passphrase-file", str(wrong), code=77)
    await other.cli("inbox", "import", str(out), code=77)
    for cut in (20, 100, 70_000, len(sealed) - 1):
        (folder / "cut").write_bytes(sealed[:cut])
        await other.cli("inbox", "import", str(folder / "cut"), *given, code=65)
    assert await inbox(other) == []
    # From a pipe, where nothing can be read twice.
    taken = await other.cli("inbox", "import", "-", *given, stdin=sealed)
    assert taken.row["imported"] == 2
    # And what is not encrypted, through a pipe both ways.
    piped = (await new.cli("inbox", "export", "--all", "--out", "-")).out
    assert zipfile.is_zipfile(io.BytesIO(piped))
    assert (await other.cli("inbox", "import", "-", stdin=piped)).row["duplicates"] == 2


async def test_lines_of_json_and_a_page(pair: tuple[Friend, Friend], folder: Path) -> None:
    alice, bob = pair
    await fill(alice, bob, folder)
    lines = (await alice.cli("inbox", "export", "--all", "--format", "jsonl", "--out", "-")).rows
    assert len(lines) == 2 * len(HOSTILE_TEXTS) + 3
    bodies = [row["body"] for row in lines]
    assert set(HOSTILE_TEXTS) | {LONG} <= set(bodies)
    at = [row.get("received_at") or row["created"] for row in lines]
    assert at == sorted(at)
    page = folder / "a.html"
    await alice.cli("inbox", "export", "--all", "--format", "html", "--out", str(page))
    text = page.read_text(encoding="utf-8")
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069\u200b\U000e0041]", text)
    found = _Tags()
    found.feed(text)
    assert not found.names & {"script", "img", "link", "iframe", "object", "embed", "a", "form"}
    assert not found.loading, found.loading
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert LONG.strip() in text
    one = lines[0]["id"]
    done = await alice.cli("inbox", "export", one[:7], "--format", "jsonl", "--out", "-")
    assert [row["id"] for row in done.rows] == [one]
    await alice.cli("inbox", "export", "nosuchid", "--out", "-", "--format", "jsonl", code=67)
    await alice.cli("inbox", "export", "--all", "--out", str(page), code=73)
    await alice.cli("inbox", "export", "--out", str(page), "--force", code=2)
    only = await alice.cli(
        *("inbox", "export", "--all", "--contact", "bob", "--since", "2000-01-01"),
        *("--out", str(page), "--force"),
    )
    assert only.row["messages"] == len(lines)


class _Tags(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.loading: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.loading += [
            (key, value)
            for key, value in attrs
            if key in {"src", "href", "style", "data"} or key.startswith("on")
        ]


@pytest.mark.slow
async def test_kill_9_in_the_middle_and_again(friend: MakeFriend, folder: Path) -> None:
    new = friend("new")
    draw = random.Random(5)
    await new.cli("identity", "new", "--name", "new", "--no-passphrase")
    data = [draw.randbytes(200_000) for _ in range(10)]
    records = [received(n, f"text {n}") for n in range(4000, 0, -1)]
    for place, one in enumerate(data):
        records[400 * place] = with_file(records[400 * place].seq, one)
    path = folder / "x.zip"
    path.write_bytes(bundle(records, data))
    kills = 0
    while kills < 6:
        command = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "peerpost.cli", "--home", str(new.home), "--json"),
            *("inbox", "import", str(path)),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        await asyncio.sleep(0.3 + draw.random())
        if kills % 2:
            with contextlib.suppress(ProcessLookupError):
                command.kill()
        elif (pid := await new.node_pid()) is not None:
            os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(WAIT_S):
            await command.wait()
        kills += 1
    await new.cli("inbox", "import", str(path))
    rows = await inbox(new)
    assert [row["name"] or row["preview"] for row in rows] == [
        record.name or record.text for record in records
    ]
    for row, one in zip([row for row in rows if row["kind"] == "file"], data, strict=True):
        done = await new.cli("inbox", "save", row["id"], "--out", "-")
        assert done.out == one
