"""The stand-in for fastecdsa, judged through the functions of py-libp2p that call it.

Each test is a program of its own: it must find the stand-in whichever fastecdsa is installed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "wheels" / "fastecdsa" / "src"

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="py-libp2p has none on Windows")

PRELUDE = """
from pathlib import Path
import fastecdsa
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from libp2p.crypto import ecc, key_exchange

P256 = ec.SECP256R1()

def refused(call, *args):
    try:
        call(*args)
    except ValueError:
        return True
    return False
"""


def run(program: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + program],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def test_py_libp2p_imports_the_stand_in() -> None:
    run(f"""
assert Path(fastecdsa.__file__).is_relative_to({str(SOURCE)!r}), fastecdsa.__file__
import libp2p.security.secio.transport
""")


def test_keys_and_exchange_agree_with_cryptography() -> None:
    run("""
for _ in range(20):
    pair = ecc.create_new_key_pair("P-256")
    private = ec.derive_private_key(pair.private_key.impl, P256)
    encoded = pair.public_key.to_bytes()
    assert encoded == private.public_key().public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    assert ecc.ECCPublicKey.from_bytes(encoded, "P-256").impl == pair.public_key.impl
    read = serialization.load_pem_private_key(pair.private_key.to_bytes(), None)
    assert read.private_numbers() == private.private_numbers()

    ours, exchange = key_exchange.create_ephemeral_key_pair("P-256")
    remote = ec.EllipticCurvePublicKey.from_encoded_point(P256, ours.to_bytes())
    expected = private.exchange(ec.ECDH(), remote)
    assert exchange(encoded) == expected.lstrip(b"\\0")  # py-libp2p drops leading zeros
""")


def test_a_point_off_the_curve_is_refused() -> None:
    run("""
from fastecdsa.encoding.sec1 import SEC1Encoder
from fastecdsa.point import Point

point = ecc.create_new_key_pair("P-256").public_key.impl
assert refused(Point, point.x, point.y ^ 1)
encoded = bytearray(SEC1Encoder.encode_public_key(point, compressed=False))
encoded[-1] ^= 1
assert refused(SEC1Encoder.decode_public_key, bytes(encoded), point.curve)
assert refused(SEC1Encoder.decode_public_key, b"", point.curve)
assert SEC1Encoder.decode_public_key(SEC1Encoder.encode_public_key(point), point.curve) == point
assert refused(point.__mul__, 0)
""")


def test_the_length_of_a_number() -> None:
    run("""
from fastecdsa.encoding.util import int_bytelen
assert [int_bytelen(n) for n in (0, 1, 255, 256, 2**256 - 1)] == [1, 1, 1, 2, 32]
""")
