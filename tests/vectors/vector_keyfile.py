"""Vectors of the keyfile, made without the code of Peerpost: argon2id comes from libsodium here."""

from __future__ import annotations

import hashlib
import json
import struct
from typing import Any

from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_encrypt
from nacl.pwhash import argon2id
from vector_people import Case, seed

LABEL = b"peerpost/v1/seal/keyfile\0"
WORD, CODE = "größe correct horse".encode(), hashlib.blake2b(b"code", digest_size=16).digest()


KEY, ID = seed("data key", 32), seed("keyfile id", 8)


def slot(kind: str, secret: bytes, memory_kib: int, passes: int) -> dict[str, Any]:
    """Seal the key for a secret."""
    salt, nonce = seed(f"salt {kind}", 16), seed(f"nonce {kind}", 24)
    derived = argon2id.kdf(32, secret, salt, opslimit=passes, memlimit=memory_kib << 10)
    bound = LABEL + kind.encode() + b"\0" + ID + struct.pack(">III", memory_kib, passes, 1) + salt
    sealed = crypto_aead_xchacha20poly1305_ietf_encrypt(KEY, bound, nonce, derived)
    return {
        "type": kind,
        "kdf": "argon2id",
        "memory_kib": memory_kib,
        "passes": passes,
        "lanes": 1,
        "salt": salt.hex(),
        "nonce": nonce.hex(),
        "sealed": sealed.hex(),
    }


def line(slots: list[dict[str, Any]], **more: Any) -> str:
    """Return a keyfile with the sum that is right for it."""
    content = {
        "fmt": "peerpost-keyfile",
        "v": 1,
        "id": ID.hex(),
        "generation": 3,
        "slots": slots,
        **more,
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    total = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
    return json.dumps({**content, "sum": total}) + "\n"


def make_keyfiles() -> list[Case]:
    """Make keyfiles, with what comes of a secret."""
    word = slot("passphrase", WORD, 64 << 10, 3)
    code = slot("recovery", CODE, 64, 1)
    cheap = slot("passphrase", WORD, 64, 1)
    both = line([word, code], store="0123456789abcdef")
    clear = line([{"type": "none", "key": KEY.hex()}])

    def case(name: str, text: str, secret: bytes | None, expect: str) -> Case:
        found: Case = {
            "name": name,
            "keyfile": text,
            "secret": None if secret is None else secret.hex(),
            "expect": expect,
        }
        return found | {"key": KEY.hex()} if expect == "success" else found

    return [
        case("in clear", clear, None, "success"),
        case("by its passphrase", both, WORD, "success"),
        case("by its recovery code", both, CODE, "success"),
        case("beside a slot of another kind", line([{"type": "x"}, cheap]), WORD, "success"),
        case("without a secret", both, None, "locked"),
        case("another passphrase", both, b"another", "wrong_passphrase"),
        case("another kind", line([cheap | {"type": "recovery"}]), WORD, "wrong_passphrase"),
        case("another cost", line([cheap | {"passes": 2}]), WORD, "wrong_passphrase"),
        case("another home", line([cheap], id="00" * 8), WORD, "wrong_passphrase"),
        case("a bit flipped", both.replace('"lanes": 1', '"lanes": 0'), WORD, "bad_input"),
        case("too much memory", line([cheap | {"memory_kib": 2097153}]), WORD, "bad_input"),
        case("no pass", line([cheap | {"passes": 0}]), WORD, "bad_input"),
        case("a short salt", line([cheap | {"salt": "00" * 8}]), WORD, "bad_input"),
        case("another version", line([cheap], v=2), WORD, "bad_input"),
    ]
