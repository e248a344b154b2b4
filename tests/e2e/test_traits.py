"""What a file is besides its bytes arrives: its rights, its time, the end of a long name; holes take no room."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.support.nodes import Friend, until

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(180)]

AT_S = 1_600_000_000
LONG = "n" * 230 + " part 3 of 4.tar.gz"
SPARSE_BYTES = 40 << 20


def make(folder: Path) -> list[Path]:
    """Files of every way to go: copied, read where they lie, with holes, in a folder."""
    made = []
    for name, data, mode in (
        ("id_ed25519", b"key", 0o600),
        ("run", b"#!/bin/sh\n", 0o755),
        ("setuid", b"#!", 0o4755),
        (LONG, b"long", 0o644),
        ("large", os.urandom(100_000), 0o640),
    ):
        path = folder / name
        path.write_bytes(data)
        path.chmod(mode)
        os.utime(path, (AT_S, AT_S))
        made.append(path)
    sparse = folder / "disk.img"
    with sparse.open("wb") as file:
        file.write(b"begin")
        file.truncate(SPARSE_BYTES)
    keys = folder / "keys"
    (keys / "in").mkdir(parents=True)
    (keys / "in" / "secret").write_bytes(b"s")
    (keys / "in" / "secret").chmod(0o400)
    (keys / "in").chmod(0o500)
    keys.chmod(0o700)
    return [*made, sparse, keys]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_a_file_arrives_as_it_is(
    pair: tuple[Friend, Friend], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice, bob = pair
    await alice.kill()
    config = alice.home / "config.toml"
    config.write_text(config.read_text().replace("[storage]", '[storage]\nspool_below = "64KiB"'))
    await alice.start()
    (folder / "src").mkdir()
    sent = make(folder / "src")
    rows = (await alice.cli("send-net", "-c", "bob", "--file", *map(str, sent))).rows
    await asyncio.gather(*(alice.delivered(row["id"]) for row in rows))
    await alice.cli("send-net", "-c", "bob", "a text")

    async def all_there() -> bool:
        return len(await bob.ask("inbox.list")) == len(sent) + 1

    await until(all_there)
    # What could not be saved was not read: the next time it is saved.
    large = next(row for row in await bob.ask("inbox.list") if row["name"] == "large")
    await bob.cli("inbox", "save", large["id"], "--out", f"{folder}/none/large", code=73)
    await bob.cli("inbox", "save", large["id"], "--out", str(folder / "large"))
    unread = await bob.ask("inbox.list", {"unread": True})
    assert len(unread) == len(sent)
    before = os.umask(0o022)
    try:
        saved = (await bob.cli("inbox", "save", "--all", "--move", "--out", f"{folder}/out/")).rows
    finally:
        os.umask(before)
    assert {row["moved"] for row in saved} == {True}
    assert await bob.ask("inbox.list") == []
    assert list((bob.home / "blobs").iterdir()) == []

    out = folder / "out"
    found: dict[str, Any] = {path.name: path for path in out.iterdir()}
    assert len(found) == len(sent) + 1
    (long,) = (path for name, path in found.items() if name.startswith("nnn"))
    assert long.name.endswith("n part 3 of 4.tar.gz")
    for name, wanted in (
        ("id_ed25519", 0o600),
        ("run", 0o755),
        ("setuid", 0o755),
        ("large", 0o640),
    ):
        assert mode(found[name]) == wanted, name
        assert found[name].stat().st_mtime == AT_S, name
        assert found[name].read_bytes() == (folder / "src" / name).read_bytes()
    assert mode(long) == 0o644
    assert found["disk.img"].read_bytes() == (folder / "src" / "disk.img").read_bytes()
    assert found["disk.img"].stat().st_blocks * 512 < 1 << 20
    keys = found["keys"]
    assert [mode(path) for path in (keys, keys / "in", keys / "in" / "secret")] == [
        *(0o700, 0o500, 0o400),
    ]
    (text,) = out.glob("*.txt")
    assert text.read_bytes() == b"a text"
