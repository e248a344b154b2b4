"""Wycheproof's vectors against the calls that Peerpost makes."""

from __future__ import annotations

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from nacl import bindings
from nacl.exceptions import CryptoError

from peerpost.crypto import keys
from peerpost.errors import ProtocolError
from tests.support.foreign_vectors import Ran, wycheproof


def test_x25519(ran: Ran) -> None:
    refused = checked = 0
    for _, test in wycheproof("x25519"):
        try:
            shared = keys.dh(test["private"], test["public"])
        except ProtocolError:
            refused += 1
            assert not any(test["shared"]), test["tcId"]
            continue
        checked += 1
        assert shared == test["shared"], test["tcId"]
    assert (checked, refused) == (487, 31)
    ran(checked + refused)


def test_ed25519(ran: Ran) -> None:
    checked = 0
    for group, test in wycheproof("ed25519"):
        checked += 1
        public = bytes.fromhex(group["publicKey"]["pk"])
        valid = keys.verify(public, b"", test["msg"], test["sig"])
        # Where RFC 8032 leaves a choice, libsodium refuses keys of small order, and those alone.
        left_open = test["result"] == "acceptable" and "SmallOrderPublicKey" not in test["flags"]
        assert valid is (test["result"] == "valid" or left_open), test["tcId"]
    assert checked == 210
    ran(checked)


def test_chacha20_poly1305_of_both_libraries(ran: Ran) -> None:
    checked = 0
    for _, test in wycheproof("chacha20_poly1305"):
        if len(test["iv"]) != 12:
            continue  # the libraries take no other nonce
        checked += 1
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
    assert checked == 316
    ran(checked)


def test_xchacha20_poly1305(ran: Ran) -> None:
    checked = 0
    for _, test in wycheproof("xchacha20_poly1305"):
        if len(test["iv"]) != 24:
            continue  # the libraries take no other nonce
        checked += 1
        sealed = test["ct"] + test["tag"]
        arguments = (sealed, test["aad"], test["iv"], test["key"])
        if test["result"] == "valid":
            opened = bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(*arguments)
            assert opened == test["msg"], test["tcId"]
            continue
        with pytest.raises(CryptoError):
            bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(*arguments)
    assert checked == 306
    ran(checked)
