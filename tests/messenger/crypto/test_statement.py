from __future__ import annotations

import pytest

from peerpost.crypto import labels, statement
from peerpost.crypto.keys import Ed25519KeyPair, X25519KeyPair
from peerpost.crypto.statement import Change
from peerpost.errors import (
    EquivocationError,
    ProtocolError,
    RevokedError,
    RollbackError,
    UntrustedError,
)
from peerpost.wire.statement import (
    FLAG_REVOKED,
    KeyStatement,
    Signed,
    TransportKey,
    encode_statement,
)

ALICE = Ed25519KeyPair.from_seed(b"a" * 32)
IK = X25519KeyPair.from_seed(b"i" * 32)


def signed(
    seq: int = 1, prev: bytes = bytes(32), *, flags: int = 0, by: Ed25519KeyPair = ALICE
) -> Signed:
    body = encode_statement(
        KeyStatement(
            id_public=by.public,
            seq=seq,
            prev=prev,
            ik=IK.public,
            tk=(TransportKey(b"t" * 32, 0, ()),),
            flags=flags,
            created_s=1,
        )
    )
    return statement.sign(body, by)


def test_a_signed_statement_says_what_it_says() -> None:
    assert statement.verify(signed()).ik == IK.public


def test_every_flipped_bit_is_refused() -> None:
    good = signed()
    for bit in range(8 * len(good.body)):
        changed = bytearray(good.body)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises((ProtocolError, UntrustedError)):
            statement.verify(Signed(body=bytes(changed), sig=good.sig))
    for bit in range(512):
        changed = bytearray(good.sig)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(UntrustedError):
            statement.verify(Signed(body=good.body, sig=bytes(changed)))


def test_a_foreign_signer_and_another_use_of_the_key_are_refused() -> None:
    good = signed()
    eve = Ed25519KeyPair.from_seed(b"e" * 32)
    for sig in (
        eve.sign(labels.SIGN_STATEMENT, good.body),
        ALICE.sign(labels.SIGN_HELLO, good.body),
    ):
        with pytest.raises(UntrustedError):
            statement.verify(Signed(body=good.body, sig=sig))


def test_following() -> None:
    one = signed()
    two = signed(2, statement.digest(one.body))
    nine = signed(9, b"unseen".ljust(32))
    assert statement.follow(None, one) is Change.FIRST
    assert statement.follow(one, one) is Change.SAME
    assert statement.follow(one, two) is Change.NEWER
    assert statement.follow(two, nine) is Change.NEWER


def test_what_does_not_follow_has_an_error_of_its_own() -> None:
    one = signed()
    two = signed(2, statement.digest(one.body))
    with pytest.raises(RollbackError):
        statement.follow(two, one)
    with pytest.raises(EquivocationError, match="one number"):
        statement.follow(one, signed(flags=1 << 20))
    with pytest.raises(EquivocationError, match="not seen"):
        statement.follow(one, signed(2, b"x" * 32))
    ended = signed(2, statement.digest(one.body), flags=FLAG_REVOKED)
    assert statement.follow(one, ended) is Change.NEWER
    for later in (one, signed(3, statement.digest(ended.body))):
        with pytest.raises(RevokedError):
            statement.follow(ended, later)
    with pytest.raises(UntrustedError, match="another identity"):
        statement.follow(one, signed(by=Ed25519KeyPair.from_seed(b"b" * 32)))
