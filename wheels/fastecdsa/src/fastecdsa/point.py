"""Points of a curve: public keys, and what a Diffie-Hellman exchange gives."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec

from .curve import P256, Curve

__all__ = ["Point", "Product"]


@dataclass(frozen=True, slots=True)
class Product:
    """A point times a private key, by its x coordinate: all that ECDH has and py-libp2p reads."""

    x: int


@dataclass(frozen=True, slots=True)
class Point:
    """A point other than infinity; making one that is not on its curve raises ValueError."""

    x: int
    y: int
    curve: Curve = P256

    def __post_init__(self) -> None:
        self.public_key()

    @classmethod
    def of(cls, key: ec.EllipticCurvePublicKey, curve: Curve) -> Point:
        """Return the point that a public key of `cryptography` is."""
        numbers = key.public_numbers()
        return cls(numbers.x, numbers.y, curve)

    def public_key(self) -> ec.EllipticCurvePublicKey:
        """Return this point as a public key of `cryptography`."""
        implementation = self.curve.implementation
        return ec.EllipticCurvePublicNumbers(self.x, self.y, implementation).public_key()

    def __mul__(self, scalar: int) -> Product:
        """Multiply by a private key (SEC 1, 3.3.1), 1 to the order of the curve less one.

        Raises ValueError for any other number.
        """
        private = ec.derive_private_key(scalar, self.curve.implementation)
        return Product(int.from_bytes(private.exchange(ec.ECDH(), self.public_key()), "big"))

    __rmul__ = __mul__
