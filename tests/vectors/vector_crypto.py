"""Vectors of Noise X, envelopes and sealed chunks."""

from __future__ import annotations

import hashlib
from typing import Any

from vector_people import ALICE, BOB, FILE_ID, FILE_KEY, Case, case, flip, paint, seed
from vector_wire import text

from peerpost.crypto import file, keys, labels, noise_x
from peerpost.crypto.envelope import SendEpoch
from peerpost.crypto.keys import X25519KeyPair
from peerpost.wire import inner


def make_noise() -> list[Case]:
    """The message that opens an epoch."""
    psk, prologue = seed("psk"), b"a prologue"
    eph = X25519KeyPair.from_seed(seed("noise e"))
    made = noise_x.seal_message(
        sender=ALICE.ik, recipient=BOB.epk.public, ephemeral=eph, psk=psk, prologue=prologue
    )
    common: dict[str, Any] = {
        "sender_secret": ALICE.ik.secret,
        "recipient_secret": BOB.epk.secret,
        "ephemeral_secret": eph.secret,
        "psk": psk,
        "prologue": prologue,
    }
    bad = {
        "ephemeral key changed": flip(made.message, 0),
        "ephemeral key of low order": bytes(32) + made.message[32:],
        "static key changed": flip(made.message, 40),
        "payload tag changed": flip(made.message, -1),
        "cut": made.message[:-1],
    }
    return [
        case(
            "a message",
            "success",
            made.message,
            **common,
            key=made.key,
            handshake_hash=made.handshake_hash,
        ),
        *(case(name, "bad message", data, **common) for name, data in bad.items()),
        case("another psk", "bad message", made.message, **{**common, "psk": bytes(32)}),
        case("another prologue", "bad message", made.message, **{**common, "prologue": b""}),
    ]


def epoch(psk_generation: int = 0) -> SendEpoch:
    """Return an epoch of Alice towards Bob's key of the connection."""
    return SendEpoch(
        sender=ALICE.ik,
        recipient_id=BOB.id.public,
        prekey_id=keys.prekey_id(BOB.epk.public),
        prekey_public=BOB.epk.public,
        psk=bytes(32),
        psk_generation=psk_generation,
        ephemeral_seed=seed("envelope e"),
        now_s=0.0,
    )


def make_envelopes() -> list[Case]:
    """Envelopes from Alice to Bob; the recipient knows one prekey and a PSK of zeros in generation
    0.
    """
    sending = epoch()
    message = inner.encode(text())
    zero, one = sending.seal(message, (256, 1024)), sending.seal(message, None)
    common: dict[str, Any] = {
        "recipient_id": BOB.id.public,
        "prekey_secret": BOB.epk.secret,
        "prekey_id": keys.prekey_id(BOB.epk.public),
        "sender_secret": ALICE.ik.secret,
        "ephemeral_secret": seed("envelope e"),
    }
    opened = {"sender": ALICE.ik.public, "epoch": sending.epoch, "inner": message}
    bad = {
        "cut": zero[:-1],
        "nothing inside": zero[:132],
        "another type": flip(zero, 0, 2),
        "another suite": flip(zero, 1, 2),
        "another psk generation": flip(zero, 2),
        "reserved byte set": flip(zero, 3),
        "another prekey": flip(zero, 4),
        "ephemeral key changed": flip(zero, 12),
        "sender changed": flip(zero, 50),
        "epoch tag changed": flip(zero, 107),
        "number changed": flip(zero, 115),
        "number beyond the epoch": zero[:108] + (1 << 20).to_bytes(8, "big") + zero[116:],
        "ciphertext changed": flip(zero, 116),
        "tag changed": flip(zero, -1),
        "byte after the tag": zero + b"\0",
        "zeros for padding": _seal_raw(sending, 2, bytes(64)),
        "no padding": _seal_raw(sending, 3, b"\x7f\x90"),
    }
    other = {**common, "recipient_id": ALICE.id.public}
    return [
        case("padded to 256", "success", zero, **common, **opened, n=0),
        case("padded by one byte", "success", one, **common, **opened, n=1),
        *(case(name, "bad envelope", data, **common) for name, data in bad.items()),
        case("for another identity", "bad envelope", zero, **other),
        case("psk generation 1", "bad envelope", epoch(1).seal(message, None), **common),
    ]


def _seal_raw(sending: SendEpoch, n: int, plaintext: bytes) -> bytes:
    """Seal a plaintext as it is, padding and all: what an honest sender never does."""
    header = sending.seal(b"", None)[:108] + n.to_bytes(8, "big")
    nonce = bytes(4) + n.to_bytes(8, "little")
    return header + sending._aead.encrypt(nonce, plaintext, header)


def make_chunks() -> list[Case]:
    """Chunks of 16 KiB: leaf, key, sealed form, and the root of the file that they make."""
    chunk = 1 << 14
    cases = []
    for size in (0, 1, chunk - 1, chunk, chunk + 1, 2 * chunk):
        data = paint(size)
        count = max(1, -(-size >> 14))
        leaves = b""
        for index in range(count):
            piece, last = data[index * chunk : (index + 1) * chunk], index == count - 1
            leaf = hashlib.blake2b(
                piece,
                digest_size=32,
                key=file.leaf_key(FILE_KEY),
                salt=index.to_bytes(8, "little") + bytes([last]) + bytes(7),
                person=labels.PERSON_LEAF,
            ).digest()
            leaves += leaf
        sealed = file.seal_chunk(FILE_KEY, FILE_ID, index, last, leaf, piece)
        kept: dict[str, Any] = {"sealed": sealed} if len(sealed) < 64 else {}
        cases.append(
            {
                **case(f"file of {size} bytes", "success", b"", **kept),
                "size": size,
                "leaves": leaves.hex(),
                "root": hashlib.blake2b(
                    leaves, digest_size=32, person=labels.PERSON_ROOT
                ).hexdigest(),
                "last_chunk_key": file.chunk_key(FILE_KEY, index, leaf).hex(),
                "last_sealed_blake2b": hashlib.blake2b(sealed, digest_size=32).hexdigest(),
                "file_key": FILE_KEY.hex(),
                "file_id": FILE_ID.hex(),
                "leaf_key": file.leaf_key(FILE_KEY).hex(),
            }
        )
    return cases
