"""Every string that keeps one use of a key or a hash apart from another, in one place.

Signatures, key derivation and the Noise prologue begin with a full string that ends in NUL, so that
none is a prefix of another. BLAKE2b's `person` is 16 bytes, of which the last four name the use. A
label is never used for two purposes; tests/messenger/crypto/test_labels.py holds all of that.
"""

from __future__ import annotations

from typing import Final

from peerpost.wire.inner import LINK_PERSON
from peerpost.wire.ticket import CHECKSUM_PERSON

__all__ = ["LABELS", "PERSONS"]

# -- full strings

SIGN_STATEMENT: Final = b"peerpost/v1/sign/statement\0"
"""A key statement, by the identity that it is of."""
SIGN_HELLO: Final = b"peerpost/v1/sign/hello\0"
"""HELLO, by the identity that speaks."""
NOISE_ENVELOPE: Final = b"peerpost/v1/noise/envelope\0"
"""Prologue of an epoch."""
DERIVE_LEAF_KEY: Final = b"peerpost/v1/derive/leaf\0"
"""File key to the key of the leaf hashes."""
DERIVE_CHUNK_KEY: Final = b"peerpost/v1/derive/chunk\0"
"""File key to the key of one chunk."""
DERIVE_INVITE_MAC: Final = b"peerpost/v1/derive/invite\0"
"""An invitation's secret to the proof of knowing it."""
SEAL_KEYFILE: Final = b"peerpost/v1/seal/keyfile\0"
"""The data key of a home, in a slot of its keyfile."""

# -- 16-byte persons

PERSON_DERIVE: Final = b"peerpost/v1/driv"
"""All keyed derivations; the full strings above tell them apart."""
PERSON_LEAF: Final = b"peerpost/v1/leaf"
"""A chunk of a file."""
PERSON_ROOT: Final = b"peerpost/v1/root"
"""The leaf list of a file."""
PERSON_STATEMENT: Final = b"peerpost/v1/stmt"
"""A key statement, for the next one to refer to."""
PERSON_TRANSCRIPT: Final = b"peerpost/v1/hell"
"""What was said in HELLO."""
PERSON_PREKEY_ID: Final = b"peerpost/v1/prek"
"""The short name of a prekey."""
PERSON_INVITE_ID: Final = b"peerpost/v1/invi"
"""The short name of an invitation."""
PERSON_FINGERPRINT: Final = b"peerpost/v1/fing"
"""An identity, for people to read."""
PERSON_SAFETY: Final = b"peerpost/v1/safe"
"""Two identities, for people to compare."""
PERSON_CONTACT: Final = b"peerpost/v1/cont"
"""The local id of a contact; never on the wire."""
PERSON_IMPORTED: Final = b"peerpost/v1/impo"
"""The number of a message that was imported; never on the wire."""
PERSON_LINK: Final = LINK_PERSON
"""A message, for the next one to refer to."""
PERSON_TICKET: Final = CHECKSUM_PERSON
"""The checksum of a ticket."""
PERSON_RECOVERY: Final = b"peerpost/v1/reco"
"""The checksum of a recovery code."""

LABELS: Final = (
    SIGN_STATEMENT,
    SIGN_HELLO,
    NOISE_ENVELOPE,
    DERIVE_LEAF_KEY,
    DERIVE_CHUNK_KEY,
    DERIVE_INVITE_MAC,
    SEAL_KEYFILE,
)
PERSONS: Final = (
    PERSON_DERIVE,
    PERSON_LEAF,
    PERSON_ROOT,
    PERSON_STATEMENT,
    PERSON_TRANSCRIPT,
    PERSON_PREKEY_ID,
    PERSON_INVITE_ID,
    PERSON_FINGERPRINT,
    PERSON_SAFETY,
    PERSON_CONTACT,
    PERSON_IMPORTED,
    PERSON_LINK,
    PERSON_TICKET,
    PERSON_RECOVERY,
)
