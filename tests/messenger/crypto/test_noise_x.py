from __future__ import annotations

import os

import pytest

from peerpost.crypto import noise_x
from peerpost.crypto.keys import X25519KeyPair
from peerpost.errors import ProtocolError

SENDER = X25519KeyPair.from_seed(b"s" * 32)
RECIPIENT = X25519KeyPair.from_seed(b"r" * 32)
PSK = b"p" * 32


def sealed(ephemeral: bytes = b"e" * 32) -> noise_x.Sealed:
    return noise_x.seal_message(
        sender=SENDER,
        recipient=RECIPIENT.public,
        ephemeral=X25519KeyPair.from_seed(ephemeral),
        psk=PSK,
        prologue=b"prologue",
    )


def test_both_ends_agree() -> None:
    made = sealed()
    got = noise_x.open_message(
        made.message, recipient=RECIPIENT, psk_of=lambda _: PSK, prologue=b"prologue"
    )
    assert (got.sender, got.key, got.handshake_hash) == (
        SENDER.public,
        made.key,
        made.handshake_hash,
    )
    assert len(made.message) == noise_x.MESSAGE_BYTES


def test_another_implementation_reads_ours_and_we_read_its() -> None:
    connection = pytest.importorskip("noise.connection")
    for _ in range(3):
        made = sealed(os.urandom(32))
        theirs = connection.NoiseConnection.from_name(noise_x.PROTOCOL_NAME)
        theirs.set_psks(PSK)
        theirs.set_prologue(b"prologue")
        theirs.set_keypair_from_private_bytes(connection.Keypair.STATIC, RECIPIENT.secret)
        theirs.set_as_responder()
        theirs.start_handshake()
        assert bytes(theirs.read_message(made.message)) == b""
        assert theirs.handshake_finished
        assert bytes(theirs.get_handshake_hash()) == made.handshake_hash

        theirs = connection.NoiseConnection.from_name(noise_x.PROTOCOL_NAME)
        theirs.set_psks(PSK)
        theirs.set_prologue(b"prologue")
        theirs.set_keypair_from_private_bytes(connection.Keypair.STATIC, SENDER.secret)
        theirs.set_keypair_from_public_bytes(connection.Keypair.REMOTE_STATIC, RECIPIENT.public)
        theirs.set_as_initiator()
        theirs.start_handshake()
        got = noise_x.open_message(
            bytes(theirs.write_message()),
            recipient=RECIPIENT,
            psk_of=lambda _: PSK,
            prologue=b"prologue",
        )
        assert got.sender == SENDER.public
        assert got.handshake_hash == bytes(theirs.get_handshake_hash())


def test_every_flipped_bit_is_refused() -> None:
    message = sealed().message
    for bit in range(8 * len(message)):
        changed = bytearray(message)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ProtocolError):
            noise_x.open_message(
                bytes(changed), recipient=RECIPIENT, psk_of=lambda _: PSK, prologue=b"prologue"
            )


def test_a_sender_without_psk_is_refused() -> None:
    with pytest.raises(ProtocolError):
        noise_x.open_message(
            sealed().message, recipient=RECIPIENT, psk_of=lambda _: None, prologue=b"prologue"
        )


def test_a_low_order_recipient_is_refused() -> None:
    with pytest.raises(ProtocolError):
        noise_x.seal_message(
            sender=SENDER, recipient=bytes(32), ephemeral=SENDER, psk=PSK, prologue=b""
        )


def test_keys_are_not_shown() -> None:
    made = sealed()
    assert repr(made.key) not in repr(made)
