"""A keyfile that a secret opens: which one does, what it costs, and that a wrong one changes nothing."""

from __future__ import annotations

import json
import os
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from peerpost.crypto.passphrase import FLOOR, Cost, normalize
from peerpost.errors import (
    BadInputError,
    LockedError,
    PeerpostError,
    ShortMemoryError,
    UsageError,
    WrongPassphraseError,
)
from peerpost.store import keyfile, keyfile_form

WORD, CODE = b"correct horse", b"a code on paper"
CHEAP = Cost(64, 1, 1)
"""Not what a home is made with: it is what is quick to try a thousand times."""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    keyfile.create(tmp_path, passphrase=WORD, recovery=CODE, cost=CHEAP)
    return tmp_path


def path_of(home: Path) -> Path:
    return home / keyfile.KEYFILE


def everything(home: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in home.iterdir()}


def rewritten(home: Path, at: int, **changes: Any) -> None:
    """Write the keyfile with changes to one slot, and a sum that is right for them."""
    content = json.loads(path_of(home).read_bytes())
    del content["sum"]
    content["slots"][at].update(changes)
    path_of(home).write_bytes(keyfile_form.serialize(content))


@pytest.mark.slow
def test_each_secret_opens_and_no_other(home: Path) -> None:
    key = keyfile.unlock(home, WORD)
    assert key == keyfile.unlock(home, CODE)
    assert len(key) == 32
    assert key.hex().encode() not in path_of(home).read_bytes()
    before = everything(home)
    for wrong in (b"", b" ", WORD + b" ", WORD.upper(), b" " + WORD, b"x" * 1000, key):
        with pytest.raises(WrongPassphraseError) as caught:
            keyfile.unlock(home, wrong)
        assert (caught.value.exit_code, caught.value.code) == (77, "wrong_passphrase")
    with pytest.raises(LockedError) as locked:
        keyfile.unlock(home)
    assert (locked.value.exit_code, locked.value.code) == (77, "locked")
    assert everything(home) == before


def test_it_says_what_it_is_without_a_secret(home: Path, tmp_path: Path) -> None:
    found = keyfile.describe(home)
    assert (found.kinds, found.cost, found.generation) == (("passphrase", "recovery"), CHEAP, 1)
    assert found.protected
    assert keyfile.is_protected(home)
    other = tmp_path / "other"
    other.mkdir()
    keyfile.create(other)
    found = keyfile.describe(other)
    assert (found.kinds, found.cost, found.protected) == (("none",), None, False)


def test_every_bit_flipped_is_damage_and_not_a_wrong_passphrase(home: Path) -> None:
    whole = path_of(home).read_bytes()
    for at in range(len(whole)):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << at % 8
        path_of(home).write_bytes(damaged)
        with pytest.raises(BadInputError):
            keyfile.unlock(home, WORD)
        assert path_of(home).read_bytes() == damaged
    path_of(home).write_bytes(whole)
    keyfile.unlock(home, WORD)


@pytest.mark.parametrize(
    "changes",
    [
        {"memory_kib": 2**32 - 1},
        {"memory_kib": 3 << 20},
        {"memory_kib": (2 << 20) + 1},
        {"memory_kib": 7},
        {"memory_kib": 0},
        {"memory_kib": -1},
        {"memory_kib": 2**63},
        {"memory_kib": 64.0},
        {"memory_kib": "64"},
        {"memory_kib": True},
        {"memory_kib": None},
        {"passes": 0},
        {"passes": 17},
        {"lanes": 0},
        {"lanes": 17},
        {"lanes": 16, "memory_kib": 127},
        {"salt": "00" * 8},
        {"salt": "00" * 17},
        {"salt": "AB" * 16},
        {"salt": " " + "00" * 16},
        {"nonce": "00" * 12},
        {"sealed": "00" * 32},
        {"sealed": ""},
        {"sealed": None},
        {"kdf": "argon2d"},
        {"kdf": "scrypt"},
        {"more": 1},
    ],
    ids=str,
)
@pytest.mark.parametrize("at", [0, 1])
def test_what_no_slot_can_be_is_refused_before_memory_is_taken(
    home: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], at: int
) -> None:
    rewritten(home, at, **changes)
    before = everything(home)
    monkeypatch.setattr("argon2.low_level.hash_secret_raw", lambda *_, **__: pytest.fail("taken"))
    for secret in (WORD, CODE):
        with pytest.raises(BadInputError) as caught:
            keyfile.unlock(home, secret)
        assert caught.value.exit_code == 65
    with pytest.raises(BadInputError):
        keyfile.describe(home)
    assert everything(home) == before


@pytest.mark.parametrize(
    "changes",
    [
        {"memory_kib": 65},
        {"passes": 2},
        {"lanes": 2},
        {"type": "recovery"},
        {"type": "keyring"},
        {"salt": "00" * 16},
        {"nonce": "00" * 24},
        {"sealed": "00" * 48},
    ],
    ids=str,
)
def test_a_slot_binds_all_that_it_says(home: Path, changes: dict[str, Any]) -> None:
    rewritten(home, 0, **changes)
    with pytest.raises(WrongPassphraseError):
        keyfile.unlock(home, WORD)
    assert keyfile.unlock(home, CODE)


def test_a_slot_of_another_home_opens_nothing(home: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    keyfile.create(other, passphrase=WORD, cost=CHEAP)
    slot = json.loads(path_of(other).read_bytes())["slots"][0]
    rewritten(home, 0, **slot)
    with pytest.raises(WrongPassphraseError):
        keyfile.unlock(home, WORD)


def test_more_memory_than_is_free_is_said(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = everything(home)
    monkeypatch.setattr("peerpost.system.free_memory_bytes", lambda: 1000)
    with pytest.raises(ShortMemoryError) as caught:
        keyfile.unlock(home, WORD)
    assert (caught.value.exit_code, caught.value.code) == (74, "memory")
    assert everything(home) == before


@pytest.mark.slow
def test_another_passphrase_leaves_the_key_and_the_other_slots(home: Path) -> None:
    key = keyfile.unlock(home, WORD)
    assert keyfile.replace_slots(home, CODE, {"passphrase": b"new"}, cost=CHEAP) == key
    assert sorted(everything(home)) == ["keyfile", "keyfile.bak"]
    assert keyfile.describe(home).generation == 2
    with pytest.raises(WrongPassphraseError):
        keyfile.unlock(home, WORD)
    assert (home / "keyfile.bak").exists(), "a wrong try changed something"
    assert keyfile.unlock(home, b"new") == key
    assert not (home / "keyfile.bak").exists()
    assert keyfile.unlock(home, CODE) == key
    with pytest.raises(UsageError):
        keyfile.replace_slots(home, CODE, {"passphrase": None})
    with pytest.raises(WrongPassphraseError):
        keyfile.replace_slots(home, WORD, {"passphrase": WORD})
    keyfile.replace_slots(home, b"new", {"recovery": None, "keyring": b"drawn"})
    assert keyfile.describe(home).kinds == ("passphrase", "keyring")
    assert keyfile.unlock(home, b"drawn") == key


def test_the_one_before_is_overwritten_where_it_lay(home: Path) -> None:
    with path_of(home).open("rb") as old:
        before = old.read()
        keyfile.replace_slots(home, WORD, {"passphrase": b"new"}, cost=CHEAP)
        old.seek(0)
        assert old.read() == before
        keyfile.unlock(home, b"new")
        old.seek(0)
        assert len(after := old.read()) == len(before)
    assert b"peerpost" not in after
    assert sum(x == y for x, y in zip(before, after, strict=True)) < len(before) // 8


def test_a_keyfile_with_two_names_is_never_overwritten(home: Path, tmp_path: Path) -> None:
    """As a kill leaves it between the second name and the rename; or as somebody has it in a backup."""
    before = path_of(home).read_bytes()
    os.link(path_of(home), home / "keyfile.bak")
    os.link(path_of(home), tmp_path / "of somebody")
    keyfile.unlock(home, WORD)
    keyfile.tidy(home)
    assert path_of(home).read_bytes() == before
    assert not (home / "keyfile.bak").exists()
    keyfile.replace_slots(home, WORD, {"passphrase": b"new"}, cost=CHEAP)
    keyfile.unlock(home, b"new")
    assert (tmp_path / "of somebody").read_bytes() == before


def test_a_low_cost_is_raised_at_an_unlock(home: Path) -> None:
    key = keyfile.unlock(home, WORD, cost=Cost(128, 2, 1))
    found = keyfile.describe(home)
    assert (found.cost, found.generation) == (Cost(128, 2, 1), 2)
    assert keyfile.unlock(home, WORD, cost=Cost(64, 3, 1)) == key
    assert keyfile.describe(home).cost == Cost(128, 3, 1)
    keyfile.unlock(home, CODE, cost=Cost(1024, 3, 1))
    assert keyfile.describe(home).cost == Cost(128, 3, 1)


def test_a_cost_is_not_raised_beyond_what_the_machine_gives(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = everything(home)
    keyfile.unlock(home, WORD, cost=Cost(2 << 20, 16, 1))
    monkeypatch.setattr("peerpost.system.free_memory_bytes", lambda: 200 << 10)
    keyfile.unlock(home, WORD, cost=Cost(128, 1, 1))
    assert everything(home) == before


def test_a_recovery_code_costs_the_floor(tmp_path: Path) -> None:
    keyfile.create(tmp_path, passphrase=WORD, recovery=CODE, cost=CHEAP)
    slots = json.loads(path_of(tmp_path).read_bytes())["slots"]
    assert (slots[1]["memory_kib"], slots[1]["passes"]) == (FLOOR.memory_kib, FLOOR.passes)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (b"word", b"word"),
        (b"word\n", b"word"),
        (b"word\r\n", b"word"),
        (b"word\n\n", b"word\n"),
        (b" word ", b" word "),
        ("word", b"word"),
        (unicodedata.normalize("NFD", "größe"), "größe".encode()),
        (unicodedata.normalize("NFD", "größe").encode() + b"\n", "größe".encode()),
        (b"x" * 1024 + b"\n", b"x" * 1024),
    ],
)
def test_a_passphrase_has_one_form(given: bytes | str, wanted: bytes) -> None:
    assert normalize(given) == wanted


@pytest.mark.parametrize(
    "given", [b"", b"\n", b"\r\n", "", b"\xff", "\udcff", b"x" * 1025, b"x" * 10_000_000]
)
def test_what_is_no_passphrase(given: bytes | str) -> None:
    with pytest.raises(BadInputError):
        normalize(given)


VECTORS = json.loads(
    (Path(__file__).parents[2] / "vectors" / "home" / "keyfile.json").read_text("ascii")
)


@pytest.mark.parametrize("case", VECTORS, ids=lambda case: case["name"])
def test_the_frozen_keyfiles(tmp_path: Path, case: dict[str, Any]) -> None:
    path_of(tmp_path).write_text(case["keyfile"], encoding="ascii")
    path_of(tmp_path).chmod(0o600)
    secret = None if case["secret"] is None else bytes.fromhex(case["secret"])
    if case["expect"] == "success":
        assert keyfile.unlock(tmp_path, secret) == bytes.fromhex(case["key"])
        return
    with pytest.raises(PeerpostError) as caught:
        keyfile.unlock(tmp_path, secret)
    assert caught.value.code == case["expect"]
