"""A home with a passphrase, from the command line: what opens it, what is refused how, and what lies on its disk."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from peerpost.store import keyfile, keyfile_form
from tests.support.nodes import Friend, content, meet, until

pytestmark = pytest.mark.asyncio

WORD = "größe correct horse battery staple 71"
OTHER = "another six words for the same home 17"
OF_THE_NODE = {"lock", "spawn.lock", "node.log", "control.sock", "control.json"}
"""What a locked node writes: that it runs, and what it logs."""


def word_file(folder: Path, word: str | bytes, name: str = "word") -> str:
    path = folder / name
    path.write_bytes(word if isinstance(word, bytes) else word.encode())
    path.chmod(0o600)
    return str(path)


def disk_of(home: Path) -> dict[str, bytes | str]:
    """Return every byte of a home but what a locked node writes."""
    return {
        str(path.relative_to(home)): str(path.readlink())
        if path.is_symlink()
        else path.read_bytes()
        if path.is_file()
        else "folder"
        for path in home.rglob("*")
        if path.name not in OF_THE_NODE
    }


async def protected(folder: Path) -> Friend:
    alice = Friend("alice", folder)
    await alice.cli(
        "identity", "new", "--name", "alice", "--passphrase-file", word_file(folder, WORD)
    )
    await alice.cli("node", "stop")
    return alice


async def test_set_change_and_remove(folder: Path) -> None:
    alice = Friend("alice", folder)
    await alice.cli("identity", "new", "--name", "alice", "--no-passphrase")
    clear = keyfile.unlock(alice.home)
    word, other = word_file(folder, WORD), word_file(folder, OTHER, "other")
    for name in ("change", "remove"):
        refused = await alice.cli("identity", "passphrase", name, "--passphrase-file", word, code=2)
        assert "no passphrase" in refused.error["message"]
    log = alice.home / "node.log"
    before = "a line that names Bob\n" + log.read_text(encoding="utf-8")
    log.write_text(before, encoding="utf-8")
    done = await alice.cli("identity", "passphrase", "set", "--passphrase-file", word)
    # What was logged so far names contacts. The command that is told deletes it.
    (row,) = [row for row in (await alice.cli("doctor", code=1)).rows if row["check"] == "logs"]
    assert (row["ok"], "node.log" in row["found"]) == (False, True)
    assert row["hint"].endswith(f"rm {log}")
    (delete,) = [line for line in done.err.splitlines() if '"rm ' in line]
    assert await run("sh", "-c", json.loads(delete)["note"])
    assert all("Bob" not in left.read_text("utf-8") for left in alice.home.glob("node.log*"))
    assert "logs" not in [row["check"] for row in (await alice.cli("doctor")).rows]
    made = done.row
    assert (made["protected"], made["locked"]) == (True, False)
    code = made["recovery_code"]
    assert keyfile.unlock(alice.home, WORD.encode()) != clear
    refused = await alice.cli("identity", "passphrase", "set", "--passphrase-file", other, code=2)
    assert "already" in refused.error["message"]
    # The wrong one, then the right one, on a home that is locked.
    await alice.cli("identity", "lock")
    before = disk_of(alice.home)
    swap = ("identity", "passphrase", "change", "--passphrase-file")
    refused = await alice.cli(*swap, other, "--new-passphrase-file", other, code=77)
    assert refused.error["code"] == "wrong_passphrase"
    refused = await alice.cli(
        "identity", "passphrase", "remove", "--passphrase-file", other, code=77
    )
    assert refused.error["code"] == "wrong_passphrase"
    assert disk_of(alice.home) == before
    assert "recovery_code" not in (await alice.cli(*swap, word, "--new-passphrase-file", other)).row
    await alice.cli("identity", "unlock", "--passphrase-file", word, code=77)
    # The recovery code still opens it, and is enough for a new passphrase.
    written = word_file(folder, code.lower().replace("-", " "), "code")
    made = (
        await alice.cli(*swap, written, "--new-passphrase-file", word, "--new-recovery-code")
    ).row
    assert made["recovery_code"] != code
    await alice.cli("identity", "unlock", "--passphrase-file", written, code=77)
    made = (await alice.cli("identity", "passphrase", "remove", "--passphrase-file", word)).row
    assert made == {"locked": False, "protected": False}
    assert (await alice.cli("identity", "show")).row["protected"] is False
    assert keyfile.describe(alice.home).kinds == ("none",)
    assert keyfile.unlock(alice.home) not in {clear, None}


def rewritten(home: Path, **changes: Any) -> None:
    content = json.loads((home / "keyfile").read_bytes())
    del content["sum"]
    for slot in content["slots"]:
        slot.update(changes)
    (home / "keyfile").write_bytes(keyfile_form.serialize(content))


def flip(home: Path) -> None:
    data = bytearray((home / "keyfile").read_bytes())
    data[len(data) // 2] ^= 1
    (home / "keyfile").write_bytes(data)


def write(data: bytes) -> Callable[[Path], None]:
    def change(home: Path) -> None:
        (home / "keyfile").write_bytes(data)

    return change


def linked(home: Path) -> None:
    (home / "keyfile").rename(home.parent / "elsewhere")
    (home / "keyfile").symlink_to(home.parent / "elsewhere")


def twice(home: Path) -> None:
    text = (home / "keyfile").read_text(encoding="ascii")
    (home / "keyfile").write_text(text.replace("{", '{"v": 1, ', 1), encoding="ascii")


REFUSED: dict[str, tuple[Callable[[Path], None], str | bytes, int, str]] = {
    "wrong": (lambda _: None, OTHER, 77, "wrong_passphrase"),
    "empty": (lambda _: None, b"", 65, "bad_input"),
    "a line end alone": (lambda _: None, b"\n", 65, "bad_input"),
    "white space": (lambda _: None, b"   ", 77, "wrong_passphrase"),
    "one space more": (lambda _: None, f"{WORD} ", 77, "wrong_passphrase"),
    "two line ends": (lambda _: None, f"{WORD}\n\n", 77, "wrong_passphrase"),
    "no UTF-8": (lambda _: None, b"\xff\xfe", 65, "bad_input"),
    "a flipped bit": (flip, WORD, 65, "bad_input"),
    "nothing in it": (write(b""), WORD, 65, "bad_input"),
    "half of it": (lambda home: os.truncate(home / "keyfile", 200), WORD, 65, "bad_input"),
    "too long": (write(b" " * 5000), WORD, 65, "bad_input"),
    "a key twice": (twice, WORD, 65, "bad_input"),
    "4 TiB": (lambda home: rewritten(home, memory_kib=2**32 - 1), WORD, 65, "bad_input"),
    "3 GiB": (lambda home: rewritten(home, memory_kib=3 << 20), WORD, 65, "bad_input"),
    "no pass": (lambda home: rewritten(home, passes=0), WORD, 65, "bad_input"),
    "no lane": (lambda home: rewritten(home, lanes=0), WORD, 65, "bad_input"),
    "a short salt": (lambda home: rewritten(home, salt="00" * 8), WORD, 65, "bad_input"),
    "another kdf": (lambda home: rewritten(home, kdf="argon2i"), WORD, 65, "bad_input"),
    "open to others": (lambda home: (home / "keyfile").chmod(0o644), WORD, 77, "locked"),
    "a link": (linked, WORD, 77, "locked"),
}


@pytest.fixture(scope="module")
def given_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A protected home that each case takes a copy of; made once, since the derivations take their time."""
    folder = tmp_path_factory.mktemp("given")
    asyncio.run(protected(folder))
    return folder / "alice"


@pytest.mark.parametrize("case", REFUSED)
async def test_what_does_not_open_it_says_why_and_changes_nothing(
    given_home: Path, folder: Path, case: str
) -> None:
    change, word, code, error = REFUSED[case]
    alice = Friend("alice", folder)
    shutil.rmtree(alice.home)
    shutil.copytree(given_home, alice.home, symlinks=True)
    await asyncio.to_thread(change, alice.home)
    before = disk_of(alice.home)
    refused = await alice.cli(
        "identity", "unlock", "--passphrase-file", word_file(folder, word), code=code
    )
    assert refused.error["code"] == error, refused
    assert disk_of(alice.home) == before
    assert WORD not in refused.err


async def test_the_other_form_of_unicode_and_its_line_end_open_it(
    given_home: Path, folder: Path
) -> None:
    alice = Friend("alice", folder)
    shutil.rmtree(alice.home)
    shutil.copytree(given_home, alice.home)
    word = word_file(folder, unicodedata.normalize("NFD", WORD) + "\r\n")
    for was_locked in (True, False):
        row = (await alice.cli("identity", "unlock", "--passphrase-file", word)).row
        assert (row["locked"], row["was_locked"]) == (False, was_locked)


async def test_the_keyfile_of_another_home_opens_nothing(given_home: Path, folder: Path) -> None:
    alice = Friend("alice", folder)
    shutil.rmtree(alice.home)
    shutil.copytree(given_home, alice.home)
    other = folder / "other"
    other.mkdir()
    keyfile.create(other, passphrase=WORD.encode())
    shutil.copy(other / "keyfile", alice.home / "keyfile")
    before = disk_of(alice.home)
    word = word_file(folder, WORD)
    refused = await alice.cli("identity", "unlock", "--passphrase-file", word, code=74)
    assert "another key" in refused.error["message"]
    assert disk_of(alice.home) == before


# -- what lies on the disk


def found_in(home: Path, needles: dict[str, bytes]) -> list[str]:
    found = []
    for path in home.rglob("*"):
        where = [str(path.relative_to(home)).encode()]
        if path.is_file():
            where.append(path.read_bytes())
        for name, needle in needles.items():
            if any(needle.lower() in data.lower() for data in where):
                found.append(f"{name} in {path.name}")
    return found


async def exchange(alice: Friend, bob: Friend) -> dict[str, bytes]:
    """Let two people exchange texts and files and delete some; return what must be nowhere on a disk."""
    needles = {"name": bob.name.encode(), "own name": alice.name.encode()}
    for number in range(20):
        body = f"a body that nobody may read, {number}"
        await alice.ask("send-net", {"contact": bob.name, "text": body})
        await bob.ask("send-net", {"contact": alice.name, "text": body + " back"})
    needles["body"] = b"a body that nobody may read"
    sealed = content(300_000, 7)
    sent = await alice.queue_file(bob.name, "quarterly-figures.ods", sealed)
    came = await bob.queue_file(alice.name, "holiday-picture.raw", sealed[::-1])
    await alice.delivered(sent)
    await bob.delivered(came)
    needles |= {"file name": b"quarterly-figures", "its name": b"holiday-picture"}
    needles |= {"content": sealed[1000:1032], "its content": sealed[::-1][1000:1032]}

    async def received() -> bool:
        return len(await alice.ask("inbox.list", {"limit": 100})) >= 21

    await until(received)
    rows = await alice.ask("inbox.list", {"limit": 100})
    await alice.ask("inbox.delete", {"ids": [row["id"] for row in rows[::2]]})
    for one in (alice, bob):
        shown = await one.ask("identity.show")
        needles |= {
            f"peer id of {one.name}": shown["peer_id"].encode(),
            f"fingerprint of {one.name}": shown["fingerprint"].encode(),
            f"address of {one.name}": shown["addresses"][0].encode(),
        }
        for key in shown["keys"]:
            public = bytes.fromhex(key["public"])
            needles[f"{key['use']} of {one.name}"] = public
            needles[f"{key['use']} of {one.name} in hex"] = public.hex().encode()
    return needles


async def test_a_protected_home_shows_nothing_on_its_disk(folder: Path) -> None:
    alice, bob = Friend("aliceandria", folder), Friend("bartholomew", folder)
    await asyncio.gather(alice.start(), bob.start())
    await asyncio.gather(alice.create(), bob.create())
    clear = await asyncio.to_thread(keyfile.unlock, alice.home)
    word = word_file(folder, WORD)
    await meet(bob, alice)
    needles = await exchange(alice, bob)
    await alice.ask("identity.passphrase.set", {"passphrase": WORD})
    await alice.ask("send-net", {"contact": bob.name, "text": "a body that nobody may read, after"})
    await alice.cli("identity", "lock")
    key = await asyncio.to_thread(keyfile.unlock, alice.home, WORD.encode())
    for name, data in (("key", key), ("old key", clear)):
        needles |= {name: data, f"{name} in hex": data.hex().encode()}
    needles["passphrase"] = WORD.encode()
    assert found_in(alice.home, needles) == []
    # It sees what there is: the home of Bob has its key in clear.
    theirs = await asyncio.to_thread(keyfile.unlock, bob.home)
    assert found_in(bob.home, {"key": theirs.hex().encode()}) == ["key in keyfile"]
    await alice.cli("identity", "unlock", "--passphrase-file", word)
    assert len((await alice.cli("sent", "list", "--limit", "100")).rows) == 22
    # Nor does the log that lies in the home, at its most talkative.
    await alice.stop()
    await alice.cli("-vv", "node", "start", "--passphrase-file", word)
    await alice.cli("send", "--wait", "--contact", bob.name, "a body that nobody may read")
    await alice.cli("contacts", "invite", "bartholomew-again")
    await alice.cli("node", "stop")
    log = (alice.home / "node.log").read_text(encoding="utf-8")
    assert len(log.splitlines()) > 5
    assert "ready" in log
    assert "127.0.0.1" not in log
    assert "12D3Koo" not in log
    assert found_in(alice.home, needles) == []
    await asyncio.gather(alice.close(), bob.close())


async def run(*command: str) -> bool:
    """Run a program, if it is there; return whether it did what it should."""
    if not shutil.which(command[0]):
        return False
    process = await asyncio.create_subprocess_exec(*command)
    return await process.wait() == 0


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root mounts images")
async def test_the_blocks_of_before_are_overwritten_on_the_device(folder: Path) -> None:
    image, place = folder / "disk.img", folder / "mounted"
    place.mkdir()
    image.write_bytes(bytes(48 << 20))
    if not (
        await run("mkfs.ext4", "-q", str(image))
        and await run("mount", "-o", "loop", str(image), str(place))
    ):
        pytest.skip("no image can be mounted here")
    try:
        alice = Friend("alice", place)
        await alice.cli("identity", "new", "--name", "alice", "--no-passphrase")
        await alice.cli("node", "stop")
        key = await asyncio.to_thread(keyfile.unlock, alice.home)
        pages = (alice.home / "store.db").read_bytes()
        await run("sync", "-f", str(place))
        raw = image.read_bytes()
        assert key.hex().encode() in raw
        old = [pages[at : at + 64] for at in range(4096, len(pages), 4096)]
        assert all(page in raw for page in old)
        word = word_file(folder, WORD)
        await alice.cli("identity", "passphrase", "set", "--passphrase-file", word)
        await alice.cli("node", "stop")
        await run("sync", "-f", str(place))
        raw = image.read_bytes()
        assert key.hex().encode() not in raw
        assert not any(page in raw for page in old)
    finally:
        await run("umount", str(place))
