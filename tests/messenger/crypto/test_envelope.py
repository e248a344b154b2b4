from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peerpost.crypto import envelope, keys
from peerpost.crypto.envelope import HEADER_BYTES, NO_PSK, OpenedEnvelope, ReceiveEpochs, SendEpoch
from peerpost.crypto.keys import X25519KeyPair
from peerpost.errors import ProtocolError
from peerpost.wire import limits
from peerpost.wire.frame import frame

ALICE = X25519KeyPair.from_seed(b"a" * 32)
BOB_ID = b"B" * 32
BOB_EPK = X25519KeyPair.from_seed(b"b" * 32)


def sending(seed: bytes = b"e" * 32, **changes: object) -> SendEpoch:
    fields: dict[str, object] = {
        "sender": ALICE,
        "recipient_id": BOB_ID,
        "prekey_id": keys.prekey_id(BOB_EPK.public),
        "prekey_public": BOB_EPK.public,
        "psk": NO_PSK,
        "psk_generation": 0,
        "ephemeral_seed": seed,
        "now_s": 100.0,
    }
    return SendEpoch(**{**fields, **changes})  # type: ignore[arg-type]


def receiving(my_id: bytes = BOB_ID, capacity: int = 4) -> ReceiveEpochs:
    return ReceiveEpochs(
        my_id,
        lambda wanted: BOB_EPK.secret if wanted == keys.prekey_id(BOB_EPK.public) else None,
        lambda _sender, generation: NO_PSK if generation == 0 else None,
        capacity,
    )


SENDING = sending()
RECEIVING = receiving()


@settings(max_examples=50)
@given(st.binary(max_size=5000), st.booleans())
def test_round_trip(inner: bytes, padded: bool) -> None:
    payload = SENDING.seal(inner, limits.PADDING_BUCKETS if padded else None)
    opened = RECEIVING.open(payload)
    assert (opened.inner, opened.sender, opened.epoch) == (inner, ALICE.public, SENDING.epoch)
    if padded:
        assert len(frame(payload)) in limits.PADDING_BUCKETS
    else:
        assert len(payload) == len(inner) + limits.ENVELOPE_OVERHEAD_BYTES + 1


def test_buckets_are_filled_to_the_byte() -> None:
    around = limits.FRAME_HEADER_BYTES + limits.ENVELOPE_OVERHEAD_BYTES + 1
    receiver = receiving()
    for bucket, above in zip(limits.PADDING_BUCKETS, limits.PADDING_BUCKETS[1:], strict=False):
        sender = sending()
        fits, more = bytes(bucket - around), bytes(bucket - around + 1)
        assert len(frame(sender.seal(fits, limits.PADDING_BUCKETS))) == bucket
        assert len(frame(sender.seal(more, limits.PADDING_BUCKETS))) == above
    longest = b"\x80" * limits.MAX_INNER_BYTES
    payload = sending().seal(longest, limits.PADDING_BUCKETS)
    assert len(frame(payload)) == limits.PADDING_BUCKETS[-1]
    assert receiver.open(payload).inner == longest
    with pytest.raises(ValueError, match="MAX_INNER_BYTES"):
        sending().seal(longest + b"x", None)


def test_numbers_rise_and_any_order_opens() -> None:
    sender, receiver = sending(), receiving()
    payloads = [sender.seal(bytes([n]), None) for n in range(5)]
    opened = [receiver.open(payloads[n]) for n in (4, 0, 3, 1, 2)]
    assert [(o.n, o.inner) for o in opened] == [(n, bytes([n])) for n in (4, 0, 3, 1, 2)]
    assert len({o.epoch for o in opened}) == 1


def test_epochs_are_told_apart_and_forgotten_ones_open_again() -> None:
    receiver = receiving(capacity=2)
    senders = [sending(bytes([n]) * 32) for n in range(5)]
    first = [receiver.open(sender.seal(b"1", None)) for sender in senders]
    second = [receiver.open(sender.seal(b"2", None)) for sender in senders]
    assert [o.epoch for o in first] == [o.epoch for o in second] == [s.epoch for s in senders]
    assert len({o.epoch for o in first}) == 5


def test_the_last_used_epoch_stays() -> None:
    asked: list[bytes] = []

    def prekeys(wanted: bytes) -> bytes:
        asked.append(wanted)
        return BOB_EPK.secret

    receiver = ReceiveEpochs(BOB_ID, prekeys, lambda _s, _g: NO_PSK, 2)
    a, b, c = (sending(bytes([n]) * 32) for n in range(3))
    for sender in (a, b, a, c, a):
        receiver.open(sender.seal(b"", None))
    assert len(asked) == 3


def test_every_flipped_bit_is_refused_alike() -> None:
    payload = sending().seal(b"Hello.", None)
    receiver = receiving()
    receiver.open(payload)
    messages = set()
    for bit in range(8 * len(payload)):
        changed = bytearray(payload)
        changed[bit // 8] ^= 1 << bit % 8
        for who in (receiver, receiving()):
            with pytest.raises(ProtocolError) as caught:
                who.open(bytes(changed))
            messages.add((type(caught.value), str(caught.value)))
    assert len(messages) == 1


def test_every_cut_is_refused() -> None:
    payload = sending().seal(b"Hello.", None)
    receiver = receiving()
    for end in range(len(payload)):
        with pytest.raises(ProtocolError):
            receiver.open(payload[:end])


@given(st.binary(max_size=200))
def test_garbage_raises_one_error(data: bytes) -> None:
    for payload in (data, b"\x01\x01\x00\x00" + keys.prekey_id(BOB_EPK.public) + data):
        with pytest.raises(ProtocolError):
            RECEIVING.open(payload)


def test_an_envelope_for_someone_else_is_refused() -> None:
    with pytest.raises(ProtocolError):
        receiving(b"C" * 32).open(sending().seal(b"x", None))


def test_a_psk_is_mixed_in_and_its_generation_counts() -> None:
    psks = {1: b"1" * 32, 2: b"2" * 32}
    receiver = ReceiveEpochs(BOB_ID, lambda _: BOB_EPK.secret, lambda _s, g: psks.get(g))
    payload = sending(psk=psks[1], psk_generation=1).seal(b"x", None)
    assert receiver.open(payload).inner == b"x"
    for bad in (
        sending(psk=psks[2], psk_generation=1),
        sending(psk=psks[1], psk_generation=2),
        sending(psk=psks[1], psk_generation=3),
    ):
        with pytest.raises(ProtocolError):
            receiver.open(bad.seal(b"x", None))


def test_a_forged_opener_pushes_nothing_out() -> None:
    receiver = receiving(capacity=1)
    good = sending()
    receiver.open(good.seal(b"x", None))
    for n in range(3):
        bad = sending(bytes([n]) * 32).seal(b"x", None)
        with pytest.raises(ProtocolError):
            receiver.open(bad[:-1] + bytes([bad[-1] ^ 1]))
    assert list(receiver._epochs) == [good.seal(b"", None)[: HEADER_BYTES - 8]]


def test_when_an_epoch_is_exhausted() -> None:
    sender = sending()
    assert not sender.exhausted(100.0 + limits.EPOCH_SECONDS - 0.1)
    assert sender.exhausted(100.0 + limits.EPOCH_SECONDS)
    sender._n = limits.EPOCH_MESSAGES - 1
    last = sender.seal(b"last", None)
    assert sender.exhausted(100.0)
    assert receiving().open(last).n == limits.EPOCH_MESSAGES - 1
    with pytest.raises(ValueError, match="exhausted"):
        sender.seal(b"one more", None)
    sender = sending()
    sender._bytes = limits.EPOCH_BYTES - 1
    assert not sender.exhausted(100.0)
    sender.seal(b"", None)
    assert sender.exhausted(100.0)


def test_no_number_is_used_twice_even_if_sealing_fails() -> None:
    sender = sending()
    sender.seal(b"a", None)
    with pytest.raises(ValueError):
        sender.seal(b"b" * 2000, (1024,))
    assert receiving().open(sender.seal(b"c", None)).n == 1


def test_a_recipient_cannot_pass_an_envelope_on_as_the_senders() -> None:
    """What Alice sealed to Bob, Bob cannot seal to Carol in Alice's name."""
    carol = X25519KeyPair.from_seed(b"c" * 32)
    opened: OpenedEnvelope = receiving().open(sending().seal(b"for Bob", None))
    forwarded = sending(
        sender=BOB_EPK,
        recipient_id=b"C" * 32,
        prekey_id=keys.prekey_id(carol.public),
        prekey_public=carol.public,
    ).seal(opened.inner, None)
    at_carol = ReceiveEpochs(b"C" * 32, lambda _: carol.secret, lambda _s, _g: NO_PSK)
    assert at_carol.open(forwarded).sender == BOB_EPK.public


def test_a_low_order_prekey_is_refused() -> None:
    with pytest.raises(ProtocolError):
        sending(prekey_public=bytes(32))


def test_a_number_beyond_the_epoch_is_refused_though_its_tag_is_right() -> None:
    epoch = sending()
    for n in (limits.EPOCH_MESSAGES - 1, limits.EPOCH_MESSAGES):
        header = epoch._header + n.to_bytes(8, "big")
        payload = header + epoch._aead.encrypt(envelope._nonce(n), b"inner\x80", header)
        if n < limits.EPOCH_MESSAGES:
            assert receiving().open(payload).n == n
            continue
        with pytest.raises(ProtocolError):
            receiving().open(payload)


@pytest.mark.parametrize("head", [b"\x02\x01", b"\x01\x02"])
def test_another_head_is_refused_though_its_sender_vouches_for_it(
    monkeypatch: pytest.MonkeyPatch, head: bytes
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(envelope, "_FIXED_HEAD", head)
        payload = sending().seal(b"inner", None)
    assert payload[:2] == head
    with pytest.raises(ProtocolError):
        receiving().open(payload)
