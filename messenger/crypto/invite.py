"""Invitations: how a guest shows that it holds the ticket's secret (PROTOCOL.md, "Tickets")."""

from __future__ import annotations

import hashlib
import hmac

from . import labels
from .keys import derive

__all__ = ["check_mac", "invite_id", "mac"]


def invite_id(secret: bytes) -> bytes:
    """Return the 8 bytes by which HELLO names an invitation; they say nothing about its secret."""
    return hashlib.blake2b(secret, digest_size=8, person=labels.PERSON_INVITE_ID).digest()


def mac(secret: bytes, transcript: bytes, guest_id: bytes, inviter_id: bytes) -> bytes:
    """Return the 32-byte proof for one connection and two identities.

    transcript is HELLO's after the first flights, which holds the nonces of both ends.
    """
    return derive(secret, labels.DERIVE_INVITE_MAC, transcript + guest_id + inviter_id)


def check_mac(
    secret: bytes, transcript: bytes, guest_id: bytes, inviter_id: bytes, given: bytes
) -> bool:
    """Tell, in constant time, whether given is the proof."""
    return hmac.compare_digest(mac(secret, transcript, guest_id, inviter_id), given)
