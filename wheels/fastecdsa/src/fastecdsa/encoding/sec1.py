"""Public keys as bytes (SEC 1, 2.3.3 and 2.3.4)."""

from __future__ import annotations

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fastecdsa.curve import Curve
from fastecdsa.point import Point

__all__ = ["SEC1Encoder"]


class SEC1Encoder:
    """Encode and decode public keys."""

    @staticmethod
    def encode_public_key(point: Point, *, compressed: bool = True) -> bytes:
        """Return 33 bytes, or 65 when not compressed."""
        form = serialization.PublicFormat
        return point.public_key().public_bytes(
            serialization.Encoding.X962,
            form.CompressedPoint if compressed else form.UncompressedPoint,
        )

    @staticmethod
    def decode_public_key(key: bytes, curve: Curve) -> Point:
        """Return the point of either form. Raises ValueError when there is none."""
        public = ec.EllipticCurvePublicKey.from_encoded_point(curve.implementation, key)
        return Point.of(public, curve)
