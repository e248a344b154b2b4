"""The one curve that py-libp2p asks for."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec

__all__ = ["P256", "Curve"]


@dataclass(frozen=True, slots=True)
class Curve:
    """A named elliptic curve and its implementation."""

    name: str
    implementation: ec.EllipticCurve


P256 = Curve("P256", ec.SECP256R1())
