"""argon2id against published answers and against libsodium, and a cost that is fitted to a machine."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files

import pytest
from argon2.low_level import Type, hash_secret_raw
from nacl.pwhash import argon2id

from peerpost.crypto import passphrase
from peerpost.crypto.passphrase import DEFAULT, FLOOR, Cost, calibrate, derive
from peerpost.errors import BadInputError, ShortMemoryError
from tests.support.foreign_vectors import Ran

SALT = bytes(range(16))


def published() -> Iterator[dict[str, str]]:
    text = (files("cryptography_vectors") / "KDF" / "argon2id.txt").read_text(encoding="utf-8")
    for block in text.split("COUNT = ")[1:]:
        lines = [line for line in block.splitlines()[1:] if "=" in line and line[0] != "#"]
        yield {key.strip(): value.strip() for key, _, value in (x.partition("=") for x in lines)}


def test_argon2id(ran: Ran) -> None:
    ours = others = left_out = 0
    for case in published():
        if case.get("secret") or case.get("ad"):
            left_out += 1  # Nothing of ours has either.
            continue
        secret, salt = bytes.fromhex(case["pass"]), bytes.fromhex(case["salt"])
        cost = Cost(int(case["memcost"]), int(case["iter"]), int(case["lanes"]))
        length = int(case["length"])
        wanted = bytes.fromhex(case["output"])
        if len(salt) == 16 and length == 32:
            ours += 1
            assert derive(secret, salt, cost) == wanted
        else:
            others += 1
            assert wanted == hash_secret_raw(
                secret, salt, cost.passes, cost.memory_kib, cost.lanes, length, Type.ID
            )
    assert (ours, others, left_out) == (2, 3, 1)
    ran(ours + others)


@pytest.mark.parametrize("cost", [Cost(8, 1, 1), Cost(64, 3, 1), FLOOR], ids=str)
def test_libsodium_derives_the_same(cost: Cost) -> None:
    wanted = argon2id.kdf(32, b"word", SALT, opslimit=cost.passes, memlimit=cost.memory_kib << 10)
    assert derive(b"word", SALT, cost) == wanted


def test_a_salt_of_another_length() -> None:
    with pytest.raises(BadInputError):
        derive(b"word", SALT[:8], FLOOR)


def test_no_memory_is_an_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    from argon2.exceptions import HashingError

    def fail(*_: object, **__: object) -> bytes:
        raise HashingError("Memory allocation error")

    monkeypatch.setattr("argon2.low_level.hash_secret_raw", fail)
    with pytest.raises(ShortMemoryError, match="256 MiB") as caught:
        derive(b"word", SALT, DEFAULT)
    assert (caught.value.exit_code, caught.value.code) == (74, "memory")


@pytest.mark.parametrize(
    ("floor_s", "free_bytes", "wanted"),
    [
        (0.25, None, Cost(256 << 10, 3, 1)),
        (0.05, None, Cost(256 << 10, 15, 1)),
        (0.01, None, Cost(256 << 10, 16, 1)),
        (0.5, None, Cost(128 << 10, 3, 1)),
        (10.0, None, FLOOR),
        (0.25, 512 << 20, Cost(128 << 10, 6, 1)),
        (0.25, 1 << 20, Cost(64 << 10, 12, 1)),
        (0.0, 0, Cost(64 << 10, 16, 1)),
    ],
)
def test_a_cost_is_about_a_second_and_never_under_the_floor(
    monkeypatch: pytest.MonkeyPatch, floor_s: float, free_bytes: int | None, wanted: Cost
) -> None:
    times = iter([5.0, 5.0 + floor_s])
    monkeypatch.setattr(passphrase, "derive", lambda *_: b"")
    assert calibrate(lambda: next(times), free_bytes) == wanted


@pytest.mark.parametrize(
    "given", [None, 5, [], [1, 2], [1, 2, 3, 4], [64, 1, 1.0], [64, True, 1], ["64", 1, 1], {}]
)
def test_what_is_no_cost(given: object) -> None:
    with pytest.raises(BadInputError):
        Cost.parse(given)


@pytest.mark.parametrize("given", [(2 << 20, 16, 16), (8, 1, 1), (128, 1, 16)])
def test_the_bounds_themselves_are_costs(given: tuple[int, int, int]) -> None:
    assert Cost.parse(given) == Cost(*given)
