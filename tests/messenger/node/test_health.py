"""A home that is deleted under its node: it is said, refused, and mended where it can be."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from peerpost.errors import StorageError
from peerpost.node.control.server import ControlServer
from peerpost.node.health import Health
from tests.support.network_rig import Somebody, acquainted


def looks_after(somebody: Somebody, home: Path, control: ControlServer) -> Health:
    return Health(home, somebody.store, control, None, on_taken=lambda _: None)


@pytest.mark.parametrize(
    ("file", "how"),
    [
        ("store.db", "deleted"),
        ("store.db", "replaced"),
        ("keyfile", "deleted"),
        ("keyfile", "changed"),
    ],
)
def test_what_cannot_be_kept_is_refused(tmp_path: Path, file: str, how: str) -> None:
    async def scenario() -> None:
        async with acquainted(tmp_path, "alice", "bob") as (alice, _):
            home = tmp_path / "alice"
            (home / "keyfile").write_bytes(b"the key")
            health = looks_after(alice, home, ControlServer(home / "c.sock", lambda _: None))
            health.check()
            assert not health.unwell
            kept = tmp_path / "kept"
            (home / file).rename(kept)
            if how == "replaced":
                (home / file).write_bytes(kept.read_bytes())
            elif how == "changed":
                (home / file).write_bytes(b"another")
            health.check()
            assert health.unwell[file] == f"{file} was {how}"
            with pytest.raises(StorageError, match=how) as refused:
                await alice.queue("lost")
            assert refused.value.exit_code == 74
            kept.replace(home / file)
            health.check()
            await alice.queue("kept")

    asyncio.run(scenario())


def test_a_key_is_looked_at_whose_times_were_put_back(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with acquainted(tmp_path, "alice", "bob") as (alice, _):
            key = tmp_path / "alice" / "keyfile"
            key.write_bytes(b"the key")
            health = looks_after(alice, key.parent, ControlServer(tmp_path / "c", lambda _: None))
            was = key.stat()
            with key.open("r+b") as file:
                file.write(b"not it!")
            os.utime(key, ns=(was.st_atime_ns, was.st_mtime_ns))
            health.check()
            assert health.unwell["keyfile"] == "keyfile was changed"

    asyncio.run(scenario())


def test_socket_and_folders_are_made_anew(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with acquainted(tmp_path, "alice", "bob") as (alice, _):
            home = tmp_path / "alice"
            (home / "blobs").mkdir(exist_ok=True)
            control = ControlServer(home / "control.sock", lambda _: None)
            await control.start()
            try:
                health = looks_after(alice, home, control)
                (home / "blobs").rmdir()
                control.path.unlink()
                health.check()
                assert not health.unwell
                assert (home / "blobs").is_dir()
                _, writer = await asyncio.open_unix_connection(control.path)
                writer.close()
            finally:
                await control.stop(0)

    asyncio.run(scenario())
