"""The keyfile: opens the store or says why not, and is never half there."""

from __future__ import annotations

import errno
import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from peerpost.crypto.passphrase import Cost
from peerpost.errors import (
    BadInputError,
    ExistsError,
    LockedError,
    NoIdentityError,
    StorageError,
    StoreFullError,
)
from peerpost.store import keyfile, keyfile_form


@pytest.fixture
def home(tmp_path: Path) -> Path:
    keyfile.create(tmp_path)
    return tmp_path


def path_of(home: Path) -> Path:
    return home / keyfile.KEYFILE


def content(home: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path_of(home).read_bytes())
    return found


def replace(home: Path, **changes: Any) -> None:
    """Write the keyfile with changes and a sum that is right for them."""
    changed = {**content(home), **changes}
    changed.pop("sum")
    keyfile._write(path_of(home), changed)


# -- as it should be


def test_what_is_created_opens(tmp_path: Path) -> None:
    assert not keyfile.exists(tmp_path)
    key = keyfile.create(tmp_path)
    assert keyfile.exists(tmp_path)
    assert len(key) == 32
    assert keyfile.unlock(tmp_path) == key
    assert [path.name for path in tmp_path.iterdir()] == [keyfile.KEYFILE]


def test_it_is_one_short_line_for_its_owner_alone(home: Path) -> None:
    data = path_of(home).read_bytes()
    assert data.count(b"\n") == 1
    assert data.endswith(b"\n")
    assert len(data) < keyfile_form.MAX_BYTES
    if sys.platform != "win32":
        assert stat.S_IMODE(path_of(home).stat().st_mode) == 0o600


def test_every_home_has_a_key_of_its_own(tmp_path: Path) -> None:
    homes = [tmp_path / str(number) for number in range(5)]
    for folder in homes:
        folder.mkdir()
    assert len({keyfile.create(folder) for folder in homes}) == 5


def test_one_that_is_there_is_never_replaced(home: Path) -> None:
    before = path_of(home).read_bytes()
    with pytest.raises(ExistsError):
        keyfile.create(home)
    path_of(home).write_bytes(b"damaged")
    with pytest.raises(ExistsError):
        keyfile.create(home)
    path_of(home).unlink()
    path_of(home).symlink_to(home / "nowhere")
    with pytest.raises(ExistsError):
        keyfile.create(home)
    assert before


def test_a_home_without_one_has_no_identity(tmp_path: Path) -> None:
    with pytest.raises(NoIdentityError) as caught:
        keyfile.unlock(tmp_path)
    assert "identity new" in str(caught.value.hint)


def test_slots_that_are_not_known_are_passed_over(home: Path) -> None:
    key = keyfile.unlock(home)
    slots = [{"type": "keyring", "service": "x"}, *content(home)["slots"]]
    replace(home, slots=slots, later="field")
    assert keyfile.unlock(home) == key


# -- damaged


def test_cut_at_every_length(home: Path) -> None:
    whole = path_of(home).read_bytes()
    key = keyfile.unlock(home)
    for length in range(len(whole) - 1):
        path_of(home).write_bytes(whole[:length])
        with pytest.raises(BadInputError, match="damaged"):
            keyfile.unlock(home)
    # The line's end alone carries nothing.
    path_of(home).write_bytes(whole[:-1])
    assert keyfile.unlock(home) == key


@pytest.mark.slow
def test_every_bit_flipped(home: Path) -> None:
    whole = path_of(home).read_bytes()
    for at in range(len(whole)):
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[at] ^= 1 << bit
            path_of(home).write_bytes(damaged)
            with pytest.raises(BadInputError):
                keyfile.unlock(home)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"\0" * 300,
        b"null",
        b"[]",
        b"{}",
        b'"sum"',
        b"[" * 4000,
        b'{"a":' * 800,
        b"9" * 4096,
        b"\xff\xfe{}",
        b'{"sum": 1}',
        b'{"sum": NaN}',
        b'{"sum": "\\ud800"}',
    ],
    ids=lambda data: data[:12].decode("latin-1"),
)
def test_what_is_no_keyfile(home: Path, data: bytes) -> None:
    path_of(home).write_bytes(data)
    with pytest.raises(BadInputError, match="damaged"):
        keyfile.unlock(home)


def test_a_key_twice_is_damage_and_not_the_last_one(home: Path) -> None:
    text = path_of(home).read_text()
    path_of(home).write_text(text.replace("{", '{"v": 1, ', 1))
    with pytest.raises(BadInputError, match="damaged"):
        keyfile.unlock(home)


def test_a_file_that_is_too_long_is_not_read_on(home: Path) -> None:
    text = path_of(home).read_text()
    path_of(home).write_text(text + " " * keyfile_form.MAX_BYTES)
    with pytest.raises(BadInputError, match="damaged"):
        keyfile.unlock(home)


@pytest.mark.parametrize(
    "slots",
    [
        None,
        [],
        {},
        "none",
        [1],
        [{"type": "none", "key": ""}] * 9,
        [{"type": "none"}],
        [{"type": "none", "key": None}],
        [{"type": "none", "key": 5}],
        [{"type": "none", "key": "00"}],
        [{"type": "none", "key": "00" * 33}],
        [{"type": "none", "key": "zz" * 32}],
        [{"type": "none", "key": ["00"] * 32}],
    ],
    ids=str,
)
def test_slots_that_cannot_be(home: Path, slots: Any) -> None:
    replace(home, slots=slots)
    with pytest.raises(BadInputError, match="damaged"):
        keyfile.unlock(home)


@pytest.mark.parametrize(
    "changes", [{"v": 2}, {"v": 0}, {"v": "1"}, {"v": None}, {"fmt": "other"}, {"fmt": None}]
)
def test_another_version_says_to_update(home: Path, changes: dict[str, Any]) -> None:
    replace(home, **changes)
    with pytest.raises(BadInputError, match="another version") as caught:
        keyfile.unlock(home)
    assert "update" in str(caught.value.hint)


def test_protected_in_a_way_that_is_not_known(home: Path) -> None:
    replace(home, slots=[{"type": "iris scan", "m": 262144}])
    with pytest.raises(LockedError, match="does not know"):
        keyfile.unlock(home)


def test_no_error_shows_the_key(home: Path) -> None:
    key = keyfile.unlock(home).hex()
    path_of(home).write_bytes(path_of(home).read_bytes().replace(b'"v": 1', b'"v": 3'))
    with pytest.raises(BadInputError) as caught:
        keyfile.unlock(home)
    shown = repr(caught.value) + str(caught.value) + str(caught.value.hint)
    assert key not in shown
    assert caught.value.__cause__ is None


# -- rights


@pytest.mark.skipif(sys.platform == "win32", reason="rights are the folder's there")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o644, 0o666, 0o777])
def test_open_to_others_is_refused(home: Path, mode: int) -> None:
    path_of(home).chmod(mode)
    with pytest.raises(LockedError, match="others may read") as caught:
        keyfile.unlock(home)
    assert "chmod 600" in str(caught.value.hint)


@pytest.mark.skipif(sys.platform == "win32", reason="rights are the folder's there")
@pytest.mark.parametrize("kind", ["link", "dangling link", "folder", "pipe"])
def test_only_a_plain_file_is_read(home: Path, kind: str) -> None:
    path, elsewhere = path_of(home), home / "elsewhere"
    path.rename(elsewhere)
    if kind == "folder":
        path.mkdir(0o700)
    elif kind == "pipe":
        os.mkfifo(path, 0o600)
    else:
        path.symlink_to(elsewhere if kind == "link" else home / "nowhere")
    with pytest.raises(LockedError, match="not a plain file"):
        keyfile.unlock(home)


@pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() != 0, reason="only root can give a file away"
)
def test_one_of_another_user_is_refused(home: Path) -> None:
    os.chown(path_of(home), 12345, -1)
    with pytest.raises(LockedError, match="another user"):
        keyfile.unlock(home)


def test_what_cannot_be_read_is_an_error_of_ours(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_path: Path, _mode: str) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(StorageError, match="Input/output error"):
        keyfile.unlock(home)


# -- a failure while it is made


@pytest.mark.parametrize(
    ("number", "expected"), [(errno.ENOSPC, StoreFullError), (errno.EIO, StorageError)]
)
def test_one_that_cannot_be_written_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, expected: type[StorageError]
) -> None:
    def fail(_fd: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(expected):
        keyfile.create(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert not keyfile.exists(tmp_path)


def test_a_cost_that_cannot_be_raised_keeps_nobody_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full disk a home opens as it was; the cost is raised another time."""
    low, high = Cost(64, 1, 1), Cost(128, 1, 1)
    key = keyfile.create(tmp_path, passphrase=b"one", cost=low)
    before = path_of(tmp_path).read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(keyfile.system, "write_file_durably", full)
        assert keyfile.unlock(tmp_path, b"one", cost=high) == key
    assert [path.name for path in tmp_path.iterdir()] == [keyfile.KEYFILE]
    assert path_of(tmp_path).read_bytes() == before
    assert keyfile.unlock(tmp_path, b"one", cost=high) == key
    assert keyfile.describe(tmp_path).cost == high
