from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerpost.crypto import recovery
from peerpost.errors import BadInputError


def test_a_known_code() -> None:
    assert recovery.write(bytes(16)) == "0000-0000-0000-0000-0000-0000-00NE"
    assert recovery.write(bytes(range(16))) == "000G-40R4-0M30-E209-185G-R38E-1WXP"
    assert recovery.write(b"\xff" * 16) == "ZZZZ-ZZZZ-ZZZZ-ZZZZ-ZZZZ-ZZZZ-ZW65"


@given(st.binary(min_size=16, max_size=16))
def test_every_code_is_read_as_it_was_written(seed: bytes) -> None:
    code = recovery.write(seed)
    assert len(code.split("-")) == 7
    assert recovery.is_code(code)
    for copied in (code, code.lower(), code.replace("-", " "), code.replace("-", ""), f" {code}\n"):
        assert recovery.parse(copied) == seed
    assert recovery.parse(code.replace("0", "O").replace("1", "l")) == seed


@given(st.binary(min_size=16, max_size=16), st.integers(0, 27), st.integers(1, 31))
def test_one_wrong_character_is_noticed(seed: bytes, at: int, by: int) -> None:
    alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    plain = recovery.write(seed).replace("-", "")
    wrong = alphabet[(alphabet.index(plain[at]) + by) % 32]
    changed = plain[:at] + wrong + plain[at + 1 :]
    with suppress(BadInputError):
        # One in 4096 passes the check, and opens nothing.
        assert recovery.parse(changed) != seed


def test_what_was_copied_wrongly_is_told_from_what_is_no_code() -> None:
    code = recovery.write(bytes(range(16)))
    with pytest.raises(BadInputError, match="copied wrongly"):
        recovery.parse(code.replace("R38E", "R38F"))


@pytest.mark.parametrize(
    "text", ["", "correct horse battery staple", "0000-0000", "U" * 28, "é" * 28, "0" * 29]
)
def test_what_is_no_code(text: str) -> None:
    assert not recovery.is_code(text)
    with pytest.raises(BadInputError, match="no recovery code"):
        recovery.parse(text)
