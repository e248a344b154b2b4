from __future__ import annotations

import pytest

from peerpost.errors import ProtocolError
from peerpost.protocol.replay import MAX_EPOCHS, ReplayGuard

A, B = b"a" * 32, b"b" * 32


def test_numbers_rise_within_an_epoch() -> None:
    guard = ReplayGuard()
    for n in (0, 1, 5, 6):
        guard.accept(A, n)
    for n in (6, 5, 2, 0):
        with pytest.raises(ProtocolError, match="twice"):
            guard.accept(A, n)
    guard.accept(A, 7)


def test_an_epoch_that_was_left_never_comes_back() -> None:
    guard = ReplayGuard()
    guard.accept(A, 3)
    guard.accept(B, 0)
    for n in (0, 3, 4):
        with pytest.raises(ProtocolError, match="came back"):
            guard.accept(A, n)
    guard.accept(B, 1)


def test_epochs_are_bounded() -> None:
    guard = ReplayGuard()
    for n in range(MAX_EPOCHS):
        guard.accept(n.to_bytes(32, "big"), 0)
    with pytest.raises(ProtocolError, match="too many"):
        guard.accept(A, 0)


def test_two_streams_know_nothing_of_each_other() -> None:
    ReplayGuard().accept(A, 0)
    ReplayGuard().accept(A, 0)
