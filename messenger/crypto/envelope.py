"""Envelopes: inner messages sealed to one recipient (PROTOCOL.md, "Envelopes").

    offset 0  u8 type = 1 | u8 suite = 1 | u8 psk generation | u8 zero | 8 B prekey id    head
          12  96 B Noise X message                                                        epoch
         108  u64 n
         116  ciphertext | 16 B tag

The Noise message is the same in all envelopes of an epoch, so each can be opened alone, in any order.
Nothing about an epoch is ever stored: after a crash a new one is opened, so no nonce can repeat. The
plaintext is padded (ISO/IEC 7816-4), always by at least one byte. The cipher is that of `cryptography`,
because its key is set up once for an epoch: for a text it takes a third of libsodium's time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from peerpost import fastpath
from peerpost.errors import ProtocolError
from peerpost.wire import limits
from peerpost.wire.frame import FrameType

from . import labels, noise_x
from .keys import X25519KeyPair

__all__ = [
    "HEADER_BYTES",
    "NO_PSK",
    "SUITE",
    "OpenedEnvelope",
    "ReceiveEpochs",
    "SendEpoch",
    "envelope_bytes",
]

SUITE: Final = 1
"""Noise_Xpsk1_25519_ChaChaPoly_BLAKE2b, then ChaCha20-Poly1305 under its key."""
NO_PSK: Final = bytes(32)
"""The PSK of generation 0: none is agreed upon."""
_HEAD_BYTES: Final = 12
_EPOCH_BYTES: Final = _HEAD_BYTES + noise_x.MESSAGE_BYTES
HEADER_BYTES: Final = _EPOCH_BYTES + 8
"""Everything before the ciphertext; it is authenticated with each message."""
_MIN_BYTES: Final = limits.ENVELOPE_OVERHEAD_BYTES + 1
_FIXED_HEAD: Final = bytes([FrameType.ENVELOPE, SUITE])
_ZERO_AT: Final = 3


class SendEpoch:
    """Seals messages to one recipient's prekey, for as long as the epoch may last."""

    __slots__ = ("_aead", "_bytes", "_header", "_n", "_opened_s", "epoch")

    def __init__(
        self,
        *,
        sender: X25519KeyPair,
        recipient_id: bytes,
        prekey_id: bytes,
        prekey_public: bytes,
        psk: bytes,
        psk_generation: int,
        ephemeral_seed: bytes,
        now_s: float,
    ) -> None:
        """Open an epoch. The 32-byte seed must be fresh from the system's random source.

        Raises ProtocolError if the prekey is a low-order point.
        """
        head = _FIXED_HEAD + bytes([psk_generation, 0]) + prekey_id
        sealed = noise_x.seal_message(
            sender=sender,
            recipient=prekey_public,
            ephemeral=X25519KeyPair.from_seed(ephemeral_seed),
            psk=psk,
            prologue=_prologue(recipient_id, head),
        )
        self._header = head + sealed.message
        self._aead = ChaCha20Poly1305(sealed.key)
        self._opened_s = now_s
        self._n = 0
        self._bytes = 0
        self.epoch = _epoch_id(sealed.handshake_hash)
        """16 bytes, the same as the receiver's `OpenedEnvelope.epoch`."""

    def exhausted(self, now_s: float) -> bool:
        """Return whether a new epoch must be opened before the next message."""
        return (
            self._n >= limits.EPOCH_MESSAGES
            or self._bytes >= limits.EPOCH_BYTES
            or now_s - self._opened_s >= limits.EPOCH_SECONDS
        )

    def seal(self, inner: bytes, buckets: tuple[int, ...] | None) -> bytes:
        """Return the frame payload of a message.

        With buckets (ascending, in bytes on the stream with the frame's length), the whole frame
        has exactly the size of the smallest that holds it; with None, one byte of padding is all.
        Raises ValueError if the message is too long, or the epoch has no number left.
        """
        if len(inner) > limits.MAX_INNER_BYTES:
            raise ValueError("an inner message has at most MAX_INNER_BYTES bytes")
        n = self._n
        if n >= limits.EPOCH_MESSAGES:
            raise ValueError("the epoch is exhausted")
        padded = fastpath.pad(inner, _padded_bytes(len(inner), buckets))
        self._n = n + 1
        self._bytes += len(padded)
        header = self._header + n.to_bytes(8, "big")
        return header + self._aead.encrypt(_nonce(n), padded, header)


@dataclass(frozen=True, slots=True)
class OpenedEnvelope:
    """An envelope that is what it says."""

    sender: bytes
    """X25519 static key (`ik`) of the sender."""
    epoch: bytes
    """16 bytes, unique to the epoch."""
    n: int
    """Number of the envelope in its epoch; on one stream it must rise (protocol.replay)."""
    inner: bytes


@dataclass(frozen=True, slots=True)
class _Epoch:
    sender: bytes
    epoch: bytes
    aead: ChaCha20Poly1305


class ReceiveEpochs:
    """Opens envelopes, and keeps the keys of the epochs seen last.

    An instance lives as long as the prekeys it may serve: one per connection for online keys, so
    that closing the connection forgets them.
    """

    __slots__ = ("_capacity", "_epochs", "_my_id", "_prekeys", "_psk")

    def __init__(
        self,
        my_id: bytes,
        prekeys: Callable[[bytes], bytes | None],
        psk: Callable[[bytes, int], bytes | None],
        capacity: int = limits.EPOCH_CACHE,
    ) -> None:
        """Take our identity key, and how to find a prekey's secret by its id and a sender's PSK by
        generation.
        """
        self._my_id = my_id
        self._prekeys = prekeys
        self._psk = psk
        self._capacity = capacity
        self._epochs: OrderedDict[bytes, _Epoch] = OrderedDict()

    def open(self, payload: bytes) -> OpenedEnvelope:
        """Open one frame payload. Raises ProtocolError, the same for every cause."""
        if not _MIN_BYTES <= len(payload) <= limits.MAX_ENVELOPE_BYTES:
            raise _closed()
        opener = payload[:_EPOCH_BYTES]
        epoch = self._epochs.get(opener)
        n = int.from_bytes(payload[_EPOCH_BYTES:HEADER_BYTES], "big")
        if n >= limits.EPOCH_MESSAGES:
            raise _closed()
        new = epoch is None
        if epoch is None:
            epoch = self._open_epoch(opener)
        try:
            padded = epoch.aead.decrypt(_nonce(n), payload[HEADER_BYTES:], payload[:HEADER_BYTES])
            inner = fastpath.unpad(padded)
        except (InvalidTag, ValueError):
            raise _closed() from None
        self._keep(opener, epoch, new=new)
        return OpenedEnvelope(epoch.sender, epoch.epoch, n, inner)

    def _open_epoch(self, opener: bytes) -> _Epoch:
        head = opener[:_HEAD_BYTES]
        if head[:2] != _FIXED_HEAD or head[_ZERO_AT] != 0:
            raise _closed()
        secret = self._prekeys(head[4:])
        if secret is None:
            raise _closed()
        try:
            opened = noise_x.open_message(
                opener[_HEAD_BYTES:],
                recipient=X25519KeyPair.from_seed(secret),
                psk_of=lambda sender: self._psk(sender, head[2]),
                prologue=_prologue(self._my_id, head),
            )
        except ProtocolError:
            raise _closed() from None
        return _Epoch(opened.sender, _epoch_id(opened.handshake_hash), ChaCha20Poly1305(opened.key))

    def _keep(self, opener: bytes, epoch: _Epoch, *, new: bool) -> None:
        # Cached only now: an envelope that cannot be opened must not evict an epoch of one that can.
        if new:
            self._epochs[opener] = epoch
            if len(self._epochs) > self._capacity:
                self._epochs.popitem(last=False)
        else:
            self._epochs.move_to_end(opener)


def _prologue(recipient_id: bytes, head: bytes) -> bytes:
    return labels.NOISE_ENVELOPE + recipient_id + head


def _epoch_id(handshake_hash: bytes) -> bytes:
    return handshake_hash[:16]


def _nonce(n: int) -> bytes:
    return b"\0\0\0\0" + n.to_bytes(8, "little")


def envelope_bytes(inner_bytes: int, buckets: tuple[int, ...] | None) -> int:
    """Return the size of the envelope that `SendEpoch.seal` makes of so many bytes."""
    return limits.ENVELOPE_OVERHEAD_BYTES + _padded_bytes(inner_bytes, buckets)


def _padded_bytes(inner_bytes: int, buckets: tuple[int, ...] | None) -> int:
    if buckets is None:
        return inner_bytes + 1
    around = limits.FRAME_HEADER_BYTES + limits.ENVELOPE_OVERHEAD_BYTES
    return fastpath.bucket_for(inner_bytes + 1 + around, buckets) - around


def _closed() -> ProtocolError:
    return ProtocolError("an envelope that does not open")
