"""The people, values and cases that all vectors share."""

from __future__ import annotations

import hashlib
from typing import Any

from peerpost.crypto import statement
from peerpost.crypto.keys import Ed25519KeyPair, X25519KeyPair
from peerpost.protocol.hello import LocalParty
from peerpost.wire.statement import KeyStatement, Prekey, TransportKey, encode_statement

Case = dict[str, Any]
CREATED_S = 1_800_000_000


def seed(name: str, size: int = 32) -> bytes:
    """Return the fixed value of that name."""
    return hashlib.blake2b(name.encode(), digest_size=size).digest()


def paint(size: int) -> bytes:
    """Return bytes of period 251, which no power of two divides."""
    return bytes(i % 251 for i in range(size))


class Person:
    """All keys of someone."""

    def __init__(self, name: str, addresses: tuple[str, ...]) -> None:
        self.id = Ed25519KeyPair.from_seed(seed(f"{name} id"))
        self.ik = X25519KeyPair.from_seed(seed(f"{name} ik"))
        self.tk = Ed25519KeyPair.from_seed(seed(f"{name} tk"))
        self.spk = X25519KeyPair.from_seed(seed(f"{name} spk"))
        self.epk = X25519KeyPair.from_seed(seed(f"{name} epk"))
        self.body = encode_statement(
            KeyStatement(
                id_public=self.id.public,
                seq=1,
                prev=bytes(32),
                ik=self.ik.public,
                prekeys=(Prekey(self.spk.public, CREATED_S),),
                tk=(TransportKey(self.tk.public, 0, addresses),),
                created_s=CREATED_S,
            )
        )
        self.signed = statement.sign(self.body, self.id)
        self.party = LocalParty(
            identity=self.id, statement=self.signed, transport_public=self.tk.public
        )


ALICE = Person("alice", ("/ip4/192.0.2.1/tcp/4001",))
BOB = Person("bob", ("/dns/bob.example/tcp/4001", "/ip6/2001:db8::2/tcp/4001"))
OUTBOX = seed("outbox", 16)
FILE_ID = seed("file id", 16)
FILE_KEY = seed("file key")


def case(name: str, expect: str, data: bytes, **more: object) -> Case:
    """Return one case; bytes become hexadecimal."""
    plain = {k: v.hex() if isinstance(v, bytes) else v for k, v in more.items()}
    return {"name": name, "expect": expect, "data": data.hex(), **plain}


def flip(data: bytes, at: int, mask: int = 1) -> bytes:
    """Return data with bits of one byte turned."""
    at %= len(data)
    return data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :]
