"""Names that are no text: what is said of them can be encoded by whoever has to."""

from __future__ import annotations

import json
import logging
import os
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerpost.errors import NoInputError, PeerpostError
from peerpost.node.encoded import encoded
from peerpost.node.logs import _JsonFormatter, _TextFormatter
from peerpost.raw_bytes import encodable, shown

LONE = st.characters(min_codepoint=0xD800, max_codepoint=0xDFFF)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (b"plain", "plain"),
        (b"x-\xff", r"x-\xff"),
        (b"\x80\xc3", r"\x80\xc3"),
        ("grün".encode(), "grün"),
        ("grün".encode("latin-1"), r"gr\xfcn"),
        (b"\xed\xa0\x80", r"\xed\xa0\x80"),
        (b"a\\xff", r"a\xff"),
    ],
)
def test_how_a_name_is_shown(name: bytes, text: str) -> None:
    assert shown(name) == shown(os.fsdecode(name)) == text
    error = NoInputError(f"there is no {os.fsdecode(name)}", hint=os.fsdecode(name))
    assert (error.message, error.hint, str(error)) == (f"there is no {text}", text, error.message)


@given(st.binary() | st.text(st.characters(exclude_categories=()) | LONE))
def test_whatever_a_name_is_it_can_be_encoded(name: bytes | str) -> None:
    text = shown(name)
    text.encode()
    assert shown(text) == text
    PeerpostError(os.fsdecode(name) if isinstance(name, bytes) else name).message.encode()


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters() | LONE),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters() | LONE), inner),
)


@pytest.mark.slow
@given(VALUES)
def test_whatever_is_in_an_answer_it_is_json(value: object) -> None:
    assert json.loads(encoded(value)) == encodable(value)


def test_the_log_takes_any_name() -> None:
    name = os.fsdecode(b"a\xff\n\\")
    record = logging.LogRecord("peerpost.node", 30, "", 0, "no %s", (name,), None)
    assert _TextFormatter().format(record).endswith("no a\\xff\\n\\\\")
    assert json.loads(_JsonFormatter().format(record))["msg"] == "no a\\xff\n\\"


def test_nothing_in_the_log_acts_on_a_terminal() -> None:
    hostile = "\x1b]0;x\x07\x9b2J\u202e\x7f\r"
    try:
        raise ValueError(hostile)
    except ValueError:
        record = logging.LogRecord("peerpost.node", 30, "", 0, "no %s", (hostile,), sys.exc_info())
    text, as_json = _TextFormatter().format(record), _JsonFormatter().format(record)
    for line in (text.replace("\n", ""), as_json):
        assert line.isascii()
        assert line.isprintable()
    assert "Traceback" in text
    assert "raise ValueError(hostile)" in text
    assert json.loads(as_json)["msg"] == f"no {hostile}"
