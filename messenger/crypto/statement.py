"""Sign, verify and follow key statements (PROTOCOL.md, "Key statements")."""

from __future__ import annotations

import enum
import hashlib

from peerpost.errors import EquivocationError, RevokedError, RollbackError, UntrustedError
from peerpost.wire.statement import FLAG_REVOKED, KeyStatement, Signed, decode_statement

from . import labels
from .keys import Ed25519KeyPair, check_x25519
from .keys import verify as verify_signature

__all__ = ["Change", "digest", "follow", "newer", "sign", "verify"]


class Change(enum.Enum):
    """How a statement relates to the stored one."""

    FIRST = "first"
    """None is stored yet."""
    SAME = "same"
    NEWER = "newer"
    """It must replace the stored one."""


def sign(body: bytes, identity: Ed25519KeyPair) -> Signed:
    """Sign an encoded statement."""
    return Signed(body=body, sig=identity.sign(labels.SIGN_STATEMENT, body))


def verify(signed: Signed) -> KeyStatement:
    """Return what a statement says, once the identity it names is seen to have signed it.

    Raises ProtocolError if it is malformed, UntrustedError if the signature is wrong.
    """
    statement = decode_statement(signed.body)
    if not verify_signature(statement.id_public, labels.SIGN_STATEMENT, signed.body, signed.sig):
        raise UntrustedError("a key statement with a wrong signature")
    check_x25519(statement.ik)
    for prekey in statement.prekeys:
        check_x25519(prekey.public)
    return statement


def digest(body: bytes) -> bytes:
    """Return the 32 bytes by which the next statement refers to this one."""
    return hashlib.blake2b(body, digest_size=32, person=labels.PERSON_STATEMENT).digest()


def follow(kept: Signed | None, new: Signed) -> Change:
    """Compare a statement with the one kept of the same identity; both must have been verified.

    Raises EquivocationError if an identity has signed two statements of one number, or one that
    follows another than ours; RollbackError if it goes back; RevokedError if it was ended;
    UntrustedError if it is of another identity.
    """
    if kept is None:
        return Change.FIRST
    if kept.body == new.body:
        return Change.SAME
    old, now = decode_statement(kept.body), decode_statement(new.body)
    if old.id_public != now.id_public:
        raise UntrustedError("a key statement of another identity")
    if now.seq == old.seq:
        raise EquivocationError("two key statements with one number")
    if old.flags & FLAG_REVOKED:
        raise RevokedError("the identity was revoked")
    if now.seq < old.seq:
        raise RollbackError("an older key statement than the one known")
    if now.seq == old.seq + 1 and now.prev != digest(kept.body):
        raise EquivocationError("a key statement that follows one we have not seen")
    return Change.NEWER


def newer(one: Signed, other: Signed) -> bool:
    """Return whether `one` of two statements that contradict each other counts: `other` has no higher number."""
    return decode_statement(one.body).seq >= decode_statement(other.body).seq
