from __future__ import annotations

import re

import base58
import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerpost.crypto import keys, labels
from peerpost.crypto.keys import Ed25519KeyPair, X25519KeyPair
from peerpost.errors import ProtocolError

ALICE = Ed25519KeyPair.from_seed(b"a" * 32)
ORDER = 2**252 + 27742317777372353535851937790883648493
LOW_ORDER_X25519 = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
]


@pytest.mark.parametrize("point", LOW_ORDER_X25519)
def test_low_order_points_are_refused(point: str) -> None:
    public = bytes.fromhex(point)
    with pytest.raises(ProtocolError):
        keys.check_x25519(public)
    with pytest.raises(ProtocolError):
        X25519KeyPair.from_seed(b"s" * 32).dh(public)


def test_both_ends_share_a_secret() -> None:
    a, b = X25519KeyPair.from_seed(b"a" * 32), X25519KeyPair.from_seed(b"b" * 32)
    assert a.dh(b.public) == b.dh(a.public)
    keys.check_x25519(a.public)


def test_a_signature_holds_for_its_label_message_and_key_only() -> None:
    sig = ALICE.sign(labels.SIGN_HELLO, b"message")
    assert keys.verify(ALICE.public, labels.SIGN_HELLO, b"message", sig)
    assert not keys.verify(ALICE.public, labels.SIGN_STATEMENT, b"message", sig)
    assert not keys.verify(ALICE.public, labels.SIGN_HELLO, b"messagE", sig)
    bob = Ed25519KeyPair.from_seed(b"b" * 32)
    assert not keys.verify(bob.public, labels.SIGN_HELLO, b"message", sig)
    assert not keys.verify(ALICE.public, labels.SIGN_HELLO, b"message", sig[:-1])
    assert not keys.verify(ALICE.public[:-1], labels.SIGN_HELLO, b"message", sig)


def test_every_flipped_bit_of_a_signature_is_refused() -> None:
    sig = ALICE.sign(labels.SIGN_HELLO, b"m")
    for bit in range(512):
        changed = bytearray(sig)
        changed[bit // 8] ^= 1 << bit % 8
        assert not keys.verify(ALICE.public, labels.SIGN_HELLO, b"m", bytes(changed))


def test_the_same_signature_in_another_form_is_refused() -> None:
    sig = ALICE.sign(labels.SIGN_HELLO, b"m")
    s = int.from_bytes(sig[32:], "little") + ORDER
    assert not keys.verify(
        ALICE.public, labels.SIGN_HELLO, b"m", sig[:32] + s.to_bytes(32, "little")
    )


def test_the_key_under_which_all_signatures_hold_is_refused() -> None:
    identity = b"\1" + bytes(31)
    forged = identity + bytes(32)
    assert not keys.verify(identity, labels.SIGN_HELLO, b"anything", forged)


@given(st.binary(min_size=32, max_size=32))
def test_peer_id_round_trip(public: bytes) -> None:
    text = keys.peer_id(public)
    assert text.startswith("12D3KooW")
    assert keys.transport_public(text) == public


def test_peer_id_agrees_with_libp2p() -> None:
    ed25519 = pytest.importorskip("libp2p.crypto.ed25519")
    peer = pytest.importorskip("libp2p.peer.id")
    pair = ed25519.create_new_key_pair(b"a" * 32)
    assert pair.public_key.to_bytes() == ALICE.public
    assert str(peer.ID.from_pubkey(pair.public_key)) == keys.peer_id(ALICE.public)


@given(st.text(max_size=60))
@pytest.mark.parametrize("prefix", ["", "12D3KooW"])
def test_garbage_is_no_peer_id(prefix: str, text: str) -> None:
    try:
        public = keys.transport_public(prefix + text)
    except ProtocolError:
        return
    assert keys.peer_id(public) == prefix + text


def test_a_peer_id_of_another_kind_is_refused() -> None:
    with pytest.raises(ProtocolError):
        keys.transport_public("QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N")


def test_what_people_read() -> None:
    bob = Ed25519KeyPair.from_seed(b"b" * 32).public
    number = keys.safety_number(ALICE.public, bob)
    assert number == keys.safety_number(bob, ALICE.public)
    assert re.fullmatch(r"\d{5}( \d{5}){11}", number)
    assert number != keys.safety_number(bob, bob)
    assert re.fullmatch(r"[A-Z2-7]{4}( [A-Z2-7]{4}){7}", keys.fingerprint(bob))


def test_derivations_differ_by_key_label_and_context() -> None:
    made = {
        keys.derive(key, label, context)
        for key in (b"k" * 32, b"K" * 32)
        for label in (labels.DERIVE_CHUNK_KEY, labels.DERIVE_LEAF_KEY)
        for context in (b"", b"c")
    }
    assert len(made) == 8


def test_secrets_are_not_shown() -> None:
    assert repr(b"a" * 32) not in repr(ALICE)
    assert repr(b"a" * 32) not in repr(X25519KeyPair.from_seed(b"a" * 32))


def test_seeds_of_another_length_are_refused() -> None:
    for make in (Ed25519KeyPair.from_seed, X25519KeyPair.from_seed):
        with pytest.raises(ValueError, match="32"):
            make(b"short")
    with pytest.raises(ValueError, match="32"):
        keys.peer_id(b"short")


def test_a_peer_id_of_another_kind_and_the_same_length_is_refused() -> None:
    text = base58.b58encode(bytes.fromhex("002408021220") + bytes([7]) * 32).decode()
    assert len(text) == len(keys.peer_id(bytes([7]) * 32))
    with pytest.raises(ProtocolError):
        keys.transport_public(text)
