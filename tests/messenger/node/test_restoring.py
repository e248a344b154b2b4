"""A home that is put back is there whole or not at all, wherever that is cut off."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from peerpost.crypto.container import ContainerSealer, Opening
from peerpost.crypto.passphrase import Cost, derive
from peerpost.errors import BadInputError, ExistsError, StoreFullError
from peerpost.node import restoring
from peerpost.node.deriving import Deriving
from peerpost.store import keyfile
from peerpost.store.db import migrations
from peerpost.store.files.backup import BackupWriter, Manifest

SECRET = b"secret"
COST = Cost(8, 1, 1)
FILES = {
    "store.db": b"what is in the store",
    "config.toml": b"# mine\n",
    "blobs/one.sealed": bytes(5000),
    "blobs/one.leaves": bytes(32),
    "spool/two.sealed": b"spooled",
}


def backup(folder: Path, files: dict[str, bytes], **said: object) -> Path:
    """Write a backup of a home with a real keyfile."""
    source = folder / "source"
    source.mkdir()
    keyfile.create(source)
    files = {"keyfile": (source / "keyfile").read_bytes()} | files
    opening = Opening(
        memory_kib=COST.memory_kib, passes=COST.passes, lanes=COST.lanes,
        salt=bytes(16), header=bytes(24),
    )  # fmt: skip
    out = bytearray()
    usual: dict[str, object] = {
        "made_ms": 1,
        "version": "1",
        "schema": migrations.latest(),
        "files": True,
        "entries": len(files),
        "total_bytes": sum(map(len, files.values())),
    }
    manifest = Manifest(**{**usual, **said})  # type: ignore[arg-type]
    writer = BackupWriter(
        ContainerSealer(derive(SECRET, opening.salt, COST), opening), out.extend, manifest
    )
    for name, data in files.items():
        writer.add(name, len(data), [data])
    writer.end()
    path = folder / "backup"
    path.write_bytes(out)
    return path


async def _put_back(home: Path, path: Path) -> list[object]:
    with path.open("rb") as source:
        return [
            report
            async for report in restoring.put_back(
                home, source.fileno(), SECRET, alone=asyncio.Lock(), deriving=Deriving()
            )
        ]


def put_back(home: Path, path: Path) -> Manifest:
    *_, last = asyncio.run(_put_back(home, path))
    assert isinstance(last, Manifest)
    return last


def there(home: Path) -> dict[str, bytes]:
    return {
        path.relative_to(home).as_posix(): path.read_bytes()
        for path in home.rglob("*")
        if path.is_file() and path.name != "keyfile"
    }


@pytest.fixture
def home(tmp_path: Path) -> Path:
    made = tmp_path / "home"
    made.mkdir(mode=0o700)
    return made


def test_all_of_it_is_there_and_for_its_owner_alone(tmp_path: Path, home: Path) -> None:
    assert put_back(home, backup(tmp_path, FILES)).made_ms == 1
    assert there(home) == FILES
    keyfile.unlock(home)
    for path in home.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
    assert not (home / "restore.done").exists()


@pytest.mark.parametrize("step", range(1, 12))
def test_wherever_it_is_cut_off_the_next_start_settles_it(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    path = backup(tmp_path, FILES)
    left = step

    def cut_off(work: Callable[..., object]) -> Callable[..., object]:
        def run(*arguments: object) -> object:
            nonlocal left
            left -= 1
            if not left:
                raise KeyboardInterrupt
            return work(*arguments)

        return run

    with monkeypatch.context() as patched:
        for name in ("rename", "replace", "rmdir"):
            patched.setattr(Path, name, cut_off(getattr(Path, name)))
        patched.setattr(restoring.shutil, "rmtree", lambda *_: None)
        try:
            put_back(home, path)
        except KeyboardInterrupt:
            assert left <= 0
    restoring.settle(home)
    names = {path.name for path in home.iterdir()}
    assert not names & {"restore.new", "restore.done"}
    assert there(home) in ({}, FILES)
    if there(home):
        keyfile.unlock(home)
    else:
        put_back(home, path)
    restoring.settle(home)
    assert there(home) == FILES


def test_settings_that_somebody_has_made_stay(tmp_path: Path, home: Path) -> None:
    (home / "config.toml").write_text("# of this machine\n")
    put_back(home, backup(tmp_path, FILES))
    assert (home / "config.toml").read_text() == "# of this machine\n"


@pytest.mark.parametrize("what", ["keyfile", "store.db", "blobs/x.sealed", "spool/x.sealed"])
def test_what_is_not_empty_is_left_alone(tmp_path: Path, home: Path, what: str) -> None:
    (home / what).parent.mkdir(exist_ok=True)
    (home / what).write_bytes(b"mine")
    with pytest.raises(ExistsError):
        put_back(home, backup(tmp_path, FILES))
    assert (home / what).read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("files", "said", "error"),
    [
        ({}, {}, BadInputError),
        (FILES, {"entries": 7}, BadInputError),
        (FILES, {"schema": 9999}, BadInputError),
        (FILES, {"total_bytes": 1 << 52}, StoreFullError),
        (FILES | {"keyfile": b"{}"}, {}, BadInputError),
    ],
)
def test_what_is_not_a_whole_home_is_not_put_back(
    tmp_path: Path, home: Path, files: dict[str, bytes], said: dict[str, object], error: type
) -> None:
    with pytest.raises(error):
        put_back(home, backup(tmp_path, files, **said))
    assert list(home.iterdir()) == []
