"""Received files lie plain in the folder of downloads: each once, whole, under a safe name, whoever is killed."""

from __future__ import annotations

import asyncio
import stat
import tarfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.nodes import Friend, content, until

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(240)]

SIZE = 3_000_000


async def turn_on(bob: Friend, downloads: Path) -> None:
    await bob.stop()
    config = bob.home / "config.toml"
    text = config.read_text()
    config.write_text(text.replace("[storage]", f'[storage]\ndownloads = "{downloads}"'))
    await bob.start()


async def rows(bob: Friend) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in await bob.ask("inbox.list")}


def there(downloads: Path) -> dict[str, bytes]:
    found = {}
    for path in downloads.iterdir():
        with suppress(FileNotFoundError):  # A draft may go at any moment.
            found[path.name] = path.read_bytes()
    return found


async def test_they_lie_there_once_and_the_inbox_knows_where(
    pair: tuple[Friend, Friend], folder: Path
) -> None:
    alice, bob = pair
    before = await alice.queue_file("bob", "before", content(1000))
    await alice.delivered(before)
    downloads = folder / "down"
    await turn_on(bob, downloads)
    (folder / "src").mkdir()
    key, run = folder / "src" / "key", folder / "src" / "run.sh"
    for path, mode in ((key, 0o600), (run, 0o4755)):
        path.write_bytes(path.name.encode())
        path.chmod(mode)
    photos = folder / "src" / "photos"
    photos.mkdir()
    (photos / "one").write_bytes(b"1")
    sent = [await alice.queue_file("bob", "a.bin", content(SIZE, seed)) for seed in (1, 2)]
    ran = await alice.cli("send-net", "-c", "bob", "--file", str(key), str(run), str(photos))
    sent += [row["id"] for row in ran.rows]
    await alice.ask("send-net", {"contact": "bob", "text": "a long text. " * 20_000})
    await asyncio.gather(*(alice.delivered(id_) for id_ in sent))

    async def all_plain() -> bool:
        return sum(row["path"] is not None for row in (await rows(bob)).values()) == 5

    await until(all_plain)
    assert set(there(downloads)) == {"a.bin", "a (1).bin", "key", "run.sh", "photos.tar"}
    assert {there(downloads)["a.bin"], there(downloads)["a (1).bin"]} == {
        content(SIZE, 1),
        content(SIZE, 2),
    }
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in downloads.iterdir()}
    assert modes["key"] == modes["photos.tar"] == 0o600
    assert modes["run.sh"] & 0o111 == 0
    with tarfile.open(downloads / "photos.tar") as packed:
        assert "photos/one" in packed.getnames()

    async def discarded() -> bool:
        # What came before, and the long text, stay sealed; of the rest nothing is kept twice.
        return len(list((bob.home / "blobs").glob("*.sealed"))) == 2

    await until(discarded)

    await _from_the_inbox(bob, downloads, folder)

    # What was deleted from the inbox stays where it is the user's; and the next start writes nothing again.
    names = set(there(downloads))
    assert "run.sh" in names
    await bob.kill()
    await bob.start()
    await alice.delivered(await alice.queue_file("bob", "last", b"last"))

    async def only_last_is_new() -> bool:
        # The hidden name that it was written under goes a moment after it has its own.
        return set(there(downloads)) == names | {"last"}

    await until(only_last_is_new)


async def _from_the_inbox(bob: Friend, downloads: Path, folder: Path) -> None:
    """It is there as before, and says what the user did with it."""
    by_name = {row["name"]: row for row in (await rows(bob)).values()}
    shown = (await bob.cli("inbox", "show", by_name["key"]["id"])).row
    assert (shown["path"], shown["sealed"]) == (str(downloads / "key"), False)
    await bob.cli("inbox", "save", by_name["key"]["id"], "--out", str(folder / "key2"))
    assert (folder / "key2").read_bytes() == b"key"
    assert stat.S_IMODE((folder / "key2").stat().st_mode) == 0o600
    await bob.cli("inbox", "save", by_name["photos"]["id"], "--out", str(folder / "out"))
    assert (folder / "out" / "one").read_bytes() == b"1"

    # What the user did with it there is theirs, and is said.
    (downloads / "key").write_bytes(b"kex")
    again = await bob.cli(
        "inbox", "save", by_name["key"]["id"], "--out", str(folder / "key3"), code=66
    )
    assert again.error["code"] == "source_changed"
    (downloads / "key").unlink()
    gone = await bob.cli(
        "inbox", "save", by_name["key"]["id"], "--out", str(folder / "key3"), code=66
    )
    assert gone.error["code"] == "no_input"
    assert not (folder / "key3").exists()

    await bob.cli("inbox", "delete", by_name["run.sh"]["id"])


async def test_kill_9_at_any_moment_makes_neither_two_nor_none(
    pair: tuple[Friend, Friend], folder: Path
) -> None:
    alice, bob = pair
    downloads = folder / "down"
    await turn_on(bob, downloads)
    sent = {f"f{number}": content(700_000, number) for number in range(12)}
    ids = [await alice.queue_file("bob", name, data) for name, data in sent.items()]
    for number in range(8):
        await asyncio.sleep(0.05 + 0.07 * number)
        await bob.kill()
        await bob.start()
    await asyncio.gather(*(alice.delivered(id_) for id_ in ids))

    async def all_plain() -> bool:
        found = (await rows(bob)).values()
        return len(found) == len(sent) and all(row["path"] is not None for row in found)

    await until(all_plain)

    async def nothing_else() -> bool:
        return not list((bob.home / "blobs").iterdir()) and there(downloads) == sent

    await until(nothing_else)


async def test_a_folder_that_cannot_be_written_is_said_and_tried_again(
    pair: tuple[Friend, Friend], folder: Path
) -> None:
    alice, bob = pair
    in_the_way = folder / "down"
    in_the_way.write_bytes(b"a file")
    await turn_on(bob, in_the_way)
    await alice.delivered(await alice.queue_file("bob", "a", b"data"))

    async def failing() -> bool:
        status = await bob.ask("node.status")
        return any(one["name"] == "write-downloads" for one in status["failing"])

    await until(failing)
    (row,) = (await rows(bob)).values()
    assert row["path"] is None
    # Meanwhile it is sealed in the inbox, as without.
    assert await bob.saved(row["id"]) == b"data"
    in_the_way.rename(folder / "elsewhere")

    async def there_now() -> bool:
        return in_the_way.is_dir() and there(in_the_way) == {"a": b"data"}

    await until(there_now)
