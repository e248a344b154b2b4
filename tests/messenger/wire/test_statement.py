from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerpost.errors import ProtocolError
from peerpost.wire import limits
from peerpost.wire.statement import (
    KeyStatement,
    Prekey,
    TransportKey,
    decode_statement,
    encode_statement,
)

b32 = st.binary(min_size=32, max_size=32)
times = st.integers(0, limits.MAX_TIME_S)
statements = st.builds(
    KeyStatement,
    id_public=b32,
    seq=st.integers(2, limits.MAX_SEQ),
    prev=b32.filter(any),
    ik=b32,
    prekeys=st.lists(st.builds(Prekey, b32, times), max_size=3, unique_by=lambda k: k.public).map(
        tuple
    ),
    mlkem=st.none(),
    tk=st.lists(
        st.builds(TransportKey, b32, times, st.just(("/ip4/192.0.2.1/tcp/1",))),
        min_size=1,
        max_size=4,
        unique_by=lambda k: k.public,
    ).map(tuple),
    flags=st.integers(0, 2**32 - 1),
    created_s=times,
    ext=st.dictionaries(st.text(min_size=1, max_size=8), st.binary(max_size=20), max_size=4),
)


@given(statements)
def test_round_trip(statement: KeyStatement) -> None:
    assert decode_statement(encode_statement(statement)) == statement


@given(statements)
def test_cuts_and_extensions_are_refused(statement: KeyStatement) -> None:
    body = encode_statement(statement)
    for bad in (b"", body[:-1], body + b"\0", body[: len(body) // 2]):
        with pytest.raises(ProtocolError):
            decode_statement(bad)


@given(st.binary(max_size=300))
def test_garbage_raises_one_error(data: bytes) -> None:
    for candidate in (data, b"\x9b\x01" + data):
        with pytest.raises(ProtocolError):
            decode_statement(candidate)


def full() -> KeyStatement:
    addresses = tuple(f"/ip4/192.0.2.{n}/tcp/4001" for n in range(4))
    return KeyStatement(
        id_public=bytes(32),
        seq=1,
        prev=bytes(32),
        ik=bytes(32),
        prekeys=(Prekey(bytes(32), 0), Prekey(b"\1" * 32, 0)),
        mlkem=bytes(limits.MLKEM768_PUBLIC_BYTES),
        tk=tuple(TransportKey(bytes([n]) * 32, 0, addresses) for n in range(2)),
        created_s=0,
    )


def test_a_rotating_identity_with_a_post_quantum_key_fits() -> None:
    assert len(encode_statement(full())) <= limits.MAX_STATEMENT_BYTES


def test_too_long_is_neither_written_nor_read() -> None:
    many = tuple(f"/dns/{'a' * 50}{n}.example/tcp/4001" for n in range(8))
    statement = KeyStatement(
        id_public=bytes(32),
        seq=1,
        prev=bytes(32),
        ik=bytes(32),
        tk=tuple(TransportKey(bytes([n]) * 32, 0, many) for n in range(4)),
        created_s=0,
    )
    with pytest.raises(ValueError, match="fewer"):
        encode_statement(statement)
    with pytest.raises(ProtocolError, match="long"):
        decode_statement(bytes(limits.MAX_STATEMENT_BYTES + 1))
