"""The syntax of RUST_LOG, as `log set` and PEERPOST_LOG take it."""

from __future__ import annotations

import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerpost.client.directives import LEVELS, MAX_CHARS, parse


@pytest.mark.parametrize(
    ("text", "everything", "targets"),
    [
        ("info", 20, {}),
        (" WARN ", 30, {}),
        ("off", 100, {}),
        ("debug,libp2p=warn", 10, {"libp2p": 30}),
        ("peerpost.node.files=trace", 30, {"peerpost.node.files": 5}),
        ("peerpost::node::files=TRACE,info", 20, {"peerpost.node.files": 5}),
        ("info,peerpost.net", 20, {"peerpost.net": 5}),
        ("info,,debug,", 10, {}),
        ("a=info,a=off", 30, {"a": 100}),
        ("error , trio = error", 40, {"trio": 40}),
    ],
)
def test_parse(text: str, everything: int, targets: dict[str, int]) -> None:
    found = parse(text)
    assert (found.everything, found.targets) == (everything, targets)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "nothing is named"),
        (" , ", "nothing is named"),
        ("info,peerpost=loud", "'peerpost=loud': there is no level 'loud'"),
        ("peerpost=debgu", "did you mean 'debug'"),
        ("info,=debug", "'=debug'"),
        ("info,a b", "'a b'"),
        ("info,peerpost..node=debug", "peerpost..node"),
        ("peerpost[send{id=1}]=debug", "span"),
        ("info,\x1b[31m", "span"),
        ("info,\x1b", "neither a level nor a logger"),
        ("a=info=debug", "'info=debug'"),
        ("x" * (MAX_CHARS + 1), "longer than"),
    ],
)
def test_what_is_wrong_is_named(text: str, named: str) -> None:
    with pytest.raises(ValueError, match=re.escape(named)):
        parse(text)


@given(st.text())
def test_any_text_is_taken_or_refused_with_a_reason(text: str) -> None:
    found = None
    with suppress(ValueError):
        found = parse(text)
    assert found is None or {found.everything, *found.targets.values()} <= set(LEVELS.values())
