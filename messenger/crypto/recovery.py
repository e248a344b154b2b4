"""The recovery code: 128 random bits that open a home whose passphrase is lost, written so that a person can copy them.

Seven groups of four characters of Crockford's base32, which has no I, L, O and U. The last twelve bits are a checksum:
a code that was copied wrongly is told from one of another home.
"""

from __future__ import annotations

import hashlib
import re

from peerpost.errors import BadInputError

from .labels import PERSON_RECOVERY

__all__ = ["SEED_BYTES", "is_code", "is_recovery_code", "parse", "write"]

SEED_BYTES = 16
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_CHARS = 28
_CHECK_BITS = 12
_READ_AS = str.maketrans("OIL", "011")
_FORM = re.compile(rf"[{_ALPHABET}]{{{_CHARS}}}")


def write(seed: bytes) -> str:
    """Return the code for 16 random bytes."""
    if len(seed) != SEED_BYTES:
        raise ValueError(f"a seed has {SEED_BYTES} bytes")
    number = int.from_bytes(seed) << _CHECK_BITS | _check(seed)
    chars = [_ALPHABET[number >> 5 * at & 31] for at in reversed(range(_CHARS))]
    return "-".join("".join(chars[at : at + 4]) for at in range(0, _CHARS, 4))


def is_code(text: str) -> bool:
    """Return whether a text has the form of a code, whatever its checksum."""
    return _FORM.fullmatch(_plain(text)) is not None


def is_recovery_code(text: str) -> bool:
    """Return whether a text is a code, by its checksum: of 4096 other texts of that form it is one."""
    if not is_code(text):
        return False
    try:
        parse(text)
    except BadInputError:
        return False
    return True


def parse(text: str) -> bytes:
    """Return the 16 bytes of a code. Case, spaces and hyphens do not matter; O, I and L are read as 0 and 1.

    Raises BadInputError if it is no code, or was copied wrongly.
    """
    plain = _plain(text)
    if _FORM.fullmatch(plain) is None:
        raise BadInputError(
            "that is no recovery code", hint="it has seven groups of four characters"
        )
    number = 0
    for char in plain:
        number = number << 5 | _ALPHABET.index(char)
    seed = (number >> _CHECK_BITS).to_bytes(SEED_BYTES)
    if _check(seed) != number & (1 << _CHECK_BITS) - 1:
        raise BadInputError(
            "the recovery code was copied wrongly", hint="compare it with what you wrote down"
        )
    return seed


def _plain(text: str) -> str:
    return re.sub(r"[\s-]+", "", text).upper().translate(_READ_AS)


def _check(seed: bytes) -> int:
    digest = hashlib.blake2b(seed, digest_size=2, person=PERSON_RECOVERY).digest()
    return int.from_bytes(digest) >> 16 - _CHECK_BITS
