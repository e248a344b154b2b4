from __future__ import annotations

from peerpost.crypto import invite

SECRET, TRANSCRIPT, GUEST, INVITER = b"s" * 16, b"t" * 32, b"g" * 32, b"i" * 32


def test_the_proof_holds_for_one_secret_connection_and_pair() -> None:
    mac = invite.mac(SECRET, TRANSCRIPT, GUEST, INVITER)
    assert invite.check_mac(SECRET, TRANSCRIPT, GUEST, INVITER, mac)
    assert not invite.check_mac(b"S" * 16, TRANSCRIPT, GUEST, INVITER, mac)
    assert not invite.check_mac(SECRET, b"T" * 32, GUEST, INVITER, mac)
    assert not invite.check_mac(SECRET, TRANSCRIPT, INVITER, GUEST, mac)
    for bit in range(256):
        changed = bytearray(mac)
        changed[bit // 8] ^= 1 << bit % 8
        assert not invite.check_mac(SECRET, TRANSCRIPT, GUEST, INVITER, bytes(changed))


def test_the_id_is_short_and_not_the_secret() -> None:
    name = invite.invite_id(SECRET)
    assert len(name) == 8
    assert name not in SECRET
    assert name != invite.invite_id(b"S" * 16)
