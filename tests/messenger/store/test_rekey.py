"""Another key for the whole database: all of it is there, nothing of the old is, and a kill leaves one of the two."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from peerpost.errors import StorageError, StoreFullError, WrongPassphraseError
from peerpost.store import keyfile
from peerpost.store.db import rekey
from peerpost.store.db.engine import Store
from tests.support.rekey_kills import CHEAP, ROWS, WORD, fill, words

ROOT = Path(__file__).parents[3]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / "home"
    home.mkdir()
    fill(home, keyfile.create(home))
    return home


def nothing(_done: int, _all: int) -> None:
    pass


def everything(home: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in home.iterdir()}


def test_all_of_it_is_there_under_another_key(home: Path) -> None:
    old = keyfile.unlock(home)
    before, rows = everything(home), words(home, old)
    made = keyfile.draft(home, passphrase=WORD, cost=CHEAP)
    assert everything(home) == before
    seen: list[tuple[int, int]] = []
    rekey.rekey(home, old, made, lambda *progress: seen.append(progress))
    key = keyfile.unlock(home, WORD)
    assert key == made.key != old
    assert words(home, key) == rows
    assert len(rows) == ROWS - ROWS // 3
    assert seen[-1][0] == seen[-1][1] == (home / "store.db").stat().st_size
    assert seen == sorted(seen)
    assert sorted(everything(home)) == ["keyfile", "store.db"]
    with pytest.raises(WrongPassphraseError):
        keyfile.unlock(home, b"another")

    async def opens() -> None:
        loop = asyncio.get_running_loop()
        await (await Store.open(home / "store.db", key, loop=loop, ballast_bytes=0)).close()

    asyncio.run(opens())
    rekey.rekey(home, key, keyfile.draft(home), nothing)
    assert words(home, keyfile.unlock(home)) == rows
    assert keyfile.unlock(home) not in {old, key}
    assert keyfile.describe(home).generation == 3


def test_old_store_and_old_key_are_overwritten_where_they_lay(home: Path) -> None:
    before = everything(home)
    olds = {name: (home / name).open("rb") for name in ("store.db", "keyfile")}
    key = keyfile.unlock(home)
    rekey.rekey(home, key, keyfile.draft(home, passphrase=WORD, cost=CHEAP), nothing)
    for name, file in olds.items():
        with file:
            after = file.read()
        assert len(after) == len(before[name]), "this is not where it lay"
        same = sum(x == y for x, y in zip(after, before[name], strict=True))
        assert same < len(after) // 32, name
    assert key.hex().encode() not in b"".join(everything(home).values())


def test_a_store_with_another_name_is_somebody_s_copy_and_stays(home: Path) -> None:
    other = home.parent / "copy"
    other.mkdir()
    for name in ("store.db", "keyfile"):
        os.link(home / name, other / name)
    key = keyfile.unlock(home)
    rows = words(home, key)
    rekey.rekey(home, key, keyfile.draft(home, passphrase=WORD, cost=CHEAP), nothing)
    assert words(other, keyfile.unlock(other)) == rows


def test_without_room_nothing_changes(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = everything(home)
    usage = namedtuple("usage", "total used free")  # noqa: PYI024 - as shutil has it
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1 << 30, 0, 10 << 20))
    with pytest.raises(StoreFullError, match="room") as caught:
        rekey.rekey(home, keyfile.unlock(home), keyfile.draft(home), nothing)
    assert "MiB" in str(caught.value.hint)
    assert everything(home) == before


def test_given_up_on_the_way_nothing_changes(home: Path) -> None:
    before = everything(home)

    def give_up(_done: int, _all: int) -> None:
        raise StorageError("given up")

    with pytest.raises(StorageError, match="given up"):
        rekey.rekey(home, keyfile.unlock(home), keyfile.draft(home), give_up)
    assert everything(home) == before


def test_a_damaged_store_is_not_copied(home: Path) -> None:
    path = home / "store.db"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    before = everything(home)
    with pytest.raises(StorageError):
        rekey.rekey(home, keyfile.unlock(home), keyfile.draft(home), nothing)
    assert everything(home) == before


def test_what_is_not_ours_beside_the_store_stays(home: Path) -> None:
    for name in ("store.db.bak", "store.db.0123", "store.db.0123456789abcdef0", "my.store.db.x"):
        (home / name).write_bytes(b"mine")
    (home / "store.db.0123456789abcdef").write_bytes(b"left")
    (home / ".keyfile.4711").write_bytes(b"left")
    rekey.recover(home)
    assert len(everything(home)) == 6
    assert (home / "store.db.bak").read_bytes() == b"mine"


def test_a_damaged_keyfile_touches_nothing(home: Path) -> None:
    (home / "store.db.0123456789abcdef").write_bytes(b"perhaps all that is left")
    (home / "keyfile").write_bytes(b"damaged")
    before = everything(home)
    with pytest.raises(Exception, match="damaged"):
        rekey.recover(home)
    assert everything(home) == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the children are forked")
@pytest.mark.slow
def test_killed_before_each_effect_it_opens_with_one_of_the_two(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.rekey_kills", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["killed"] >= 40
    assert 10 <= found["changed"] <= found["killed"] - 10
