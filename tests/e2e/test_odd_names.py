"""Names that are no UTF-8: of files, of what is in a folder, of homes, and in what goes wrong with them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.e2e.conftest import MakeFriend
from tests.support.nodes import Friend, content, meet, until

pytestmark = pytest.mark.asyncio


def odd(folder: Path, name: bytes) -> Path:
    return folder / os.fsdecode(name)


async def read_in_place(alice: Friend) -> None:
    """Have alice copy nothing first that she sends."""
    await alice.kill()
    config = alice.home / "config.toml"
    config.write_text(config.read_text().replace("[storage]", '[storage]\nspool_below = "1KiB"'))
    await alice.start()


async def test_folders_and_files(pair: tuple[Friend, Friend], folder: Path) -> None:
    alice, bob = pair
    photos = odd(folder, b"photos-\xfe")
    photos.mkdir()
    os.mkfifo(odd(photos, b"pipe-\xff"))
    odd(photos, b"link-\xff").symlink_to("/etc")
    odd(photos, b"x-\xff").write_bytes(b"content")
    row = (await alice.cli("send", "-c", "bob", "--file", str(photos))).row
    assert sorted(name.split()[0] for name in row["skipped"]) == [r"link-\xff", r"pipe-\xff"]
    await alice.delivered(row["id"])
    (item,) = (await bob.cli("inbox", "list")).rows
    out = odd(folder, b"out-\xff")
    await bob.cli("inbox", "save", item["id"], "--out", str(out))
    assert odd(out, b"x-\xff").read_bytes() == b"content"
    refused = await bob.cli("inbox", "save", item["id"], "--out", str(out), code=73)
    assert r"out-\xff" in refused.error["message"]


@pytest.mark.parametrize("what", ["file", "folder"])
@pytest.mark.parametrize("change", ["changed", "put back", "gone"])
async def test_what_is_read_in_place_and_has_changed(
    pair: tuple[Friend, Friend], folder: Path, what: str, change: str
) -> None:
    alice, bob = pair
    await read_in_place(alice)
    await bob.kill()
    photos = odd(folder, b"photos")
    photos.mkdir()
    path = odd(photos, b"x-\xff")
    path.write_bytes(content(300_000))
    sent = path if what == "file" else photos
    row = (await alice.cli("send", "-c", "bob", "--file", str(sent))).row
    status = path.stat()
    if change == "gone":
        path.unlink()
    else:
        with path.open("r+b") as file:
            file.write(b"other")
    if change == "put back":
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    await bob.start()

    async def refused() -> bool:
        entry = await alice.ask("sent.show", {"id": row["id"]})
        return entry["state"] == "refused" and r"x-\xff" in entry["last_error"]

    await until(refused)
    (transfer,) = (await alice.cli("transfers", "list")).rows
    assert r"x-\xff" in transfer["error"]


async def test_a_home(friend: MakeFriend) -> None:
    alice, bob = friend(os.fsdecode(b"a\xff ?#%41")), friend("bob")
    alice.name = "alice"
    await alice.start()
    await bob.start()
    await alice.create()
    await bob.create()
    await meet(bob, alice)
    row = (await alice.cli("send", "-c", "bob", "hi", "--wait")).rows[-1]
    assert row["state"] == "delivered"
    status = (await alice.cli("node", "status")).row
    assert status["home"].endswith(r"/a\xff ?#%41")
    assert not status["unwell"]
    await alice.cli("doctor", code=None)
    await alice.kill()
    await alice.start()
    assert [sent["id"] for sent in (await alice.cli("sent", "list")).rows] == [row["id"]]
