from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerpost.errors import ProtocolError
from peerpost.wire import hello, limits

b16 = st.binary(min_size=16, max_size=16)
b32 = st.binary(min_size=32, max_size=32)
b64 = st.binary(min_size=64, max_size=64)
invites = st.tuples(st.none(), st.none()) | st.tuples(st.binary(min_size=8, max_size=8), b32)
proofs = st.builds(
    lambda pair, **fields: hello.Proof(invite_id=pair[0], invite_mac=pair[1], **fields),
    invites,
    statement=st.binary(min_size=1, max_size=300),
    statement_sig=b64,
    have=st.lists(
        st.builds(hello.Have, b16, st.integers(0, 1), st.integers(0, limits.MAX_SEQ)),
        max_size=limits.MAX_HAVE,
        unique_by=lambda have: (have.outbox_id, have.lane),
    ).map(tuple),
)


@given(b32, b32, st.integers(1, 255))
def test_first_flight_round_trip(nonce: bytes, epk: bytes, version: int) -> None:
    first = hello.Hello1(version_min=1, version_max=version, nonce=nonce, epk=epk)
    assert hello.decode_hello1(hello.encode_hello1(first)) == first


@given(proofs, b64)
def test_second_flight_round_trip(proof: hello.Proof, sig: bytes) -> None:
    second = hello.Hello2(proof=hello.encode_proof(proof), sig=sig)
    got = hello.decode_hello2(hello.encode_hello2(second))
    assert got == second
    assert hello.decode_proof(got.proof) == proof


def test_the_fullest_hello_fits() -> None:
    proof = hello.Proof(
        statement=bytes(limits.MAX_STATEMENT_BYTES),
        statement_sig=bytes(64),
        invite_id=bytes(8),
        invite_mac=bytes(32),
        have=tuple(
            hello.Have(bytes([n]) * 16, n % 2, limits.MAX_SEQ) for n in range(limits.MAX_HAVE)
        ),
    )
    second = hello.encode_hello2(hello.Hello2(proof=hello.encode_proof(proof), sig=bytes(64)))
    first = hello.encode_hello1(
        hello.Hello1(version_min=1, version_max=255, nonce=bytes(32), epk=bytes(32))
    )
    assert len(first) + len(second) + 8 <= limits.MAX_HELLO_BYTES - 512


@given(st.sampled_from([0x11, 0x12, 0x13]), st.binary(max_size=200))
def test_garbage_raises_one_error(first: int, data: bytes) -> None:
    for decode in (hello.decode_hello1, hello.decode_hello2):
        with pytest.raises(ProtocolError):
            decode(bytes([first]) + data)


def test_flights_are_not_taken_for_each_other() -> None:
    first = hello.Hello1(version_min=1, version_max=1, nonce=bytes(32), epk=bytes(32))
    with pytest.raises(ProtocolError, match="due"):
        hello.decode_hello2(hello.encode_hello1(first))
    with pytest.raises(ProtocolError, match="due"):
        hello.decode_hello1(bytes([0x11]) + bytes(limits.MAX_HELLO_BYTES))


def test_an_empty_range_of_versions_is_refused() -> None:
    first = hello.Hello1(version_min=2, version_max=1, nonce=bytes(32), epk=bytes(32))
    with pytest.raises(ProtocolError, match="versions"):
        hello.decode_hello1(hello.encode_hello1(first))


def test_half_an_invitation_and_two_watermarks_are_refused() -> None:
    common = {"statement": b"s", "statement_sig": bytes(64)}
    half = hello.Proof(invite_id=bytes(8), **common)  # type: ignore[arg-type]
    twice = hello.Proof(have=(hello.Have(bytes(16), 0, 1), hello.Have(bytes(16), 0, 2)), **common)  # type: ignore[arg-type]
    for proof in (half, twice):
        with pytest.raises(ProtocolError):
            hello.decode_proof(hello.encode_proof(proof))
