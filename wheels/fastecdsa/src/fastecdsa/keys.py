"""Private keys, which are numbers as in fastecdsa, and the public keys that follow from them."""

from __future__ import annotations

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from .curve import P256, Curve
from .point import Point

__all__ = ["PEMEncoder", "export_key", "gen_private_key", "get_public_key"]


class PEMEncoder:
    """Write a private key as PEM (RFC 5915)."""

    @staticmethod
    def encode_private_key(d: int, curve: Curve = P256) -> str:
        """Return the text that begins with BEGIN EC PRIVATE KEY."""
        encoded = ec.derive_private_key(d, curve.implementation).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
        return encoded.decode("ascii")


def gen_private_key(curve: Curve) -> int:
    """Draw a private key, uniform in 1 to the order of the curve less one."""
    return ec.generate_private_key(curve.implementation).private_numbers().private_value


def get_public_key(d: int, curve: Curve) -> Point:
    """Return the generator times d. Raises ValueError when d is no private key of the curve."""
    return Point.of(ec.derive_private_key(d, curve.implementation).public_key(), curve)


def export_key(key: int, curve: Curve, encoder: type[PEMEncoder] = PEMEncoder) -> str:
    """Return a private key as PEM."""
    return encoder.encode_private_key(key, curve)
