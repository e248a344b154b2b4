"""The keys of one session, as HELLO agreed on them."""

from __future__ import annotations

from dataclasses import dataclass

from peerpost.crypto.keys import X25519KeyPair

__all__ = ["Keys"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """What HELLO agreed on."""

    my_id: bytes
    my_encryption: X25519KeyPair
    my_epk: X25519KeyPair
    my_epk_id: bytes
    peer_id_public: bytes
    peer_encryption_public: bytes
    peer_epk_id: bytes
    peer_epk_public: bytes
