"""Homes as earlier versions left them: this version opens each, and nothing of it is lost.

tests/upgrade/make.py makes them, with the command line of the version that they are of.
"""

from __future__ import annotations

import re
import tarfile
from pathlib import Path

import pytest

from peerpost.store.db import migrations
from tests.support.nodes import Friend

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(120)]

HERE = Path(__file__).parent
HOMES = sorted(HERE.glob("schema-*.tar.xz"))
PHOTO = bytes(i % 251 for i in range(20_000))


def put(archive: Path, home: Path) -> None:
    """Unpack a home that was kept."""
    home.mkdir(mode=0o700, exist_ok=True)
    with tarfile.open(archive) as kept:
        kept.extractall(home, filter="data")
    for path in (*home.rglob("*"), home):
        path.chmod(0o700 if path.is_dir() else 0o600)


async def looks_right(one: Friend) -> None:
    """Check all that the home was left with."""
    assert (await one.cli("identity", "show")).row["name"] == "alice"
    (contact,) = (await one.cli("contacts", "list")).rows
    assert (contact["name"], contact["state"]) == ("bob", "active")
    inbox = (await one.cli("inbox", "list")).rows
    texts = {row["preview"] for row in inbox if row["kind"] == "text"}
    assert texts == {"from bob 1", "from bob 2"}
    (file,) = [row for row in inbox if row["kind"] == "file"]
    assert (await one.cli("inbox", "save", file["id"], "--out", "-")).out == PHOTO
    found = (await one.cli("inbox", "search", "FROM", "--sent")).rows
    assert sorted(row["match"] for row in found) == ["from alice 1", "from bob 1", "from bob 2"]
    assert [row["match"] for row in (await one.cli("inbox", "search", "bin", "--files")).rows] == [
        "photo.bin"
    ]
    queued = (await one.cli("queue", "list")).rows
    assert sorted(row["kind"] for row in queued) == ["file", "text"]
    sent = (await one.cli("sent", "list")).rows
    assert [row["state"] for row in sent if row["state"] == "delivered"] == ["delivered"]


@pytest.mark.parametrize("archive", HOMES, ids=[path.name.split(".")[0] for path in HOMES])
async def test_a_home_of_an_earlier_version_is_whole(folder: Path, archive: Path) -> None:
    alice = Friend("alice", folder)
    put(archive, alice.home)
    await looks_right(alice)
    doctor = (await alice.cli("doctor", code=None)).rows
    assert all(row["ok"] for row in doctor if row["check"].startswith(("home", "store", "keyfile")))
    await alice.cli("node", "stop")
    await looks_right(alice)
    await alice.cli("node", "stop")


@pytest.mark.parametrize("archive", HOMES[:1], ids=["oldest"])
async def test_what_was_upgraded_is_backed_up_and_put_back(folder: Path, archive: Path) -> None:
    alice, back = Friend("alice", folder), Friend("back", folder)
    put(archive, alice.home)
    secret = folder / "secret"
    secret.write_bytes(b"umber lattice quiver saddle topaz morning\n")
    secret.chmod(0o600)
    given = (str(folder / "x"), "--passphrase-file", str(secret))
    await alice.cli("backup", "create", *given)
    await alice.cli("node", "stop")
    await back.cli("backup", "restore", *given)
    await looks_right(back)
    await back.cli("node", "stop")


async def test_there_is_a_home_of_each_schema_that_is_kept() -> None:
    kept = {int(re.findall(r"\d+", path.name)[0]) for path in HOMES}
    # The last one may still be in the making.
    assert max(kept) >= migrations.latest() - 1, "python tests/upgrade/make.py PYTHON schema-NN"
    assert min(kept) == 4
