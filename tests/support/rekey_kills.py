"""Change the key of a home, and be killed before each effect on its files in turn: `python -m ... FOLDER`.

A child is forked for each effect that the audit hooks of Python tell of (a file opened, linked, renamed, removed). It
kills itself there, and the home that it leaves is opened. Prints one object: how many were killed, and how many of them
had the new key by then.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import apsw

from peerpost.crypto.passphrase import Cost
from peerpost.errors import WrongPassphraseError
from peerpost.store import keyfile
from peerpost.store.db import opening, rekey
from peerpost.store.db.engine import Store

EFFECTS = {"open", "os.link", "os.rename", "os.remove", "os.chmod", "shutil.copyfile"}
ROWS = 3000
CHEAP = Cost(64, 1, 1)
WORD = b"correct horse"


def fill(home: Path, key: bytes) -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        store = await Store.open(home / "store.db", key, loop=loop, ballast_bytes=0)

        def rows(db: apsw.Connection) -> None:
            db.execute("CREATE TABLE words (word TEXT)")
            for number in range(ROWS):
                db.execute("INSERT INTO words VALUES (?)", (f"word {number}",))
            db.execute("DELETE FROM words WHERE rowid % 3 = 0")

        await store.write(rows)
        await store.close()

    asyncio.run(scenario())


def words(home: Path, key: bytes) -> list[Any]:
    db = apsw.Connection(str(home / "store.db"))
    opening.unlock(db, key)
    try:
        return db.execute("SELECT rowid, word FROM words").fetchall()
    finally:
        db.close()


def die_at(number: int, home: Path) -> None:
    """Kill this process before the effect of that number on a file of the home."""
    seen = 0

    def hook(event: str, args: tuple[Any, ...]) -> None:
        nonlocal seen
        if event in EFFECTS and args and str(home) in str(args[0]):
            seen += 1
            if seen == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def change(home: Path, number: int, *, protects: bool) -> bool:
    """Change the key in a child that dies at that effect; return whether it did."""
    pid = os.fork()
    if not pid:
        code = 1
        try:
            key = keyfile.unlock(home, None if protects else WORD)
            die_at(number, home)
            made = keyfile.draft(home, passphrase=WORD if protects else None, cost=CHEAP)
            rekey.rekey(home, key, made, lambda _done, _all: None)
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return True
    assert os.waitstatus_to_exitcode(status) == 0, "the change failed"
    return False


def check(home: Path, expected: list[Any], old_key: bytes, *, protects: bool) -> bool:
    """Open what was left, with one way in and nothing beside it; return whether that is the new one."""
    rekey.recover(home)
    is_new = keyfile.is_protected(home) is protects
    needed = keyfile.is_protected(home)
    key = keyfile.unlock(home, WORD if needed else None)
    assert (key == old_key) is not is_new
    assert words(home, key) == expected
    if needed:
        try:
            keyfile.unlock(home, b"another")
        except WrongPassphraseError:
            pass
        else:
            raise AssertionError("anything opens it")
    assert sorted(path.name for path in home.iterdir()) == ["keyfile", "store.db"]
    return is_new


def main(folder: Path) -> None:
    killed = changed = 0
    for protects in (True, False):
        base = folder / f"base-{protects}"
        base.mkdir()
        key = keyfile.create(base, passphrase=None if protects else WORD, cost=CHEAP)
        fill(base, key)
        expected = words(base, key)
        number, dying = 0, True
        while dying:
            number += 1
            home = folder / "home"
            shutil.rmtree(home, ignore_errors=True)
            shutil.copytree(base, home)
            dying = change(home, number, protects=protects)
            is_new = check(home, expected, key, protects=protects)
            assert dying or is_new
            killed += dying
            changed += dying and is_new
    sys.stdout.write(json.dumps({"killed": killed, "changed": changed}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
