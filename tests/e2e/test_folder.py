"""A folder goes as one transfer, is read where it lies, survives kills, and is unpacked with suspicion."""

from __future__ import annotations

import os
import random
import tarfile
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.nodes import Friend, Traffic, until

pytestmark = pytest.mark.asyncio

FILES = 2_000
BIG_BYTES = 6_000_000
RATE_BYTES_S = 3 << 20


@pytest_asyncio.fixture
async def photos(pair: tuple[Friend, Friend], folder: Path) -> Path:
    """Make a folder; whatever alice sends of it, she does not copy it first."""
    alice, _ = pair
    await alice.kill()
    config = alice.home / "config.toml"
    text = config.read_text()
    config.write_text(text.replace("[storage]", '[storage]\nspool_below = "1KiB"'))
    await alice.start()
    top = folder / "photos"
    (top / "small").mkdir(parents=True)
    (top / "empty").mkdir()
    draw = random.Random(3)
    for number in range(FILES):
        (top / "small" / str(number)).write_bytes(draw.randbytes(draw.randrange(2000)))
    (top / "big").write_bytes(draw.randbytes(BIG_BYTES))
    (top / "link").symlink_to("small/7")
    (top / "away").symlink_to("/etc/passwd")
    (top / os.fsdecode(b"odd\xff\x1b")).write_bytes(b"odd")
    return top


def tree(top: Path) -> dict[str, object]:
    return {
        str(path.relative_to(top)): path.readlink()
        if path.is_symlink()
        else path.read_bytes()
        if path.is_file()
        else None
        for path in top.rglob("*")
    }


async def test_it_arrives_whole_though_both_sides_are_killed(
    pair: tuple[Friend, Friend], photos: Path, folder: Path
) -> None:
    alice, bob = pair
    traffic = Traffic(alice, bob)
    for link in (alice.link, bob.link):
        link.faults.rate_bytes_s = RATE_BYTES_S
    row = (await alice.cli("send-net", "--contact", "bob", "--file", str(photos))).row
    assert (row["kind"], row["name"]) == ("file", "photos")
    assert row["skipped"] == ["away (links to outside the folder)"]
    for victim, share in ((alice, 0.2), (bob, 0.5)):

        async def so_far(wanted: float = share * row["size"]) -> bool:
            return traffic.towards_bytes >= wanted

        await until(so_far, step_s=0.01)
        await victim.kill()
        await victim.start()
    await alice.delivered(row["id"])
    (item,) = (await bob.cli("inbox", "list")).rows
    assert (item["kind"], item["directory"], item["files"]) == ("file", True, FILES + 3)
    assert item["name"] == "photos"

    out = folder / "out"
    saved = (await bob.cli("inbox", "save", item["id"], "--out", str(out))).row
    assert saved["files"] == FILES + 3
    expected = tree(photos)
    del expected["away"]
    assert tree(out) == expected
    await bob.cli("inbox", "save", item["id"], "--out", f"{out}.tar")
    with tarfile.open(f"{out}.tar") as packed:
        assert packed.getmember("photos/big").size == BIG_BYTES
    again = await bob.cli("inbox", "save", item["id"], "--out", str(out), code=73)
    assert again.error["code"] == "exists"
    assert list((alice.home / "spool").iterdir()) == []


async def test_what_changes_meanwhile_fails_it_and_what_was_copied_may_go(
    pair: tuple[Friend, Friend], photos: Path, folder: Path
) -> None:
    alice, bob = pair
    expected = tree(photos)
    del expected["away"]
    sent = await alice.cli(
        "send-net", "--contact", "bob", "--spool", "--name", "mine", "--file", str(photos)
    )
    for link in (alice.link, bob.link):
        link.faults.rate_bytes_s = RATE_BYTES_S
    row = (await alice.cli("send-net", "--contact", "bob", "--file", str(photos))).row
    (photos / "small" / "1999").write_bytes(b"changed")

    async def over() -> bool:
        found = (await bob.ask("transfers.list"))[0]
        return found["state"] == "cancelled" and "small/1999" in found["error"]

    await until(over)
    shown = (await alice.cli("sent", "show", row["id"])).row
    assert shown["state"] == "refused"
    assert "small/1999 in the folder changed after it was queued" in shown["last_error"]

    await alice.delivered(sent.row["id"])
    (item,) = (await bob.cli("inbox", "list")).rows
    assert item["name"] == "mine"
    await bob.cli("inbox", "save", item["id"], "--out", str(folder / "out"))
    assert tree(folder / "out") == expected
