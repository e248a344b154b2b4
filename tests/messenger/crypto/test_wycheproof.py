"""Wycheproof's vectors against the calls that Peerpost makes.

They stand beside the project, not in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from nacl import bindings
from nacl.exceptions import CryptoError

from peerpost.crypto import keys
from peerpost.errors import ProtocolError

FOLDER = Path(__file__).parents[4] / "shared" / "vectors"


def load(name: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    path = FOLDER / f"wycheproof_{name}_test.json"
    if not path.exists():
        pytest.skip(f"Wycheproof's vectors are not at {FOLDER}")
    for group in json.loads(path.read_text())["testGroups"]:
        for test in group["tests"]:
            yield (
                group,
                {
                    field: bytes.fromhex(value)
                    if field
                    in (
                        "public",
                        "private",
                        "shared",
                        "msg",
                        "sig",
                        "key",
                        "iv",
                        "aad",
                        "ct",
                        "tag",
                    )
                    else value
                    for field, value in test.items()
                },
            )


def test_x25519() -> None:
    refused = checked = 0
    for _, test in load("x25519"):
        try:
            shared = keys.dh(test["private"], test["public"])
        except ProtocolError:
            refused += 1
            assert not any(test["shared"]), test["tcId"]
            continue
        checked += 1
        assert shared == test["shared"], test["tcId"]
    assert checked > 400
    assert refused > 20


def test_ed25519() -> None:
    for group, test in load("ed25519"):
        public = bytes.fromhex(group["publicKey"]["pk"])
        valid = keys.verify(public, b"", test["msg"], test["sig"])
        assert valid is (test["result"] == "valid"), test["tcId"]


def test_chacha20_poly1305_of_both_libraries() -> None:
    for _, test in load("chacha20_poly1305"):
        if len(test["iv"]) != 12:
            continue
        sealed = test["ct"] + test["tag"]
        cipher = ChaCha20Poly1305(test["key"])
        if test["result"] == "valid":
            assert cipher.encrypt(test["iv"], test["msg"], test["aad"]) == sealed, test["tcId"]
            assert (
                bindings.crypto_aead_chacha20poly1305_ietf_encrypt(
                    test["msg"], test["aad"], test["iv"], test["key"]
                )
                == sealed
            ), test["tcId"]
            continue
        with pytest.raises(InvalidTag):
            cipher.decrypt(test["iv"], sealed, test["aad"])
        with pytest.raises(CryptoError):
            bindings.crypto_aead_chacha20poly1305_ietf_decrypt(
                sealed, test["aad"], test["iv"], test["key"]
            )


def test_xchacha20_poly1305() -> None:
    for _, test in load("xchacha20_poly1305"):
        if len(test["iv"]) != 24:
            continue
        sealed = test["ct"] + test["tag"]
        arguments = (sealed, test["aad"], test["iv"], test["key"])
        if test["result"] == "valid":
            opened = bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(*arguments)
            assert opened == test["msg"], test["tcId"]
            continue
        with pytest.raises(CryptoError):
            bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(*arguments)
