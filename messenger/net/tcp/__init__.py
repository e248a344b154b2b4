"""The transport over TCP: py-libp2p's Noise handshake, and from then on our own multiplexer."""

from .lean import postpone

__all__: list[str] = []

postpone(
    "libp2p",
    "libp2p.transport",
    "libp2p.transport.quic",
    "libp2p.network",
    "libp2p.network.connection",
)
